// jobctl config list|show: what the archive can run again.
import ArgumentParser
import JobModel
import SchedulerClient

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Archived configurations.",
        discussion: """
            Examples:

              jobctl config                        the newest version of each name
              jobctl config list annual-temps      all versions of one
              jobctl config show annual-temps@3    everything that is fixed in it
            """, subcommands: [ConfigList.self, ConfigShow.self],
        defaultSubcommand: ConfigList.self)
}

struct ConfigList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "The newest version of each name, or all versions of one.")
    @Argument(help: "A name, for all its versions.") var name: String?
    @Option(help: "How many at most, 1 to 1000.", transform: Given.limit) var limit = 100
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().configurations(name: name, limit: limit)
        try Render.list(list.configurations, document: list, global.format)
    }
}

struct ConfigShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Everything that is fixed in a configuration.")
    @Argument(help: "NAME, NAME@VERSION or a digest.") var source: String
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let document = try await global.client().configuration(source)
        try Render.one(document, quiet: document.digest.description, global.format) { document.page }
    }
}

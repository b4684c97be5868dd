// jobctl license list|set|remove: what the whole cluster has a number of.
import ArgumentParser
import JobModel
import SchedulerClient

struct LicenseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "license", abstract: "Licenses that the whole cluster has a number of.",
        discussion: """
            Examples:

              jobctl license                 all of them, and how many are in use
              jobctl license set matlab 20   the cluster has 20 of it

            A job asks for them in its spec, for each task that runs:
            'licenses: {matlab: 1}'.
            """,
        subcommands: [LicenseListCommand.self, LicenseSet.self, LicenseRemove.self],
        defaultSubcommand: LicenseListCommand.self)
}

struct LicenseListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "All licenses, how many are in use, and by whom.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().licenses()
        try Render.list(list.licenses, document: list, global.format)
    }
}

struct LicenseSet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Say how many of a license there are (administrators only).",
        discussion: "What runs goes on, even if there are fewer than it holds.")
    @Argument(help: "Its name.", transform: Given.resource) var name: ResourceName
    @Argument(help: "How many the cluster has.", transform: Given.total) var total: Int64
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let license = try await global.client().setLicense(name, total: total)
        try Render.one(license, quiet: "\(license.name)", global.format) {
            "license \(license.name): \(license.used) of \(license.total) in use"
        }
    }
}

struct LicenseRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a license that no unfinished job needs (administrators only).")
    @Argument(help: "Its name.", transform: Given.resource) var name: ResourceName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        try await global.client().removeLicense(name)
        try Render.removed("\(name)", quiet: "\(name)", global.format, page: "license \(name) removed")
    }
}

extension LicenseDocument: Row {
    static var header: [String] { ["LICENSE", "TOTAL", "USED", "HELD BY"] }
    var cells: [String] {
        let held = holders.map { "job \($0.job) of \($0.owner): \($0.count)" }
        return ["\(name)", String(total), String(used), held.isEmpty ? "-" : held.joined(separator: ", ")]
    }
    var quiet: String { name.rawValue }
}

extension Given {
    static func resource(_ text: String) throws -> ResourceName {
        guard let name = ResourceName(rawValue: text) else { throw ValidationError(ResourceName.refusal(of: text)) }
        return name
    }

    static func total(_ text: String) throws -> Int64 {
        guard let number = Int64(text), (0...ResourceCounts.largest).contains(number) else {
            throw ValidationError("write a number from 0 to \(ResourceCounts.largest)")
        }
        return number
    }
}

// jobctl share list|show|set|remove: what groups and users are entitled to, and their limits.
import ArgumentParser
import JobModel
import SchedulerClient

struct ShareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "share", abstract: "What groups and users are entitled to, and their limits.",
        discussion: """
            Examples:

              jobctl share                                who has used how much
              jobctl share set group/physics --weight 300 three times a standard share
              jobctl share set user/ada --group physics   Ada belongs to physics
              jobctl share set user/ada --max-running 200 and runs 200 tasks at most

            Groups share the cluster by their weights, and the users of a group share
            what the group has by theirs. Who has used less than its share goes first;
            what was used a week ago counts half.
            """,
        subcommands: [ShareListCommand.self, ShareShow.self, ShareSet.self, ShareRemove.self],
        defaultSubcommand: ShareListCommand.self)
}

struct ShareListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "All groups and users.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let all = try await global.client().accounts()
        let list = AccountList(accounts: all.accounts.filter { $0.kind != Open(.queue) })
        try Render.list(list.accounts.map(ShareRow.init), document: list, global.format)
    }
}

struct ShareShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "One group or user.")
    @Argument(help: "group/NAME or user/NAME.", transform: Given.share) var name: AccountID
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let share = try await global.client().account(name)
        try Render.one(share, quiet: share.name, global.format) { share.page }
    }
}

struct ShareSet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Change a share, limits or a user's group (administrators only).",
        discussion: "Example: jobctl share set user/ada --group physics --max-cpus 400")
    @Argument(help: "group/NAME or user/NAME.", transform: Given.share) var name: AccountID
    @OptionGroup var limits: LimitOptions
    @Option(help: "The group that a user belongs to.", transform: Given.group) var group: GroupName?
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        if group != nil, name.kind != .user { throw ValidationError("--group goes with user/NAME") }
    }

    func run() async throws {
        let client = try global.client()
        let known = try await client.accounts(name.kind).accounts.first { $0.name == name.name }
        var settings = known?.settings ?? .standard
        limits.apply(to: &settings)
        if let group { settings.group = group }
        let share = try await client.save(name, settings, isNew: false)
        try Render.one(share, quiet: share.name, global.format) { share.page }
    }
}

struct ShareRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Go back to the standard share without limits (administrators only).")
    @Argument(help: "group/NAME or user/NAME.", transform: Given.share) var name: AccountID
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        try await global.client().remove(name)
        try Render.removed("\(name)", quiet: name.name, global.format, page: "share of \(name) removed")
    }
}

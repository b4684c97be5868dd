// jobctl user add|list|remove: who may use the cluster, and as whom their containers run.
import ArgumentParser
import JobModel
import SchedulerClient

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Users and their tokens (administrators only).",
        subcommands: [UserListCommand.self, UserAdd.self, UserRemove.self], defaultSubcommand: UserListCommand.self)
}

extension Role: ExpressibleByArgument {}

struct UserListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "All users.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().users()
        try Render.list(list.users, document: list, global.format)
    }
}

struct UserAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add a user; prints the token once.",
        discussion: """
            Example: jobctl user add ada --uid 1001 --gid 1001

            Ada then sets JOBCTL_URL and JOBCTL_TOKEN, or writes both into a file of mode
            0600 at ~/.config/jobctl/config.yaml. Her containers run as 1001:1001, on
            every worker.
            """)
    @Argument(help: "The name.", transform: Given.user) var name: UserName
    @Option(help: "The user id that containers run as.", transform: Given.identity) var uid: UInt32
    @Option(help: "The group id that containers run as.", transform: Given.identity) var gid: UInt32
    @Option(help: "user, admin or worker.") var role = Role.user
    @Option(help: "The group whose share the user's jobs count on.", transform: Given.group) var group: GroupName?
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        let user = try await client.addUser(
            UserDocument(name: name.rawValue, role: role, uid: uid, gid: gid, token: nil))
        if let group {
            let known = try await client.accounts(.user).accounts.first { $0.name == name.rawValue }
            var settings = known?.settings ?? .standard
            settings.group = group
            _ = try await client.save(.user(name), settings, isNew: false)
        }
        try Render.one(user, quiet: user.token ?? "", global.format) {
            "user \(user.name) added; the token, which is shown only now:\n\(user.token ?? "")"
        }
    }
}

struct UserRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a user; the token is void at once.")
    @Argument(help: "The name.", transform: Given.user) var name: UserName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        try await global.client().removeUser(name)
        try Render.removed(name.rawValue, quiet: name.rawValue, global.format, page: "user \(name) removed")
    }
}

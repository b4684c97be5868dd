// jobctl queue list|show|add|set|remove.
import ArgumentParser
import JobModel
import SchedulerClient

struct QueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "The queues that jobs wait in.",
        discussion: """
            Examples:

              jobctl queue                                   all of them
              jobctl queue add night --weight 20             one whose jobs go later
              jobctl queue set default --max-cpus 2000       a limit on all of its jobs

            A weight of 1000 adds as much to a job's priority as a user's share can at
            most. The queue 'default' is there without being added.
            """,
        subcommands: [
            QueueListCommand.self, QueueShow.self, QueueAdd.self, QueueSet.self, QueueRemove.self,
        ],
        defaultSubcommand: QueueListCommand.self)
}

struct QueueListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "All queues.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().accounts(.queue)
        try Render.list(list.accounts.map(QueueRow.init), document: list, global.format)
    }
}

struct QueueShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "One queue.")
    @Argument(help: "Its name.", transform: Given.queue) var name: AccountID
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let queue = try await global.client().account(name)
        try Render.one(queue, quiet: queue.name, global.format) { queue.page }
    }
}

/// What queues have beside weight and limits.
struct QueueOptions: ParsableArguments {
    @OptionGroup var limits: LimitOptions
    @Option(help: "How long a job without a time limit is expected to run.", transform: Given.time)
    var expectedTime: TimeSpan?
    @Option(
        help: "Whose tasks may be stopped to make room: queues with commas between, or none.", transform: Given.queues)
    var preempts: [QueueName]?
    @Option(help: "pack: the fullest workers first; spread: the emptiest.") var placement: PlacementStrategy?

    func apply(to settings: inout AccountSettings) {
        limits.apply(to: &settings)
        if let preempts { settings.preempts = preempts }
        if let placement { settings.placement = placement }
        if let expectedTime { settings.expectedTime = expectedTime == .zero ? nil : expectedTime }
    }
}

struct QueueAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add a queue (administrators only).",
        discussion: "Example: jobctl queue add night --weight 20 --max-running 500")
    @Argument(help: "Its name.", transform: Given.queue) var name: AccountID
    @OptionGroup var options: QueueOptions
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        var settings = AccountSettings.standard
        options.apply(to: &settings)
        let queue = try await global.client().save(name, settings, isNew: true)
        try Render.one(queue, quiet: queue.name, global.format) { queue.page }
    }
}

struct QueueSet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Change a queue (administrators only).",
        discussion: """
            Examples:

              jobctl queue set night --max-running 800
              jobctl queue set night --max-running none --expected-time 2h

            What is not given stays as it is. An expected time of 0s takes it away.
            """)
    @Argument(help: "Its name.", transform: Given.queue) var name: AccountID
    @OptionGroup var options: QueueOptions
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        let known = try await client.accounts(.queue).accounts.first { $0.name == name.name && $0.configured }
        guard known != nil || name == .queue(.standard) else {
            throw Problem(.notFound, "there is no \(name): add it with 'jobctl queue add'", field: "name")
        }
        var settings = known?.settings ?? .standard
        options.apply(to: &settings)
        let queue = try await client.save(name, settings, isNew: false)
        try Render.one(queue, quiet: queue.name, global.format) { queue.page }
    }
}

struct QueueRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a queue that no unfinished job is in (administrators only).")
    @Argument(help: "Its name.", transform: Given.queue) var name: AccountID
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        try await global.client().remove(name)
        try Render.removed(name.name, quiet: name.name, global.format, page: "\(name) removed")
    }
}

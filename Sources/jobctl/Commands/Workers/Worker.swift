// jobctl worker list|show|drain|resume.
import ArgumentParser
import JobModel
import SchedulerClient

struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "The hosts of the cluster.",
        discussion: """
            Examples:

              jobctl worker                 all of them, with what is free
              jobctl worker show node7      one, with its volumes, labels and attempts
            """,
        subcommands: [WorkerListCommand.self, WorkerShow.self, WorkerDrain.self, WorkerResume.self],
        defaultSubcommand: WorkerListCommand.self)
}

struct WorkerListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "All workers.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().workers(limit: 1000)
        try Render.list(list.workers, document: list, global.format)
    }
}

struct WorkerShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "One worker.")
    @Argument(help: "Its name.", completion: Given.workerCompletion, transform: Given.worker) var name: WorkerName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let worker = try await global.client().worker(name)
        try Render.one(worker, quiet: worker.name, global.format) { worker.page }
    }
}

struct WorkerDrain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Start nothing new on a worker; what runs goes on.",
        discussion: """
            Example: before maintenance of a host

              jobctl worker drain node7     'worker show' says drained when all has ended
              jobctl worker drain node7 --reason "new disk" --deadline 2h
              jobctl worker resume node7

            What still runs at the deadline is stopped, with its grace, and runs again
            elsewhere; no retry is counted.
            """)
    @Argument(help: "Its name.", completion: Given.workerCompletion, transform: Given.worker) var name: WorkerName
    @Option(help: "Why, in a few words: shown to those who wait.") var reason: String?
    @Option(
        help:
            "Until when what runs may go on: a time such as 2027-01-12T08:00:00Z, a time from now such as 2h, or now.",
        transform: Given.moment)
    var deadline: Timestamp?
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let worker = try await global.client().drain(name, DrainOrder(reason: reason, deadline: deadline))
        try Render.one(worker, quiet: worker.name, global.format) { "worker \(worker.name) is \(worker.state)" }
    }
}

struct WorkerResume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Use a drained worker again.")
    @Argument(help: "Its name.", completion: Given.workerCompletion, transform: Given.worker) var name: WorkerName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let worker = try await global.client().resume(name)
        try Render.one(worker, quiet: worker.name, global.format) { "worker \(worker.name) is \(worker.state)" }
    }
}

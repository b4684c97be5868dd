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
              jobctl worker resume node7
            """)
    @Argument(help: "Its name.", completion: Given.workerCompletion, transform: Given.worker) var name: WorkerName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let worker = try await global.client().drain(name)
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

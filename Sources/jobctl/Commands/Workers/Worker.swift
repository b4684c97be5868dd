// jobctl worker list|show|drain|resume.
import ArgumentParser
import JobModel
import SchedulerClient

struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "The hosts of the cluster.",
        subcommands: [WorkerListCommand.self, WorkerShow.self, WorkerDrain.self, WorkerResume.self],
        defaultSubcommand: WorkerListCommand.self)
}

extension WorkerName: ExpressibleByArgument {
    package init?(argument: String) { self.init(rawValue: argument) }
}

struct WorkerListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "All workers.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().workers(limit: 1000)
        try Render.list(list.workers, document: list, global)
    }
}

struct WorkerShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "One worker.")
    @Argument(help: "Its name.") var name: WorkerName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let worker = try await global.client().worker(name)
        try Render.one(worker, quiet: worker.name, global) { worker.page }
    }
}

struct WorkerDrain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Start nothing new on a worker; what runs goes on.")
    @Argument(help: "Its name.") var name: WorkerName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let worker = try await global.client().drain(name)
        try Render.one(worker, quiet: worker.name, global) { "worker \(worker.name) is \(worker.state)" }
    }
}

struct WorkerResume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "resume", abstract: "Use a drained worker again.")
    @Argument(help: "Its name.") var name: WorkerName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let worker = try await global.client().resume(name)
        try Render.one(worker, quiet: worker.name, global) { "worker \(worker.name) is \(worker.state)" }
    }
}

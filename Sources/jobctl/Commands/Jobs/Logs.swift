// jobctl logs: what programs printed.
import ArgumentParser
import JobModel
import SchedulerClient

struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show what a job printed.",
        discussion: """
            Examples:

              jobctl logs 42         all that it printed; of each task the newest attempt
              jobctl logs -f 42      go on until it has ended
              jobctl logs 42.7       one task of an array
              jobctl logs 42.7.1     an earlier attempt

            Each stream goes to the stream of the same name. With '-o json', each line is
            an object with attempt, stream and text.
            """)

    @Argument(help: "42, 42.7 or 42.7.2.", completion: Given.jobCompletion, transform: Given.subject)
    var id: Subject
    @Flag(name: [.short, .long], help: "Go on until the job has ended.") var follow = false
    @Flag(help: "Only standard output.") var stdout = false
    @Flag(help: "Only standard error.") var stderr = false
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        if global.quiet { throw ValidationError("--quiet makes no sense here: logs prints what the job printed") }
    }

    func run() async throws {
        let streams: [LogStream] = stdout == stderr ? [.stdout, .stderr] : stdout ? [.stdout] : [.stderr]
        let client = try global.client()
        let target: LogTarget = global.output == .json ? .lines : .streams
        let job = try await client.job(id.job)
        if let task = id.task, !job.shape.indices.contains(task) {
            throw Problem(.notFound, "job \(id.job) has no task \(task)", field: "id")
        }
        let copier = LogCopier(client: client, target: target)
        if case .attempt(let attempt) = id {
            guard try await client.allAttempts(of: id.job, task: id.task).contains(where: { $0.id == attempt }) else {
                throw Problem(.notFound, "there is no attempt \(attempt)", field: "id")
            }
            return try await copier.copy([attempt], streams, waiting: follow)
        }
        if follow {
            return try await LogFollower(copier: copier, job: id.job, task: id.task, streams: streams).follow()
        }
        var newest: [Int64: AttemptID] = [:]
        for attempt in try await client.allAttempts(of: id.job, task: id.task) {
            newest[attempt.id.task.index] = attempt.id
        }
        if newest.isEmpty { printError("nothing of job \(job.id) has started yet: it is \(job.state)") }
        try await copier.copy(newest.sorted { $0.key < $1.key }.map(\.value), streams, waiting: false)
    }
}

// jobctl wait, cancel, hold and release.
import ArgumentParser
import JobModel
import SchedulerClient

enum Waiting {
    /// The job's document when it has ended; a progress line on the way.
    static func end(of job: JobID, _ client: SchedulerClient) async throws -> JobDocument {
        let progress = ProgressLine()
        defer { progress.clear() }
        for try await document in client.events(of: job) {
            if document.state.value?.isTerminal == true { return document }
            if document.tasks.total > 1 { progress.show(line(document)) }
        }
        return try await client.job(job)
    }

    static func line(_ job: JobDocument) -> String {
        "job \(job.id): \(job.tasks.finished)/\(job.tasks.total) done, \(job.tasks.running) running, \(job.tasks.failed) failed"
    }
}

struct Wait: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait until jobs have ended; 0 only if all succeeded.",
        discussion: "Example: jobctl wait 41 42 --timeout 2h")

    @Argument(help: "Job ids.") var jobs: [JobID]
    @Option(help: "Give up after this time, for example 2h.") var timeout: String?
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let limit = try timeout.map { text in
            guard let span = TimeSpan(text) else {
                throw ValidationError("--timeout: \(quoted(text)) is not a time such as 90s, 10m or 2h")
            }
            return span
        }
        let client = try global.client()
        let ended = try await withThrowingTaskGroup(of: [JobDocument]?.self) { [jobs] group in
            group.addTask {
                var documents: [JobDocument] = []
                for job in jobs { documents.append(try await Waiting.end(of: job, client)) }
                return documents
            }
            if let limit {
                group.addTask {
                    try await Task.sleep(for: .milliseconds(limit.milliseconds))
                    return nil
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        guard let ended else { throw Problem(.unavailable, "the jobs have not ended within \(timeout ?? "")") }
        if global.output == .json { try Render.json(JobList(jobs: ended, next: nil)) }
        let others = ended.filter { $0.state != .known(.succeeded) }
        if !others.isEmpty {
            throw JobFailed(sentence: others.map { "job \($0.id) \($0.state)" }.joined(separator: ", "))
        }
    }
}

/// The same call for each of several jobs.
private func each(
    _ jobs: [JobID], _ global: GlobalOptions, _ call: (SchedulerClient, JobID) async throws -> JobDocument
) async throws {
    let client = try global.client()
    var documents: [JobDocument] = []
    for job in jobs { documents.append(try await call(client, job)) }
    if global.output == .json { try Render.json(JobList(jobs: documents, next: nil)) }
    if global.output == .table, !global.quiet { for job in documents { print("job \(job.id) is \(job.state)") } }
}

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel jobs: nothing new starts, what runs is stopped.")
    @Argument(help: "Job ids.") var jobs: [JobID]
    @OptionGroup var global: GlobalOptions
    func run() async throws { try await each(jobs, global) { try await $0.cancel($1) } }
}

struct Hold: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Hold jobs: what runs goes on, nothing new starts.")
    @Argument(help: "Job ids.") var jobs: [JobID]
    @OptionGroup var global: GlobalOptions
    func run() async throws { try await each(jobs, global) { try await $0.hold($1) } }
}

struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "release", abstract: "Release held jobs.")
    @Argument(help: "Job ids.") var jobs: [JobID]
    @OptionGroup var global: GlobalOptions
    func run() async throws { try await each(jobs, global) { try await $0.release($1) } }
}

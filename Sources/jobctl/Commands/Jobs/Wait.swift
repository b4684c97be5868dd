// jobctl wait, cancel, hold and release.
import ArgumentParser
import JobModel
import SchedulerClient

enum Waiting {
    /// The job's document when it has ended; a progress line on the way.
    static func end(of job: JobID, _ client: SchedulerClient) async throws -> JobDocument {
        // A job that does not exist, or a scheduler that is away, is said at once; what is lost later is waited for.
        let first = try await client.job(job)
        if first.state.value?.isTerminal == true { return first }
        let progress = ProgressLine()
        let pulls = progress.isShown ? Task { await showPulls(of: job, client, progress) } : nil
        defer {
            pulls?.cancel()
            progress.clear()
        }
        for try await document in client.events(of: job) {
            if document.state.value?.isTerminal == true { return document }
            if document.tasks.total > 1 { progress.show(line(document)) }
        }
        return try await client.job(job)
    }

    static func end(of jobs: [JobID], _ client: SchedulerClient) async throws -> [JobDocument] {
        var documents: [JobDocument] = []
        for job in jobs { documents.append(try await end(of: job, client)) }
        return documents
    }

    static func mustHaveSucceeded(_ jobs: [JobDocument]) throws {
        let others = jobs.filter { $0.state != .known(.succeeded) }
        if !others.isEmpty { throw JobFailed(sentence: others.map(sentence).joined(separator: ", ")) }
    }

    /// How far the images are that the job waits for, once a second, until they are there.
    private static func showPulls(of job: JobID, _ client: SchedulerClient, _ progress: ProgressLine) async {
        while !Task.isCancelled {
            // allowed: the job's own stream says what is wrong with the scheduler
            guard let document = try? await client.job(job), document.state == .known(.waiting) else { return }
            if let pull = document.pulls?.first { progress.show("\(pull.reference): \(pull.sentence)") }
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
        }
    }

    /// How a job ended, for stderr.
    static func sentence(_ job: JobDocument) -> String { "job \(job.id) \(job.state)" }

    static func line(_ job: JobDocument) -> String {
        "job \(job.id): \(job.tasks.finished)/\(job.tasks.total) done, \(job.tasks.running) running, \(job.tasks.failed) failed"
    }
}

/// Jobs by their ids, or all that were submitted together.
struct ChosenJobs: ParsableArguments {
    @Argument(help: "Job ids.", completion: Given.jobCompletion, transform: Given.job) var jobs: [JobID] = []
    @Option(help: "All jobs of one file, by the id of the first.", transform: Given.job) var pipeline: JobID?

    func validate() throws {
        guard jobs.isEmpty != (pipeline == nil) else {
            throw ValidationError("name jobs, for example 42, or all of one file with --pipeline")
        }
    }

    func ids(_ client: SchedulerClient) async throws -> [JobID] {
        guard let pipeline else { return jobs }
        return try await client.pipeline(pipeline).jobs.map(\.id)
    }
}

struct Wait: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait until jobs have ended; 0 only if all succeeded.",
        discussion: """
            Examples:

              jobctl wait 42
              jobctl wait 41 42 --timeout 2h && echo both succeeded
              jobctl wait --pipeline 41

            Ends with 0 if all succeeded, 1 if one did not, and 6 if the time was up
            before: then the jobs go on.
            """)

    @OptionGroup var chosen: ChosenJobs
    @Option(help: "Give up after this time, for example 90s or 2h.", transform: Given.time) var timeout: TimeSpan?
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        let jobs = try await chosen.ids(client)
        let ended = try await withThrowingTaskGroup(of: [JobDocument]?.self) { [jobs, timeout] group in
            group.addTask { try await Waiting.end(of: jobs, client) }
            if let timeout {
                group.addTask {
                    try await Task.sleep(for: .milliseconds(timeout.milliseconds))
                    return nil
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        guard let ended else { throw try await late(jobs, client) }
        if global.output == .json { try Render.json(JobList(jobs: ended, next: nil)) }
        try Waiting.mustHaveSucceeded(ended)
    }

    /// Which jobs the time was too short for.
    private func late(_ jobs: [JobID], _ client: SchedulerClient) async throws -> Problem {
        var open: [String] = []
        for job in jobs where try await client.job(job).state.value?.isTerminal != true { open.append("\(job)") }
        let names = open.joined(separator: ", ")
        return Problem(
            .unavailable,
            "\(open.count == 1 ? "job \(names) has" : "jobs \(names) have") not ended within \(timeout?.description ?? "")"
        )
    }
}

/// The same call for each of several jobs. What was done before one was refused is printed.
private func each(
    _ jobs: [JobID], _ global: GlobalOptions, ending: Bool = false,
    _ call: (SchedulerClient, JobID) async throws -> JobDocument
) async throws {
    let client = try global.client()
    var documents: [JobDocument] = []
    var failure: (any Error)?
    for job in jobs {
        do {
            let document = try await call(client, job)
            documents.append(document)
            guard global.output == .table else { continue }
            let isStopping = ending && document.state.value?.isTerminal == false
            print(global.quiet ? "\(job)" : "job \(job) is \(isStopping ? "being cancelled" : "\(document.state)")")
        } catch {
            failure = error
            break
        }
    }
    if global.output == .json { try Render.json(JobList(jobs: documents, next: nil)) }
    if let failure { throw failure }
}

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel jobs: nothing new starts, what runs is stopped.",
        discussion: """
            Examples:

              jobctl cancel 41 42
              jobctl cancel --pipeline 41

            Programs get SIGTERM, and SIGKILL after the spec's 'grace' (10 s). Until they
            have ended the job is still running; 'jobctl wait' tells when.
            """)
    @OptionGroup var chosen: ChosenJobs
    @OptionGroup var global: GlobalOptions
    func run() async throws {
        guard let pipeline = chosen.pipeline else {
            return try await each(chosen.jobs, global, ending: true) { try await $0.cancel($1) }
        }
        let document = try await global.client().cancelPipeline(pipeline)
        try Render.list(document.jobs, document: document, global.format)
    }
}

struct Hold: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Hold jobs: what runs goes on, nothing new starts.",
        discussion: """
            Example: jobctl hold 42, and later: jobctl release 42
            """)
    @Argument(help: "Job ids.", completion: Given.jobCompletion, transform: Given.job) var jobs: [JobID]
    @OptionGroup var global: GlobalOptions
    func run() async throws { try await each(jobs, global) { try await $0.hold($1) } }
}

struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Release held jobs.",
        discussion: """
            Example: jobctl release 42

            Jobs are held by you, or by the scheduler when tasks failed too often for
            reasons outside their program; 'jobctl show' says which.
            """)
    @Argument(help: "Job ids.", completion: Given.jobCompletion, transform: Given.job) var jobs: [JobID]
    @OptionGroup var global: GlobalOptions
    func run() async throws { try await each(jobs, global) { try await $0.release($1) } }
}

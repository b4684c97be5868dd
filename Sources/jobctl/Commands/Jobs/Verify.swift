// jobctl verify: run a job again on the same data, and see whether it comes to the same.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Run a job again on the same data, and compare every output file.",
        discussion: """
            Examples:

              jobctl verify 42              once
              jobctl verify 42 --times 3    three runs; all must come to the same
              jobctl verify 42.7            one task of an array

            Configuration, bindings and parameters are those of the job. What a run writes
            is compared with what the job published, and thrown away: nothing is published.
            A file that differs is named, with the first byte that does and the probable
            cause: a time stamp, an order, a locale, threads.

            Ends with 0 if all was reproduced, 1 if not, and 5 if that cannot be said
            because an input has changed since: then the changed files are named.
            """)

    @Argument(help: "A job or a task that has succeeded.", completion: Given.jobCompletion, transform: Given.subject)
    var subject: Subject
    @Option(help: "How many runs, 1 to 100.", transform: { try Given.integer($0, in: 1...100) }) var times = 1
    @Option(help: "Names this verification: the same key again gives the same runs.") var idempotencyKey: String?
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        if case .attempt = subject { throw ValidationError("write a job or a task: 42 or 42.7") }
    }

    func run() async throws {
        let client = try global.client()
        let verifier = Verifier(
            subject: subject, client: client, key: idempotencyKey ?? UUID().uuidString, isQuiet: global.quiet)
        let document = try await verifier.verify(times: times)
        try Render.one(
            document, quiet: document.runs.map(\.job.description).joined(separator: "\n"), global.format
        ) { document.page }
        if let changed = document.runs.compactMap(\.changedInput).first {
            throw Problem(.refused, "job \(subject.job) cannot be verified: \(changed)")
        }
        guard document.reproduced else { throw JobFailed(sentence: document.sentence) }
    }
}

/// What `verify` prints.
struct VerificationDocument: Encodable {
    struct Run: Encodable {
        var job: JobID
        var state: Open<JobState>
        var reproduced: Bool
        /// Tasks that came to the same.
        var equalTasks: Int
        var tasks: Int
        /// Of the first tasks that did not.
        var differences: [AttemptDifferences]
        /// Why the run could not be compared: an input that is not what it was.
        var changedInput: String?
        var reason: String?

        private enum CodingKeys: String, CodingKey {
            case job, state, reproduced, equalTasks = "equal_tasks", tasks, differences
            case changedInput = "changed_input", reason
        }
    }

    var job: JobID
    var task: Int64?
    var reproduced: Bool
    var runs: [Run]

    var sentence: String {
        let others = runs.filter { !$0.reproduced }.count
        let subject = task.map { "task \(job).\($0)" } ?? "job \(job)"
        return runs.count == 1
            ? "\(subject) was not reproduced" : "\(subject) was not reproduced: \(others) of \(runs.count) runs differ"
    }

    var page: String {
        let table = Render.text(
            header: ["RUN", "JOB", "STATE", "REPRODUCED", "TASKS EQUAL"],
            runs.enumerated().map { number, run in
                [
                    String(number + 1), "\(run.job)", "\(run.state)",
                    run.changedInput != nil ? "input changed" : run.reproduced ? "yes" : "NO",
                    "\(run.equalTasks) of \(run.tasks)",
                ]
            })
        let details = runs.filter { !$0.reproduced }.flatMap { run in
            run.differences.map { "\n\($0.first) and \($0.second):\n\($0.text)" }
                + (run.differences.isEmpty ? [run.reason.map { "\njob \(run.job): \($0)" }].compactMap { $0 } : [])
        }
        return ([table] + details).joined(separator: "\n")
    }
}

/// Starts the runs, waits for them and compares them.
private struct Verifier {
    let subject: Subject
    let client: SchedulerClient
    let key: String
    let isQuiet: Bool

    /// Tasks of a run whose files are named.
    private static let shown = 20

    func verify(times: Int) async throws -> VerificationDocument {
        let originals = try await results(of: subject.job)
        // The first alone: if an input has changed, no other is started.
        var runs = [try await compared(try await start(1), originals)]
        if runs[0].changedInput == nil, times > 1 {
            var jobs: [JobID] = []
            for number in 2...times { jobs.append(try await start(number)) }
            for job in jobs { runs.append(try await compared(job, originals)) }
        }
        return VerificationDocument(
            job: subject.job, task: subject.task, reproduced: runs.allSatisfy(\.reproduced), runs: runs)
    }

    private func start(_ number: Int) async throws -> JobID {
        let request = RerunRequest(source: subject.job.description, task: subject.task, verify: true)
        return try await client.rerun(request, idempotencyKey: number == 1 ? key : "\(key.prefix(120)) \(number)").id
    }

    /// The attempt of each task that succeeded.
    private func results(of job: JobID) async throws -> [Int64: AttemptDocument] {
        let attempts = try await client.allAttempts(of: job, task: job == subject.job ? subject.task : nil)
        let done = attempts.filter { $0.state == .known(.succeeded) }.map { ($0.id.task.index, $0) }
        return Dictionary(done, uniquingKeysWith: { $1 })
    }

    private func compared(_ id: JobID, _ originals: [Int64: AttemptDocument]) async throws -> VerificationDocument.Run {
        let job = try await Waiting.end(of: id, client)
        var run = VerificationDocument.Run(
            job: id, state: job.state, reproduced: false, equalTasks: 0, tasks: Int(job.tasks.total), differences: [],
            reason: job.reason)
        guard job.state == .known(.succeeded) else {
            try await explain(&run, originals)
            return run
        }
        for (task, attempt) in try await results(of: id).sorted(by: { $0.key < $1.key }) {
            guard let original = originals[task] else { continue }
            let isEqual = original.outputs.allSatisfy { slot, tree in
                tree.treeDigest != nil && tree.treeDigest == attempt.outputs[slot]?.treeDigest
            }
            if isEqual, original.outputs.count == attempt.outputs.count {
                run.equalTasks += 1
            } else if run.differences.count < Self.shown {
                run.differences.append(try await client.differences(original.id, attempt.id))
            }
        }
        run.reproduced = run.equalTasks == run.tasks
        return run
    }

    /// Why a run has no results: its input is not what it was, or it failed.
    private func explain(_ run: inout VerificationDocument.Run, _ originals: [Int64: AttemptDocument]) async throws {
        for attempt in try await client.allAttempts(of: run.job) {
            guard let original = originals[attempt.id.task.index] else { continue }
            run.reason = run.reason ?? attempt.message
            guard attempt.reason == .known(.volumeError),
                let slot = attempt.inputs.first(where: { $0.value.treeDigest != original.inputs[$0.key]?.treeDigest })
            else { continue }
            run.changedInput = attempt.message ?? "the input '\(slot.key)' changed since attempt \(original.id)"
            if run.differences.count < Self.shown {
                run.differences.append(try await client.differences(original.id, attempt.id))
            }
        }
    }
}

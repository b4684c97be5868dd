// jobctl show: a job with what its tasks came to, its tasks, or its attempts.
import ArgumentParser
import JobModel
import SchedulerClient

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a job, a task or an attempt.",
        discussion: """
            Examples:

              jobctl show 42                          the job, and how it ended
              jobctl show 42 --tasks --state failed   which tasks of an array failed
              jobctl show 42.7                        the attempts of one task
              jobctl show 42 --why                    why it waits, and what would let it
                                                      start
              jobctl show 42 -o json                  everything; without an array, with
                                                      its attempts

            How an attempt ended stands in its reason: exit-code, signal, oom-killed,
            time-limit, cancelled, image-error, volume-error, output-error, and so on.
            """)

    @Argument(help: "42, 42.7 or 42.7.2.", completion: Given.jobCompletion, transform: Given.subject)
    var id: Subject
    @Flag(help: "Only its attempts, all of them.") var attempts = false
    @Flag(help: "Only its tasks that have been started, all of them.") var tasks = false
    @Flag(help: "Why it waits, and the terms of its priority.") var why = false
    @Option(help: "With --tasks: only those in this state.", completion: .list(TaskState.allCases.map(\.rawValue)))
    var state: String?
    @OptionGroup var global: GlobalOptions

    /// Rows of an array that its page shows.
    private static let shown = 20

    /// A job with its attempts, as JSON.
    private struct Whole: Encodable {
        let job: JobDocument
        let attempts: [AttemptDocument]
        private enum CodingKeys: String, CodingKey { case attempts }
        func encode(to encoder: any Encoder) throws {
            try job.encode(to: encoder)
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(attempts, forKey: .attempts)
        }
    }

    func validate() throws {
        if tasks, attempts { throw ValidationError("--tasks and --attempts exclude each other: keep one of them") }
        if state != nil, !tasks { throw ValidationError("--state goes with --tasks") }
        if why, tasks || attempts || id.task != nil {
            throw ValidationError("--why goes with a job and with no other view")
        }
        if tasks, id.task != nil { throw ValidationError("--tasks goes with a job, not with one of its tasks") }
    }

    func run() async throws {
        let client = try global.client()
        if why {
            let document = try await client.why(id.job)
            return try Render.one(document, quiet: document.reason, global.format) { document.page }
        }
        if tasks {
            let list = TaskList(tasks: try await client.allTasks(of: id.job, state: state), next: nil)
            return try Render.list(list.tasks, document: list, global.format)
        }
        if attempts || id.task != nil {
            let job = try await client.job(id.job)
            if let task = id.task, !job.shape.indices.contains(task) {
                throw Problem(.notFound, "job \(id.job) has no task \(task)", field: "id")
            }
            let all = try await client.allAttempts(of: id.job, task: id.task).filter { id.holds($0.id) }
            if id.task != nil, all.isEmpty, let sums = job.compaction {
                throw Problem(
                    .notFound,
                    "the attempts of job \(id.job) were summed up on \(sums.compactedAt.day): 'jobctl show \(id.job)' shows what they came to",
                    field: "id")
            }
            if case .attempt(let attempt) = id, all.isEmpty {
                throw Problem(.notFound, "there is no attempt \(attempt)", field: "id")
            }
            return try Render.list(all, document: AttemptList(attempts: all, next: nil), global.format)
        }
        try await show(client)
    }

    private func show(_ client: SchedulerClient) async throws {
        let job = try await client.job(id.job)
        guard !global.quiet else { return print(job.id) }
        if job.tasks.total == 1 {
            let list = try await client.allAttempts(of: job.id)
            return try Render.one(Whole(job: job, attempts: list), quiet: "", global.format) { Self.page(job, list) }
        }
        let failed =
            global.output == .json || job.tasks.failed == 0
            ? [] : try await client.tasks(of: job.id, state: "failed", limit: Self.shown).tasks
        try Render.one(job, quiet: "", global.format) {
            failed.isEmpty
                ? job.page
                : [job.page, "", Render.text(header: TaskDocument.header, failed.map(\.cells))]
                    .joined(separator: "\n")
        }
    }

    private static func page(_ job: JobDocument, _ attempts: [AttemptDocument]) -> String {
        let shown = attempts.suffix(shown)
        guard !shown.isEmpty else { return job.page }
        let table = Render.text(header: AttemptDocument.header, shown.map(\.cells))
        let trees = shown.flatMap { attempt in attempt.trees.isEmpty ? [] : ["\(attempt.id):"] + attempt.trees }
        return ([job.page, "", table] + trees).joined(separator: "\n")
    }
}

extension SchedulerClient {
    /// Every attempt of a job or of one of its tasks, oldest first, page after page.
    func allAttempts(of job: JobID, task: Int64? = nil) async throws(Problem) -> [AttemptDocument] {
        var (all, cursor): ([AttemptDocument], String?) = ([], nil)
        repeat {
            let page = try await attempts(of: job, task: task, limit: 1000, cursor: cursor)
            all += page.attempts
            cursor = page.next
        } while cursor != nil
        return all
    }

    /// Every task of a job that has been started.
    func allTasks(of job: JobID, state: String?) async throws(Problem) -> [TaskDocument] {
        var (all, cursor): ([TaskDocument], String?) = ([], nil)
        repeat {
            let page = try await tasks(of: job, state: state, limit: 1000, cursor: cursor)
            all += page.tasks
            cursor = page.next
        } while cursor != nil
        return all
    }
}

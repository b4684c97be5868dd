// jobctl list and show: jobs, tasks and attempts.
import ArgumentParser
import JobModel
import SchedulerClient

/// What a command line names: `42`, `42.7` or `42.7.2`.
enum Subject: ExpressibleByArgument {
    case job(JobID)
    case task(TaskID)
    case attempt(AttemptID)

    init?(argument: String) {
        if let attempt = AttemptID(argument) {
            self = .attempt(attempt)
        } else if let task = TaskID(argument) {
            self = .task(task)
        } else if let job = JobID(argument) {
            self = .job(job)
        } else {
            return nil
        }
    }

    var job: JobID {
        switch self {
        case .job(let id): id
        case .task(let id): id.job
        case .attempt(let id): id.job
        }
    }

    var task: Int64? {
        switch self {
        case .job: nil
        case .task(let id): id.index
        case .attempt(let id): id.task.index
        }
    }

    func holds(_ attempt: AttemptID) -> Bool {
        if case .attempt(let id) = self { id == attempt } else { true }
    }
}

extension JobID: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List jobs, newest first.",
        discussion: "Example: jobctl list --state running --owner ada")

    @Option(help: "Only jobs in this state.") var state: String?
    @Option(help: "Only jobs of this user.") var owner: String?
    @Option(help: "Only jobs with this name.") var name: String?
    @Option(help: "How many at most.") var limit = 50
    @Flag(help: "All of them, page after page.") var all = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        var page = try await client.jobs(state: state, owner: owner, name: name, limit: all ? 1000 : limit)
        while all, let cursor = page.next {
            let more = try await client.jobs(state: state, owner: owner, name: name, limit: 1000, cursor: cursor)
            page = JobList(jobs: page.jobs + more.jobs, next: more.next)
        }
        try Render.list(page.jobs, document: page, global)
    }
}

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a job, a task or an attempt.",
        discussion: "Example: jobctl show 42, jobctl show 42.7, jobctl show 42 --attempts -o json")

    @Argument(help: "42, 42.7 or 42.7.2.") var subject: Subject
    @Flag(help: "Only its attempts.") var attempts = false
    @Flag(help: "Only its tasks that have been started.") var tasks = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        if tasks {
            let list = try await client.tasks(of: subject.job, limit: 1000)
            return try Render.list(list.tasks, document: list, global)
        }
        var list = try await client.attempts(of: subject.job, task: subject.task, limit: 1000)
        list.attempts = list.attempts.filter { subject.holds($0.id) }
        if attempts { return try Render.list(list.attempts, document: list, global) }
        switch subject {
        case .job(let id):
            let job = try await client.job(id)
            try Render.one(job, quiet: id.description, global) { Self.page(job, list.attempts) }
        case .task, .attempt:
            guard !list.attempts.isEmpty else { throw Problem(.notFound, "it has not been started, or does not exist") }
            try Render.list(list.attempts, document: list, global)
        }
    }

    private static func page(_ job: JobDocument, _ attempts: [AttemptDocument]) -> String {
        let shown = attempts.suffix(20)
        guard !shown.isEmpty else { return job.page }
        let table = Render.text(header: AttemptDocument.header, shown.map(\.cells))
        let trees = shown.flatMap { attempt in attempt.trees.isEmpty ? [] : ["\(attempt.id):"] + attempt.trees }
        return ([job.page, "", table] + trees).joined(separator: "\n")
    }
}

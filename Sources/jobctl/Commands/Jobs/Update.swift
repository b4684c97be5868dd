// jobctl update: what may be changed of a job that has been submitted.
import ArgumentParser
import JobModel
import SchedulerClient

struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Change the time limit of a job that waits or runs.",
        discussion: """
            Examples:

              jobctl update 42 --time-limit 6h     at most six hours from its start
              jobctl update 42 --time-limit=+2h    two hours more than now
              jobctl update 42 --time-limit=-30m   half an hour less

            Holds for what runs and for what is yet to start; a task that has run longer
            is ended at once. The configuration stays what it is: a rerun has the limit
            that the job was submitted with.
            """)

    @Argument(help: "A job id.", completion: Given.jobCompletion, transform: Given.job) var job: JobID
    @Option(help: "For example 6h; +2h or -30m to change what it has.", transform: TimeLimitChange.init(parsing:))
    var timeLimit: TimeLimitChange
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        let document = try await client.changeTimeLimit(job, try await request(client))
        try Render.one(document, quiet: "\(job)", global.format) {
            "job \(job) has a time limit of \(document.timeLimit?.description ?? "-")"
        }
    }

    /// What is added is added to what was seen: if that has changed meanwhile, the scheduler refuses it.
    private func request(_ client: SchedulerClient) async throws -> TimeLimitRequest {
        guard case .by(let change) = timeLimit else { return TimeLimitRequest(timeLimit: timeLimit.span) }
        guard let now = try await client.job(job).timeLimit else {
            throw Problem(
                .refused, "job \(job) has no time limit to add to: name the whole time, for example 6h",
                field: "time-limit")
        }
        let limit = TimeSpan(milliseconds: now.milliseconds + change)
        guard limit > .zero, limit <= .longest else {
            throw Problem(.refused, "the time limit of job \(job) is \(now): that leaves no time", field: "time-limit")
        }
        return TimeLimitRequest(timeLimit: limit, from: now)
    }
}

enum TimeLimitChange {
    case to(TimeSpan)
    /// In milliseconds.
    case by(Int64)

    fileprivate var span: TimeSpan {
        switch self {
        case .to(let span): span
        case .by(let change): TimeSpan(milliseconds: change)
        }
    }

    init(parsing text: String) throws {
        let sign: Int64? = text.hasPrefix("+") ? 1 : text.hasPrefix("-") ? -1 : nil
        guard let span = TimeSpan(sign == nil ? text : String(text.dropFirst())), span > .zero else {
            throw ValidationError("write a time such as 90s or 6h, or one more or less such as +2h")
        }
        self = sign.map { .by($0 * span.milliseconds) } ?? .to(span)
    }
}

// Looks at every schedule from time to time and submits what is due. A run is submitted under a key that holds the time
// at which it was due, in one transaction with its job; that it was is written down after that. So a crash in between
// finds the same job again: each time is run once.
import Foundation
import JobModel
import Logging
import ServiceLifecycle

package struct Schedules: Service {
    let store: Store
    let loop: SchedulerLoop
    let submission: Submission
    let tokens: TokenTable
    let clock: any SchedulerClock
    let logger: Logger
    /// How late a run may start.
    static let interval = Duration.seconds(10)
    /// Of one user.
    static let most = 100

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await Task.sleep(for: Self.interval)
                    try await pass(at: clock.now().wall)
                } catch is CancellationError {
                    return
                } catch {
                    logger.warning("Schedules were not looked at", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    func pass(at now: Timestamp) async throws {
        for row in try store.schedules() where !row.isPaused {
            do {
                try await look(at: row, now)
            } catch let problem as Problem {
                logger.warning(
                    "A scheduled run did not start",
                    metadata: ["schedule": "\(row.name)", "error": "\(problem.detail)"])
            }
        }
    }

    private func look(at row: ScheduleRow, _ now: Timestamp) async throws {
        let times = try ScheduleClock(row.settings)
        let due = ScheduleDecision.due(
            times.cron, in: times.zone, after: row.handledUntil, row.settings.catchUp, at: now)
        var last = row.lastJob
        for time in due.times {
            let outcome = try await start(row, at: time, after: last)
            last = outcome.job ?? last
            try await loop.record(.schedule(.ran(row.name, outcome)))
        }
        guard !due.times.isEmpty else { return }
        try await loop.record(
            .schedule(
                .ran(row.name, ScheduleOutcome(handledUntil: due.handledUntil, due: nil, job: nil, note: nil))))
    }

    /// Submits the run of one time, unless it overlaps with the last and is to be skipped then. What is refused is
    /// over: it would be refused again.
    private func start(_ row: ScheduleRow, at time: Timestamp, after last: JobID?) async throws -> ScheduleOutcome {
        var outcome = ScheduleOutcome(handledUntil: time, due: time, job: nil, note: nil)
        let previous = try last.flatMap { try store.job($0) }
        let live = previous.flatMap { $0.state.value?.isTerminal == false ? $0.id : nil }
        do {
            if let live, row.settings.overlap == .skip {
                outcome.note = "skipped \(time): job \(live) had not ended"
                return outcome
            }
            let document = try await submit(row, at: time, after: row.settings.overlap == .queue ? live : nil)
            outcome.job = document.id
            if let live, live != document.id, row.settings.overlap == .replace { try await cancel(live) }
        } catch let problem as Problem where !problem.isPassing {
            outcome.note = "refused \(time): \(problem.detail)"
        }
        return outcome
    }

    /// Runs it now, whatever the time.
    func runNow(_ row: ScheduleRow, key: String) async throws -> JobDocument {
        try await submit(row, at: clock.now().wall, after: nil, key: "now \(key)")
    }

    private func submit(_ row: ScheduleRow, at time: Timestamp, after: JobID?, key: String? = nil) async throws
        -> JobDocument
    {
        guard let owner = tokens.user(named: row.owner) else {
            throw Problem(.refused, "the user \(row.owner) is not there any more", field: "owner")
        }
        let zone = try ScheduleClock(row.settings).zone
        let settings = row.settings
        let request = RerunRequest(
            source: settings.rerun,
            bindings: settings.bindings.mapValues { ScheduleTemplate.filled($0, at: time, in: zone) },
            parameters: settings.parameters.mapValues { ScheduleTemplate.filled($0, at: time, in: zone) },
            queue: settings.queue, priority: settings.priority)
        let name = "schedule \(row.name) \(row.createdAt.millisecondsSinceEpoch) \(key ?? time.description)"
        let idempotency = IdempotencyKey(user: owner.name, key: name, requestDigest: Digest(of: name))
        return try await submission.rerun(
            request, by: owner, idempotency, schedule: row.name, after: after)
    }

    private func cancel(_ job: JobID) async throws(Problem) {
        do {
            try await loop.send(.cancelRequested(job))
        } catch {
            if error.kind != .conflict { throw error }
        }
    }
}

extension Problem {
    /// It may go well the next time.
    fileprivate var isPassing: Bool {
        switch kind {
        case .unavailable, .diskFull, .upstream: true
        default: false
        }
    }
}

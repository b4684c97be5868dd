// Carries out a mutant where it can be done without a switch in the product: in what the core is told, in what it
// answers, and in what reaches the store. Nothing happens here without a mutant.
import JobModel
import Scheduler
import SchedulingCore

struct Sabotage {
    let mutant: Mutant?
    private var oldStarts: [WorkerName: SyncOrders] = [:]

    init(_ mutant: Mutant?) { self.mutant = mutant }

    /// What the scheduler decides by.
    func policy(_ policy: Policy) -> Policy {
        var policy = policy
        switch mutant {
        case .givesUpEarly:
            policy.lease = .seconds(10)
            policy.leaseMargin = .zero
        default: break
        }
        return policy
    }

    /// - Parameter wallOffset: how wrong the wall clock is.
    func instant(_ now: Instant, wallOffset: Int64, since start: Int64) -> Instant {
        switch mutant {
        case .hurries: Instant(uptime: start + (now.uptime - start) * 16, wall: now.wall)
        case .leasesByWallClock: Instant(uptime: now.uptime + 100_000_000 + wallOffset, wall: now.wall)
        default: now
        }
    }

    // MARK: what users ask

    /// - Parameter isRepeated: it was sent before.
    func asked(_ envelope: Envelope, isRepeated: Bool) -> [Envelope] {
        switch (mutant, envelope) {
        case (.retriesWithoutKey, .submission(var submission)) where isRepeated:
            submission.idempotency = nil
            return [.submission(submission)]
        case (.ignoresDependencies, .submission(var submission)):
            submission.record.dependencies = []
            return [.submission(submission)]
        case (.ignoresDependencies, .pipeline(var pipeline)):
            pipeline.links = pipeline.links.map { _ in [] }
            return [.pipeline(pipeline)]
        case (.ignoresDeadlines, .submission(var submission)):
            submission.record.rules.deadline = nil
            return [.submission(submission)]
        case (.splitsPipelines, .pipeline(let pipeline)): return pipeline.jobs.map { .submission($0) }
        default: return [envelope]
        }
    }

    // MARK: what the core is told

    func heard(_ envelope: Envelope) -> Envelope {
        switch envelope {
        case .submission(let submission): .submission(heard(submission))
        case .event(.workerSynced(let name, let request)): .event(.workerSynced(name, heard(request)))
        case .event(.cancelRequested) where mutant == .dropsCancels: .event(.timeAdvanced)
        default: envelope
        }
    }

    private func heard(_ submission: AcceptedSubmission) -> AcceptedSubmission {
        var submission = submission
        switch mutant {
        case .oneKeyForAll:
            submission.idempotency = submission.idempotency.map {
                IdempotencyKey(user: $0.user, key: "key", requestDigest: Digest(of: "request"))
            }
        case .spendsMoreRetries: submission.record = submission.record.changed(retries: submission.record.retries + 4)
        case .losesATask:
            if case .array(let first, let last) = submission.record.shape, last > first {
                submission.record = submission.record.changed(shape: .array(first: first, last: last - 1))
            }
        default: break
        }
        return submission
    }

    private func heard(_ request: SyncRequest) -> SyncRequest {
        var request = request
        switch mutant {
        case .mixesUpReports:
            guard let newest = request.live.last else { break }
            for index in request.reports.indices {
                request.reports[index].attempt = newest
                request.reports[index].sequence += 1_000
            }
        case .ignoresReports: request.reports = []
        case .ignoresInventory: request.live = []
        case .ignoresProofs: request.proof = nil
        case .oversellsWorkers: request.registration?.cpus.double()
        default: break
        }
        return request
    }

    // MARK: what reaches the store

    /// What of a commit is written; nil: nothing.
    func written(_ commit: Commit, step: Int) -> Commit? {
        var commit = commit
        switch mutant {
        case .skipsCommits where step % 7 == 0: return nil
        case .keepsTheFirstChange:
            let rest = commit.changes.filter { !$0.isNewJob }
            commit.changes = commit.changes.filter(\.isNewJob) + rest.reversed()
        case .dropsTotals: commit.totals = nil
        case .dropsKeys: commit.keys = []
        default: commit.changes = commit.changes.compactMap(written)
        }
        return commit
    }

    private func written(_ change: Change) -> Change? {
        switch (mutant, change) {
        case (.dropsJobRows, .job), (.dropsTaskRows, .task), (.dropsWorkerRows, .worker), (.dropsUsageRows, .usage),
            (.dropsRecords, .record):
            return nil
        case (.dropsAttemptRows, .attempt(let row)) where row.state.isTerminal: return nil
        case (.dropsHolds, .job(let id, var progress)):
            progress.isHeld = false
            return .job(id, progress)
        case (.dropsUnstarted, .job(let id, var progress)):
            progress.unstarted = []
            return .job(id, progress)
        case (.dropsReports, .attempt(var row)):
            row.report = nil
            return .attempt(row)
        case (.dropsStopReasons, .attempt(var row)):
            row.stopReason = nil
            return .attempt(row)
        case (.dropsAcceptances, .attempt(var row)):
            row.isAccepted = false
            return .attempt(row)
        default: return change
        }
    }

    // MARK: what the core says

    mutating func said(_ result: StepResult) -> StepResult {
        var result = result
        if mutant == .swapsReplies { result.replies = result.replies.swappingSubmissions() }
        var answers: [(name: WorkerName, orders: SyncOrders)] = []
        var places: [Int] = []
        for (place, effect) in result.effects.enumerated() {
            guard case .answerSync(let name, _, _, let orders) = effect else { continue }
            answers.append((name, said(orders, to: name)))
            places.append(place)
        }
        if answers.count > 1 { mix(&answers) }
        for (place, answer) in zip(places, answers) {
            guard case .answerSync(let name, let incarnation, let sequence, _) = result.effects[place] else { continue }
            result.effects[place] = .answerSync(name, incarnation: incarnation, sequence: sequence, answer.orders)
        }
        return result
    }

    private func mix(_ answers: inout [(name: WorkerName, orders: SyncOrders)]) {
        switch mutant {
        case .swapsAnswers: (answers[0].orders, answers[1].orders) = (answers[1].orders, answers[0].orders)
        case .startsTwice:
            answers[1].orders.start += answers[0].orders.start
            answers[1].orders.jobs += answers[0].orders.jobs
        default: break
        }
    }

    private mutating func said(_ orders: SyncOrders, to name: WorkerName) -> SyncOrders {
        var orders = orders
        switch mutant {
        case .dropsStarts: orders.start = []
        case .dropsPublications: orders.publish = []
        case .dropsForgets: orders.forget = []
        case .publishesTooEarly:
            orders.publish += oldStarts[name]?.start.map(\.attempt) ?? []
            oldStarts[name] = orders
        case .repeatsOldStarts:
            let old = oldStarts[name]
            if !orders.start.isEmpty { oldStarts[name] = orders }
            if orders.start.isEmpty, let old {
                orders.start = old.start
                orders.jobs = old.jobs
            }
        default: break
        }
        return orders
    }
}

extension Change {
    fileprivate var isNewJob: Bool { if case .jobAdded = self { true } else { false } }
}

extension CPUAmount {
    fileprivate mutating func double() { self = CPUAmount(thousandths: thousandths * 2) }
}

extension [StepReply] {
    /// The first two replies to submissions change places.
    fileprivate func swappingSubmissions() -> [StepReply] {
        let places = indices.filter { if case .submitted = self[$0] { true } else { false } }
        guard places.count > 1 else { return self }
        var replies = self
        replies.swapAt(places[0], places[1])
        return replies
    }
}

extension JobRecord {
    fileprivate func changed(shape: TaskShape? = nil, retries: Int? = nil) -> JobRecord {
        var record = self
        record.shape = shape ?? record.shape
        record.retries = retries ?? record.retries
        return record
    }
}

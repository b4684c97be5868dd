// The newest happenings of the cluster, in memory: who asks may wait for the next. The loop's thread writes, after the
// commit; any task reads.
import JobModel
import SchedulingCore
import Synchronization

package final class EventLog: Sendable {
    package static let capacity = 10_000

    fileprivate struct State {
        var events: [ClusterEvent] = []
        /// Where the oldest stands, once the ring is full.
        var oldest = 0
        var next: Int64
        /// States of jobs that have not ended, as they were told last.
        var jobs: [JobID: JobState] = [:]
        var workers: [WorkerName: Bool] = [:]
        var waiters: [Int: AsyncStream<Never>.Continuation] = [:]
        var nextWaiter = 0
    }

    private let state: Mutex<State>
    /// The id that the first event of this life may have.
    private let first: Int64

    /// - Parameter startedAt: ids begin there, so that they rise over restarts.
    package init(startedAt: Timestamp) {
        first = max(1, startedAt.millisecondsSinceEpoch) * 1000
        state = Mutex(State(next: first))
    }

    /// Takes what one step of the scheduler did.
    func take(_ changes: [Change], _ effects: [Effect], at time: Timestamp) {
        let waiters = state.withLock { state -> [AsyncStream<Never>.Continuation] in
            let before = state.next
            for change in changes { state.take(change, at: time) }
            for effect in effects { state.take(effect, at: time) }
            guard state.next > before else { return [] }
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.finish() }
    }

    /// Events after an id, oldest first.
    func list(after id: Int64, limit: Int) -> ClusterEventList {
        state.withLock { state in
            let (all, begin) = (state.events, state.oldest)
            let ordered = (0..<all.count).lazy.map { all[(begin + $0) % all.count] }
            let oldest = ordered.first?.id ?? state.next
            // Ids have no gaps within one life.
            let skipped = Int(clamping: max(0, id &+ 1 &- oldest))
            let events = Array(ordered.dropFirst(skipped).prefix(limit))
            let missed = id > 0 && id < oldest - 1
            return ClusterEventList(events: events, next: events.last?.id ?? max(id, state.next - 1), missed: missed)
        }
    }

    /// Ends when there is an event after `id`, or when it is cancelled.
    func wait(after id: Int64) async {
        let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
        let place = state.withLock { state -> Int? in
            guard state.next - 1 <= id else { return nil }
            state.nextWaiter += 1
            state.waiters[state.nextWaiter] = continuation
            return state.nextWaiter
        }
        guard let place else { return }
        for await _ in stream {}
        state.withLock { $0.waiters[place] = nil }
    }
}

extension EventLog.State {
    fileprivate mutating func take(_ change: Change, at time: Timestamp) {
        switch change {
        case .jobAdded(let id, let record, let progress):
            jobs[id] = progress.state
            add(.jobSubmitted, at: time, job: id, message: "\(record.name) by \(record.owner.name)")
        case .job(let id, let progress): take(progress, of: id, at: time)
        case .record(let id, let record):
            let tasks = "\(record.shape.count) tasks, the last is \(record.shape.indices.upperBound)"
            add(record.rules.open == true ? .jobExtended : .jobClosed, at: time, job: id, message: tasks)
        case .attempt(let row) where row.state == .failed || row.state == .lost:
            let words = [row.reason?.rawValue, row.report?.message].compactMap { $0 }.joined(separator: ": ")
            add(
                row.state == .failed ? .attemptFailed : .attemptLost, at: time, job: row.id.job, attempt: row.id,
                worker: row.worker.rawValue, message: words)
        case .worker(let row):
            let wasDraining = workers.updateValue(row.isDraining, forKey: row.name)
            let kind: ClusterEventKind =
                switch (wasDraining, row.isDraining) {
                case (false?, true), (nil, true): .workerDraining
                case (true?, false): .workerResumed
                default: .workerRegistered
                }
            add(kind, at: time, worker: row.name.rawValue)
        default: break
        }
    }

    fileprivate mutating func take(_ effect: Effect, at time: Timestamp) {
        switch effect {
        case .workerTurned(let name, let turn): add(turn.kind, at: time, worker: name.rawValue)
        case .timeLimitChanged(let job, let old, let new):
            let message = "\(new)" + (old.map { " instead of \($0)" } ?? ", before there was none")
            add(.jobTimeLimit, at: time, job: job, message: message)
        case .answerSync, .dropSync: break
        }
    }

    /// A change of state. The first that is heard of a job after a restart is told only if it is one that matters.
    private mutating func take(_ progress: JobProgress, of id: JobID, at time: Timestamp) {
        let before = jobs[id]
        jobs[id] = progress.state.isTerminal ? nil : progress.state
        guard before != progress.state, before != nil || progress.state.isTerminal || progress.state == .held else {
            return
        }
        add(ClusterEventKind(progress.state), at: time, job: id, message: progress.reason)
    }

    fileprivate mutating func add(
        _ kind: ClusterEventKind, at time: Timestamp, job: JobID? = nil, attempt: AttemptID? = nil,
        worker: String? = nil, message: String? = nil
    ) {
        let event = ClusterEvent(
            id: next, time: time, kind: kind, job: job, attempt: attempt, worker: worker,
            message: message.map { String($0.prefix(500)) })
        next += 1
        if events.count < EventLog.capacity {
            events.append(event)
        } else {
            events[oldest] = event
            oldest = (oldest + 1) % EventLog.capacity
        }
    }
}

extension ClusterEventKind {
    fileprivate init(_ state: JobState) {
        self =
            switch state {
            case .pending: .jobPending
            case .waiting: .jobWaiting
            case .held: .jobHeld
            case .running: .jobRunning
            case .succeeded: .jobSucceeded
            case .failed: .jobFailed
            case .cancelled: .jobCancelled
            }
    }
}

extension WorkerTurn {
    fileprivate var kind: ClusterEventKind {
        switch self {
        case .unreachable: .workerUnreachable
        case .lost: .workerLost
        case .back: .workerBack
        }
    }
}

// Sessions: a second program beside a running attempt. The core only says whether one may begin and makes its worker
// look for it; what the session is, and its bytes, are not here. Nothing of it is written down: a session does not
// outlive the scheduler.
import JobModel

/// Whether sessions wait for a worker to take them.
enum SessionNews: Hashable, Sendable {
    case none
    /// No answer has said so.
    case untold
    /// An answer has said so; repeated until the worker takes them.
    case told
}

extension Cluster {
    mutating func requestSession(_ id: AttemptID) throws(Refusal) {
        guard let slot = jobs[id.job]?.tasks[id.task.index]?.slot, let attempt = workers[slot].attempts[id] else {
            throw .attemptIsNotRunning(id, nil)
        }
        guard attempt.row.state == .running, attempt.row.stopReason == nil else {
            throw .attemptIsNotRunning(id, attempt.row.stopReason == nil ? attempt.row.state : .ending)
        }
        workers[slot].sessions = .untold
        payAttention(to: slot)
    }

    /// The worker is about to take all that wait.
    mutating func takeSessions(_ name: WorkerName) throws(Refusal) {
        guard let slot = slots[name] else { throw .unknownWorker(name) }
        workers[slot].sessions = .none
    }
}

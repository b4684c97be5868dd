// Imperatives for the outside, carried out in order and only after the changes of the same step are on disk.
import JobModel

package enum Effect: Hashable, Sendable {
    /// Answer this call of this worker.
    case answerSync(WorkerName, incarnation: String, sequence: Int64, SyncOrders)
    /// A newer call or a newer life of the agent replaced this one, which still waits: end it.
    case dropSync(WorkerName, incarnation: String, sequence: Int64)
    /// For those who watch the cluster.
    case workerTurned(WorkerName, WorkerTurn)
    /// Likewise. `from`: nil if there was none.
    case timeLimitChanged(JobID, from: TimeSpan?, to: TimeSpan)
}

/// What a worker's silence, or its end, means.
package enum WorkerTurn: Hashable, Sendable {
    /// It gets no new work.
    case unreachable
    /// Its attempts are given up.
    case lost
    case back
}

/// The difference between what a worker has and what the scheduler wants. The gateway adds lease, interval and
/// configurations.
package struct SyncOrders: Hashable, Sendable {
    package var start: [StartOrder]
    package var stop: [StopOrder]
    package var publish: [AttemptID]
    package var forget: [AttemptID]
    /// The jobs of `start`, in order of their ids.
    package var jobs: [JobBrief]
    package var registrationWanted: Bool
    /// Sessions wait for this worker to take them.
    package var sessions: Bool
    /// Time limits that were changed, in order of the jobs; also of attempts in `start`.
    package var limits: [LimitOrder]
    /// The call was not taken: it is to be made again with this as its proof.
    package var challenge: String?

    package init(
        start: [StartOrder] = [], stop: [StopOrder] = [], publish: [AttemptID] = [], forget: [AttemptID] = [],
        jobs: [JobBrief] = [],
        registrationWanted: Bool = false, sessions: Bool = false, limits: [LimitOrder] = [], challenge: String? = nil
    ) {
        self.challenge = challenge
        self.limits = limits
        self.start = start
        self.stop = stop
        self.publish = publish
        self.forget = forget
        self.jobs = jobs
        self.registrationWanted = registrationWanted
        self.sessions = sessions
    }

    package var isEmpty: Bool {
        start.isEmpty && stop.isEmpty && publish.isEmpty && forget.isEmpty && !registrationWanted && !sessions
    }
}

/// What one event leads to.
package struct Outcome: Hashable, Sendable {
    package var changes: [Change]
    package var effects: [Effect]
    package var reply: Reply

    package init(changes: [Change] = [], effects: [Effect] = [], reply: Reply = .done) {
        self.changes = changes
        self.effects = effects
        self.reply = reply
    }
}

// One row changed. A change holds the whole row, so that a batch may keep only the last change of each row.
import JobModel

/// Passed on in lists of thousands, so its row stands elsewhere.
package indirect enum Change: Hashable, Sendable {
    case jobAdded(JobID, JobRecord, JobProgress)
    case job(JobID, JobProgress)
    /// An open array grew or was closed; its row follows.
    case record(JobID, JobRecord)
    case task(TaskRow)
    case attempt(AttemptRow)
    case worker(WorkerRow)
    case account(AccountRow)
    case accountRemoved(AccountID)
    case usage(UsageRow)
    case license(LicenseRow)
    case licenseRemoved(ResourceName)
    case reservation(AdvanceReservation)
    case reservationRemoved(ReservationName)
    /// An attempt ended, for the sums of what was used. The one change that is added to a row.
    case ended(AccountingEntry)
}

/// What changes about a job. The fixed part is its ``JobModel/JobRecord``.
package struct JobProgress: Hashable, Codable, Sendable {
    package var state: JobState
    /// One sentence: why it waits, is held or failed.
    package var reason: String?
    package var counts: TaskCounts
    /// The tasks that were never started, as ascending, disjoint, non-adjacent ranges of indices.
    package var unstarted: [ClosedRange<Int64>]
    /// By a user or by the scheduler: nothing new is started.
    package var isHeld: Bool
    package var cancelRequested: Bool
    package var imageIsStored: Bool
    package var submittedAt: Timestamp
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp?
    /// The jobs that it still waits for, ascending.
    package var awaits: [JobID] = []
    /// Why the scheduler cancelled it, or tasks of it.
    package var cancelReason: String?
    /// The time limit that it was given since it was submitted; then the record's counts no more.
    package var timeLimit: TimeSpan?
    /// Rises with each change.
    package var revision: Int64

    package init(
        state: JobState, reason: String?, counts: TaskCounts, unstarted: [ClosedRange<Int64>], isHeld: Bool,
        cancelRequested: Bool,
        imageIsStored: Bool, submittedAt: Timestamp, startedAt: Timestamp?, finishedAt: Timestamp?, revision: Int64
    ) {
        self.state = state
        self.reason = reason
        self.counts = counts
        self.unstarted = unstarted
        self.isHeld = isHeld
        self.cancelRequested = cancelRequested
        self.imageIsStored = imageIsStored
        self.submittedAt = submittedAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.revision = revision
    }
}

/// A task that was started at least once.
package struct TaskRow: Hashable, Codable, Sendable {
    package var id: TaskID
    package var state: TaskState
    /// How the last attempt ended.
    package var reason: EndReason?
    /// The number of the newest attempt.
    package var attempts: Int64
    package var programFailures: Int64
    package var infrastructureFailures: Int64

    package init(
        id: TaskID, state: TaskState, reason: EndReason?, attempts: Int64, programFailures: Int64,
        infrastructureFailures: Int64
    ) {
        self.id = id
        self.state = state
        self.reason = reason
        self.attempts = attempts
        self.programFailures = programFailures
        self.infrastructureFailures = infrastructureFailures
    }
}

package struct AttemptRow: Hashable, Codable, Sendable {
    package var id: AttemptID
    package var worker: WorkerName
    package var state: AttemptState
    package var reason: EndReason?
    package var gpus: [String]
    /// The worker has had it in its inventory: from then on, missing means lost.
    package var isAcknowledged: Bool
    /// Exit code 0 was accepted; the output may be published; the attempt cannot be superseded by a cancel any more.
    package var isAccepted: Bool
    /// The scheduler wants it to end, for this reason.
    package var stopReason: EndReason?
    package var assignedAt: Timestamp
    /// When it ended by the scheduler's book.
    package var endedAt: Timestamp?
    /// The newest report that was taken, as the worker sent it.
    package var report: AttemptReport?

    package init(
        id: AttemptID, worker: WorkerName, state: AttemptState, reason: EndReason?, gpus: [String],
        isAcknowledged: Bool,
        isAccepted: Bool, stopReason: EndReason?, assignedAt: Timestamp, endedAt: Timestamp?, report: AttemptReport?
    ) {
        self.id = id
        self.worker = worker
        self.state = state
        self.reason = reason
        self.gpus = gpus
        self.isAcknowledged = isAcknowledged
        self.isAccepted = isAccepted
        self.stopReason = stopReason
        self.assignedAt = assignedAt
        self.endedAt = endedAt
        self.report = report
    }
}

/// What is kept of a worker. Heartbeats are not: they would cost a commit each.
package struct WorkerRow: Hashable, Codable, Sendable {
    package var name: WorkerName
    package var registration: WorkerRegistration
    package var isDraining: Bool
    /// What was said when it was drained; the standard order unless it is.
    package var drain: DrainOrder

    package init(
        name: WorkerName, registration: WorkerRegistration, isDraining: Bool, drain: DrainOrder = .standard
    ) {
        self.drain = drain
        self.name = name
        self.registration = registration
        self.isDraining = isDraining
    }
}

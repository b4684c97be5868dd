// The numbers that the core decides by. One value, given at start: no constant hides in a function.
import JobModel

package struct Policy: Hashable, Codable, Sendable {
    /// How often a worker calls when nothing happens.
    package var syncInterval = TimeSpan.seconds(10)
    /// No call for this long: no new work.
    package var unreachableAfter = TimeSpan.seconds(40)
    /// The worker stops its containers this long after it sent the last call that was answered.
    package var lease = TimeSpan.minutes(10)
    /// K and drift: what the scheduler waits beyond the worker's own deadline.
    package var leaseMargin = TimeSpan.seconds(60)
    package var clockDrift = TimeSpan.seconds(6)
    /// Infrastructure failures of one task before its job is held.
    package var infrastructureRetries: Int64 = 5
    /// Distinct workers that a job may crash before it is held.
    package var crashedWorkerLimit = 5
    /// The pause before the second attempt; doubled for each further one.
    package var retryBackoff = TimeSpan.seconds(2)
    package var longestRetryBackoff = TimeSpan.minutes(5)
    /// The most attempts that one answer starts on one worker.
    package var startsPerAnswer = 1_000
    /// How many finished jobs are remembered, to refuse a late cancel with their state. Older ones are unknown to the
    /// core.
    package var finishedJobsRemembered = 100_000

    // Who goes first: docs/scheduling.md.
    package var weights = PriorityWeights()
    /// What was used so long ago counts half.
    package var halfLife = TimeSpan.seconds(7 * 86_400)
    /// What runs counts as if it ran for so much longer.
    package var shareHorizon = TimeSpan.minutes(60)
    /// A job that has waited so long is as old as can be.
    package var fullAge = TimeSpan.seconds(7 * 86_400)
    /// A task that takes so much is as large as can be.
    package var fullSize = CPUAmount(cpus: 64)
    /// What costs as much as one processor, and as how many.
    package var memoryPerCPU = ByteCount(bytes: 4 << 30)
    package var cpusPerGPU: Int64 = 8
    /// A run may take so much longer than its time limit, until its image is there.
    package var preparation = TimeSpan.minutes(2)
    /// How long room whose end is not known is shared with others, before it is kept for the first blocked job.
    package var patience = TimeSpan.minutes(10)
    package var usageWrittenEvery = TimeSpan.minutes(5)

    package init() {}
}

/// What the store gives back at start: everything that is not finished.
package struct ClusterImage: Hashable, Sendable {
    package struct StoredJob: Hashable, Sendable {
        package var id: JobID
        package var record: JobRecord
        package var progress: JobProgress
        package init(id: JobID, record: JobRecord, progress: JobProgress) {
            self.id = id
            self.record = record
            self.progress = progress
        }
    }

    /// Jobs in no terminal state, in order of their ids.
    package var jobs: [StoredJob]
    /// Tasks of those jobs in no terminal state, in order of their ids.
    package var tasks: [TaskRow]
    /// Attempts in no terminal state, in order of their ids.
    package var attempts: [AttemptRow]
    /// All workers, in order of their names.
    package var workers: [WorkerRow]
    /// Over every job that was ever accepted.
    package var totals: Totals
    /// Queues, groups and users that were set up, in order of their ids.
    package var accounts: [AccountRow]
    /// In order of their accounts.
    package var usage: [UsageRow]
    /// In order of their names.
    package var licenses: [LicenseRow]
    /// In order of their names.
    package var reservations: [AdvanceReservation]

    package init(
        jobs: [StoredJob] = [], tasks: [TaskRow] = [], attempts: [AttemptRow] = [], workers: [WorkerRow] = [],
        totals: Totals = Totals(), accounts: [AccountRow] = [], usage: [UsageRow] = [], licenses: [LicenseRow] = [],
        reservations: [AdvanceReservation] = []
    ) {
        self.licenses = licenses
        self.reservations = reservations
        self.accounts = accounts
        self.usage = usage
        self.jobs = jobs
        self.tasks = tasks
        self.attempts = attempts
        self.workers = workers
        self.totals = totals
    }
}

/// Counters over all jobs, kept as they change, so that a status query costs the same at any size.
package struct Totals: Hashable, Codable, Sendable {
    /// One counter for each of `JobState.allCases`, in that order.
    package var jobs: [Int64]
    package var tasks: TaskCounts

    package init() {
        jobs = Array(repeating: 0, count: JobState.allCases.count)
        tasks = TaskCounts(total: 0, pending: 0)
    }
}

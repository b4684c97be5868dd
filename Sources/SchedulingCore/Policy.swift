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

    package init(
        jobs: [StoredJob] = [], tasks: [TaskRow] = [], attempts: [AttemptRow] = [], workers: [WorkerRow] = [],
        totals: Totals = Totals()
    ) {
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

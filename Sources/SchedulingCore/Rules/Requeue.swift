// A user takes running tasks back: their attempts are stopped, and the tasks start again without having used a retry.
import JobModel

extension Cluster {
    /// - Parameter index: nil for every task that runs.
    mutating func requeue(_ id: JobID, task index: Int64?, at now: Instant) throws(Refusal) {
        let job = try liveJob(id)
        guard !job.progress.cancelRequested else { throw .nothingRuns(id, task: index) }
        guard !isTooLate(id, at: now) else { throw .tooLateToBeginAnew(id) }
        var count = 0
        for task in job.tasks.ids where index == nil || task == index {
            guard let row = job.tasks[task]?.row, let slot = job.tasks[task]?.slot else { continue }
            stop(AttemptID(task: row.id, number: row.attempts), on: slot, because: .preempted, at: now)
            count += 1
        }
        guard count > 0 else { throw .nothingRuns(id, task: index) }
    }
}

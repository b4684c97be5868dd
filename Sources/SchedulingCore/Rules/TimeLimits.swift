// A user gives a job another time limit while it waits or runs. It goes into the class of its new limit, its attempts
// are expected to end at other times, their workers are told, and a promise that counted on the old ones is dropped.
// What has run longer than the new limit is ended by its worker.
import JobModel

extension Cluster {
    /// - Parameter from: the limit that is to be changed; nil: whichever it is.
    mutating func changeTimeLimit(
        of id: JobID, to limit: TimeSpan, from: TimeSpan?, at now: Instant
    ) throws(Refusal) {
        let job = try liveJob(id)
        guard job.timeLimit != limit else { return }
        if let from, from != job.timeLimit { throw .timeLimitChanged(id, job.timeLimit) }
        if let deadline = job.record.rules.deadline, job.progress.counts.pending > 0, deadline <= now.wall.after(limit)
        {
            throw .timeLimitPassesDeadline(id, limit, deadline)
        }
        if countsOn(job) { dropReservation() }
        jobs[id]?.progress.timeLimit = limit
        moveToClassOfLimit(id)
        for index in job.tasks.ids { changeLimit(of: index, of: id, to: limit) }
        if job.record.rules.deadline != nil {
            watchLastStart(of: id)
            armCivil(at: now)
        }
        needsPlacement = true
        outcome.effects.append(.timeLimitChanged(id, from: job.timeLimit, to: limit))
        markDirty(id)
    }

    /// Whether the promise was made to the job or its class, or counts on the ends of its attempts.
    private func countsOn(_ job: Job) -> Bool {
        guard let promise = reservation else { return false }
        return promise.place == job.classSlot || promise.job == job.id
            || job.tasks.ids.contains { job.tasks[$0]?.slot.map(promise.keeps) == true }
    }

    private mutating func changeLimit(of index: Int64, of id: JobID, to limit: TimeSpan) {
        guard let task = jobs[id]?.tasks[index], let slot = task.slot, let place = jobs[id]?.classSlot else { return }
        let attempt = AttemptID(task: task.row.id, number: task.row.attempts)
        guard let placedAt = workers[slot].attempts[attempt]?.placedAt else { return }
        workers[slot].attempts[attempt]?.limit = limit
        workers[slot].attempts[attempt]?.isLimitTold = false
        workers[slot].expect(attempt, until: expectedTime(of: place).map { placedAt + $0 } ?? .max)
        payAttention(to: slot)
    }
}

extension Job {
    /// Civil time after which no task could end by the deadline; nil without a deadline or a limit.
    var lastStart: Int64? {
        guard let deadline = record.rules.deadline, let timeLimit else { return nil }
        return deadline.millisecondsSinceEpoch - timeLimit.milliseconds
    }
}

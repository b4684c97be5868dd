// Accepting jobs: one, or several together. First everything that may be refused is looked at, of all of them; then
// they are accepted, which cannot fail. So jobs that are submitted together are accepted together or not at all.
import JobModel

/// A job that is about to be accepted.
package struct NewJob: Hashable, Codable, Sendable {
    /// New, and larger than every earlier one.
    package var id: JobID
    package var record: JobRecord
    package var imageIsStored: Bool
    package var hold: Bool
    /// Those of its dependencies that the core does not know (``Cluster/mustBeKnown(_:)``).
    package var known: [EndedJob]

    package init(id: JobID, record: JobRecord, imageIsStored: Bool, hold: Bool, known: [EndedJob] = []) {
        self.id = id
        self.record = record
        self.imageIsStored = imageIsStored
        self.hold = hold
        self.known = known
    }
}

extension Cluster {
    /// Accepts jobs together. One that waits for another of them comes after it.
    mutating func submit(_ all: [NewJob], at now: Instant) throws(Refusal) {
        var admitted: [Job] = []
        for new in all { admitted.append(try admit(new, after: admitted, at: now)) }
        for job in admitted { accept(job, at: now) }
    }

    /// The job as it will stand in the books. Costs the same for one task and for a million.
    func admit(_ new: NewJob, after others: [Job] = [], at now: Instant) throws(Refusal) -> Job {
        let count = new.record.shape.count
        try admit(new.record, tasks: count, beside: others)
        let progress = JobProgress(
            state: .pending, reason: new.hold ? "held at submission" : nil,
            counts: TaskCounts(total: count, pending: count), unstarted: [new.record.shape.indices], isHeld: new.hold,
            cancelRequested: false, imageIsStored: new.imageIsStored, submittedAt: now.wall, startedAt: nil,
            finishedAt: nil, revision: 0)
        let job = Job(id: new.id, record: new.record, classSlot: 0, since: now.uptime, progress: progress)
        return try linked(job, known: new.known, beside: others)
    }
}

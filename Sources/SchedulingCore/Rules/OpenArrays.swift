// Arrays that grow while they run. What is added follows the last task, in one step with the row that says so; the job
// ends when all its tasks have and it was closed. The array stands in the job's record, which is written anew.
import JobModel

/// Why an array does not grow.
package enum GrowthFault: Hashable, Sendable {
    /// It was not submitted as open.
    case neverOpen
    case closed
    case cancelled
    /// What is added could not end by the job's deadline.
    case tooLate
    /// The index that must come next.
    case notNext(Int64)
    case tooMany
}

extension Cluster {
    mutating func extend(_ id: JobID, by growth: ExtendRequest.Growth, at now: Instant) throws(Refusal) {
        let job = try liveJob(id)
        guard let isOpen = job.record.rules.open, case .array(let first, let last) = job.record.shape else {
            throw .cannotGrow(id, .neverOpen)
        }
        guard isOpen else { throw .cannotGrow(id, .closed) }
        guard !job.progress.cancelRequested else { throw .cannotGrow(id, .cancelled) }
        guard !isTooLate(id, at: now) else { throw .cannotGrow(id, .tooLate) }
        let added = try Self.added(growth, after: last, to: id)
        guard added.upperBound - first < TaskShape.largestCount else { throw .cannotGrow(id, .tooMany) }
        let count = added.upperBound - last
        try admit(job.record, tasks: count, beside: [])
        jobs[id]?.record.shape = .array(first: first, last: added.upperBound)
        jobs[id]?.progress.counts.total += count
        jobs[id]?.progress.counts.pending += count
        jobs[id]?.progress.unstarted.add(added)
        writeRecord(of: id)
        enqueue(id)
    }

    private static func added(_ growth: ExtendRequest.Growth, after last: Int64, to id: JobID) throws(Refusal)
        -> ClosedRange<Int64>
    {
        let (next, isOver) = last.addingReportingOverflow(1)
        guard !isOver else { throw .cannotGrow(id, .tooMany) }
        switch growth {
        case .range(let range):
            guard range.lowerBound == next else { throw .cannotGrow(id, .notNext(next)) }
            return range
        case .tasks(let count):
            let (end, isOver) = last.addingReportingOverflow(count)
            guard !isOver, count > 0 else { throw .cannotGrow(id, .tooMany) }
            return next...end
        }
    }

    /// Nothing is added any more. Again: nothing happens.
    mutating func close(_ id: JobID) throws(Refusal) {
        guard let isOpen = try liveJob(id).record.rules.open else { throw .cannotGrow(id, .neverOpen) }
        guard isOpen else { return }
        jobs[id]?.record.rules.open = false
        writeRecord(of: id)
    }

    private mutating func writeRecord(of id: JobID) {
        guard let record = jobs[id]?.record else { return }
        outcome.changes.append(.record(id, record))
        markDirty(id)
    }
}

extension Job {
    /// It does not end, whatever its tasks have come to.
    var staysOpen: Bool { record.rules.open == true && !progress.cancelRequested }

    /// Said when there is nothing to do.
    var openSentence: String? {
        guard staysOpen, progress.counts.finished == progress.counts.total else { return nil }
        return "open: all tasks have ended, and more may come: 'jobctl close \(id)' lets it end"
    }
}

// Open arrays grow under an idempotency key as jobs are submitted under one: sent again, it is done once.
import JobModel
import SchedulingCore

/// What an open array is to grow by.
package struct AcceptedExtension: Sendable {
    package var job: JobID
    package var growth: ExtendRequest.Growth
    package var idempotency: IdempotencyKey?

    package init(job: JobID, growth: ExtendRequest.Growth, idempotency: IdempotencyKey?) {
        self.job = job
        self.growth = growth
        self.idempotency = idempotency
    }
}

extension Stepper {
    mutating func extend(_ request: AcceptedExtension, _ draft: inout Draft, at now: Instant) throws(StoreFailure)
        -> StepReply
    {
        if let key = request.idempotency, let (digest, _) = try earlier(key, draft) {
            return digest == key.requestDigest ? .done : .refused(.keyWasUsed)
        }
        let outcome = cluster.apply(.extendRequested(request.job, request.growth), at: now)
        draft.take(outcome)
        if case .refused(let refusal) = outcome.reply { return .refused(Problem(refusal)) }
        if let key = request.idempotency { draft.note(key, request.job) }
        return .done
    }
}

extension Problem {
    /// Why an array does not grow, as the user reads it.
    init(_ job: JobID, _ fault: GrowthFault) {
        switch fault {
        case .neverOpen:
            self.init(
                .conflict, "job \(job) is not open: only an array that was submitted with 'open: true' can grow",
                field: "job")
        case .closed: self.init(.conflict, "job \(job) was closed: it gets no more tasks", field: "job")
        case .cancelled: self.init(.conflict, "job \(job) was cancelled: it gets no more tasks", field: "job")
        case .tooLate:
            self.init(
                .conflict, "no more tasks of job \(job) could end by its deadline: it gets none", field: "job")
        case .notNext(let next):
            self.init(.refused, "the next task of job \(job) is \(next): begin with it", field: "array")
        case .tooMany:
            self.init(
                .refused, "job \(job) would have more than \(TaskShape.largestCount) tasks, or too large an index",
                field: "array")
        }
    }
}

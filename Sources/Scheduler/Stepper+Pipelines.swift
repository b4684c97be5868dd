// Jobs that are submitted together: one event, one answer, one idempotency key. Names become ids here, because here ids
// are given.
import JobModel
import SchedulingCore

/// Submissions that are accepted together or not at all.
package struct AcceptedPipeline: Sendable {
    package struct Link: Sendable {
        /// By its place in `jobs`, which is earlier.
        package var job: Int
        package var kind: DependencyKind
        package init(job: Int, kind: DependencyKind) {
            self.job = job
            self.kind = kind
        }
    }

    package var name: ConfigurationName?
    /// Each after those that it waits for.
    package var jobs: [AcceptedSubmission]
    /// For each job, those that it waits for beside its record's.
    package var links: [[Link]]
    package var idempotency: IdempotencyKey?

    package init(
        name: ConfigurationName?, jobs: [AcceptedSubmission], links: [[Link]], idempotency: IdempotencyKey?
    ) {
        self.name = name
        self.jobs = jobs
        self.links = links
        self.idempotency = idempotency
    }
}

extension Stepper {
    mutating func submit(_ pipeline: AcceptedPipeline, _ draft: inout Draft, at now: Instant) throws(StoreFailure)
        -> StepReply
    {
        if let key = pipeline.idempotency, let (request, id) = try earlier(key, draft) {
            guard request == key.requestDigest else { return .refused(.keyWasUsed) }
            if let documents = draft.pipelines[id] { return .submittedTogether(documents) }
            return .submittedTogether(try store.pipeline(id))
        }
        let first = JobID(rawValue: catalog.lastJob + 1)
        var jobs: [NewJob] = []
        for (place, submission) in pipeline.jobs.enumerated() {
            var record = configured(submission, &draft)
            // A number that nobody has been given yet is no job of this file.
            if let unknown = record.dependencies.first(where: { $0.job >= first }) {
                return .refused(Problem(.dependency(unknown, .unknown)))
            }
            for link in pipeline.links[place] {
                let other = JobID(rawValue: first.rawValue + Int64(link.job))
                record.dependencies.append(Dependency(job: other, kind: link.kind))
            }
            record.pipeline = PipelineReference(id: first, name: pipeline.name)
            catalog.lastJob += 1
            jobs.append(
                NewJob(
                    id: JobID(rawValue: catalog.lastJob), record: record, imageIsStored: submission.imageIsStored,
                    hold: submission.hold, known: try endedJobs(for: record, draft.commit.changes)))
        }
        let outcome = cluster.apply(.pipelineSubmitted(jobs), at: now)
        draft.take(outcome)
        if case .refused(let refusal) = outcome.reply { return .refused(Problem(refusal)) }
        let documents = outcome.changes.compactMap { change in
            if case .jobAdded(let id, let record, let progress) = change {
                JobDocument(id: id, record: record, progress: progress)
            } else {
                nil
            }
        }
        if let key = pipeline.idempotency {
            draft.note(key, first)
            draft.pipelines[first] = documents
        }
        return .submittedTogether(documents)
    }
}

extension Problem {
    static let keyWasUsed = Problem(
        .conflict, "the key was used for another request: choose a new one", field: "Idempotency-Key")
}

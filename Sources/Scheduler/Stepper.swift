// One batch, synchronously: events into the core, all its changes in one transaction, and only then replies and
// effects. No task, no
// clock: the simulator drives this with the real store.
import Foundation
import JobModel
import SchedulingCore

/// What the loop hands to the Stepper.
package enum Envelope: Sendable {
    case event(Event)
    case submission(AcceptedSubmission)
    case pipeline(AcceptedPipeline)
    case entry(BookEntry)
    case `extension`(AcceptedExtension)
}

/// What became of one envelope, once it is durable.
package enum StepReply: Sendable {
    case done
    case submitted(JobDocument)
    case submittedTogether([JobDocument])
    case refused(Problem)
}

/// What a step hands out after its commit.
package struct StepResult: Sendable {
    /// One for each envelope, in order.
    package var replies: [StepReply]
    package var effects: [Effect]
    /// What was written, in order: for the log and for those who watch a job.
    package var changes: [Change]
    /// The state was read from the store again: whoever waits for an effect of an earlier step waits in vain.
    package var restarted = false
}

/// The scheduler without its thread. Owned by one thread at a time.
package struct Stepper {
    package internal(set) var cluster: Cluster
    package let store: Store
    private let policy: Policy
    var catalog: StoredCatalog

    /// Continues from what the store holds.
    package init(store: Store, policy: Policy, at now: Instant) throws(StoreFailure) {
        self.store = store
        self.policy = policy
        catalog = try store.catalog()
        cluster = Cluster(policy: policy, restoring: try store.load(), at: now)
    }

    /// Applies a batch and places tasks. Everything is on disk when it returns.
    ///
    /// A full disk refuses the whole batch and goes on from what the store holds, as after a restart.
    /// - Throws: ``StoreFailure`` if the disk failed: the process must end.
    package mutating func step(_ batch: [Envelope], at now: Instant) throws(StoreFailure) -> StepResult {
        let store = store
        return try step(batch, at: now) { (commit) throws(StoreFailure) in try store.commit(commit) }
    }

    /// As ``step(_:at:)``, with the one call that writes given from outside: the simulator stands between the core and
    /// the store.
    package mutating func step(
        _ batch: [Envelope], at now: Instant, commit: (Commit) throws(StoreFailure) -> Void
    ) throws(StoreFailure) -> StepResult {
        var draft = Draft(commit: Commit(wall: now.wall))
        let before = cluster.totals
        for envelope in batch { draft.replies.append(try apply(envelope, &draft, at: now)) }
        draft.take(cluster.schedule(at: now))
        if cluster.totals != before { draft.commit.totals = cluster.totals }
        guard !draft.commit.isEmpty else {
            return StepResult(replies: draft.replies, effects: draft.effects, changes: [])
        }
        do {
            try commit(draft.commit)
        } catch .diskFull {
            try restart(at: now)
            let problem = Problem(.diskFull, StoreFailure.diskFull.description)
            return StepResult(replies: batch.map { _ in .refused(problem) }, effects: [], changes: [], restarted: true)
        }
        return StepResult(replies: draft.replies, effects: draft.effects, changes: draft.commit.changes)
    }

    private mutating func restart(at now: Instant) throws(StoreFailure) {
        catalog = try store.catalog()
        cluster = Cluster(policy: policy, restoring: try store.load(), at: now)
    }

    /// What a batch has come to so far.
    struct Draft {
        var commit: Commit
        var replies: [StepReply] = []
        var effects: [Effect] = []
        var keys: [Key: (Digest, JobID)] = [:]
        /// Submissions of this batch by id, for repeated keys.
        var documents: [JobID: JobDocument] = [:]
        /// Likewise of jobs that were submitted together, by the first.
        var pipelines: [JobID: [JobDocument]] = [:]

        struct Key: Hashable {
            let user: UserName
            let key: String
        }

        init(commit: Commit) { self.commit = commit }

        /// Sent again under the key, the request comes to this job.
        mutating func note(_ key: IdempotencyKey, _ id: JobID) {
            commit.keys.append((key, id))
            keys[Key(user: key.user, key: key.key)] = (key.requestDigest, id)
        }

        mutating func take(_ outcome: Outcome) {
            commit.changes += outcome.changes
            effects += outcome.effects
        }
    }

    private mutating func apply(_ envelope: Envelope, _ draft: inout Draft, at now: Instant) throws(StoreFailure)
        -> StepReply
    {
        switch envelope {
        case .event(let event):
            let outcome = cluster.apply(event, at: now)
            draft.take(outcome)
            switch outcome.reply {
            case .done: return .done
            case .refused(let refusal): return .refused(Problem(refusal))
            }
        case .entry(.archiveImported(let archive)):
            switch catalog.take(archive) {
            case .success(let decided): draft.commit.entries.append(.archiveImported(decided))
            case .failure(let problem): return .refused(problem)
            }
            return .done
        case .entry(let entry):
            draft.commit.entries.append(entry)
            return .done
        case .submission(let submission): return try submit(submission, &draft, at: now)
        case .pipeline(let pipeline): return try submit(pipeline, &draft, at: now)
        case .extension(let growth): return try extend(growth, &draft, at: now)
        }
    }

    private mutating func submit(_ submission: AcceptedSubmission, _ draft: inout Draft, at now: Instant)
        throws(StoreFailure) -> StepReply
    {
        if let key = submission.idempotency, let (request, id) = try earlier(key, draft) {
            guard request == key.requestDigest else { return .refused(.keyWasUsed) }
            if let document = draft.documents[id] { return .submitted(document) }
            do {
                return try store.job(id).map { .submitted($0) } ?? .refused(Problem.noJob(id))
            } catch let problem as Problem {
                return .refused(problem)
            } catch {
                throw StoreFailure(error)
            }
        }
        let record = configured(submission, &draft)
        catalog.lastJob += 1
        let id = JobID(rawValue: catalog.lastJob)
        let outcome = cluster.apply(
            .jobSubmitted(
                id, record, imageIsStored: submission.imageIsStored, hold: submission.hold,
                known: try endedJobs(for: record, draft.commit.changes)), at: now)
        draft.take(outcome)
        if case .refused(let refusal) = outcome.reply { return .refused(Problem(refusal)) }
        guard case .jobAdded(_, _, let progress)? = outcome.changes.first else {
            return .refused(Problem(.internal, "the job was not accepted"))
        }
        let document = JobDocument(id: id, record: record, progress: progress)
        if let key = submission.idempotency {
            draft.note(key, id)
            draft.documents[id] = document
        }
        return .submitted(document)
    }

    /// Gives the submission's configuration its version.
    mutating func configured(_ submission: AcceptedSubmission, _ draft: inout Draft) -> JobRecord {
        var record = submission.record
        var version: ConfigurationVersion?
        if let name = submission.name, record.rerunOf == nil {
            let (assigned, isNew) = catalog.version(of: record.configuration, named: name)
            record = record.versioned(assigned)
            version = isNew ? assigned : nil
        }
        if catalog.configurations.insert(record.configuration).inserted || version != nil {
            draft.commit.configurations.append(
                .init(
                    digest: record.configuration, content: submission.configurationJSON,
                    imageReference: record.imageReference, version: version))
        }
        return record
    }

    func earlier(_ key: IdempotencyKey, _ draft: Draft) throws(StoreFailure) -> (Digest?, JobID)? {
        if let known = draft.keys[.init(user: key.user, key: key.key)] { return known }
        return try store.submission(with: key)
    }
}

extension StoredCatalog {
    /// The version of `digest` under `name`: the one that it has, or the next.
    mutating func version(of digest: Digest, named name: ConfigurationName) -> (
        version: ConfigurationVersion, isNew: Bool
    ) {
        if let known = versions[name]?.byDigest[digest] {
            return (ConfigurationVersion(name: name, version: known), false)
        }
        let next = (versions[name]?.newest ?? 0) + 1
        versions[name, default: .init()].newest = next
        versions[name]?.byDigest[digest] = next
        return (ConfigurationVersion(name: name, version: next), true)
    }

    /// Takes the configurations of an import, with those of their names that are free. A name and version that means
    /// something else here stays what it is.
    mutating func take(_ archive: ImportedArchive) -> Result<ImportedArchive, Problem> {
        var archive = archive
        for index in archive.configurations.indices {
            let digest = archive.configurations[index].digest
            archive.configurations[index].names.removeAll { wanted in
                guard let known = versions[wanted.name] else { return false }
                // Its number here may be another: the name means these bytes already.
                return known.byDigest[digest] != nil
            }
            for wanted in archive.configurations[index].names {
                guard let other = versions[wanted.name]?.byDigest.first(where: { $0.value == wanted.version }) else {
                    continue
                }
                guard archive.skipsConflicts else {
                    return .failure(
                        Problem.taken(configuration: "\(wanted)", here: other.key, imported: digest))
                }
                archive.configurations[index].names.removeAll { $0 == wanted }
            }
        }
        for configuration in archive.configurations {
            configurations.insert(configuration.digest)
            for version in configuration.names {
                var known = versions[version.name] ?? .init()
                known.byDigest[configuration.digest] = version.version
                known.newest = max(known.newest, version.version)
                versions[version.name] = known
            }
        }
        return .success(archive)
    }
}

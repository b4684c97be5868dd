// Pipelines and deadlines by the true book: jobs that are submitted together are accepted together or not at all, in
// their order; what could not end by its deadline does not start, and what has not ended by then is cancelled.
import JobModel
import SchedulingCore

/// Jobs that are submitted together.
struct Together {
    let names: [String]
    /// For each job, the place of another that it waits for, and how.
    let links: [[(job: Int, kind: DependencyKind)]]
}

extension Truth {
    /// What the user wanted of a job that was accepted.
    func wish(_ id: JobID, _ record: JobRecord) throws -> JobRecord {
        guard var wish = submitted[record.name], wish.shape == record.shape else {
            throw Violation("job \(id) is not what was submitted as \(record.name)")
        }
        guard let together = together[record.name] else {
            guard record.pipeline == nil else { throw Violation("job \(id) was submitted alone") }
            return wish
        }
        guard let first = record.pipeline?.id, let place = together.names.firstIndex(of: record.name),
            id.rawValue == first.rawValue + Int64(place)
        else { throw Violation("job \(id) does not stand where it was submitted: \(together.names)") }
        for link in together.links[place] {
            let other = JobID(rawValue: first.rawValue + Int64(link.job))
            wish.dependencies.append(Dependency(job: other, kind: link.kind))
        }
        return wish
    }

    /// - Parameter added: the jobs that one commit has accepted.
    mutating func acceptTogether(_ added: [JobRecord]) throws {
        let pipelines = Dictionary(grouping: added.filter { $0.pipeline != nil }) { $0.pipeline?.id.rawValue ?? 0 }
        for (first, members) in pipelines.sorted(by: { $0.key < $1.key }) {
            guard members.map(\.name) == together[members[0].name]?.names else {
                throw Violation("of pipeline \(first), only \(members.map(\.name)) are accepted")
            }
            seen.append(.pipelineAccepted)
        }
    }

    // MARK: deadlines

    private func lastStart(of id: JobID, limit: TimeSpan?) -> Timestamp? {
        guard let deadline = wanted[id]?.rules.deadline else { return nil }
        return Timestamp(millisecondsSinceEpoch: deadline.millisecondsSinceEpoch - (limit?.milliseconds ?? 0))
    }

    func startsInTime(_ row: AttemptRow) throws {
        let limit = jobs[row.id.job]?.timeLimit ?? wanted[row.id.job]?.timeLimit
        guard let last = lastStart(of: row.id.job, limit: limit), row.assignedAt > last else { return }
        throw Violation("\(row.id) starts at \(row.assignedAt), and could end by its deadline only before \(last)")
    }

    /// - Returns: whether it was cancelled for its deadline's sake.
    mutating func cancelledByDeadline(_ id: JobID, _ progress: JobProgress) throws -> Bool {
        guard let reason = progress.cancelReason, reason.hasPrefix("deadline: ") else { return false }
        // Of a commit that failed and is on disk all the same, one hears later.
        let end = progress.finishedAt ?? wall
        // Some tasks may have been cancelled while its limit was another.
        let longest = max(longestLimits[id] ?? .zero, wanted[id]?.timeLimit ?? .zero)
        guard let last = lastStart(of: id, limit: longest), end >= last else {
            throw Violation("job \(id) is cancelled at \(end), before its deadline: \(reason)")
        }
        seen.append(reason.hasPrefix("deadline: it had not ended") ? .deadlinePassed : .tooLateToStart)
        return true
    }

    /// Civil time is looked at once a minute at least.
    func keepsDeadlines() throws {
        for (id, progress) in jobs where !progress.state.isTerminal && !progress.cancelRequested {
            guard let deadline = wanted[id]?.rules.deadline, wall > deadline.after(.seconds(61)) else { continue }
            throw Violation("job \(id) goes on at \(wall), after its deadline \(deadline)")
        }
    }
}

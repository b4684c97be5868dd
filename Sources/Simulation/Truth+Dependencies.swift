// Dependencies and rules respected, by the true book: what starts had nothing to wait for any more, and what was
// cancelled for its dependencies' sake could not have started.
import JobModel
import SchedulingCore

extension Truth {
    /// Whether something that was waited for has ended, and with success; nil while it has not.
    private func end(of job: JobID) -> Bool? {
        guard let state = jobs[job]?.state, state.isTerminal else { return nil }
        return state == .succeeded
    }

    private func end(of task: TaskID) -> Bool? {
        if let row = tasks[task] { return row.state.isTerminal ? row.state == .succeeded : nil }
        // It never started. Either it still waits, or it was cancelled.
        guard let progress = jobs[task.job], !progress.unstarted.contains(where: { $0.contains(task.index) }) else {
            return nil
        }
        return false
    }

    mutating func startsInTurn(_ task: TaskID) throws {
        for dependency in wanted[task.job]?.dependencies ?? [] {
            let isEach = dependency.kind.isEach
            let end = isEach ? end(of: TaskID(job: dependency.job, index: task.index)) : end(of: dependency.job)
            guard let end, dependency.kind.isMet(bySuccess: end) else {
                throw Violation(
                    "task \(task) starts, which waits for job \(dependency.job) (\(dependency.kind.rawValue)), which "
                        + (end == nil ? "has not ended" : "ended otherwise"))
            }
            let goesOn = jobs[dependency.job]?.state.isTerminal == false
            seen.append(isEach && goesOn ? .dependencyMetByTask : .dependencyMet)
        }
    }

    mutating func startsByTheRules(_ row: AttemptRow) throws {
        let id = row.id
        guard let rules = wanted[id.job]?.rules else { return }
        if let start = rules.startAfter, row.assignedAt < start {
            throw Violation("\(id) starts at \(row.assignedAt), and was to start after \(start)")
        }
        guard let most = rules.mostRunning else { return }
        let others = attempts.count { $0.key.job == id.job && !$0.value.state.isTerminal }
        if others >= most { throw Violation("\(id) starts beside \(others) others, and \(most) may run at a time") }
        if others == most - 1 { seen.append(.runsAsManyAsItMay) }
    }

    mutating func cancelledByDependency(_ id: JobID) throws {
        let isHopeless = (wanted[id]?.dependencies ?? []).contains { dependency in
            guard let other = jobs[dependency.job] else { return false }
            guard dependency.kind.isEach else {
                return end(of: dependency.job).map { !dependency.kind.isMet(bySuccess: $0) } ?? false
            }
            let counts = other.counts
            return !dependency.kind.isMet(bySuccess: false) && counts.failed + counts.cancelled > 0
                || !dependency.kind.isMet(bySuccess: true) && counts.succeeded > 0
        }
        guard isHopeless else {
            throw Violation("job \(id) is cancelled for its dependencies' sake, which may all be met")
        }
        seen.append(.dependencyHopeless)
    }
}

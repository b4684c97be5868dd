// What tasks did, as their programs wrote it down themselves: each attempt appends `ATTEMPT start` and `ATTEMPT end` to
// one file, a line in one write, so the order of lines is the order of events. Held against what the scheduler says of
// them: a second opinion that shares nothing with the product.
import Foundation
import JobModel

package struct Traces: Sendable {
    package private(set) var starts: [AttemptID: Int] = [:]
    package private(set) var ends: [AttemptID: Int] = [:]
    package private(set) var violations: [String] = []

    /// Every thirteenth task ends with 3.
    package static func exitCode(of task: Int64) -> Int { task % 13 == 12 ? 3 : 0 }

    /// The shell line of a task that leaves traces in `/traces`.
    /// - Parameter body: what it does between the start and the end.
    package static func program(_ body: String) -> String {
        """
        echo "$JOBCTL_ATTEMPT start" >> /traces/events; \(body); echo "$JOBCTL_ATTEMPT end" >> /traces/events; \
        exit $((JOBCTL_TASK_INDEX % 13 == 12 ? 3 : 0))
        """
    }

    package init(_ text: String) {
        var newest: [TaskID: Int64] = [:]
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            let words = line.split(separator: " ")
            guard words.count == 2, let attempt = AttemptID(words[0]), words[1] == "start" || words[1] == "end" else {
                violations.append("a line of the traces is '\(line)'")
                continue
            }
            // A task runs once at a time: nothing of an older attempt shows after a newer one began.
            if attempt.number < newest[attempt.task, default: 0] {
                violations.append("\(attempt) still ran (\(words[1])) when a newer attempt of its task had begun")
            }
            newest[attempt.task] = max(attempt.number, newest[attempt.task, default: 0])
            if words[1] == "start" { starts[attempt, default: 0] += 1 } else { ends[attempt, default: 0] += 1 }
        }
        for (attempt, count) in starts.sorted(by: { $0.key < $1.key }) where count > 1 {
            violations.append("\(attempt) ran \(count) times")
        }
        for (attempt, count) in ends.sorted(by: { $0.key < $1.key }) where count > 1 || starts[attempt] == nil {
            violations.append("\(attempt) ended \(count) times and was started \(starts[attempt] ?? 0) times")
        }
    }

    /// Holds the scheduler's word on a job against the traces.
    /// - Parameter published: the content of a task's published output, if the job publishes.
    package mutating func check(
        _ job: JobDocument, _ attempts: [AttemptDocument], published: ((TaskID) -> String?)? = nil
    ) {
        let counts = job.tasks
        if job.state.value?.isTerminal != true {
            violations.append("job \(job.id) did not end: it is \(job.state), \(job.reason ?? "for no reason")")
        }
        if counts.finished != counts.total || counts.pending != 0 || counts.running != 0 {
            violations.append("the counts of job \(job.id) do not add up: \(counts)")
        }
        var succeeded: Set<TaskID> = []
        for attempt in attempts {
            if let complaint = complaint(attempt) { violations.append("\(attempt.id) \(complaint)") }
            if attempt.state == .known(.succeeded), !succeeded.insert(attempt.id.task).inserted {
                violations.append("task \(attempt.id.task) succeeded twice")
            }
            if let published, attempt.state == .known(.succeeded),
                published(attempt.id.task) != "\(attempt.id)\n"
            {
                violations.append("\(attempt.id) succeeded and published \(published(attempt.id.task) ?? "nothing")")
            }
        }
        if succeeded.count != Int(counts.succeeded) {
            violations.append("job \(job.id) counts \(counts.succeeded) successes and has \(succeeded.count)")
        }
        let known = Set(attempts.map(\.id))
        for attempt in starts.keys where attempt.job == job.id && !known.contains(attempt) {
            violations.append("\(attempt) ran, and the scheduler does not know of it")
        }
    }

    private func complaint(_ attempt: AttemptDocument) -> String? {
        let (started, ended) = (starts[attempt.id] ?? 0, ends[attempt.id] ?? 0)
        let code = Self.exitCode(of: attempt.id.task.index)
        switch attempt.state {
        case .known(.succeeded):
            guard started == 1, ended == 1, code == 0, attempt.exitCode == 0 else {
                return "is a false success: it started \(started) and ended \(ended) times with \(code)"
            }
        case .known(.failed):
            guard attempt.reason == .known(.exitCode), attempt.exitCode == 3, code == 3, ended == 1 else {
                return "failed (\(attempt.reason.map { "\($0)" } ?? "?"), \(attempt.message ?? "no message")) "
                    + "and had started \(started) and ended \(ended) times with \(code)"
            }
        case .known(.lost): return nil
        default: return "is \(attempt.state)"
        }
        return nil
    }
}

extension Traces {
    package mutating func complain(_ sentences: [String]) { violations += sentences }
}

// Which jobs' tasks are to be summed up, and to what; how the sums are written, and how tasks are read from them. A
// task of which an attempt carries digests of its data keeps its rows: they are what `verify` and `diff` compare.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// Tasks next to each other that ended alike.
package struct TaskRun: Hashable, Sendable {
    package var tasks: ClosedRange<Int64>
    package var state: TaskState
    package var reason: String?
    package var attempts: Int64
}

/// One step of summing a job up.
package struct TaskCompaction: Hashable, Sendable {
    package var job: JobID
    /// These lose their rows.
    package var runs: [TaskRun] = []
    /// With this step's.
    package var sums: CompactionDocument
    /// The task that the next step goes on after; nil if this is the last step.
    package var next: Int64?
}

extension Store {
    /// Workers that a sum names.
    private static let mostWorkers = 1000

    /// Jobs that ended before a time and were not summed up yet, the oldest first.
    func jobsToCompact(before limit: Timestamp, limit count: Int) throws -> [JobID] {
        try reading { db in
            try Int64.fetchAll(
                db,
                sql: """
                    SELECT id FROM jobs WHERE finished_at < ? AND compacted_at IS NULL ORDER BY finished_at LIMIT ?
                    """, arguments: [limit.column, count])
        }.map { JobID(rawValue: $0) }
    }

    /// What the next tasks of a job, at most `count`, come to.
    func compaction(of job: JobID, after task: Int64, limit count: Int, at time: Timestamp) throws -> TaskCompaction {
        try reading { db in
            let known = try String.fetchOne(
                db, sql: "SELECT compaction FROM jobs WHERE id = ?", arguments: [job.rawValue])
            var step = TaskCompaction(
                job: job,
                sums: try known.map { try Column.value(CompactionDocument.self, $0) } ?? CompactionDocument(at: time))
            step.sums.compactedAt = time
            let tasks = try Row.fetchAll(
                db, sql: "SELECT * FROM tasks WHERE job = ? AND task > ? ORDER BY task LIMIT ?",
                arguments: [job.rawValue, task, count]
            ).map { try Self.taskRow($0) }
            guard let last = tasks.last?.id.index else { return step }
            if tasks.count == count { step.next = last }
            let attempts = try Row.fetchAll(
                db, sql: "SELECT * FROM attempts WHERE job = ? AND task > ? AND task <= ? ORDER BY task, number",
                arguments: [job.rawValue, task, last]
            ).map { try Self.attemptRow($0) }
            let proofs = Set(attempts.filter(\.carriesProof).map(\.id.task.index))
            for row in tasks where !proofs.contains(row.id.index) { step.add(row) }
            for row in attempts where !proofs.contains(row.id.task.index) {
                step.sums.add(row, workers: Self.mostWorkers)
            }
            return step
        }
    }

    func write(_ step: TaskCompaction, _ db: Database) throws {
        let job = step.job.rawValue
        for run in step.runs {
            let (first, last) = (run.tasks.lowerBound, run.tasks.upperBound)
            for table in ["attempts", "tasks"] {
                try db.cachedStatement(sql: "DELETE FROM \(table) WHERE job = ? AND task >= ? AND task <= ?")
                    .execute(arguments: [job, first, last])
            }
            let longer = try db.cachedStatement(
                sql: """
                    UPDATE compacted_tasks SET last = ?
                    WHERE job = ? AND last = ? AND state = ? AND reason IS ? AND attempts = ?
                    """)
            try longer.execute(arguments: [last, job, first - 1, run.state.rawValue, run.reason, run.attempts])
            guard db.changesCount == 0 else { continue }
            try db.cachedStatement(
                sql: "INSERT INTO compacted_tasks (job, first, last, state, reason, attempts) VALUES (?, ?, ?, ?, ?, ?)"
            ).execute(arguments: [job, first, last, run.state.rawValue, run.reason, run.attempts])
        }
        try db.cachedStatement(sql: "UPDATE jobs SET compaction = ?, compacted_at = ? WHERE id = ?").execute(
            arguments: [
                step.sums.tasks > 0 ? Column.json(step.sums) : nil,
                step.next == nil ? step.sums.compactedAt.column : nil, job,
            ])
    }

    /// The summed-up tasks behind one, as if each had its row; at most `count`.
    static func compactedTasks(
        of job: JobID, after task: Int64, state: TaskState?, limit count: Int, _ db: Database
    ) throws -> [TaskRow] {
        let runs = try Row.fetchAll(
            db.cachedStatement(
                sql: """
                    SELECT * FROM compacted_tasks WHERE job = ? AND last > ? AND (? IS NULL OR state = ?)
                    ORDER BY first LIMIT ?
                    """), arguments: [job.rawValue, task, state?.rawValue, state?.rawValue, count])
        var rows: [TaskRow] = []
        for run in runs {
            let (first, last): (Int64, Int64) = (run["first"], run["last"])
            let start = max(first, task + 1)
            for index in start...min(last, start + Int64(count - rows.count) - 1) {
                rows.append(
                    TaskRow(
                        id: TaskID(job: job, index: index), state: try Column.known(TaskState.self, run["state"]),
                        reason: try (run["reason"] as String?).map { try Column.known(EndReason.self, $0) },
                        attempts: run["attempts"], programFailures: 0, infrastructureFailures: 0))
            }
            if rows.count == count { break }
        }
        return rows
    }
}

extension AttemptRow {
    /// It says what was read or written.
    fileprivate var carriesProof: Bool { report?.inputs?.isEmpty == false || report?.outputs?.isEmpty == false }
}

extension TaskCompaction {
    fileprivate mutating func add(_ row: TaskRow) {
        sums.tasks += 1
        let index = row.id.index
        if let last = runs.last, last.tasks.upperBound == index - 1, last.state == row.state,
            last.reason == row.reason?.rawValue, last.attempts == row.attempts
        {
            runs[runs.count - 1].tasks = last.tasks.lowerBound...index
        } else {
            runs.append(
                TaskRun(
                    tasks: index...index, state: row.state, reason: row.reason?.rawValue, attempts: row.attempts))
        }
    }
}

extension CompactionDocument {
    fileprivate mutating func add(_ row: AttemptRow, workers most: Int) {
        attempts[row.state.rawValue, default: 0] += 1
        if let reason = row.reason { reasons[reason.rawValue, default: 0] += 1 }
        if let usage = row.report?.usage {
            cpuSeconds += usage.cpuSeconds
            wallSeconds += usage.wallSeconds
            maxMemory = max(maxMemory, usage.maxMemory)
        }
        guard workers.count < most, !workers.contains(row.worker.rawValue) else { return }
        workers.append(row.worker.rawValue)
        workers.sort()
    }
}

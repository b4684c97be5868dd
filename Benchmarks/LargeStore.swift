// A data folder with many finished jobs: one job runs through the real stepper, and SQLite copies its rows.
import Foundation
import GRDB
import JobModel
import SchedulingCore

struct LargeStore {
    let jobs: Int
    let tasksPerJob: Int

    func write(to folder: String) throws {
        try finishOneJob(in: folder)
        try DatabaseQueue(path: folder + "/jobctl.sqlite").write { db in
            for (table, id) in [("jobs", "id"), ("tasks", "job"), ("attempts", "job")] {
                let columns = try db.columns(in: table).map(\.name)
                let copied = columns.map { $0 == id ? "\(id) + i" : $0 }.joined(separator: ", ")
                try db.execute(
                    sql: """
                        WITH RECURSIVE copies(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM copies WHERE i < ?)
                        INSERT INTO \(table) (\(columns.joined(separator: ", ")))
                        SELECT \(copied) FROM copies, \(table) WHERE \(id) = 1
                        """, arguments: [jobs - 1])
            }
            try multiplyTotals(db)
        }
    }

    /// The scheduler's store is closed when this returns.
    private func finishOneJob(in folder: String) throws {
        var stepped = try SteppedCluster(folder: folder, workers: 1, slots: tasksPerJob)
        try stepped.submit(tasks: Int64(tasksPerJob))
        for _ in 0..<10 where stepped.succeeded < tasksPerJob { try stepped.round() }
        guard stepped.succeeded == tasksPerJob else { throw BenchFailure("the first job did not end") }
    }

    private func multiplyTotals(_ db: Database) throws {
        guard let text = try String.fetchOne(db, sql: "SELECT content FROM totals") else {
            throw BenchFailure("the store has no totals")
        }
        var totals = try WireJSON.decode(Totals.self, from: text.utf8)
        totals.jobs = totals.jobs.map { $0 * Int64(jobs) }
        totals.tasks.total *= Int64(jobs)
        totals.tasks.succeeded *= Int64(jobs)
        try db.execute(
            sql: "UPDATE totals SET content = ?",
            arguments: [String(decoding: try WireJSON.encode(totals), as: UTF8.self)])
    }
}

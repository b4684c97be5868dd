// A data folder of a large institute: finished jobs, of which one runs through the real stepper and SQLite copies its
// rows; arrays that wait, submitted through the stepper; and workers that nobody has heard of yet.
import Foundation
import GRDB
import JobModel
import SchedulingCore

struct LargeStore {
    var jobs = 0
    var tasksPerJob = 1
    /// Arrays of ``waitingTasks`` tasks, of ``PlacementBenchmark/shapes`` shapes from as many users as there.
    var waitingJobs = 0
    /// Attempts that were assigned, all of one array.
    var running = 0
    var workers = 0

    static let waitingTasks: Int64 = 100

    func write(to folder: String) throws {
        if jobs > 0 { try writeFinishedJobs(to: folder) }
        try submitWaitingJobs(in: folder)
        try DatabaseQueue(path: folder + "/jobctl.sqlite").write { db in try addWorkers(db) }
    }

    private func submitWaitingJobs(in folder: String) throws {
        var stepped = try SteppedCluster(folder: folder, workers: 1, slots: max(1, running))
        if running > 0 {
            try stepped.submit(tasks: Int64(running))
            try stepped.round()
        }
        for start in stride(from: 0, to: waitingJobs, by: 1000) {
            try stepped.submit(
                (start..<min(start + 1000, waitingJobs)).map { number in
                    let shape = number % PlacementBenchmark.shapes
                    let user = (number + number / PlacementBenchmark.shapes) % PlacementBenchmark.users
                    let resources = Resources(
                        cpus: CPUAmount(cpus: 1 + shape % 8), memory: ByteCount(bytes: Int64(1024 + shape * 8) << 20),
                        gpus: 0)
                    return SteppedCluster.submission(
                        tasks: Self.waitingTasks, resources: resources, owner: "user\(user)")
                })
        }
    }

    private func addWorkers(_ db: Database) throws {
        let registration = String(decoding: try WireJSON.encode(CoreUnderBench.offer), as: UTF8.self)
        for number in 0..<workers {
            try db.cachedStatement(sql: "INSERT INTO workers (name, registration, is_draining) VALUES (?, ?, 0)")
                .execute(arguments: ["node-\(number)", registration])
        }
    }

    private func writeFinishedJobs(to folder: String) throws {
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

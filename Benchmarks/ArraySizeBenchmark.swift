// What a task costs in a small array and at the end of a very large one: through the real stepper and store, in this
// process. The large array's first tasks have run already: the stepper ran some, and SQLite copied their rows.
import Foundation
import GRDB
import JobModel
import SchedulingCore

struct ArraySizeBenchmark {
    let settings: Settings

    static let small: Int64 = 100_000
    static let large: Int64 = 10_000_000
    private static let slots = 1_000

    func run() async throws -> [Figure] {
        var (small, large): ([Double], [Double]) = ([], [])
        let copied = try settings.scratch.folder("size-large")
        Progress.say("writing the first \(Self.large - Self.small * 2) tasks of an array")
        try writeFirstTasks(to: copied)
        // The last two parts of the large array, each after a small array of its own.
        for round in 0..<2 {
            small.append(try microseconds(folder: try settings.scratch.folder("size-\(round)"), submits: true))
            large.append(try microseconds(folder: copied, submits: false))
        }
        return [
            Figure(
                name: "a task of an array of \(Self.large)", value: large.min() ?? 0, unit: "µs",
                baseline: .init(name: "of an array of \(Self.small)", value: small.min() ?? 0),
                goal: .init(direction: .below, value: 1.2 * (small.min() ?? 0)),
                note: "the last \(Self.small * 2) tasks in two parts, in process; the better of two each")
        ]
    }

    /// Of each of the next tasks, as many as the small array has.
    private func microseconds(folder: String, submits: Bool) throws -> Double {
        var stepped = try SteppedCluster(folder: folder, workers: 4, slots: Self.slots)
        if submits { try stepped.submit(tasks: Self.small) }
        let start = ContinuousClock.now
        while stepped.succeeded < Int(Self.small) { try stepped.round() }
        return (ContinuousClock.now - start) / .microseconds(1) / Double(stepped.succeeded)
    }

    private func writeFirstTasks(to folder: String) throws {
        let first = try runSome(in: folder)
        let done = Self.large - Self.small * 2
        try DatabaseQueue(path: folder + "/jobctl.sqlite").write { db in
            for table in ["tasks", "attempts"] {
                let columns = try db.columns(in: table).map(\.name)
                let copied = columns.map { $0 == "task" ? "task + i * \(first)" : $0 }.joined(separator: ", ")
                try db.execute(
                    sql: """
                        WITH RECURSIVE copies(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM copies WHERE i < ?)
                        INSERT INTO \(table) (\(columns.joined(separator: ", ")))
                        SELECT \(copied) FROM copies, \(table) WHERE task <= \(first)
                        """, arguments: [done / first - 1])
            }
            try db.execute(
                sql: """
                    UPDATE jobs SET unstarted = ?, tasks_succeeded = ?, tasks_pending = ?, is_held = 0, reason = NULL,
                        state = 'running'
                    """,
                arguments: ["\(done + 1)-\(Self.large)", done, Self.large - done])
        }
    }

    /// Returns how many tasks have run. The job is held then, and nothing of it runs any more.
    private func runSome(in folder: String) throws -> Int64 {
        var stepped = try SteppedCluster(folder: folder, workers: 1, slots: Self.slots)
        try stepped.submit(tasks: Self.large)
        try stepped.round()
        try stepped.holdFirstJob()
        for _ in 0..<10 where stepped.succeeded < Self.slots { try stepped.round() }
        guard stepped.succeeded == Self.slots else { throw BenchFailure("\(stepped.succeeded) of the first tasks ran") }
        return Int64(Self.slots)
    }
}

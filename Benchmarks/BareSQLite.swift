// The baselines of everything durable: what this disk and SQLite give without a scheduler around them, with the
// pragmas that the scheduler sets.
import Foundation
import GRDB

struct BareSQLite {
    private let queue: DatabaseQueue

    /// A new database in `folder`.
    init(folder: String) throws {
        queue = try DatabaseQueue(path: folder + "/bare-\(UInt32.random(in: 0 ... .max)).sqlite")
        try queue.writeWithoutTransaction { db in
            try db.execute(
                sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000")
            try db.execute(
                sql: """
                    CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, record TEXT NOT NULL) STRICT;
                    CREATE TABLE tasks (job INTEGER NOT NULL, task INTEGER NOT NULL, state TEXT NOT NULL,
                        attempts INTEGER NOT NULL, PRIMARY KEY (job, task)) STRICT, WITHOUT ROWID;
                    """)
        }
    }

    /// One row of `bytes` bytes a commit.
    func commitsPerSecond(seconds: Double, bytes: Int) throws -> Double {
        let record = String(repeating: "r", count: bytes)
        let end = ContinuousClock.now + .seconds(seconds)
        let start = ContinuousClock.now
        var commits = 0
        while ContinuousClock.now < end {
            try queue.write { db in
                try db.cachedStatement(sql: "INSERT INTO jobs (name, record) VALUES (?, ?)").execute(
                    arguments: ["bench", record])
            }
            commits += 1
        }
        return Double(commits) / ((ContinuousClock.now - start) / .seconds(1))
    }

    /// Rows of four columns, `batch` in a transaction.
    func rowsPerSecond(seconds: Double, batch: Int) throws -> Double {
        let end = ContinuousClock.now + .seconds(seconds)
        let start = ContinuousClock.now
        let series = Int64.random(in: 0 ... .max)
        var rows = 0
        while ContinuousClock.now < end {
            try queue.write { db in
                let statement = try db.cachedStatement(
                    sql: "INSERT INTO tasks (job, task, state, attempts) VALUES (?, ?, ?, ?)")
                for _ in 0..<batch {
                    rows += 1
                    try statement.execute(arguments: [series, rows, "running", 1])
                }
            }
        }
        return Double(rows) / ((ContinuousClock.now - start) / .seconds(1))
    }
}

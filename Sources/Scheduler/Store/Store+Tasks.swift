// Tasks and attempts → SQL: the rows that are written five times for every task, so without GRDB's boxes around values,
// and by statements that touch no more than what changed. Part of Store+Commit.swift.
import GRDB
import GRDBSQLite
import JobModel
import SchedulingCore

extension Store {
    func writeTasks(_ rows: NewestRows, _ db: Database) throws {
        if !rows.tasks.isEmpty {
            let (insert, update) = (try RowWriter(Self.taskInsert, db), try RowWriter(Self.taskUpdate, db))
            for row in rows.tasks {
                let mayBeNew = row.attempts == 1 && row.state == .running
                if try mayBeNew || !update.write({ Self.bind(row, &$0) }) {
                    _ = try insert.write { Self.bind(row, &$0) }
                }
            }
        }
        if !rows.attempts.isEmpty {
            let (insert, update) = (try RowWriter(Self.attemptInsert, db), try RowWriter(Self.attemptUpdate, db))
            for row in rows.attempts {
                if try row.state == .assigned || !update.write({ try Self.bind(row, isNew: false, &$0) }) {
                    _ = try insert.write { try Self.bind(row, isNew: true, &$0) }
                }
            }
        }
    }

    private static let taskInsert = """
        INSERT INTO tasks (state, reason, attempts, program_failures, infrastructure_failures, job, task)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (job, task) DO UPDATE SET state = excluded.state, reason = excluded.reason,
            attempts = excluded.attempts, program_failures = excluded.program_failures,
            infrastructure_failures = excluded.infrastructure_failures
        """

    private static let taskUpdate = """
        UPDATE tasks SET state = ?, reason = ?, attempts = ?, program_failures = ?, infrastructure_failures = ?
        WHERE job = ? AND task = ?
        """

    private static func bind(_ row: TaskRow, _ values: inout RowWriter.Values) {
        values.add(row.state.rawValue)
        values.add(row.reason?.rawValue)
        values.add(row.attempts)
        values.add(row.programFailures)
        values.add(row.infrastructureFailures)
        values.add(row.id.job.rawValue)
        values.add(row.id.index)
    }

    private static let attemptInsert = """
        INSERT OR REPLACE INTO attempts (state, reason, is_acknowledged, is_accepted, stop_reason, ended_at,
            report_sequence, report_state, report_reason, exit_code, signal, message, engine, started_at, finished_at,
            cpu_seconds, max_memory, wall_seconds, inputs, outputs, image_manifest, job, task, number, worker, gpus,
            assigned_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """

    /// Worker, GPUs and the time of its start do not change.
    private static let attemptUpdate = """
        UPDATE attempts SET state = ?, reason = ?, is_acknowledged = ?, is_accepted = ?, stop_reason = ?, ended_at = ?,
            report_sequence = ?, report_state = ?, report_reason = ?, exit_code = ?, signal = ?, message = ?,
            engine = ?, started_at = ?, finished_at = ?, cpu_seconds = ?, max_memory = ?, wall_seconds = ?,
            inputs = ?, outputs = ?, image_manifest = ?
        WHERE job = ? AND task = ? AND number = ?
        """

    private static func bind(_ row: AttemptRow, isNew: Bool, _ values: inout RowWriter.Values) throws {
        let report = row.report
        values.add(row.state.rawValue)
        values.add(row.reason?.rawValue)
        values.add(Int64(row.isAcknowledged ? 1 : 0))
        values.add(Int64(row.isAccepted ? 1 : 0))
        values.add(row.stopReason?.rawValue)
        values.add(row.endedAt?.column)
        values.add(report?.sequence)
        values.add(report?.state.rawValue)
        values.add(report?.reason?.rawValue)
        values.add(report?.exitCode.map { Int64($0) })
        values.add(report?.signal.map { Int64($0) })
        values.add(report?.message)
        values.add(report?.engine)
        values.add(report?.startedAt?.column)
        values.add(report?.finishedAt?.column)
        values.add(report?.usage?.cpuSeconds)
        values.add(report?.usage?.maxMemory.bytes)
        values.add(report?.usage?.wallSeconds)
        values.add(try Column.trees(report?.inputs))
        values.add(try Column.trees(report?.outputs))
        values.add(report?.imageManifest?.description)
        values.add(row.id.job.rawValue)
        values.add(row.id.task.index)
        values.add(row.id.number)
        guard isNew else { return }
        values.add(row.worker.rawValue)
        values.add(Column.lines(row.gpus))
        values.add(row.assignedAt.column)
    }
}

/// A statement that is run for row after row.
struct RowWriter {
    private let statement: Statement
    private let handle: OpaquePointer?

    init(_ sql: String, _ db: Database) throws {
        statement = try db.cachedStatement(sql: sql)
        handle = statement.sqliteStatement
        sqlite3_reset(handle)
    }

    /// The values of a row, in order of the statement's marks.
    struct Values {
        fileprivate let handle: OpaquePointer?
        private var place: Int32 = 0
        private var failure: Int32 = SQLITE_OK
        /// SQLite copies the text.
        private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

        fileprivate init(_ handle: OpaquePointer?) { self.handle = handle }

        mutating func add(_ value: Int64?) {
            guard let value else { return addNull() }
            note(sqlite3_bind_int64(handle, next(), value))
        }

        mutating func add(_ value: Double?) {
            guard let value else { return addNull() }
            note(sqlite3_bind_double(handle, next(), value))
        }

        mutating func add(_ value: String?) {
            guard var value else { return addNull() }
            let place = next()
            note(
                value.withUTF8 { bytes in
                    bytes.withMemoryRebound(to: CChar.self) { characters in
                        // Nothing has no address, and would be NULL.
                        guard let start = characters.baseAddress else {
                            return sqlite3_bind_text(handle, place, "", 0, nil)
                        }
                        return sqlite3_bind_text(handle, place, start, Int32(characters.count), Self.transient)
                    }
                })
        }

        private mutating func addNull() { note(sqlite3_bind_null(handle, next())) }

        private mutating func next() -> Int32 {
            place += 1
            return place
        }

        private mutating func note(_ code: Int32) { if code != SQLITE_OK { failure = code } }

        fileprivate var code: Int32 { failure }
    }

    /// Runs the statement with these values. Returns whether it changed a row.
    func write(_ bind: (inout Values) throws -> Void) throws -> Bool {
        var values = Values(handle)
        try bind(&values)
        let code = values.code == SQLITE_OK ? sqlite3_step(handle) : values.code
        guard code == SQLITE_DONE else {
            let failure = self.failure()
            sqlite3_reset(handle)
            throw failure
        }
        sqlite3_reset(handle)
        return sqlite3_changes(sqlite3_db_handle(handle)) > 0
    }

    private func failure() -> DatabaseError {
        let database = sqlite3_db_handle(handle)
        return DatabaseError(
            resultCode: ResultCode(rawValue: sqlite3_extended_errcode(database)),
            message: String(cString: sqlite3_errmsg(database)), sql: statement.sql)
    }
}

// Rows of schedules: written by the loop beside the core's, read by whoever shows or runs them.
import GRDB
import JobModel

extension Store {
    func write(_ entry: ScheduleEntry, _ db: Database) throws {
        switch entry {
        case .saved(let row):
            try db.cachedStatement(
                sql: """
                    INSERT INTO schedules (name, owner, content, is_paused, created_at, handled_until)
                    VALUES (?, ?, ?, ?, ?, ?)
                    ON CONFLICT (name) DO UPDATE SET content = excluded.content, handled_until = excluded.handled_until
                    """
            ).execute(arguments: [
                row.name.rawValue, row.owner.rawValue, try Column.json(row.settings), row.isPaused,
                row.createdAt.column, row.handledUntil.column,
            ])
        case .paused(let name, let isPaused, let now):
            // What was due while it was paused is not caught up.
            try db.cachedStatement(sql: "UPDATE schedules SET is_paused = ?, handled_until = ? WHERE name = ?")
                .execute(arguments: [isPaused, now.column, name.rawValue])
        case .ran(let name, let outcome):
            try db.cachedStatement(
                sql: """
                    UPDATE schedules SET handled_until = max(handled_until, ?), last_due = coalesce(?, last_due),
                        last_job = coalesce(?, last_job), note = CASE WHEN ? IS NULL THEN note ELSE ? END
                    WHERE name = ?
                    """
            ).execute(arguments: [
                outcome.handledUntil.column, outcome.due?.column, outcome.job?.rawValue, outcome.due?.column,
                outcome.note, name.rawValue,
            ])
        case .removed(let name):
            try db.cachedStatement(sql: "DELETE FROM schedules WHERE name = ?").execute(arguments: [name.rawValue])
        }
    }

    /// All of them, by name. A row that cannot be read is left out.
    package func schedules() throws -> [ScheduleRow] {
        try reading { db in try Row.fetchAll(db, sql: "SELECT * FROM schedules ORDER BY name") }
            .compactMap(Self.readableSchedule)
    }

    package func schedule(_ name: ScheduleName) throws -> ScheduleRow? {
        try reading { db in
            try Row.fetchOne(db, sql: "SELECT * FROM schedules WHERE name = ?", arguments: [name.rawValue])
                .map(Self.scheduleRow)
        }
    }

    private static func readableSchedule(_ row: Row) throws -> ScheduleRow? {
        do { return try scheduleRow(row) } catch is Unreadable { return nil }
    }

    private static func scheduleRow(_ row: Row) throws -> ScheduleRow {
        ScheduleRow(
            name: ScheduleName(unchecked: row["name"]), owner: UserName(unchecked: row["owner"]),
            settings: try Column.value(ScheduleSettings.self, row["content"]), isPaused: row["is_paused"],
            createdAt: Timestamp(column: row["created_at"]), handledUntil: Timestamp(column: row["handled_until"]),
            lastDue: (row["last_due"] as Int64?).map(Timestamp.init(column:)),
            lastJob: (row["last_job"] as Int64?).map { JobID(rawValue: $0) }, note: row["note"])
    }
}

// Change → SQL: one exhaustive switch, cached statements, one transaction for a whole batch. Its inverse is
// Store+Load.swift.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// All that one batch writes.
package struct Commit: Sendable {
    package struct NewConfiguration: Sendable {
        var digest: Digest
        var content: [UInt8]
        var imageReference: String
        /// A version that did not exist before.
        var version: ConfigurationVersion?
    }

    package var configurations: [NewConfiguration] = []
    package var changes: [Change] = []
    package var keys: [(IdempotencyKey, JobID)] = []
    package var entries: [BookEntry] = []
    package var totals: Totals?
    package var wall: Timestamp

    package init(wall: Timestamp) { self.wall = wall }
    package var isEmpty: Bool { configurations.isEmpty && changes.isEmpty && keys.isEmpty && entries.isEmpty }
}

extension Store {
    /// Writes everything or nothing. Durable when it returns.
    /// - Important: only on the loop's thread.
    package func commit(_ commit: Commit) throws(StoreFailure) {
        do {
            try pool.write { db in
                for configuration in commit.configurations { try write(configuration, at: commit.wall, db) }
                try write(NewestRows(commit.changes), db)
                for (key, job) in commit.keys {
                    try db.cachedStatement(
                        sql: "INSERT INTO idempotency_keys (user, key, request_digest, job) VALUES (?, ?, ?, ?)"
                    )
                    .execute(arguments: [key.user.rawValue, key.key, key.requestDigest.description, job.rawValue])
                }
                for entry in commit.entries { try write(entry, db) }
                if let totals = commit.totals {
                    try db.cachedStatement(
                        sql:
                            "INSERT INTO totals (id, content) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET content = excluded.content"
                    )
                    .execute(arguments: [Column.json(totals)])
                }
            }
        } catch {
            throw StoreFailure(error)
        }
        try checkpointIfDue()
    }

    /// How many pages the log may have before it is moved into the database: 16 MB.
    private static let mostLogPages = 4_000

    /// Moves the log into the database from time to time. SQLite would do so by itself, and pass over a failed sync:
    /// here it stops the process. For want of room, or while a reader is in the way, the log grows on until the next
    /// time.
    private func checkpointIfDue() throws(StoreFailure) {
        do {
            try pool.writeWithoutTransaction { db in
                guard log.pages.load(ordering: .relaxed) >= Self.mostLogPages else { return }
                try db.checkpoint(.passive)
            }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            return
        } catch {
            let failure = StoreFailure(error)
            if case .diskFull = failure { return }
            throw failure
        }
    }

    /// Parents before children; a statement for each table.
    private func write(_ rows: NewestRows, _ db: Database) throws {
        for job in rows.jobs {
            if let record = job.record {
                try insert(job.id, record, job.progress, db)
            } else {
                try update(job.id, job.progress, db)
            }
        }
        for (id, record) in rows.records {
            try db.cachedStatement(sql: "UPDATE jobs SET record = ? WHERE id = ?")
                .execute(arguments: [Column.json(record), id.rawValue])
        }
        try writeTasks(rows, db)
        for row in rows.workers {
            try db.cachedStatement(
                sql: """
                    INSERT INTO workers (name, registration, is_draining, drain) VALUES (?, ?, ?, ?)
                    ON CONFLICT (name) DO UPDATE SET registration = excluded.registration,
                        is_draining = excluded.is_draining, drain = excluded.drain
                    """
            ).execute(arguments: [
                row.name.rawValue, try Column.json(row.registration), row.isDraining,
                row.drain == .standard ? nil : try Column.json(row.drain),
            ])
        }
        try writeAccounts(rows, db)
        try writePlacement(rows, db)
        try writeAccounting(rows.accounting, db)
    }

    private func insert(_ id: JobID, _ record: JobRecord, _ progress: JobProgress, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                INSERT INTO jobs (state, reason, tasks_total, tasks_pending, tasks_running, tasks_succeeded,
                    tasks_failed,
                    tasks_cancelled, unstarted, is_held, cancel_requested, image_is_stored, submitted_at, started_at,
                        finished_at,
                    revision, awaits, cancel_reason, time_limit, id, name, owner, configuration, record, keep, pipeline)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(
            arguments: StatementArguments(
                progressColumns(progress) + [
                    id.rawValue, record.name, record.owner.name.rawValue, record.configuration.description,
                    Column.json(record), record.keep == .always ? nil : record.keep.rawValue,
                    record.pipeline?.id.rawValue,
                ]))
    }

    private func update(_ id: JobID, _ progress: JobProgress, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                UPDATE jobs SET state = ?, reason = ?, tasks_total = ?, tasks_pending = ?, tasks_running = ?,
                    tasks_succeeded = ?,
                    tasks_failed = ?, tasks_cancelled = ?, unstarted = ?, is_held = ?, cancel_requested = ?,
                        image_is_stored = ?,
                    submitted_at = ?, started_at = ?, finished_at = ?, revision = ?, awaits = ?,
                    cancel_reason = ?, time_limit = ?
                WHERE id = ?
                """
        ).execute(arguments: StatementArguments(progressColumns(progress) + [id.rawValue]))
    }

    private func progressColumns(_ progress: JobProgress) -> [(any DatabaseValueConvertible)?] {
        [
            progress.state.rawValue, progress.reason, progress.counts.total, progress.counts.pending,
            progress.counts.running,
            progress.counts.succeeded, progress.counts.failed, progress.counts.cancelled,
            Column.ranges(progress.unstarted),
            progress.isHeld, progress.cancelRequested, progress.imageIsStored, progress.submittedAt.column,
            progress.startedAt?.column,
            progress.finishedAt?.column, progress.revision, Column.jobs(progress.awaits), progress.cancelReason,
            progress.timeLimit?.milliseconds,
        ]
    }

    private func write(_ configuration: Commit.NewConfiguration, at wall: Timestamp, _ db: Database) throws {
        try db.cachedStatement(
            sql:
                "INSERT OR IGNORE INTO configurations (digest, content, image_reference, created_at) VALUES (?, ?, ?, ?)"
        ).execute(arguments: [
            configuration.digest.description, String(decoding: configuration.content, as: UTF8.self),
            configuration.imageReference,
            wall.column,
        ])
        guard let version = configuration.version else { return }
        try db.cachedStatement(
            sql: "INSERT INTO configuration_versions (name, version, digest, created_at) VALUES (?, ?, ?, ?)"
        ).execute(arguments: [version.name.rawValue, version.version, configuration.digest.description, wall.column])
    }

    private func write(_ entry: BookEntry, _ db: Database) throws {
        switch entry {
        case .userSaved(let user):
            try db.cachedStatement(
                sql:
                    "INSERT OR REPLACE INTO users (name, role, uid, gid, token_hash, created_at) VALUES (?, ?, ?, ?, ?, ?)"
            ).execute(arguments: [
                user.name.rawValue, user.role.rawValue, Int64(user.uid), Int64(user.gid), user.tokenHash.description,
                user.createdAt.column,
            ])
        case .userRemoved(let name):
            try db.cachedStatement(sql: "DELETE FROM users WHERE name = ?").execute(arguments: [name.rawValue])
        case .archiveImported(let archive): try write(archive, db)
        case .imageKept, .imageUnnamed, .imageBuilt, .manifestRemoved, .imagesForgotten: try writeImages(entry, db)
        case .logsRemoved, .treesRemoved, .keysForgotten: try writeRemovals(entry, db)
        case .tasksCompacted(let step): try write(step, db)
        case .schedule(let entry): try write(entry, db)
        }
    }
}

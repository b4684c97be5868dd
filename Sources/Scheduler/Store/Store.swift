// The SQLite file: opened once, by one scheduler, with the durability that acknowledgements rely on. Only the loop's
// thread writes (Store+Commit.swift); queries read from the pool's snapshots (Queries/). No decision is made here.
import CLinux
import Foundation
import GRDB
import GRDBSQLite
import Glibc
import JobModel
import Logging
import Migrations
import Synchronization

/// Why the store cannot go on.
package enum StoreFailure: Error, CustomStringConvertible {
    /// Another scheduler has the folder open.
    case locked(directory: String)
    /// The database was written by a newer jobctl.
    case newerSchema(directory: String)
    /// The disk is full: nothing was written; later it may go well.
    case diskFull
    /// The disk failed. The process must stop: a failed fsync is never retried in place.
    case storage(String)

    package var description: String {
        switch self {
        case .locked(let directory):
            "another scheduler uses the data folder \(directory): stop it first, or choose another folder"
        case .newerSchema(let directory):
            "the database in \(directory) was written by a newer jobctl: install that version or a later one"
        case .diskFull:
            "the scheduler's disk is full: free some space; running jobs go on, and submits work again by themselves"
        case .storage(let why): "the scheduler's disk failed: \(why)"
        }
    }

    init(_ error: any Error) {
        switch error {
        case let failure as StoreFailure: self = failure
        case let error as DatabaseError where error.resultCode == .SQLITE_FULL: self = .diskFull
        // The index of the log could not grow. Nothing was written yet.
        case let error as DatabaseError where error.extendedResultCode == .SQLITE_IOERR_SHMSIZE: self = .diskFull
        default: self = .storage("\(error)")
        }
    }
}

package final class Store: Sendable {
    let pool: DatabasePool
    private let lock: FolderLock
    /// How long the log is.
    let log: LogLength

    private init(pool: DatabasePool, lock: FolderLock, log: LogLength) {
        self.pool = pool
        self.lock = lock
        self.log = log
    }

    /// Opens or makes `directory/jobctl.sqlite`, brings it to the newest schema, and holds a lock on the folder until
    /// the process ends.
    package static func open(
        directory: String, logger: Logger = Logger(label: "jobctl.store", factory: { _ in SwiftLogNoOpLogHandler() })
    ) throws(StoreFailure) -> Store {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            let lock = try FolderLock(directory: directory)
            var configuration = GRDB.Configuration()
            configuration.busyMode = .timeout(10)
            configuration.maximumReaderCount = 4
            let pool = try DatabasePool(path: directory + "/jobctl.sqlite", configuration: configuration)
            try migrate(pool, directory: directory, logger: logger)
            let log = LogLength()
            try pool.writeWithoutTransaction {
                try makeDurable($0)
                log.watch($0)
            }
            return Store(pool: pool, lock: lock, log: log)
        } catch {
            throw StoreFailure(error)
        }
    }

    /// What the writing connection has been set to.
    package struct Durability: Hashable, Sendable {
        /// `wal`: readers do not stop the writer.
        package var journal: String?
        /// 2, `FULL`: a sync at every commit.
        package var synchronous: Int?
        package var foreignKeys: Bool?

        package static let wanted = Durability(journal: "wal", synchronous: 2, foreignKeys: true)

        package init(journal: String?, synchronous: Int?, foreignKeys: Bool?) {
            self.journal = journal
            self.synchronous = synchronous
            self.foreignKeys = foreignKeys
        }

        fileprivate init(_ db: Database) throws {
            journal = try String.fetchOne(db, sql: "PRAGMA journal_mode")
            synchronous = try Int.fetchOne(db, sql: "PRAGMA synchronous")
            foreignKeys = try Bool.fetchOne(db, sql: "PRAGMA foreign_keys")
        }
    }

    /// As SQLite says it, not as it was asked for.
    /// - Important: only on the loop's thread.
    package func durability() throws(StoreFailure) -> Durability {
        do { return try pool.writeWithoutTransaction { try Durability($0) } } catch { throw StoreFailure(error) }
    }

    /// WAL and a sync at every commit, read back: an acknowledgement relies on them.
    private static func makeDurable(_ db: Database) throws {
        try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")
        guard try Durability(db) == .wanted else {
            throw StoreFailure.storage("SQLite refused WAL with synchronous=FULL and foreign keys")
        }
    }

    /// A migrator with every migration of this version.
    package static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        for migration in migrations {
            migrator.registerMigration(migration.name) { db in try db.execute(sql: migration.sql) }
        }
        return migrator
    }

    private static func migrate(_ pool: DatabasePool, directory: String, logger: Logger) throws {
        guard try !pool.read({ try migrator.hasBeenSuperseded($0) }) else {
            throw StoreFailure.newerSchema(directory: directory)
        }
        try migrator.migrate(pool)
    }
}

/// How many pages SQLite's log has, as it says after each commit.
final class LogLength: Sendable {
    let pages = Atomic(0)

    /// - Important: lives as long as the connection.
    func watch(_ db: Database) {
        sqlite3_wal_hook(
            db.sqliteConnection,
            { context, _, _, pages in
                guard let context else { return SQLITE_OK }
                let length = Unmanaged<LogLength>.fromOpaque(context).takeUnretainedValue()
                length.pages.store(Int(pages), ordering: .relaxed)
                return SQLITE_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }
}

/// An exclusive lock on a data folder.
final class FolderLock: Sendable {
    private let file: Int32

    init(directory: String) throws(StoreFailure) {
        let file = jc_lock_alone(directory + "/scheduler.lock")
        guard file != -EWOULDBLOCK else { throw StoreFailure.locked(directory: directory) }
        guard file >= 0 else { throw StoreFailure.storage("cannot open \(directory)/scheduler.lock") }
        self.file = file
    }

    deinit { close(file) }
}

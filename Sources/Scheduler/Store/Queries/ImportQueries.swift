// Who this cluster is, and the runs of other clusters that came with imports. From the pool's snapshots.
import Foundation
import GRDB
import JobModel

/// A job of another cluster.
struct ImportedRun: Sendable {
    /// Of the row.
    var id: Int64
    var exported: ExportedRun
    var importedAt: Timestamp
    var importedBy: String

    /// As history shows it.
    var document: RunDocument {
        var run = exported.run
        run.imported = ImportedFrom(origin: exported.origin, importedAt: importedAt, importedBy: importedBy)
        return run
    }
}

extension Store {
    /// What this cluster calls itself in what it exports.
    func origin() throws -> String {
        try reading { db in
            guard let origin = try String.fetchOne(db, sql: "SELECT origin FROM cluster") else {
                throw Unreadable(why: "this cluster has no name of its own")
            }
            return origin
        }
    }

    /// Imported runs of a configuration, newest first.
    /// - Parameter before: the row that the page before ended with.
    static func importedRuns(
        _ condition: String, _ arguments: StatementArguments, before: Int64?, limit: Int, _ db: Database
    ) throws -> [ImportedRun] {
        try Row.fetchAll(
            db,
            sql: "SELECT * FROM imported_runs WHERE \(condition) AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
            arguments: arguments + [before, before, limit]
        ).map { row in
            ImportedRun(
                id: row["id"], exported: try Column.value(ExportedRun.self, row["content"]),
                importedAt: Timestamp(column: row["imported_at"]), importedBy: row["imported_by"])
        }
    }

    func importedRuns(of configuration: Digest, before: Int64?, limit: Int) throws -> [ImportedRun] {
        try reading { db in
            try Self.importedRuns(
                "configuration = ?", [configuration.description], before: before, limit: limit, db)
        }
    }

    /// Attempts and logs that came with an imported run, by path.
    func importedFiles(origin: String, job: JobID) throws -> [ExportList.Member] {
        try reading { db in
            try Row.fetchAll(
                db, sql: "SELECT path, digest, size FROM imported_files WHERE origin = ? AND job = ? ORDER BY path",
                arguments: [origin, job.rawValue]
            ).map { row in
                guard let digest = Digest(row["digest"] as String) else {
                    throw Unreadable(why: "a file of an imported run has no digest")
                }
                return ExportList.Member(path: row["path"], digest: digest, size: row["size"])
            }
        }
    }

    /// The record of the newest run that was imported with this configuration.
    func newestImportedRecord(of configuration: Digest) throws -> JobRecord? {
        try importedRuns(of: configuration, before: nil, limit: 1).first?.exported.record
    }

    /// Which of these runs are known, with the revision that they have.
    func importedRevisions() throws -> [String: Int64] {
        try reading { db in
            let rows = try Row.fetchAll(db, sql: "SELECT origin, job, revision FROM imported_runs")
            return Dictionary(
                rows.map { ("\($0["origin"] as String)/\($0["job"] as Int64)", $0["revision"] as Int64) },
                uniquingKeysWith: { first, _ in first })
        }
    }
}

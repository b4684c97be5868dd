// An import's rows, all in the one commit of Store+Commit. Every statement leaves alone what is there already, so the
// same import again changes nothing.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// All that an import writes down. Its content lies in the archive already, complete.
package struct ImportedArchive: Sendable {
    struct Configuration: Sendable {
        var digest: Digest
        /// Canonical.
        var content: [UInt8]
        var imageReference: String
        var createdAt: Timestamp
        /// As it was called where it came from.
        var names: [ConfigurationVersion]
    }

    struct Image: Sendable {
        var row: ImageRow
        /// References that shall mean it here.
        var names: [String]
        var manifests: [RegistryManifestRow]
        var builds: [BuildRecord]
    }

    struct Run: Sendable {
        var exported: ExportedRun
        var files: [ExportList.Member]
    }

    var configurations: [Configuration]
    var images: [Image]
    /// In the order in which they were submitted.
    var runs: [Run]
    var importedAt: Timestamp
    var importedBy: UserName
    /// Names that mean something else here are left as they are; otherwise the import is refused.
    var skipsConflicts: Bool
}

extension Store {
    func write(_ archive: ImportedArchive, _ db: Database) throws {
        for image in archive.images { try write(image, db) }
        for configuration in archive.configurations {
            try db.cachedStatement(
                sql:
                    "INSERT OR IGNORE INTO configurations (digest, content, image_reference, created_at) VALUES (?, ?, ?, ?)"
            ).execute(arguments: [
                configuration.digest.description, String(decoding: configuration.content, as: UTF8.self),
                configuration.imageReference, configuration.createdAt.column,
            ])
            for version in configuration.names {
                try db.cachedStatement(
                    sql:
                        "INSERT OR IGNORE INTO configuration_versions (name, version, digest, created_at) VALUES (?, ?, ?, ?)"
                ).execute(arguments: [
                    version.name.rawValue, version.version, configuration.digest.description,
                    configuration.createdAt.column,
                ])
            }
        }
        for run in archive.runs { try write(run, archive, db) }
    }

    private func write(_ image: ImportedArchive.Image, _ db: Database) throws {
        try writeImages(.imageKept(image.row, name: nil, manifests: image.manifests), db)
        for name in image.names {
            try db.cachedStatement(sql: "INSERT OR IGNORE INTO image_names (reference, digest) VALUES (?, ?)")
                .execute(arguments: [name, image.row.digest.description])
        }
        for build in image.builds { try writeImages(.imageBuilt(image.row.digest, build), db) }
    }

    private func write(_ run: ImportedArchive.Run, _ archive: ImportedArchive, _ db: Database) throws {
        let (origin, job) = (run.exported.origin, run.exported.job.rawValue)
        let revision = run.exported.run.job.revision
        let known = try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT revision FROM imported_runs WHERE origin = ? AND job = ?"),
            arguments: [origin, job])
        if let known {
            guard revision > known else { return }
            for table in ["imported_files", "imported_runs"] {
                try db.cachedStatement(sql: "DELETE FROM \(table) WHERE origin = ? AND job = ?")
                    .execute(arguments: [origin, job])
            }
        }
        try db.cachedStatement(
            sql: """
                INSERT INTO imported_runs (origin, job, configuration, revision, content, imported_at, imported_by)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            origin, job, run.exported.record.configuration.description, revision, try Column.json(run.exported),
            archive.importedAt.column, archive.importedBy.rawValue,
        ])
        for file in run.files {
            try db.cachedStatement(
                sql: "INSERT INTO imported_files (origin, job, path, digest, size) VALUES (?, ?, ?, ?, ?)"
            ).execute(arguments: [origin, job, file.path, file.digest.description, file.size])
        }
    }
}

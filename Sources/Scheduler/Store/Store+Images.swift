// Rows of the archive: images, their names, and the manifests of repositories. Part of the one commit of Store+Commit.
import Foundation
import GRDB
import JobModel
import SchedulingCore

extension Store {
    func writeImages(_ entry: BookEntry, _ db: Database) throws {
        switch entry {
        case .imageKept(let image, let name, let manifests):
            try write(image, db)
            for manifest in manifests { try write(manifest, db) }
            guard let name else { return }
            try db.cachedStatement(sql: "INSERT OR REPLACE INTO image_names (reference, digest) VALUES (?, ?)")
                .execute(arguments: [name, image.digest.description])
        case .imageUnnamed(let reference):
            try db.cachedStatement(sql: "DELETE FROM image_names WHERE reference = ?").execute(arguments: [reference])
        case .imageBuilt(let digest, let record):
            try db.cachedStatement(
                sql: "INSERT OR IGNORE INTO image_builds (digest, recorded_at, built_by, record) VALUES (?, ?, ?, ?)"
            ).execute(arguments: [
                digest.description, record.recordedAt?.column ?? 0, record.builtBy ?? "", try Column.json(record),
            ])
        case .manifestRemoved(let repository, let digest):
            try db.cachedStatement(sql: "DELETE FROM registry_manifests WHERE repository = ? AND digest = ?")
                .execute(arguments: [repository, digest.description])
            let names = NameRange(repository)
            try db.cachedStatement(
                sql: "DELETE FROM image_names WHERE digest = ? AND \(NameRange.condition)"
            ).execute(arguments: [digest.description] + names.arguments)
        case .imagesForgotten(let digests):
            for digest in digests {
                for table in ["image_names", "registry_manifests", "images"] {
                    try db.cachedStatement(sql: "DELETE FROM \(table) WHERE digest = ?")
                        .execute(arguments: [digest.description])
                }
            }
        case .userSaved, .userRemoved, .archiveImported, .logsRemoved, .treesRemoved, .keysForgotten,
            .tasksCompacted, .schedule:
            return
        }
    }

    private func write(_ image: ImageRow, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                INSERT INTO images (digest, media_type, size, platforms, layers, is_complete, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (digest) DO UPDATE SET size = excluded.size, platforms = excluded.platforms,
                    layers = excluded.layers, is_complete = excluded.is_complete
                """
        ).execute(arguments: [
            image.digest.description, image.mediaType, image.size.bytes, Column.lines(image.platforms),
            Column.lines(image.layers.map(\.description)), image.complete, image.createdAt.column,
        ])
    }

    private func write(_ row: RegistryManifestRow, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                INSERT INTO registry_manifests (repository, digest, media_type, size, artifact_type, subject,
                    annotations, pushed_by, created_at, is_pulled)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (repository, digest) DO UPDATE SET media_type = excluded.media_type,
                    size = excluded.size, artifact_type = excluded.artifact_type, subject = excluded.subject,
                    annotations = excluded.annotations,
                    is_pulled = MIN(is_pulled, excluded.is_pulled)
                """
        ).execute(arguments: [
            row.repository, row.digest.description, row.mediaType, row.size, row.artifactType,
            row.subject?.description, row.annotations, row.pushedBy?.rawValue, row.createdAt.column, row.isPulled,
        ])
    }
}

/// The names of a repository among all references: those that begin with `<repository>:` or `<repository>@`, without
/// reading the others.
struct NameRange {
    /// With ``arguments``. ';' follows ':', 'A' follows '@'.
    static let condition = "((reference > ? AND reference < ?) OR (reference > ? AND reference < ?))"
    let repository: String

    init(_ repository: String) { self.repository = repository }

    var arguments: StatementArguments {
        [repository + ":", repository + ";", repository + "@", repository + "A"]
    }
}

// Reading configurations, images and users from the pool's snapshots.
import Foundation
import GRDB
import JobModel
import SchedulingCore

extension Store {
    package func configuration(_ digest: Digest) throws -> ConfigurationDocument? {
        try reading { db in
            try Row.fetchOne(db, sql: "SELECT * FROM configurations WHERE digest = ?", arguments: [digest.description])
                .map {
                    try Self.configuration($0, db)
                }
        }
    }

    /// - Parameter version: nil for the newest.
    package func configurationDigest(name: ConfigurationName, version: Int?) throws -> Digest? {
        try reading { db in
            try String.fetchOne(
                db,
                sql:
                    "SELECT digest FROM configuration_versions WHERE name = ? AND (? IS NULL OR version = ?) ORDER BY version DESC LIMIT 1",
                arguments: [name.rawValue, version, version])
        }.flatMap { Digest($0) }
    }

    /// One page: all versions of `name`, or the newest of each name. By name, then newest first.
    package func configurations(name: ConfigurationName?, limit: Int, cursor: String?) throws -> ConfigurationList {
        let offset = try cursor.map { try Cursor.numbers($0, count: 1)[0] } ?? 0
        guard offset >= 0 else { throw Problem(.badRequest, "is not a cursor of this list", field: "cursor") }
        var documents = try reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT c.* FROM configuration_versions v JOIN configurations c ON c.digest = v.digest
                    WHERE (? IS NOT NULL AND v.name = ?)
                       OR (? IS NULL AND v.version = (
                           SELECT MAX(w.version) FROM configuration_versions w WHERE w.name = v.name))
                    ORDER BY v.name, v.version DESC LIMIT ? OFFSET ?
                    """, arguments: [name?.rawValue, name?.rawValue, name?.rawValue, limit + 1, offset]
            ).map { try Self.configuration($0, db) }
        }
        let more = documents.count > limit
        if more { documents.removeLast() }
        return ConfigurationList(configurations: documents, next: more ? String(offset + Int64(limit)) : nil)
    }

    private static func configuration(_ row: Row, _ db: Database) throws -> ConfigurationDocument {
        guard let digest = Digest(row["digest"] as String) else {
            throw Unreadable(why: "a configuration has no digest")
        }
        let names = try Row.fetchAll(
            db, sql: "SELECT name, version FROM configuration_versions WHERE digest = ? ORDER BY created_at DESC, name",
            arguments: [digest.description]
        ).map { ConfigurationVersion(name: ConfigurationName(unchecked: $0["name"]), version: $0["version"]) }
        return ConfigurationDocument(
            digest: digest, names: names, createdAt: Timestamp(column: row["created_at"]),
            imageReference: row["image_reference"],
            configuration: try Column.value(JobModel.Configuration.self, row["content"]))
    }

    package func image(_ digest: Digest) throws -> ImageDocument? {
        try reading { db in
            try Row.fetchOne(db, sql: "SELECT * FROM images WHERE digest = ?", arguments: [digest.description]).map {
                try Self.image($0, db)
            }
        }
    }

    package func imageDigest(reference: String) throws -> Digest? {
        try reading { db in
            try String.fetchOne(
                db.cachedStatement(sql: "SELECT digest FROM image_names WHERE reference = ?"), arguments: [reference])
        }.flatMap { Digest($0) }
    }

    /// One page, newest first.
    package func images(limit: Int, cursor: String?) throws -> ImageList {
        let offset = try cursor.map { try Cursor.numbers($0, count: 1)[0] } ?? 0
        guard offset >= 0 else { throw Problem(.badRequest, "is not a cursor of this list", field: "cursor") }
        var images = try reading { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM images ORDER BY created_at DESC, digest LIMIT ? OFFSET ?",
                arguments: [limit + 1, offset]
            )
            .map { try Self.image($0, db) }
        }
        let more = images.count > limit
        if more { images.removeLast() }
        return ImageList(images: images, next: more ? String(offset + Int64(limit)) : nil)
    }

    private static func image(_ row: Row, _ db: Database) throws -> ImageDocument {
        guard let digest = Digest(row["digest"] as String) else { throw Unreadable(why: "an image has no digest") }
        return ImageDocument(
            digest: digest,
            references: try String.fetchAll(
                db, sql: "SELECT reference FROM image_names WHERE digest = ? ORDER BY reference",
                arguments: [digest.description]),
            mediaType: row["media_type"], size: ByteCount(bytes: row["size"]),
            platforms: Column.lines(row["platforms"] as String),
            layers: Column.lines(row["layers"] as String).compactMap { Digest($0) },
            createdAt: Timestamp(column: row["created_at"]),
            complete: row["is_complete"])
    }

    package func users() throws -> [UserRow] {
        try reading { db in
            try Row.fetchAll(db, sql: "SELECT * FROM users ORDER BY name").map { row in
                guard let hash = Digest(row["token_hash"] as String), let uid = UInt32(exactly: row["uid"] as Int64),
                    let gid = UInt32(exactly: row["gid"] as Int64)
                else { throw Unreadable(why: "a user cannot be read") }
                return UserRow(
                    name: UserName(unchecked: row["name"]), role: try Column.known(Role.self, row["role"]), uid: uid,
                    gid: gid, tokenHash: hash,
                    createdAt: Timestamp(column: row["created_at"]))
            }
        }
    }
}

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

    /// One page: all versions of `name`, or the newest of each name. By name, then newest first. A page begins after
    /// the name and version that the one before ended with, so that what is added in between neither hides nor repeats
    /// anything.
    package func configurations(name: ConfigurationName?, limit: Int, cursor: String?) throws -> ConfigurationList {
        let after = try cursor.map(Cursor.nameAndVersion)
        var rows = try reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT c.*, v.name AS page_name, v.version AS page_version
                    FROM configuration_versions v JOIN configurations c ON c.digest = v.digest
                    WHERE ((:name IS NOT NULL AND v.name = :name)
                        OR (:name IS NULL AND v.version =
                            (SELECT MAX(w.version) FROM configuration_versions w WHERE w.name = v.name)))
                      AND (:after IS NULL OR v.name > :after OR (v.name = :after AND v.version < :version))
                    ORDER BY v.name, v.version DESC LIMIT :limit
                    """,
                arguments: [
                    "name": name?.rawValue, "after": after?.name, "version": after?.version, "limit": limit + 1,
                ]
            ).map { (row: $0, document: try Self.configuration($0, db)) }
        }
        let more = rows.count > limit
        if more { rows.removeLast() }
        let next = rows.last.map { "\($0.row["page_name"] as String)@\($0.row["page_version"] as Int64)" }
        return ConfigurationList(configurations: rows.map(\.document), next: more ? next : nil)
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
                var image = try Self.image($0, db)
                let builds = try String.fetchAll(
                    db, sql: "SELECT record FROM image_builds WHERE digest = ? ORDER BY recorded_at DESC LIMIT 10",
                    arguments: [digest.description])
                if !builds.isEmpty { image.builds = try builds.map { try Column.value(BuildRecord.self, $0) } }
                return image
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
        let after = try cursor.map(Cursor.timeAndDigest)
        var images = try reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT * FROM images
                    WHERE :time IS NULL OR created_at < :time OR (created_at = :time AND digest > :digest)
                    ORDER BY created_at DESC, digest LIMIT :limit
                    """,
                arguments: ["time": after?.time, "digest": after?.digest.description, "limit": limit + 1]
            ).map { try Self.image($0, db) }
        }
        let more = images.count > limit
        if more { images.removeLast() }
        let next = images.last.map { "\($0.createdAt.column).\($0.digest.hex)" }
        return ImageList(images: images, next: more ? next : nil)
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

// What registry clients ask: which repository has a manifest, its tags, who refers to whom; and what configurations
// pin. From the pool's snapshots.
import Foundation
import GRDB
import JobModel

/// A page of something, and whether more follows.
struct RegistryPage<Element: Sendable>: Sendable {
    var elements: [Element]
    var hasMore: Bool
}

extension Store {
    /// Whether the repository has the manifest.
    func repository(_ repository: String, has digest: Digest) throws -> Bool {
        try reading { db in
            try Bool.fetchOne(
                db.cachedStatement(
                    sql: "SELECT EXISTS (SELECT 1 FROM registry_manifests WHERE repository = ? AND digest = ?)"),
                arguments: [repository, digest.description]) ?? false
        }
    }

    /// Whether anything is in the repository.
    func repositoryExists(_ repository: String) throws -> Bool {
        try reading { db in
            try Bool.fetchOne(
                db,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM registry_manifests WHERE repository = ?)
                        OR EXISTS (SELECT 1 FROM image_names WHERE \(NameRange.condition))
                    """, arguments: [repository] + NameRange(repository).arguments) ?? false
        }
    }

    /// Tags in lexical order: as letters without case, then by bytes.
    /// - Parameter last: begins after this tag, which need not exist.
    func tags(of repository: String, after last: String?, limit: Int) throws -> RegistryPage<String> {
        let prefix = repository + ":"
        let tags = try reading { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT tag FROM (
                        SELECT substr(reference, :skip) AS tag FROM image_names
                        WHERE reference > :from AND reference < :to AND instr(reference, '@') = 0)
                    WHERE :last IS NULL OR lower(tag) > lower(:last) OR (lower(tag) = lower(:last) AND tag > :last)
                    ORDER BY lower(tag), tag LIMIT :limit
                    """,
                arguments: [
                    "skip": prefix.utf8.count + 1, "from": prefix, "to": repository + ";", "last": last,
                    "limit": limit + 1,
                ])
        }
        return RegistryPage(elements: Array(tags.prefix(limit)), hasMore: tags.count > limit)
    }

    /// Manifests of the repository that are about `subject`, in order of their digests.
    /// - Parameter bytes: how many bytes of annotations one page holds, at most, beyond its first row.
    func referrers(
        to subject: Digest, in repository: String, artifactType: String?, after last: Digest?, limit: Int, bytes: Int
    ) throws -> RegistryPage<RegistryManifestRow> {
        try reading { db in
            let rows = try Row.fetchCursor(
                db,
                sql: """
                    SELECT * FROM registry_manifests
                    WHERE repository = :repository AND subject = :subject AND (:type IS NULL OR artifact_type = :type)
                        AND (:last IS NULL OR digest > :last)
                    ORDER BY digest
                    """,
                arguments: [
                    "repository": repository, "subject": subject.description, "type": artifactType,
                    "last": last?.description,
                ])
            var page = RegistryPage<RegistryManifestRow>(elements: [], hasMore: false)
            var size = 0
            while let row = try rows.next() {
                let manifest = try Self.manifest(row)
                size += manifest.annotations?.utf8.count ?? 0
                guard page.elements.isEmpty || (page.elements.count < limit && size <= bytes) else {
                    page.hasMore = true
                    break
                }
                page.elements.append(manifest)
            }
            return page
        }
    }

    /// Every index and manifest that some repository has for its own sake, once: what only a job's pull brought is the
    /// configurations' business.
    func repositoryManifests() throws -> [(repository: String, digest: Digest)] {
        try reading { db in
            try Row.fetchAll(
                db,
                sql:
                    "SELECT digest, MIN(repository) AS repository FROM registry_manifests WHERE is_pulled = 0 GROUP BY digest"
            ).compactMap { row in Digest(row["digest"] as String).map { (row["repository"], $0) } }
        }
    }

    /// Every name that somebody gave, and what it stands for. Those with a digest came with a job's image, and are the
    /// configurations' business.
    func imageNames() throws -> [(reference: String, digest: Digest)] {
        try reading { db in
            try Row.fetchAll(
                db, sql: "SELECT reference, digest FROM image_names WHERE instr(reference, '@') = 0 ORDER BY reference"
            )
            .compactMap { row in Digest(row["digest"] as String).map { (row["reference"], $0) } }
        }
    }

    /// What configurations need: images and files, each with the name of every configuration that needs it, the newest
    /// first: `annual-temps@3`, or its digest if it has no name. The images of a configuration are needed while one of
    /// its jobs wants them kept (``KeepPolicy``), or if it has no job; its files always. What
    /// imported runs brought is needed too.
    func pinned() throws -> [(digest: Digest, isImage: Bool, by: String)] {
        let name = """
            COALESCE((SELECT v.name || '@' || v.version FROM configuration_versions v WHERE v.digest = c.digest
                ORDER BY v.created_at DESC, v.name LIMIT 1), c.digest)
            """
        let isKept = """
            (NOT EXISTS (SELECT 1 FROM jobs j WHERE j.configuration = c.digest)
                OR EXISTS (SELECT 1 FROM jobs j WHERE j.configuration = c.digest AND (j.keep IS NULL
                    OR j.finished_at IS NULL OR (j.keep = 'on-success' AND j.state = 'succeeded'))))
            """
        return try reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT json_extract(c.content, '$.image.digest') AS needed, 1 AS is_image, \(name) AS by,
                        c.created_at
                    FROM configurations c WHERE \(isKept)
                    UNION
                    SELECT json_extract(s.value, '$.image.digest'), 1, \(name), c.created_at
                    FROM configurations c, json_each(c.content, '$.services') s WHERE \(isKept)
                    UNION
                    SELECT json_extract(f.value, '$.digest'), 0, \(name), c.created_at
                    FROM configurations c, json_each(c.content, '$.files') f
                    UNION
                    SELECT i.digest, 0, 'job ' || i.job || ' of ' || i.origin, r.imported_at
                    FROM imported_files i JOIN imported_runs r ON r.origin = i.origin AND r.job = i.job
                    ORDER BY 4 DESC, 3
                    """
            ).map { row in
                guard let text = row["needed"] as String?, let digest = Digest(text) else {
                    throw Unreadable(why: "a configuration pins nothing that can be read")
                }
                return (digest, row["is_image"], row["by"])
            }
        }
    }

    /// Every image that was written down, and whether all of it was here then.
    func imageDigests() throws -> [Digest: Bool] {
        try reading { db in
            let rows = try Row.fetchAll(db, sql: "SELECT digest, is_complete FROM images")
            return Dictionary(
                rows.compactMap { row in Digest(row["digest"] as String).map { ($0, row["is_complete"] as Bool) } },
                uniquingKeysWith: { first, _ in first })
        }
    }

    private static func manifest(_ row: Row) throws -> RegistryManifestRow {
        guard let digest = Digest(row["digest"] as String) else { throw Unreadable(why: "a manifest has no digest") }
        return RegistryManifestRow(
            repository: row["repository"], digest: digest, mediaType: row["media_type"], size: row["size"],
            artifactType: row["artifact_type"], subject: (row["subject"] as String?).flatMap { Digest($0) },
            annotations: row["annotations"],
            pushedBy: (row["pushed_by"] as String?).map { UserName(unchecked: $0) },
            createdAt: Timestamp(column: row["created_at"]), isPulled: row["is_pulled"])
    }

    /// Every digest that some repository knows as a manifest.
    func knownManifests() throws -> Set<Digest> {
        try reading { db in
            Set(
                try String.fetchAll(db, sql: "SELECT DISTINCT digest FROM registry_manifests")
                    .compactMap { Digest($0) })
        }
    }
}

// The schema's history: every migration in order, embedded in the binary. Forward only; a released one is never edited.

/// One step of the schema.
package struct Migration: Sendable {
    /// The file's name without its ending; recorded in the database.
    package let name: String
    package let sql: String
}

/// All migrations, oldest first.
package let migrations: [Migration] = [
    Migration(name: "0001_initial", sql: String(decoding: PackageResources._001_initial_sql, as: UTF8.self)),
    Migration(name: "0002_registry", sql: String(decoding: PackageResources._002_registry_sql, as: UTF8.self)),
    Migration(name: "0003_image_builds", sql: String(decoding: PackageResources._003_image_builds_sql, as: UTF8.self)),
    Migration(name: "0004_exports", sql: String(decoding: PackageResources._004_exports_sql, as: UTF8.self)),
    Migration(
        name: "0005_pulls_and_retention",
        sql: String(decoding: PackageResources._005_pulls_and_retention_sql, as: UTF8.self)),
    Migration(name: "0006_queues", sql: String(decoding: PackageResources._006_queues_sql, as: UTF8.self)),
    Migration(name: "0007_job_shapes", sql: String(decoding: PackageResources._007_job_shapes_sql, as: UTF8.self)),
    Migration(name: "0008_schedules", sql: String(decoding: PackageResources._008_schedules_sql, as: UTF8.self)),
    Migration(name: "0009_compaction", sql: String(decoding: PackageResources._009_compaction_sql, as: UTF8.self)),
    Migration(name: "0010_accounting", sql: String(decoding: PackageResources._010_accounting_sql, as: UTF8.self)),
    Migration(name: "0011_placement", sql: String(decoding: PackageResources._011_placement_sql, as: UTF8.self)),
    Migration(name: "0012_time_limits", sql: String(decoding: PackageResources._012_time_limits_sql, as: UTF8.self)),
]

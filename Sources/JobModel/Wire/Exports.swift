// What is said about exports and imports of the archive. The file itself is defined in Sources/Scheduler/Exports.

/// `POST /v1/archive/export`
package struct ExportRequest: Hashable, Codable, Sendable {
    package static let mostSources = 1_000
    package static let sizeLimit = 256 << 10

    /// Job ids, `name`, `name@version` or digests of configurations.
    package var sources: [String]
    /// Leave out what the programs printed.
    package var withoutLogs: Bool?
    /// Leave out the lists of files behind the digests of inputs and outputs.
    package var withoutLists: Bool?

    package init(sources: [String], withoutLogs: Bool? = nil, withoutLists: Bool? = nil) {
        self.sources = sources
        self.withoutLogs = withoutLogs
        self.withoutLists = withoutLists
    }

    private enum CodingKeys: String, CodingKey {
        case sources, withoutLogs = "without_logs", withoutLists = "without_lists"
    }
}

/// A configuration that an import brought, or that was here.
package struct ImportedConfiguration: Hashable, Codable, Sendable {
    package var digest: Digest
    /// As it is called here now; empty if it has no name.
    package var names: [String]
    /// Whether it was not here before.
    package var isNew: Bool

    package init(digest: Digest, names: [String], isNew: Bool) {
        self.digest = digest
        self.names = names
        self.isNew = isNew
    }

    private enum CodingKeys: String, CodingKey { case digest, names, isNew = "new" }
}

/// `POST /v1/archive/import`
package struct ArchiveImport: Hashable, Codable, Sendable {
    /// Of the list of the file's content, which holds the digest of everything else: what names the export.
    package var digest: Digest
    /// The cluster that wrote it.
    package var origin: String
    package var exportedAt: Timestamp
    package var exportedBy: String
    package var configurations: [ImportedConfiguration]
    /// Names of images that were not here before.
    package var images: [String]
    /// Runs that were not here before, and all that are in the file.
    package var newRuns: Int
    package var runs: Int
    /// Names of configurations and images that mean something else here and were left as they are.
    package var skipped: [String]

    package init(
        digest: Digest, origin: String, exportedAt: Timestamp, exportedBy: String,
        configurations: [ImportedConfiguration], images: [String], newRuns: Int, runs: Int, skipped: [String]
    ) {
        self.digest = digest
        self.origin = origin
        self.exportedAt = exportedAt
        self.exportedBy = exportedBy
        self.configurations = configurations
        self.images = images
        self.newRuns = newRuns
        self.runs = runs
        self.skipped = skipped
    }

    private enum CodingKeys: String, CodingKey {
        case digest, origin, exportedAt = "exported_at", exportedBy = "exported_by", configurations, images
        case newRuns = "new_runs", runs, skipped
    }
}

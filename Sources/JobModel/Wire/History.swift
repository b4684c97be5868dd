// The runs of a configuration over the years, as the API and `-o json` show them. Fields are added, never renamed.

/// What one slot held in a run.
package struct SlotHistory: Hashable, Codable, Sendable {
    /// What it was bound to; absent for jobs whose record does not say.
    package var binding: String?
    /// Of the slot's data; of an array the digest of all its tasks' digests. Absent if nothing was fingerprinted.
    package var treeDigest: Digest?
    /// How many different trees the tasks had.
    package var trees: Int
    package var files: Int64
    package var size: ByteCount

    package init(binding: String?, treeDigest: Digest?, trees: Int, files: Int64, size: ByteCount) {
        self.binding = binding
        self.treeDigest = treeDigest
        self.trees = trees
        self.files = files
        self.size = size
    }

    private enum CodingKeys: String, CodingKey {
        case binding, treeDigest = "tree_digest", trees, files, size = "size_bytes"
    }
}

/// One job of a configuration, with its data.
package struct RunDocument: Hashable, Codable, Sendable {
    package var job: JobDocument
    /// By slot: what the newest attempt of each task read.
    package var inputs: [String: SlotHistory]
    /// By slot: what the tasks that succeeded came to.
    package var outputs: [String: SlotHistory]
    /// Where it ran, sorted.
    package var workers: [String]
    /// Sums over all attempts.
    package var wallSeconds: Double
    package var cpuSeconds: Double
    /// Whether there are more attempts than were looked at: then digests and sums are those of the first.
    package var partial: Bool
    /// Of a job of another cluster, which came with an import: its id is the one that it has there.
    package var imported: ImportedFrom?

    package init(
        job: JobDocument, inputs: [String: SlotHistory], outputs: [String: SlotHistory], workers: [String],
        wallSeconds: Double, cpuSeconds: Double, partial: Bool, imported: ImportedFrom? = nil
    ) {
        self.imported = imported
        self.job = job
        self.inputs = inputs
        self.outputs = outputs
        self.workers = workers
        self.wallSeconds = wallSeconds
        self.cpuSeconds = cpuSeconds
        self.partial = partial
    }

    private enum CodingKeys: String, CodingKey {
        case job, inputs, outputs, workers, wallSeconds = "wall_seconds", cpuSeconds = "cpu_seconds", partial
        case imported
    }
}

/// Where a run came from.
package struct ImportedFrom: Hashable, Codable, Sendable {
    /// The cluster, as it calls itself in what it exports.
    package var origin: String
    package var importedAt: Timestamp
    package var importedBy: String

    package init(origin: String, importedAt: Timestamp, importedBy: String) {
        self.origin = origin
        self.importedAt = importedAt
        self.importedBy = importedBy
    }

    private enum CodingKeys: String, CodingKey {
        case origin, importedAt = "imported_at", importedBy = "imported_by"
    }
}

/// `GET /v1/configurations/{source}/runs`: one page, newest first.
package struct RunList: Hashable, Codable, Sendable {
    package var runs: [RunDocument]
    package var next: String?
    package init(runs: [RunDocument], next: String?) {
        self.runs = runs
        self.next = next
    }
}

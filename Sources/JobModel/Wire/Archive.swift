// What is said about the archive as a whole: how much it holds and why, what was deleted, what is damaged.

/// A part of the archive.
package struct ArchiveShare: Hashable, Codable, Sendable {
    package var blobs: Int64 = 0
    package var size = ByteCount(bytes: 0)
    package init() {}

    /// Counts one more blob of `bytes` bytes.
    package mutating func add(_ bytes: Int64) {
        blobs += 1
        size = ByteCount(bytes: size.bytes + bytes)
    }

    private enum CodingKeys: String, CodingKey { case blobs, size = "size_bytes" }
}

package struct ArchiveStatus: Hashable, Codable, Sendable {
    /// What configurations need: never deleted.
    package var pinned: ArchiveShare
    /// What only names and repositories have.
    package var named: ArchiveShare
    /// What nothing needs, but was touched lately: a push may be underway.
    package var recent: ArchiveShare
    /// What garbage collection would delete.
    package var unneeded: ArchiveShare
    /// Beginnings of blobs whose pulls were cut off.
    package var partial: ArchiveShare?
    /// What programs printed.
    package var logs: RetainedShare?
    /// The lists of files behind tree digests.
    package var manifests: RetainedShare?

    package init(pinned: ArchiveShare, named: ArchiveShare, recent: ArchiveShare, unneeded: ArchiveShare) {
        self.pinned = pinned
        self.named = named
        self.recent = recent
        self.unneeded = unneeded
    }
}

/// What the retention policy keeps, and by which limits. Without limits nothing goes.
package struct RetainedShare: Hashable, Codable, Sendable {
    package var files: Int64
    /// On disk.
    package var size: ByteCount
    package var oldest: Timestamp?
    package var keep: TimeSpan?
    package var budget: ByteCount?

    package init(files: Int64, size: ByteCount, oldest: Timestamp?, keep: TimeSpan?, budget: ByteCount?) {
        self.files = files
        self.size = size
        self.oldest = oldest
        self.keep = keep
        self.budget = budget
    }

    private enum CodingKeys: String, CodingKey {
        case files, size = "size_bytes", oldest, keep = "keep_seconds", budget = "budget_bytes"
    }
}

package struct ArchiveCollection: Hashable, Codable, Sendable {
    /// Nothing was deleted; `deleted` is what would have been.
    package var dryRun: Bool
    package var deleted: ArchiveShare
    /// Logs past the retention policy.
    package var logs: ArchiveShare?
    /// Lists of files past the retention policy.
    package var manifests: ArchiveShare?

    package init(dryRun: Bool, deleted: ArchiveShare) {
        self.dryRun = dryRun
        self.deleted = deleted
    }

    private enum CodingKeys: String, CodingKey { case dryRun = "dry_run", deleted, logs, manifests }
}

/// A blob that is not what it should be, and whom it hurts.
package struct ArchiveDamage: Hashable, Codable, Sendable {
    package enum Fault: String, Codable, Sendable {
        /// It is needed and not here.
        case missing
        /// Its content does not have its digest any more.
        case changed
    }

    package var digest: Digest
    package var problem: Fault
    /// Names, or digests of configurations without one.
    package var configurations: [String] = []
    package var images: [String] = []

    package init(digest: Digest, problem: Fault) {
        self.digest = digest
        self.problem = problem
    }
}

/// One step of a verification.
package struct ArchiveVerification: Hashable, Codable, Sendable {
    package var checked: ArchiveShare
    package var damaged: [ArchiveDamage]
    /// Where the next step begins; nil after the last one.
    package var next: Digest?

    package init(checked: ArchiveShare, damaged: [ArchiveDamage], next: Digest?) {
        self.checked = checked
        self.damaged = damaged
        self.next = next
    }
}

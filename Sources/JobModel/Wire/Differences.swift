// What was equal between two attempts and what was not, file by file, as the API and `-o json` show it. Fields are
// added, never renamed.

package enum FileChange: String, Codable, Sendable, CaseIterable {
    /// Only the second has it.
    case added
    /// Only the first has it.
    case removed
    case content
    /// A folder became a file, a file a link, and so on.
    case type
    /// The permission bits alone.
    case mode
}

/// What an entry of a tree was.
package struct FileEntry: Hashable, Codable, Sendable {
    package var type: Open<TreeEntry.Kind>
    /// Permission bits in octal: `644`.
    package var mode: String
    package var size: ByteCount
    /// Of the content; absent for folders, and where content was not read.
    package var digest: Digest?

    package init(_ entry: TreeEntry) {
        type = Open(entry.kind)
        mode = String(entry.mode, radix: 8)
        size = ByteCount(bytes: entry.size)
        digest = entry.digest
    }

    private enum CodingKeys: String, CodingKey { case type, mode, size = "size_bytes", digest }
}

/// Why two files are probably not the same.
package enum CauseKind: String, Codable, Sendable, CaseIterable {
    case timestamp, order, locale, rounding, jobID = "job-id", random, lineEndings = "line-endings", truncated
}

package struct DifferenceCause: Hashable, Codable, Sendable {
    package var kind: Open<CauseKind>
    /// One sentence, with what to do about it.
    package var sentence: String
    package init(_ kind: CauseKind, _ sentence: String) {
        self.kind = Open(kind)
        self.sentence = sentence
    }
}

package struct FileDifference: Hashable, Codable, Sendable {
    /// Below the slot; bytes that are not UTF-8 are replaced.
    package var path: String
    package var change: Open<FileChange>
    package var first: FileEntry?
    package var second: FileEntry?
    /// The offset of the first byte that differs, where the contents were compared.
    package var firstDifference: Int64?
    package var cause: DifferenceCause?

    package init(_ difference: EntryDifference) {
        path = (difference.first ?? difference.second)?.name ?? ""
        change = Open(difference.change)
        first = difference.first.map { FileEntry($0) }
        second = difference.second.map { FileEntry($0) }
    }

    private enum CodingKeys: String, CodingKey {
        case path, change, first, second, firstDifference = "first_difference", cause
    }
}

/// The data of one slot in two attempts.
package struct TreeDifference: Hashable, Codable, Sendable {
    package var first: TreeFingerprint?
    package var second: TreeFingerprint?
    /// Absent if that is not known: one was not fingerprinted, or not in the same way.
    package var equal: Bool?
    /// How many entries differ, where both lists are kept.
    package var total: Int64?
    /// The first of them.
    package var files: [FileDifference]
    /// Why less is known than could be.
    package var note: String?

    package init(first: TreeFingerprint?, second: TreeFingerprint?) {
        self.first = first
        self.second = second
        files = []
        guard let first, let second, first.level == second.level, let a = first.treeDigest, let b = second.treeDigest
        else { return }
        equal = a == b
    }
}

/// `GET /v1/attempts/{attempt}/differences/{other}`
package struct AttemptDifferences: Hashable, Codable, Sendable {
    package var first: AttemptID
    package var second: AttemptID
    /// By slot.
    package var inputs: [String: TreeDifference]
    package var outputs: [String: TreeDifference]

    package init(
        first: AttemptID, second: AttemptID, inputs: [String: TreeDifference], outputs: [String: TreeDifference]
    ) {
        self.first = first
        self.second = second
        self.inputs = inputs
        self.outputs = outputs
    }

    /// Whether everything is known to be equal.
    package var areEqual: Bool { (Array(inputs.values) + Array(outputs.values)).allSatisfy { $0.equal == true } }
}

/// An entry of a tree in a list.
package struct ListedFile: Hashable, Codable, Sendable {
    package var path: String
    package var type: Open<TreeEntry.Kind>
    package var mode: String
    package var size: ByteCount
    package var digest: Digest?

    package init(_ entry: TreeEntry) {
        let shown = FileEntry(entry)
        (path, type, mode, size, digest) = (entry.name, shown.type, shown.mode, shown.size, shown.digest)
    }

    private enum CodingKeys: String, CodingKey { case path, type, mode, size = "size_bytes", digest }
}

/// `GET /v1/attempts/{attempt}/files/{slot}`: one page of what a slot held.
package struct FileList: Hashable, Codable, Sendable {
    package var files: [ListedFile]
    package var next: String?
    package init(files: [ListedFile], next: String?) {
        self.files = files
        self.next = next
    }
}

/// What a worker saw of two contents, side by side: the run that verifies an attempt sends it before it ends.
package struct OutputComparison: Hashable, Codable, Sendable {
    /// Of a body.
    package static let sizeLimit = 1 << 20
    /// Files that are compared at most.
    package static let mostFiles = 200

    package struct File: Hashable, Codable, Sendable {
        package var slot: SlotName
        package var path: String
        /// Absent if the earlier content could not be read, or is not what was published.
        package var firstDifference: Int64?
        package var cause: DifferenceCause?

        package init(slot: SlotName, path: String, firstDifference: Int64?, cause: DifferenceCause?) {
            self.slot = slot
            self.path = path
            self.firstDifference = firstDifference
            self.cause = cause
        }

        private enum CodingKeys: String, CodingKey { case slot, path, firstDifference = "first_difference", cause }
    }

    /// The attempt whose output this was compared with.
    package var with: AttemptID
    package var files: [File]
    /// Why contents were not compared.
    package var note: String?

    package init(with: AttemptID, files: [File], note: String?) {
        self.with = with
        self.files = files
        self.note = note
    }
}

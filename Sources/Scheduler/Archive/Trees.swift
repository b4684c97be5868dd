// The lists behind tree digests, kept compressed and named by the digests that attempts report. From them it is told
// what a slot held, and which files of two attempts are not the same. Functions block.
import Foundation
import JobModel
import OCI

package struct Trees: Sendable {
    let lists: CompressedStore
    let comparisons: ComparisonFiles
    /// When the retention policy removed a list; nil if it did not.
    let removed: @Sendable (Digest) throws -> Timestamp?

    /// Files of a slot that one answer names at most.
    static let mostDifferences: Int64 = 1000

    func has(_ digest: Digest) -> Bool { lists.has(digest) }

    /// Keeps a list from a file, after every line of it was checked.
    /// - Throws: ``Problem``, or ``OCIError`` if the disk or the digest is at fault.
    func keep(_ digest: Digest, from path: String) throws {
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw Problem(.internal, "the spooled body cannot be read")
        }
        let pieces = { () throws -> [UInt8]? in
            let data = try file.read(upToCount: 1 << 17) ?? Data()
            return data.isEmpty ? nil : Array(data)
        }
        do {
            var reader = TreeManifestReader(pieces: pieces)
            while try reader.next() != nil {}
        } catch let mistake as TreeManifestMistake {
            throw Problem(.badRequest, "is no list of a tree: \(mistake)", field: "body")
        }
        try file.seek(toOffset: 0)
        try lists.put(digest, pieces)
    }

    /// - Throws: ``OCIError/blobMissing(_:)``.
    func reader(_ digest: Digest) throws(OCIError) -> TreeManifestReader {
        let reader = try lists.reader(digest)
        return TreeManifestReader(pieces: { try reader.next() })
    }

    /// One page of what a slot held.
    /// - Parameter start: how many entries are left out.
    func page(of digest: Digest, from start: Int64, limit: Int) throws -> FileList {
        var reader = try self.reader(digest)
        var (files, index): ([ListedFile], Int64) = ([], 0)
        while let entry = try reader.next() {
            if index >= start {
                guard files.count < limit else { return FileList(files: files, next: String(index)) }
                files.append(ListedFile(entry))
            }
            index += 1
        }
        return FileList(files: files, next: nil)
    }

    // MARK: Differences

    /// - Parameter limit: files that are named for each slot.
    func differences(_ first: AttemptDocument, _ second: AttemptDocument, limit: Int) throws -> AttemptDifferences {
        let comparison = comparisons.read(second.id).flatMap { $0.with == first.id ? $0 : nil }
        return AttemptDifferences(
            first: first.id, second: second.id,
            inputs: try slots(first.inputs, second.inputs, limit: limit),
            outputs: try slots(first.outputs, second.outputs, limit: limit, comparison))
    }

    private func slots(
        _ first: [String: TreeFingerprint], _ second: [String: TreeFingerprint], limit: Int,
        _ comparison: OutputComparison? = nil
    ) throws -> [String: TreeDifference] {
        var found: [String: TreeDifference] = [:]
        for slot in Set(first.keys).union(second.keys) {
            let seen = comparison.map { $0.files.filter { $0.slot.rawValue == slot } } ?? []
            found[slot] = try difference(first[slot], second[slot], limit: limit, seen)
            if let note = comparison?.note, found[slot]?.equal == false, found[slot]?.note == nil {
                found[slot]?.note = "the contents were not compared: \(note)"
            }
        }
        return found
    }

    private func difference(
        _ first: TreeFingerprint?, _ second: TreeFingerprint?, limit: Int, _ seen: [OutputComparison.File]
    ) throws -> TreeDifference {
        var difference = TreeDifference(first: first, second: second)
        guard let a = first?.treeDigest, let b = second?.treeDigest, let equal = difference.equal else {
            difference.note = difference.equal == nil ? Self.unknown(first, second) : nil
            return difference
        }
        guard !equal else {
            difference.total = 0
            return difference
        }
        guard has(a), has(b) else {
            let size = ByteCount(bytes: TreeManifestReader.sizeLimit)
            let time = try [a, b].lazy.filter { !has($0) }.compactMap { try removed($0) }.first
            difference.note =
                time.map { "the files are not named: their list was removed on \($0.day) by the retention policy" }
                ?? "the files are not named: their list is not kept, because it is longer than \(size) or of an older "
                + "worker"
            return difference
        }
        let details = Dictionary(seen.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        difference.total = try TreeComparison.compare(try reader(a), try reader(b)) { entry in
            guard difference.files.count < limit else { return }
            var file = FileDifference(entry)
            file.firstDifference = details[file.path]?.firstDifference
            file.cause = details[file.path]?.cause
            difference.files.append(file)
        }
        return difference
    }

    private static func unknown(_ first: TreeFingerprint?, _ second: TreeFingerprint?) -> String {
        guard let first, let second else { return "only one of the two has it" }
        return first.level == second.level
            ? "it was not fingerprinted"
            : "one was fingerprinted by \(first.level.rawValue), one by \(second.level.rawValue)"
    }
}

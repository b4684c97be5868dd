// The list behind a tree digest: one line an entry, as Sources/Worker/Volumes/Fingerprint.swift documents them. The
// digest is the SHA-256 of the list, so whoever has the list can prove it. Read in pieces: a list may be long.

/// A file, folder or link of a tree.
package struct TreeEntry: Hashable, Sendable {
    package enum Kind: String, Codable, Sendable, CaseIterable { case file, folder, link }

    /// As bytes: a name need not be UTF-8. A tree that is one file has the path `.`.
    package let path: [UInt8]
    package let kind: Kind
    /// Permission bits.
    package let mode: UInt32
    /// In bytes; 0 for folders.
    package let size: Int64
    /// 64 hexadecimal digits of the content's SHA-256, at level `metadata` the time of the last change in nanoseconds,
    /// or `-`.
    package let content: String

    package init(path: [UInt8], kind: Kind, mode: UInt32, size: Int64, content: String) {
        self.path = path
        self.kind = kind
        self.mode = mode
        self.size = size
        self.content = content
    }

    package var name: String { String(decoding: path, as: UTF8.self) }
    /// Of a file's content or a link's target, where it was read.
    package var digest: Digest? { Digest("sha256:" + content) }
}

/// A list that is not what a fingerprint writes.
package struct TreeManifestMistake: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
}

/// The entries of a list, one after the other, checked.
package struct TreeManifestReader {
    /// The longest list that is kept: some hundred thousand files.
    package static let sizeLimit: Int64 = 64 << 20
    /// PATH_MAX and the fields before it.
    private static let longestLine = 4096 + 128

    private let nextPiece: () throws -> [UInt8]?
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false
    private var last: [UInt8]?

    /// - Parameter pieces: the list's next bytes, nil at its end.
    package init(pieces: @escaping () throws -> [UInt8]?) { nextPiece = pieces }

    package init(_ bytes: [UInt8]) {
        var rest: [UInt8]? = bytes
        nextPiece = {
            defer { rest = nil }
            return rest
        }
    }

    /// The next entry, nil at the end.
    /// - Throws: ``TreeManifestMistake``, or what reading the list throws.
    package mutating func next() throws -> TreeEntry? {
        var searched = position
        while true {
            if let end = buffer[searched...].firstIndex(of: 0) {
                let entry = try Self.entry(buffer[position..<end])
                position = end + 1
                if let last, !last.lexicographicallyPrecedes(entry.path) {
                    throw TreeManifestMistake(description: "its entry \(quoted(entry.name)) is not in order")
                }
                last = entry.path
                return entry
            }
            guard buffer.count - position <= Self.longestLine else {
                throw TreeManifestMistake(description: "it has a line of more than \(Self.longestLine) bytes")
            }
            buffer.removeFirst(position)
            position = 0
            searched = buffer.count
            guard !isAtEnd, let piece = try nextPiece() else {
                isAtEnd = true
                guard buffer.isEmpty else { throw TreeManifestMistake(description: "its last line is cut off") }
                return nil
            }
            buffer += piece
        }
    }

    /// `f 644 12 <64 digits> path`
    private static func entry(_ line: ArraySlice<UInt8>) throws(TreeManifestMistake) -> TreeEntry {
        let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 4, omittingEmptySubsequences: false)
        let mistake = TreeManifestMistake(
            description: "the line \(quoted(String(decoding: line, as: UTF8.self))) is none")
        guard fields.count == 5, fields[0].count == 1, !fields[4].isEmpty else { throw mistake }
        let kind: TreeEntry.Kind
        switch fields[0].first {
        case UInt8(ascii: "f"): kind = .file
        case UInt8(ascii: "d"): kind = .folder
        case UInt8(ascii: "l"): kind = .link
        default: throw mistake
        }
        func text(_ index: Int) -> String { String(decoding: fields[index], as: UTF8.self) }
        guard let mode = UInt32(text(1), radix: 8), mode <= 0o7777, let size = Int64(text(2)), size >= 0,
            fields[3].count <= 64, fields[3].allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw mistake }
        return TreeEntry(path: Array(fields[4]), kind: kind, mode: mode, size: size, content: text(3))
    }
}

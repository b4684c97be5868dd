// The name of a layer's entry, checked: components below the layer's root, as bytes, because file names are bytes.
// Refused is whatever would leave the root; what stands on the disk at a name is LayerUnpacker's business.

/// A path below the root of a layer. Both parts end in a zero byte.
struct LayerPath: Equatable {
    /// The folder's path from the root, empty for the root itself.
    private(set) var folder: [CChar]
    /// The last component; empty for the root itself.
    private(set) var leaf: [CChar]
    /// What AUFS left beside the files (`.wh..wh.plnk`, …): nobody wants it, and Docker skips it as well.
    private(set) var isBookkeeping = false

    static let longestPath = 4095
    static let longestName = 255

    var isRoot: Bool { leaf.count == 1 }

    /// - Parameter text: a path as an archive has it, ended by a zero byte.
    init(_ text: UnsafePointer<CChar>) throws(StageFailure) {
        guard text[0] != 0 else { throw StageFailure.refusedEntry("it has no name") }
        guard text[0] != CChar.slash else { throw StageFailure.refusedEntry("its path is absolute") }
        var folder: [CChar] = []
        var leaf: [CChar] = []
        var position = 0
        while true {
            let start = position
            while text[position] != 0, text[position] != .slash { position += 1 }
            let name = UnsafeBufferPointer(start: text + start, count: position - start)
            if name.count > Self.longestName {
                throw StageFailure.refusedEntry("a name in its path has more than \(Self.longestName) bytes")
            }
            if name.elementsEqual([.dot, .dot]) {
                throw StageFailure.refusedEntry("its path would leave the layer by '..'")
            }
            if !name.isEmpty, !name.elementsEqual([.dot]) {
                if !leaf.isEmpty {
                    if leaf.starts(with: Self.whiteout) {
                        guard leaf.starts(with: Self.bookkeeping) else {
                            throw StageFailure.refusedEntry("a folder in its path has the name of a whiteout")
                        }
                        isBookkeeping = true
                    }
                    if !folder.isEmpty { folder.append(.slash) }
                    folder += leaf
                }
                leaf = Array(name)
                guard folder.count + leaf.count < Self.longestPath else {
                    throw StageFailure.refusedEntry("its path has more than \(Self.longestPath) bytes")
                }
            }
            if text[position] == 0 { break }
            position += 1
        }
        if leaf.starts(with: Self.bookkeeping), !leaf.elementsEqual(Self.opaque) { isBookkeeping = true }
        self.folder = folder + [0]
        self.leaf = leaf + [0]
    }

    /// `.wh.NAME` hides NAME of the layers below; `.wh..wh..opq` hides all that they have in its folder.
    private static let whiteout = ".wh.".utf8.map { CChar($0) }
    private static let bookkeeping = ".wh..wh.".utf8.map { CChar($0) }
    private static let opaque = ".wh..wh..opq".utf8.map { CChar($0) }

    enum Marker: Equatable {
        case none
        /// The folder shows nothing of the layers below.
        case opaque
        /// The name, ended by a zero byte, that the layers below do not have any more.
        case hides([CChar])
    }

    /// What the name says beyond itself (OCI image specification, "Image Layer Filesystem Changeset").
    func marker() throws(StageFailure) -> Marker {
        guard leaf.starts(with: Self.whiteout) else { return .none }
        if leaf.dropLast().elementsEqual(Self.opaque) { return .opaque }
        let hidden = Array(leaf.dropFirst(Self.whiteout.count))
        guard hidden.count > 1, hidden.dropLast() != [.dot], hidden.dropLast() != [.dot, .dot] else {
            throw StageFailure.refusedEntry("it is a whiteout of nothing")
        }
        return .hides(hidden)
    }
}

extension CChar {
    fileprivate static let slash = CChar(UInt8(ascii: "/"))
    fileprivate static let dot = CChar(UInt8(ascii: "."))
}

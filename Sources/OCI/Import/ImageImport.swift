// Archives that people have, made into images of the archive: a root file system as a tar, `docker save`, an OCI
// layout. The same input gives the same digest. Member names are only compared, never written to, so no archive can
// reach outside the store. A failed import may leave whole blobs behind, which nothing names.
import Glibc
import JobModel

/// Imports the archive in the file at `path`. Blocks for as long as reading the file takes.
/// - Throws: ``OCIError`` that names the member at fault.
package func importImage(archive path: String, into store: ContentStore) throws(OCIError) -> StoredImage {
    let archive = ImageArchiveFile(path: path, store: store)
    let digest: Digest
    switch try archive.kind() {
    case .rootFileSystem: digest = try archive.importRootFileSystem()
    case .dockerArchive: digest = try archive.importDockerArchive()
    case .layout: digest = try archive.importLayout()
    }
    let image = try inspectImage(digest, in: store)
    guard image.isComplete else { throw OCIError.malformed(what: "the archive", why: "it holds no whole image") }
    return image
}

/// The file and where its content goes.
struct ImageArchiveFile {
    let path: String
    let store: ContentStore

    enum Kind {
        case rootFileSystem
        case dockerArchive
        case layout
    }

    /// By the names at the top: `oci-layout` and `index.json`, or `manifest.json`. A tree with folders as every
    /// system has them is a root file system, whatever else lies in it.
    func kind() throws(OCIError) -> Kind {
        let archive = try reader()
        var names: Set<String> = []
        var isEmpty = true
        while let entry = try archive.next() {
            isEmpty = false
            let top = String(entry.name.prefix { $0 != "/" })
            if Self.telling.contains(top) { names.insert(top) }
            try archive.readThrough()
        }
        guard !isEmpty else { throw OCIError.malformed(what: "the archive", why: "it is empty or no tar") }
        if names.isDisjoint(with: Self.systemFolders) {
            if names.contains("oci-layout"), names.contains("index.json") { return .layout }
            if names.contains("manifest.json") { return .dockerArchive }
        }
        return .rootFileSystem
    }

    private static let systemFolders: Set = ["bin", "etc", "lib", "sbin", "usr", "var"]
    private static let telling = systemFolders.union(["oci-layout", "index.json", "manifest.json"])

    // MARK: A root file system

    func importRootFileSystem() throws(OCIError) -> Digest {
        let content = try UncompressedLayer(path: path, named: "the archive")
        guard content.isClosed else {
            let why = "it ends without the two empty blocks that close a tar: it was cut short"
            throw OCIError.malformed(what: "the archive", why: why)
        }
        let writer = try store.writer()
        let type: String
        if let kept = content.compression.layerType {
            type = kept
            try forEachPiece(of: path) { (piece) throws(OCIError) in try writer.write(piece) }
        } else {
            // No engine takes a layer in xz or bzip2, so it is kept as the tar that it holds.
            type = MediaType.layer
            let archive = try ArchiveReader(path: path, named: "the archive", format: .raw)
            while try archive.next() != nil {
                try archive.forEachPiece { (piece) throws(OCIError) in try writer.write(piece) }
            }
        }
        let size = writer.size
        let digest = try writer.commit(expecting: nil, size: nil)
        let configuration = try store.put(Self.configuration(diffID: content.diffID))
        return try putManifest(
            configuration: configuration, layers: [Descriptor(mediaType: type, digest: digest, size: size)])
    }

    /// Times are the epoch: the content alone decides the digest.
    private static func configuration(diffID: Digest) -> [UInt8] {
        let parts = Platform.host.split(separator: "/").map(String.init)
        let epoch = JSONValue.string("1970-01-01T00:00:00Z")
        return JSONValue.object([
            ("architecture", .string(parts[1])), ("os", .string(parts[0])), ("created", epoch), ("config", .object([])),
            ("rootfs", .object([("type", .string("layers")), ("diff_ids", .array([.string(diffID.description)]))])),
            ("history", .array([.object([("created", epoch), ("created_by", .string("jobctl image import"))])])),
        ]).canonical
    }

    func putManifest(configuration: Digest, layers: [Descriptor]) throws(OCIError) -> Digest {
        let size = store.size(of: configuration) ?? 0
        let descriptor = Descriptor(mediaType: MediaType.configuration, digest: configuration, size: size)
        return try store.put(Manifest.imageBytes(configuration: descriptor, layers: layers))
    }

    // MARK: Members

    func reader() throws(OCIError) -> ArchiveReader {
        try ArchiveReader(path: path, named: "the archive", format: .tar)
    }

    func missing(_ name: String) -> OCIError { .malformed(what: "the archive", why: "it lacks \(quoted(name))") }

    /// The content of a small member.
    func content(of name: String) throws(OCIError) -> [UInt8] {
        let archive = try reader()
        let limit = ContentStore.configurationLimit
        while let entry = try archive.next() {
            guard entry.isFile, entry.name == name else { continue }
            var bytes: [UInt8] = []
            try archive.forEachPiece { (piece) throws(OCIError) in
                guard bytes.count + piece.count <= limit else {
                    throw OCIError.tooLarge(what: "the member \(quoted(name)) of the archive", limit: Int64(limit))
                }
                bytes.append(contentsOf: piece)
            }
            return bytes
        }
        throw missing(name)
    }
}

/// A file's bytes in pieces.
private func forEachPiece(of path: String, _ body: (UnsafeRawBufferPointer) throws(OCIError) -> Void) throws(OCIError) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
    defer { close(file) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { buffer.deallocate() }
    while true {
        let count = read(file, buffer.baseAddress, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw OCIError.storage(operation: "read \(path)", errno: errno) }
        if count == 0 { return }
        try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
}

// Everything that a content store has, for whoever looks after it.
import Glibc
import JobModel

extension ContentStore {
    package struct Blob: Hashable, Sendable {
        package let digest: Digest
        /// In bytes.
        package let size: Int64
        /// When it came or was last relied on, in seconds since 1970.
        package let touchedAt: Double
    }

    /// Every blob, in order of the digests. What comes or goes meanwhile may or may not be among them.
    package func blobs() throws(OCIError) -> [Blob] {
        var found: [Blob] = []
        let root = directory + "/blobs/sha256"
        for part in try listing(of: root).sorted() {
            for name in try listing(of: "\(root)/\(part)").sorted() {
                guard let digest = Digest("sha256:" + name) else { continue }
                var information = stat()
                guard stat(path(of: digest), &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
                    continue
                }
                let time = Double(information.st_mtim.tv_sec) + Double(information.st_mtim.tv_nsec) / 1e9
                found.append(Blob(digest: digest, size: Int64(information.st_size), touchedAt: time))
            }
        }
        return found
    }

    /// Whether the blob's content has its digest; nil if there is no such blob.
    package func isWhole(_ digest: Digest) throws(OCIError) -> Bool? {
        let file = open(path(of: digest), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            guard errno == ENOENT else { throw OCIError.storage(operation: "open \(path(of: digest))", errno: errno) }
            return nil
        }
        defer { close(file) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { buffer.deallocate() }
        var builder = DigestBuilder()
        while true {
            let count = Glibc.read(file, buffer.baseAddress, buffer.count)
            if count < 0, errno == EINTR { continue }
            // A sector that cannot be read is damage, and exactly what is looked for.
            guard count >= 0 else { return false }
            if count == 0 { return builder.finish() == digest }
            builder.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }
}

// Beginnings of blobs that were cut off on their way from a registry: `partial/<hex>`, taken up where they ended, also
// after a restart. None of it is content of the archive: only a whole, verified blob gets a name.
import Glibc
import JobModel

extension ContentStore {
    func partialPath(of digest: Digest) -> String { "\(directory)/partial/\(digest.hex)" }

    /// A writer that goes on where an earlier one of the same blob ended, or a plain one if another has it for more
    /// than three seconds. Blocks.
    package func writer(resuming digest: Digest, size: Int64) throws(OCIError) -> BlobWriter {
        // One that was given up holds it until its connection has ended, a moment later.
        for _ in 0..<100 {
            if let writer = try BlobWriter(resuming: digest, limit: size, in: self) { return writer }
            usleep(30_000)
        }
        return try writer()
    }

    /// How much of the blob is here, in bytes: all of it, its beginning, or nothing.
    package func received(of digest: Digest) -> Int64 {
        if let size = size(of: digest) { return size }
        var information = stat()
        return stat(partialPath(of: digest), &information) == 0 ? Int64(information.st_size) : 0
    }

    /// The beginnings that are kept, in bytes.
    package func partials() throws(OCIError) -> [Int64] {
        try listing(of: directory + "/partial").compactMap { name in
            var information = stat()
            return stat("\(directory)/partial/\(name)", &information) == 0 ? Int64(information.st_size) : nil
        }
    }

    /// Removes beginnings that nobody has written to since a time.
    /// - Parameter before: seconds since 1970.
    package func removePartials(untouchedSince before: Double) throws(OCIError) {
        for name in try listing(of: directory + "/partial") {
            let path = "\(directory)/partial/\(name)"
            var information = stat()
            guard stat(path, &information) == 0, Double(information.st_mtim.tv_sec) < before else { continue }
            unlink(path)
        }
    }
}

// What becomes of streams that are complete: they are compressed, found by whoever looks after them, and removed when
// the retention policy says so. One name changes at a time, so a reader always finds the stream, plain or compressed.
import Foundation
import JobModel
import OCI

extension LogFiles {
    /// A stream on disk.
    struct Stored: Hashable, Sendable {
        let key: LogKey
        /// On disk, in bytes.
        let size: Int64
        /// Of the last write, in seconds since 1970.
        let modified: Int64
        let isCompressed: Bool
    }

    /// A smaller file takes a block of the disk either way.
    static let smallestCompressed: Int64 = 4096

    /// Compresses a stream that is complete; anything else is left as it is.
    /// - Returns: whether it did.
    /// - Throws: ``OCIError``; the stream is as it was then.
    func compress(_ stored: Stored) throws -> Bool {
        let path = path(of: stored.key)
        guard !stored.isCompressed, stored.size >= Self.smallestCompressed,
            try extent(of: stored.key)?.complete == true
        else { return false }
        let temporary = path + ".new"
        _ = try SeekableFile.compress(path, into: temporary)
        guard rename(temporary, compressedPath(of: stored.key)) == 0 else {
            throw OCIError.storage(operation: "name a compressed log", errno: errno)
        }
        try syncNames(of: stored.key)
        unlink(path)
        unlink(markerPath(of: stored.key))
        return true
    }

    /// Removes a stream, whatever form it has.
    func remove(_ key: LogKey) {
        for path in [markerPath(of: key), path(of: key), compressedPath(of: key)] { unlink(path) }
        // The last one takes the job's folder with it; of any other it stays.
        rmdir(folder(of: key))
    }

    /// Every stream that is here, in no order; what comes or goes meanwhile may or may not be among them.
    /// - Parameter body: returns false to end.
    func each(_ body: (Stored) throws -> Bool) throws {
        try Self.names(in: directory) { folder in
            guard let job = JobID(folder) else { return true }
            var goesOn = true
            try Self.names(in: "\(directory)/\(folder)") { name in
                guard let stored = self.stored(job, name) else { return true }
                goesOn = try body(stored)
                return goesOn
            }
            return goesOn
        }
    }

    private func stored(_ job: JobID, _ name: String) -> Stored? {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let isCompressed = parts.last == "zst"
        if isCompressed { parts.removeLast() }
        guard parts.count == 3, let task = Int64(parts[0]), let number = Int64(parts[1]),
            let stream = LogStream(rawValue: parts[2])
        else { return nil }
        let key = LogKey(attempt: AttemptID(task: TaskID(job: job, index: task), number: number), stream: stream)
        var information = stat()
        guard stat(isCompressed ? compressedPath(of: key) : path(of: key), &information) == 0 else { return nil }
        return Stored(
            key: key, size: Int64(information.st_size), modified: Int64(information.st_mtim.tv_sec),
            isCompressed: isCompressed)
    }

    private static func names(in folder: String, _ body: (String) throws -> Bool) throws {
        guard let handle = opendir(folder) else { return }
        defer { closedir(handle) }
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name != ".", name != "..", try !body(name) else { continue }
            return
        }
    }
}

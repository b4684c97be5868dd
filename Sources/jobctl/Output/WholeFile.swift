// A file that is there when all of it is written and on disk, or not at all.
import Foundation
import JobModel

/// For one thread at a time. Dropped before ``finish()``, it leaves nothing.
final class WholeFile {
    private let path: String
    private let temporary: String
    private let isReplacing: Bool
    private let file: Int32
    private var isNamed = false

    /// - Throws: ``Problem`` if the file exists and is not to be replaced, or its folder cannot be written to.
    init(path: String, replacing: Bool) throws(Problem) {
        self.path = path
        isReplacing = replacing
        // Beside the file, so that its name is one step away; of a name that nobody takes for the file.
        temporary = "\(path).part-\(getpid())"
        guard replacing || access(path, F_OK) != 0 else { throw Self.exists(path) }
        file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw Self.failure(path) }
    }

    deinit {
        close(file)
        if !isNamed { unlink(temporary) }
    }

    func write(_ bytes: [UInt8]) throws(Problem) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Foundation.write(file, $0.baseAddress?.advanced(by: done), $0.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(path) }
            done += count
        }
    }

    /// On disk first, then named, then the name on disk.
    func finish() throws(Problem) {
        guard fsync(file) == 0 else { throw Self.failure(path) }
        if isReplacing {
            guard rename(temporary, path) == 0 else { throw Self.failure(path) }
        } else {
            // Unlike a rename, a link never replaces what came meanwhile.
            guard link(temporary, path) == 0 else {
                throw errno == EEXIST ? Self.exists(path) : Self.failure(path)
            }
            unlink(temporary)
        }
        isNamed = true
        let parent = (path as NSString).deletingLastPathComponent
        let folder = open(parent.isEmpty ? "." : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Self.failure(path) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw Self.failure(path) }
    }

    private static func exists(_ path: String) -> Problem {
        Problem(.refused, "\(quoted(path)) exists: choose another name, or give --force")
    }

    private static func failure(_ path: String) -> Problem {
        Problem(.refused, "\(quoted(path)) cannot be written: \(String(cString: strerror(errno)))")
    }
}

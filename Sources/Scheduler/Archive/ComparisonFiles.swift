// What verifications saw of two contents, one small JSON file an attempt: DATA/comparisons/<job>/<task>.<attempt>.json.
// Replaced in one step and on disk before the worker is answered. The database knows nothing of them. Functions block.
import Foundation
import JobModel

package struct ComparisonFiles: Sendable {
    private let directory: String

    /// - Throws: ``Problem`` if the folder cannot be made.
    package init(directory: String) throws(Problem) {
        self.directory = directory
        try Self.makeFolder(directory)
    }

    private func folder(of attempt: AttemptID) -> String { "\(directory)/\(attempt.job)" }
    private func path(of attempt: AttemptID) -> String {
        "\(folder(of: attempt))/\(attempt.task.index).\(attempt.number).json"
    }

    /// - Throws: ``Problem`` of kind `diskFull` or `internal`.
    func write(_ comparison: OutputComparison, of attempt: AttemptID) throws {
        try Self.makeFolder(folder(of: attempt))
        let bytes = try WireJSON.encode(comparison)
        let temporary = path(of: attempt) + ".new"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Self.failure("write") }
        defer { close(file) }
        guard Foundation.write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0 else {
            throw Self.failure("write")
        }
        guard rename(temporary, path(of: attempt)) == 0 else { throw Self.failure("name") }
        let parent = open(folder(of: attempt), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw Self.failure("open the folder of") }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw Self.failure("sync the folder of") }
    }

    /// Nil if there is none, or one that cannot be read: it is a hint, and the digests stand without it.
    func read(_ attempt: AttemptID) -> OutputComparison? {
        guard let data = FileManager.default.contents(atPath: path(of: attempt)) else { return nil }
        // allowed: see above
        return try? WireJSON.decode(OutputComparison.self, from: data)
    }

    private static func makeFolder(_ path: String) throws(Problem) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw failure("make the folder of") }
    }

    private static func failure(_ action: String) -> Problem {
        let code = errno
        if code == ENOSPC || code == EDQUOT {
            return Problem(.diskFull, "the scheduler's disk is full: free space in its data folder")
        }
        return Problem(
            .internal, "the scheduler could not \(action) a comparison: \(String(cString: strerror(code)))")
    }
}

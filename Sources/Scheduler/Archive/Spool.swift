// Bodies that are too large for memory, as files that live only as long as their call. What a crash leaves is removed
// at start.
import Foundation
import Hummingbird
import JobModel
import NIOCore

package struct Spool: Sendable {
    let directory: String
    let limit: ByteCount
    let files: BlockingWork

    /// Makes the folder, and empties it.
    /// - Throws: ``Problem`` if that is not possible.
    package init(directory: String, limit: ByteCount, files: BlockingWork) throws(Problem) {
        self.directory = directory
        self.limit = limit
        self.files = files
        do {
            if FileManager.default.fileExists(atPath: directory) {
                try FileManager.default.removeItem(atPath: directory)
            }
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw Problem(.internal, "the folder \(directory) cannot be made: \(error.localizedDescription)")
        }
    }

    struct Spooled: Sendable {
        let path: String
        func remove() { unlink(path) }
    }

    /// A file that goes with the last who holds it.
    final class Held: Sendable {
        let path: String
        init(path: String) { self.path = path }
        deinit { unlink(path) }
    }

    /// A name for a file that the caller makes.
    func hold() -> Held { Held(path: "\(directory)/\(UUID().uuidString)") }

    /// The body of a call as a file.
    /// - Parameter limit: nil for an import's.
    /// - Throws: ``Problem`` of kind `tooLarge` or `diskFull`; nothing is left of the file then.
    func store(_ call: Call, limit given: ByteCount? = nil) async throws -> Spooled {
        let limit = given ?? self.limit
        let what = given == nil ? "an import" : "this call"
        let problem = Problem(.tooLarge, "the body has more than the \(limit) that \(what) takes", field: "body")
        if let length = call.request.headers[.contentLength].flatMap({ Int64($0) }), length > limit.bytes {
            throw problem
        }
        let spooled = Spooled(path: "\(directory)/\(UUID().uuidString)")
        let file = open(spooled.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Self.failure(errno) }
        defer { close(file) }
        do {
            var size: Int64 = 0
            for try await piece in call.request.body {
                size += Int64(piece.readableBytes)
                guard size <= limit.bytes else { throw problem }
                try await files.run { try Self.write(piece, to: file) }
            }
            return spooled
        } catch {
            spooled.remove()
            throw error
        }
    }

    private static func write(_ piece: ByteBuffer, to file: Int32) throws(Problem) {
        var failed: Int32 = 0
        piece.withUnsafeReadableBytes { buffer in
            var written = 0
            while written < buffer.count, let base = buffer.baseAddress {
                let count = Foundation.write(file, base + written, buffer.count - written)
                if count < 0, errno == EINTR { continue }
                if count < 0 { failed = errno }
                if count <= 0 { break }
                written += count
            }
        }
        if failed != 0 { throw failure(failed) }
    }

    static func failure(_ code: Int32) -> Problem {
        if code == ENOSPC || code == EDQUOT {
            return Problem(
                .diskFull, "the scheduler's disk is full: the image could not be stored; free space in its data folder")
        }
        return Problem(.internal, "the scheduler could not store the body: \(String(cString: strerror(code)))")
    }
}

// The image that benchmarks run: Debian's static busybox and nothing else, as a tar of its root file system.
import Foundation
import NIOCore
import TestSupport

enum BusyboxTree {
    /// Makes the archive once.
    /// - Returns: its path.
    static func archive(in scratch: Scratch) async throws -> String {
        let path = scratch.path + "/busybox.tar"
        if FileManager.default.fileExists(atPath: path) { return path }
        let build = """
            set -e
            mkdir -p "$1/bin" "$1/tmp" "$1/etc"
            cp /bin/busybox "$1/bin/busybox"
            tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$1" -cf "$2" .
            """
        let made = try await runProcess("sh", ["-c", build, "build", scratch.path + "/rootfs", path])
        guard made.exitCode == 0 else { throw BenchFailure("the image could not be built: \(made)") }
        return path
    }
}

/// A file in pieces.
struct FileBytes: AsyncSequence, Sendable {
    let path: String

    struct Iterator: AsyncIteratorProtocol {
        let file: FileHandle?
        mutating func next() async throws -> ByteBuffer? {
            guard let data = try file?.read(upToCount: 1 << 18), !data.isEmpty else { return nil }
            return ByteBuffer(bytes: data)
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(file: FileHandle(forReadingAtPath: path)) }
}

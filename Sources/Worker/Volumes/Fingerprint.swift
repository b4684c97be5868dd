// The tree digest: what a folder was. Format: for each entry, sorted by path as bytes, one line
//   <type> <mode in octal> <size> <sha256 hex or -> <path>\0
// with type d, f or l; a link's digest is that of its target; sizes of folders are 0. At level `metadata` the
// modification time in nanoseconds stands in the digest's place. The tree digest is the SHA-256 of all lines. `.jobctl`
// at the top is not part of it.
import CLinux
import Dispatch
import Foundation
import Glibc
import JobModel
import Synchronization

package final class Fingerprinter: Sendable {
    private struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let modified: Int64
        let changed: Int64
    }

    /// Digests of files that have not changed since: an input is not hashed for each of a thousand tasks.
    private let known = Mutex<[Identity: Digest]>([:])
    private static let mostKnown = 200_000
    private static let mostEntries = 10_000_000
    private let queue = DispatchQueue(label: "jobctl.fingerprint", attributes: .concurrent)
    private let slots = DispatchSemaphore(value: 4)

    package init() {}

    /// Fingerprints the file or folder at `path`, away from the threads that serve others.
    /// - Throws: ``VolumeError`` if something cannot be read, is no file, folder or link, or changes while it is read.
    package func fingerprint(_ path: String, level: FingerprintLevel) async throws(VolumeError) -> TreeFingerprint {
        if level == .none {
            return TreeFingerprint(treeDigest: nil, level: .none, files: 0, bytes: ByteCount(bytes: 0))
        }
        let result: Result<TreeFingerprint, VolumeError> = await withCheckedContinuation { continuation in
            queue.async {
                self.slots.wait()
                defer { self.slots.signal() }
                do throws(VolumeError) {
                    continuation.resume(returning: .success(try self.compute(path, level)))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    private func compute(_ root: String, _ level: FingerprintLevel) throws(VolumeError) -> TreeFingerprint {
        var lines: [(path: String, line: [UInt8])] = []
        var result = TreeFingerprint(treeDigest: nil, level: level, files: 0, bytes: ByteCount(bytes: 0))
        var information = stat()
        guard lstat(root, &information) == 0 else { throw failure("examine", root) }
        if information.st_mode & S_IFMT == S_IFDIR {
            var pending = [""]
            while let folder = pending.popLast() {
                for name in try names(in: root + "/" + folder) where !(folder.isEmpty && name == ".jobctl") {
                    let path = folder.isEmpty ? name : folder + "/" + name
                    guard lines.count < Self.mostEntries else {
                        throw VolumeError("\(root) has more than \(Self.mostEntries) entries")
                    }
                    if try add(root + "/" + path, as: path, level, &lines, &result) { pending.append(path) }
                }
            }
        } else {
            _ = try add(root, as: ".", level, &lines, &result)
        }
        lines.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        var builder = DigestBuilder()
        for line in lines { builder.update(line.line) }
        result.treeDigest = builder.finish()
        return result
    }

    /// Adds one entry; whether it is a folder to go into.
    private func add(
        _ file: String, as path: String, _ level: FingerprintLevel, _ lines: inout [(path: String, line: [UInt8])],
        _ result: inout TreeFingerprint
    ) throws(VolumeError) -> Bool {
        var information = stat()
        guard lstat(file, &information) == 0 else { throw failure("examine", file) }
        let mode = String(information.st_mode & 0o7777, radix: 8)
        let modified = Int64(information.st_mtim.tv_sec) * 1_000_000_000 + Int64(information.st_mtim.tv_nsec)
        func line(_ type: String, _ size: Int64, _ digest: String) {
            let content = level == .metadata && type != "d" ? String(modified) : digest
            lines.append((path, Array("\(type) \(mode) \(size) \(content) \(path)\0".utf8)))
        }
        switch information.st_mode & S_IFMT {
        case S_IFDIR:
            line("d", 0, "-")
            return true
        case S_IFREG:
            line(
                "f", Int64(information.st_size),
                level == .content ? try digest(of: file, information, modified).hex : "-")
            result.files += 1
            result.bytes.bytes += Int64(information.st_size)
        case S_IFLNK:
            var buffer = [CChar](repeating: 0, count: 4096)
            let count = readlink(file, &buffer, buffer.count)
            guard count >= 0 else { throw failure("read the link", file) }
            line("l", Int64(count), Digest(of: buffer[..<count].map { UInt8(bitPattern: $0) }).hex)
            result.files += 1
        default: throw VolumeError("\(path) is neither a file nor a folder nor a link: it cannot be fingerprinted")
        }
        return false
    }

    private func digest(of path: String, _ before: stat, _ modified: Int64) throws(VolumeError) -> Digest {
        let identity = Identity(
            device: UInt64(before.st_dev), inode: UInt64(before.st_ino), size: Int64(before.st_size),
            modified: modified,
            changed: Int64(before.st_ctim.tv_sec) * 1_000_000_000 + Int64(before.st_ctim.tv_nsec))
        if let digest = known.withLock({ $0[identity] }) { return digest }
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw failure("open", path) }
        defer { close(file) }
        var builder = DigestBuilder()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", path) }
            if count == 0 { break }
            buffer.withUnsafeBytes { builder.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        var after = stat()
        guard fstat(file, &after) == 0, after.st_ino == before.st_ino, after.st_size == before.st_size,
            after.st_mtim.tv_sec == before.st_mtim.tv_sec, after.st_mtim.tv_nsec == before.st_mtim.tv_nsec
        else { throw VolumeError("\(path) changed while it was fingerprinted") }
        let digest = builder.finish()
        known.withLock { known in
            if known.count >= Self.mostKnown { known.removeAll() }
            known[identity] = digest
        }
        return digest
    }

    private func names(in folder: String) throws(VolumeError) -> [String] {
        guard let handle = opendir(folder) else { throw failure("list", folder) }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private func failure(_ operation: String, _ path: String) -> VolumeError {
        VolumeError("cannot \(operation) \(path): \(String(cString: strerror(errno)))")
    }
}

// The tree digest: what a folder was. Format: for each entry, sorted by path as bytes, one line
//   <type> <mode in octal> <size> <sha256 hex or -> <path>\0
// with type d, f or l; a link's digest is that of its target; sizes of folders are 0. At level `metadata` the
// modification time in
// nanoseconds stands in the digest's place. The tree digest is the SHA-256 of all lines. `.jobctl` at the top is not
// part of it.
//
// The tree belongs to users who may change it meanwhile. So nothing is looked up through a symbolic link (openat2
// below the root),
// names are bytes and need not be UTF-8, and memory grows with the widest folders on one path, not with the tree.
import CLinux
import Foundation
import Glibc
import JobModel
import Synchronization

package final class Fingerprinter: Sendable {
    fileprivate struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let modified: Int64
        let changed: Int64

        init(_ information: stat) {
            device = UInt64(information.st_dev)
            inode = UInt64(information.st_ino)
            size = Int64(information.st_size)
            modified = nanoseconds(information.st_mtim)
            changed = nanoseconds(information.st_ctim)
        }
    }

    /// Digests of files that have not changed since: an input is not hashed for each of a thousand tasks.
    private let known = Mutex<[Identity: Digest]>([:])
    private let hashed = Atomic<Int>(0)
    private let work = BlockingWork(width: 4)
    private static let mostKnown = 200_000

    package init() {}

    /// How many files have been read to the end so far. What was known already is not counted.
    package var filesHashed: Int { hashed.load(ordering: .relaxed) }

    /// Fingerprints the file or folder at `path`, away from the threads that serve others. Ends early if the task is
    /// cancelled.
    /// - Parameter list: where the lines are written that the digest is of; see ``TreeList``.
    /// - Throws: ``VolumeError`` if something cannot be read, is no file, folder or link, or changes while it is read.
    package func fingerprint(_ path: String, level: FingerprintLevel, list: String? = nil) async throws(VolumeError)
        -> TreeFingerprint
    {
        if level == .none {
            return TreeFingerprint(treeDigest: nil, level: .none, files: 0, bytes: ByteCount(bytes: 0))
        }
        let cancelled = CancellationFlag()
        let result: Result<TreeFingerprint, VolumeError> = await withTaskCancellationHandler {
            await work.result { () throws(VolumeError) in
                let list = list.map { TreeList(path: $0) }
                var walk = try TreeWalk(root: path, level: level, list: list, cancelled: cancelled) {
                    (file, path, seen, buffer) throws(VolumeError) in
                    try self.digest(of: file, path, seen, &buffer, cancelled)
                }
                let fingerprint = try walk.run()
                list?.finish()
                return fingerprint
            }
        } onCancel: {
            cancelled.set()
        }
        return try result.get()
    }

    private func digest(
        of file: borrowing Descriptor, _ path: String, _ seen: stat, _ buffer: inout [UInt8],
        _ cancelled: CancellationFlag
    ) throws(VolumeError) -> Digest {
        let identity = Identity(seen)
        guard let before = try Self.examine(file, path), before == identity else { throw Self.changed(path) }
        if let digest = known.withLock({ $0[identity] }) { return digest }
        var builder = DigestBuilder()
        while true {
            let count = read(file.number, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", path) }
            if count == 0 { break }
            buffer.withUnsafeBytes { builder.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            try cancelled.check()
        }
        guard try Self.examine(file, path) == identity else { throw Self.changed(path) }
        hashed.add(1, ordering: .relaxed)
        let digest = builder.finish()
        // A file that was changed just now may be changed again within the same tick of its file system's clock,
        // unseen.
        guard Self.isSettled(identity) else { return digest }
        known.withLock { known in
            if known.count >= Self.mostKnown { known.removeAll() }
            known[identity] = digest
        }
        return digest
    }

    private static func changed(_ path: String) -> VolumeError {
        VolumeError("\(path) changed while it was fingerprinted")
    }

    /// Nil if it is no regular file.
    private static func examine(_ file: borrowing Descriptor, _ path: String) throws(VolumeError) -> Identity? {
        var information = stat()
        guard fstat(file.number, &information) == 0 else { throw failure("examine", path) }
        return information.st_mode & S_IFMT == S_IFREG ? Identity(information) : nil
    }

    /// Whether its last change lies further back than the clock's tick: 2 s where the file system keeps whole
    /// seconds, 50 ms elsewhere.
    private static func isSettled(_ file: Identity) -> Bool {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let isCoarse = file.modified % 1_000_000_000 == 0 && file.changed % 1_000_000_000 == 0
        return nanoseconds(now) - max(file.modified, file.changed) > (isCoarse ? 2_000_000_000 : 50_000_000)
    }
}

/// One walk through a tree, in the order of the format.
private struct TreeWalk: ~Copyable {
    typealias FileDigest = (borrowing Descriptor, String, stat, inout [UInt8]) throws(VolumeError) -> Digest

    /// Two for each folder: its line, and its content. The content sorts as the folder's name and a slash, as its
    /// paths do.
    private struct Entry {
        let path: [UInt8]
        let key: [UInt8]
        let information: stat
        let link: Digest?
        let isContent: Bool
    }

    private static let mostEntries = 10_000_000

    private let root: Descriptor
    private let name: String
    private let level: FingerprintLevel
    private let cancelled: CancellationFlag
    private let digestOfFile: FileDigest
    private var lines = DigestBuilder()
    private let list: TreeList?
    private var result: TreeFingerprint
    private var entries = 0
    private var buffer = [UInt8](repeating: 0, count: 1 << 18)

    init(
        root: String, level: FingerprintLevel, list: TreeList?, cancelled: CancellationFlag,
        digestOfFile: @escaping FileDigest
    ) throws(VolumeError) {
        // O_NONBLOCK: a FIFO must not hold the walk up. It is refused below.
        let file = open(root, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { throw failure("open", root) }
        self.root = Descriptor(owning: file)
        name = root
        self.level = level
        self.list = list
        self.cancelled = cancelled
        self.digestOfFile = digestOfFile
        result = TreeFingerprint(treeDigest: nil, level: level, files: 0, bytes: ByteCount(bytes: 0))
    }

    mutating func run() throws(VolumeError) -> TreeFingerprint {
        var information = stat()
        guard fstat(root.number, &information) == 0 else { throw failure("examine", name) }
        switch information.st_mode & S_IFMT {
        case S_IFDIR: try walk()
        case S_IFREG:
            let digest = level == .content ? try digestOfFile(root, name, information, &buffer) : nil
            add("f", [UInt8(ascii: ".")], information, digest)
        default: throw Self.refusal(name)
        }
        result.treeDigest = lines.finish()
        lines = DigestBuilder()
        return result
    }

    private mutating func walk() throws(VolumeError) {
        // Sorted backwards: the next entry is the last.
        var pending = [try content(of: [])]
        while var folder = pending.popLast() {
            guard let entry = folder.popLast() else { continue }
            pending.append(folder)
            try cancelled.check()
            if entry.isContent {
                pending.append(try content(of: entry.path))
            } else {
                try take(entry)
            }
        }
    }

    private mutating func take(_ entry: Entry) throws(VolumeError) {
        switch entry.information.st_mode & S_IFMT {
        case S_IFDIR: add("d", entry.path, entry.information, nil)
        case S_IFLNK: add("l", entry.path, entry.information, entry.link)
        case S_IFREG:
            guard level == .content else { return add("f", entry.path, entry.information, nil) }
            let text = String(decoding: entry.path, as: UTF8.self)
            let file = try opened(entry.path)
            add("f", entry.path, entry.information, try digestOfFile(file, text, entry.information, &buffer))
        default: throw Self.refusal(String(decoding: entry.path, as: UTF8.self))
        }
    }

    private mutating func add(_ type: Character, _ path: [UInt8], _ information: stat, _ digest: Digest?) {
        let isFolder = type == "d"
        let size = isFolder ? 0 : Int64(information.st_size)
        let content =
            level == .metadata && !isFolder ? String(nanoseconds(information.st_mtim)) : digest?.hex ?? "-"
        var line = Array("\(type) \(String(information.st_mode & 0o7777, radix: 8)) \(size) \(content) ".utf8)
        line += path
        line.append(0)
        lines.update(line)
        list?.add(line)
        if !isFolder { result.files += 1 }
        if type == "f" { result.bytes.bytes += size }
    }

    /// What lies in a folder, sorted backwards.
    private mutating func content(of path: [UInt8]) throws(VolumeError) -> [Entry] {
        let folder = try opened(path.isEmpty ? [UInt8(ascii: ".")] : path)
        let copy = dup(folder.number)
        guard copy >= 0, let listing = fdopendir(copy) else {
            if copy >= 0 { close(copy) }
            throw failure("list", String(decoding: path, as: UTF8.self))
        }
        defer { closedir(listing) }
        var found: [Entry] = []
        while let next = readdir(listing) {
            let name = Self.name(of: next)
            if name == Array(".".utf8) || name == Array("..".utf8) { continue }
            if path.isEmpty, name == Array(".jobctl".utf8) { continue }
            entries += 1
            guard entries <= Self.mostEntries else {
                throw VolumeError("\(self.name) has more than \(Self.mostEntries) entries")
            }
            found += try examined(name, in: folder, at: path.isEmpty ? name : path + [UInt8(ascii: "/")] + name)
        }
        found.sort { $1.key.lexicographicallyPrecedes($0.key) }
        return found
    }

    /// Not by the field's declared length, which reaches beyond the record.
    private static func name(of entry: UnsafeMutablePointer<dirent>) -> [UInt8] {
        let start = UnsafeRawPointer(entry) + (MemoryLayout<dirent>.offset(of: \.d_name) ?? 19)
        let text = start.assumingMemoryBound(to: UInt8.self)
        return Array(UnsafeBufferPointer(start: text, count: strlen(start.assumingMemoryBound(to: CChar.self))))
    }

    private func examined(_ name: [UInt8], in folder: borrowing Descriptor, at path: [UInt8]) throws(VolumeError)
        -> [Entry]
    {
        let terminated = name.map { CChar(bitPattern: $0) } + [0]
        var information = stat()
        guard fstatat(folder.number, terminated, &information, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw failure("examine", String(decoding: path, as: UTF8.self))
        }
        var link: Digest?
        if information.st_mode & S_IFMT == S_IFLNK {
            var target = [CChar](repeating: 0, count: 4097)
            let count = readlinkat(folder.number, terminated, &target, target.count)
            guard count >= 0 else { throw failure("read the link", String(decoding: path, as: UTF8.self)) }
            link = Digest(of: target[..<count].map { UInt8(bitPattern: $0) })
        }
        let line = Entry(path: path, key: name, information: information, link: link, isContent: false)
        guard information.st_mode & S_IFMT == S_IFDIR else { return [line] }
        let key = name + [UInt8(ascii: "/")]
        return [line, Entry(path: path, key: key, information: information, link: nil, isContent: true)]
    }

    private func opened(_ path: [UInt8]) throws(VolumeError) -> Descriptor {
        let file = jc_open_strictly(root.number, path.map { CChar(bitPattern: $0) } + [0])
        guard file >= 0 else {
            throw VolumeError(
                "cannot open \(String(decoding: path, as: UTF8.self)): \(String(cString: strerror(-file)))")
        }
        return Descriptor(owning: file)
    }

    private static func refusal(_ path: String) -> VolumeError {
        VolumeError("\(path) is neither a file nor a folder nor a link: it cannot be fingerprinted")
    }
}

/// Set when nobody waits for a result any more.
final class CancellationFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
    func check() throws(VolumeError) {
        if isSet { throw VolumeError("the fingerprint was given up") }
    }
}

private func nanoseconds(_ time: timespec) -> Int64 { Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec) }

private func failure(_ operation: String, _ path: String) -> VolumeError {
    VolumeError("cannot \(operation) \(path): \(String(cString: strerror(errno)))")
}

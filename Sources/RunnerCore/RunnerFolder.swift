// The files of one attempt's folder, which the agent and the runner share, and plain file access without Foundation.
// Who writes what: the agent `attempt`, `stop` and `limit`, the runner everything else. Few files: each costs as much
// as a mount.
import CLinux
import Glibc

package struct RunnerFolder: Hashable, Sendable {
    package let path: String
    package init(path: String) { self.path = path }

    /// ``AttemptDescription``. The runner holds its lock for as long as it lives, and marks it as begun.
    package var description: String { path + "/attempt" }
    /// The description's mode once a runner has begun: an attempt is started once. A mode costs less than a file.
    package static let begunMode: mode_t = 0o700
    package static func isBegun(_ mode: mode_t) -> Bool { mode & mode_t(S_IXUSR) != 0 }
    /// ``EndRecord``.
    package var end: String { path + "/end" }
    /// ``StopOrder``. Whoever writes it sends the runner SIGTERM.
    package var stop: String { path + "/stop" }
    /// ``TimeLimitOrder``. Whoever writes it sends the runner SIGHUP.
    package var limit: String { path + "/limit" }
    /// There once the program has written something.
    package var stdout: String { path + "/stdout" }
    package var stderr: String { path + "/stderr" }
    /// What the runner complained of, if it did.
    package var complaints: String { path + "/complaints" }
    /// The folder of one of the attempt's services.
    package func service(_ name: String) -> RunnerFolder { RunnerFolder(path: path + Self.servicePrefix + name) }
    package static let servicePrefix = "/service-"
    /// Where each runner mounts what its container sees, in its own namespace; one empty folder to everybody else.
    package var scratch: String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) + "/" + Self.scratchName
    }
    package static let scratchName = "scratch"
    /// In the scratch folder, of a container that shares a network: that network.
    package static let networkName = "/net"
    package var root: String { scratch + "/root" }
    /// The attempt's own tree, where its root is no overlay; see ``RootForm/links``.
    package var tree: String { path + "/" + Self.treeName }
    package static let treeName = "tree"
    /// Where a runner without root mounts the volume with this place in its list, below ``scratch``.
    package static func volume(_ index: Int) -> String { "/volumes/\(index)" }
    /// Where the runner shows itself to the container as its init.
    package static let initPath = "/dev/init"
    /// Where `jobctl-runner` shows itself to a container of an engine's daemon as its init (jc_witness_enter).
    package static let witnessPath = "/dev/witness"
    /// As which the container's process 1 shows itself once it works (jc_init_main).
    package static let initName = "jobctl-init"
    /// The init's first argument where it shall only filter itself and become the program: for a second program in a
    /// container.
    package static let join = "--join"
    /// As ``join``, on a terminal of the program's own: the size follows, `ROWS:COLUMNS`. Descriptor 3 is a socket,
    /// over which the other side of the terminal is handed. A runtime's own terminal would have the runtime between:
    /// runc 1.1.5 keeps the last output back on a busy host.
    package static let joinOnTerminal = "--join-on-terminal"
    /// The init's first argument where it looks after a service: then come interval, timeout, retries and the number
    /// of the words that follow for the health check, these words, and the program.
    package static let health = "--health"
    /// The init's first argument, before all others, where it shall first become the user in the next: `UID:GID`.
    package static let become = "--as"
    /// The only argument of the program where it shall look at its own confinement: for a trial.
    package static let check = "--check"
}

/// The agent's lease for all of its attempts, in one file: the moment of the boot-time clock, in milliseconds, at which
/// it ends.
package enum Lease {
    package static func read(_ path: String) -> Int64? {
        guard let bytes = readFile(path, limit: 64) else { return nil }
        return Int64(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }

    package static func write(_ moment: Int64, to path: String) throws(FileFailure) {
        try replaceFile(path, with: Array("\(moment)\n".utf8), durable: false)
    }
}

/// How long a program may take to end.
package enum StopOrder {
    /// Milliseconds of grace; nil if there is no order. An order that cannot be read is one all the same.
    package static func read(_ path: String) -> Int64? {
        guard let bytes = readFile(path, limit: 64) else { return nil }
        return Int64(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)) ?? 0
    }
}

/// A time limit other than the one in the attempt's description.
package enum TimeLimitOrder {
    /// Milliseconds from the start; nil if there is no order, or none that can be read.
    package static func read(_ path: String) -> Int64? {
        guard let bytes = readFile(path, limit: 64) else { return nil }
        let number = Int64(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
        return number.flatMap { $0 >= 0 ? $0 : nil }
    }

    package static func write(_ limit: Int64, to path: String) throws(FileFailure) {
        try replaceFile(path, with: Array("\(limit)\n".utf8), durable: false)
    }
}

/// A file that could not be read or written.
package struct FileFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package let what: String
    /// errno.
    package let number: Int32
    package init(_ what: String, _ number: Int32) {
        self.what = what
        self.number = number
    }
    package var description: String { "\(what): \(String(cString: strerror(number)))" }
}

/// All of a file; nil if it cannot be read or is larger.
package func readFile(_ path: String, limit: Int) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    return readAll(file, limit: limit)
}

/// From where the descriptor stands to the end; nil if that is more than `limit` or cannot be read.
package func readAll(_ file: Int32, limit: Int) -> [UInt8]? {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
        let count = read(file, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        if count < 0 { return nil }
        if count == 0 { return bytes }
        bytes += buffer[..<count]
        if bytes.count > limit { return nil }
    }
}

package func writeAll(_ file: Int32, _ bytes: [UInt8], what: String) throws(FileFailure) {
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes { write(file, $0.baseAddress?.advanced(by: done), bytes.count - done) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw FileFailure(what, count < 0 ? errno : EIO) }
        done += count
    }
}

/// Replaces a file in one step.
/// - Parameter durable: the contents are on disk before they take the file's place. After a power loss there is the new
///   file, the old one, or none; never a part of one.
package func replaceFile(_ path: String, with bytes: [UInt8], durable: Bool) throws(FileFailure) {
    let temporary = path + ".new"
    let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else { throw FileFailure(temporary, errno) }
    do throws(FileFailure) {
        try writeAll(file, bytes, what: temporary)
        if durable, fdatasync(file) != 0 { throw FileFailure(temporary, errno) }
    } catch {
        close(file)
        unlink(temporary)
        throw error
    }
    close(file)
    guard rename(temporary, path) == 0 else { throw FileFailure(path, errno) }
}

/// The running kernel's boot id.
package func bootIdentity() -> String {
    let bytes = readFile("/proc/sys/kernel/random/boot_id", limit: 64) ?? []
    return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
}

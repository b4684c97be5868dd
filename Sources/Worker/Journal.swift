// What the agent knows of each attempt, on disk before it acts: one file an attempt, whose first line never changes
// (the order) and whose last line says how far it is. Lines are appended: a file costs as much as a mount, a line
// nothing. After kill -9 the next agent goes on from here; a last line without its end was being written when the agent
// was killed, and counts as not written. No fsync: a power loss ends the containers as well, and a record that cannot
// be read is "lost".
import Foundation
import Glibc
import JobModel
import RunnerCore
import Synchronization

/// How far an attempt is.
struct AttemptProgress: Codable, Sendable {
    var container: String?
    /// When the container was started, in milliseconds of the boot-time clock, and of which boot.
    var startedAt: Int64?
    var boot: String?
    var startedWall: Timestamp?
    var inputs: [SlotName: TreeFingerprint]?
    /// The manifest of the task's image for this host.
    var imageManifest: Digest?
    /// Another than the job was submitted with.
    var timeLimit: TimeSpan?
    var stopReason: EndReason?
    var exit: ExitRecord?
    var usage: Usage?
    /// What the user should know beside a success, for example that output is missing.
    var note: String?
    /// The newest report that does not follow from the rest.
    var report: AttemptReport?
}

/// Everything about one attempt that must survive the agent.
struct JournalRecord: Sendable {
    let order: StartOrder
    let job: JobBrief
    let configuration: Configuration
    var progress = AttemptProgress()

    init(order: StartOrder, job: JobBrief, configuration: Configuration) {
        self.order = order
        self.job = job
        self.configuration = configuration
    }

    var attempt: AttemptID { order.attempt }

    /// Whether its container may be running.
    var mayRun: Bool { progress.boot == Journal.boot && progress.startedAt != nil && progress.exit == nil }
}

package final class Journal: Sendable {
    let folder: String
    /// The encoded jobs of late: the tasks of an array share one.
    private let briefs = Mutex<[JobID: [UInt8]]>([:])

    package init(folder: String) throws {
        self.folder = folder
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    func file(of attempt: AttemptID) -> String { "\(folder)/\(attempt)" }
    /// Where the agent keeps output for engines that keep none themselves; made by whoever writes the first of it.
    func logFolder(of attempt: AttemptID) -> String { "\(folder)/\(attempt).logs" }

    // MARK: Writing

    /// Begins an attempt.
    /// - Throws: ``JournalFailure`` if the disk cannot take it; then nothing is kept.
    func begin(_ record: JournalRecord) throws(JournalFailure) {
        var bytes = Array(#"{"brief":"#.utf8)
        bytes += try brief(record)
        bytes += Array(#","order":"#.utf8)
        bytes += try Self.encode(record.order)
        bytes.append(UInt8(ascii: "}"))
        do throws(JournalFailure) {
            try Self.append(bytes, to: file(of: record.attempt), O_CREAT | O_TRUNC)
        } catch {
            remove(record.attempt)
            throw error
        }
    }

    /// Writes down how far the attempt is. Fails for one that was removed.
    func write(_ record: JournalRecord) throws(JournalFailure) {
        try Self.append(try Self.encode(record.progress), to: file(of: record.attempt), 0)
    }

    /// Appends a line, or nothing.
    private static func append(_ line: [UInt8], to path: String, _ flags: Int32) throws(JournalFailure) {
        let file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0o600)
        guard file >= 0 else { throw JournalFailure(errno) }
        defer { close(file) }
        let size = lseek(file, 0, SEEK_END)
        let count = Glibc.write(file, line + [UInt8(ascii: "\n")], line.count + 1)
        guard count != line.count + 1 else { return }
        let failure = JournalFailure(count < 0 ? errno : ENOSPC)
        ftruncate(file, size)
        throw failure
    }

    private struct Brief: Codable {
        let job: JobBrief
        let configuration: Configuration
    }

    private struct Beginning: Decodable {
        let brief: Brief
        let order: StartOrder
    }

    private func brief(_ record: JournalRecord) throws(JournalFailure) -> [UInt8] {
        if let known = briefs.withLock({ $0[record.job.id] }) { return known }
        let bytes = try Self.encode(Brief(job: record.job, configuration: record.configuration))
        briefs.withLock { briefs in
            if briefs.count >= 16 { briefs.removeAll() }
            briefs[record.job.id] = bytes
        }
        return bytes
    }

    private static func encode(_ value: some Encodable) throws(JournalFailure) -> [UInt8] {
        do {
            return try WireJSON.encode(value)
        } catch {
            throw JournalFailure(EINVAL)
        }
    }

    private static func replace(_ path: String, _ bytes: [UInt8]) throws(JournalFailure) {
        let temporary = path + ".new"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw JournalFailure(errno) }
        let count = Glibc.write(file, bytes, bytes.count)
        let failure = count == bytes.count ? nil : JournalFailure(count < 0 ? errno : ENOSPC)
        close(file)
        if let failure {
            unlink(temporary)
            throw failure
        }
        guard rename(temporary, path) == 0 else { throw JournalFailure(errno) }
    }

    // MARK: Reading

    /// Whether no attempt is recorded; no record is read for it.
    func isEmpty() throws -> Bool {
        try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { AttemptID($0) == nil }
    }

    /// Every record that can be read, and the attempts whose record cannot. Those are moved to `unreadable/`, never
    /// deleted.
    func load() throws -> (records: [JournalRecord], unreadable: [AttemptID]) {
        var records: [JournalRecord] = []
        var unreadable: [AttemptID] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() {
            guard let attempt = AttemptID(name) else { continue }
            if let record = read(attempt) {
                records.append(record)
            } else {
                unreadable.append(attempt)
                setAside(attempt)
            }
        }
        return (records, unreadable)
    }

    private func read(_ attempt: AttemptID) -> JournalRecord? {
        let path = file(of: attempt)
        guard let data = FileManager.default.contents(atPath: path), let end = data.lastIndex(of: UInt8(ascii: "\n"))
        else { return nil }
        // What is written next must not stand behind half a line.
        guard end == data.count - 1 || truncate(path, off_t(end + 1)) == 0 else { return nil }
        let lines = data[..<end].split(separator: UInt8(ascii: "\n"))
        guard let first = lines.first,
            // allowed: set aside by the caller
            let beginning = try? WireJSON.decode(Beginning.self, from: Data(first)),
            beginning.order.attempt == attempt
        else { return nil }
        var record = JournalRecord(
            order: beginning.order, job: beginning.brief.job, configuration: beginning.brief.configuration)
        guard lines.count > 1, let last = lines.last else { return record }
        // allowed: set aside by the caller
        guard let progress = try? WireJSON.decode(AttemptProgress.self, from: Data(last)) else { return nil }
        record.progress = progress
        return record
    }

    private func setAside(_ attempt: AttemptID) {
        let aside = folder + "/unreadable"
        mkdir(aside, 0o700)
        var target = "\(aside)/\(attempt)"
        for number in 2... {
            // A link, unlike a rename, replaces nothing.
            if link(file(of: attempt), target) == 0 || errno != EEXIST { break }
            target = "\(aside)/\(attempt)-\(number)"
        }
        remove(attempt)
    }

    func remove(_ attempt: AttemptID) {
        unlink(file(of: attempt))
        let logs = logFolder(of: attempt)
        guard access(logs, F_OK) == 0 else { return }
        // allowed: what is left of it is in nobody's way
        try? FileManager.default.removeItem(atPath: logs)
    }

    // MARK: The lease

    /// When the lease ends, in milliseconds of the boot-time clock. Nil if it was never written, or by another boot.
    var leaseEnd: Int64? {
        guard let data = FileManager.default.contents(atPath: folder + "/lease"), data.count < 128 else { return nil }
        let parts = String(decoding: data, as: UTF8.self).split(separator: " ")
        guard parts.count == 2, parts[0] == Self.boot else { return nil }
        return Int64(parts[1])
    }

    /// - Throws: ``JournalFailure``.
    func write(leaseEnd: Int64) throws(JournalFailure) {
        do throws(FileFailure) {
            try replaceFile(folder + "/lease", with: Array("\(Self.boot) \(leaseEnd)".utf8), durable: false)
        } catch {
            throw JournalFailure(error.number)
        }
    }

    /// The running kernel's boot id: boot-time milliseconds of another boot mean nothing.
    static let boot: String =
        FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id").map {
            String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        } ?? ""
}

/// The disk did not take a record.
struct JournalFailure: Error, Sendable, CustomStringConvertible {
    let description: String
    init(_ code: Int32) { description = String(cString: strerror(code)) }
}

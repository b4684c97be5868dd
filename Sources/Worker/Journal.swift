// What the agent knows of each attempt, on disk before it acts: one folder an attempt, and in it what never changes
// (order.json,
// written once) and how far it is (progress.json, replaced atomically). After kill -9 the next agent goes on from
// here. No fsync: a
// power loss ends the containers as well, and a record that cannot be read is "lost".
import Foundation
import Glibc
import JobModel
import Synchronization

/// How far an attempt is.
struct AttemptProgress: Codable, Sendable {
    var container: String?
    /// When the container was started, in milliseconds of the boot-time clock, and of which boot.
    var startedAt: Int64?
    var boot: String?
    var startedWall: Timestamp?
    var inputs: [SlotName: TreeFingerprint]?
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

    func folder(of attempt: AttemptID) -> String { "\(folder)/\(attempt)" }

    // MARK: Writing

    /// Begins an attempt.
    /// - Throws: ``JournalFailure`` if the disk cannot take it; then nothing is kept.
    func begin(_ record: JournalRecord) throws(JournalFailure) {
        let place = folder(of: record.attempt)
        guard mkdir(place, 0o700) == 0 || errno == EEXIST else { throw JournalFailure(errno) }
        do throws(JournalFailure) {
            var bytes = Array(#"{"brief":"#.utf8)
            bytes += try brief(record)
            bytes += Array(#","order":"#.utf8)
            bytes += try Self.encode(record.order)
            bytes.append(UInt8(ascii: "}"))
            try Self.replace(place + "/order.json", bytes)
        } catch {
            remove(record.attempt)
            throw error
        }
    }

    /// Replaces what is known of how far the attempt is.
    func write(_ record: JournalRecord) throws(JournalFailure) {
        try Self.replace(folder(of: record.attempt) + "/progress.json", try Self.encode(record.progress))
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
        let place = folder(of: attempt)
        guard let data = FileManager.default.contents(atPath: place + "/order.json"),
            // allowed: set aside by the caller
            let beginning = try? WireJSON.decode(Beginning.self, from: data), beginning.order.attempt == attempt
        else { return nil }
        var record = JournalRecord(
            order: beginning.order, job: beginning.brief.job, configuration: beginning.brief.configuration)
        guard let data = FileManager.default.contents(atPath: place + "/progress.json") else {
            // Not written yet is fine, not readable is not.
            return access(place + "/progress.json", F_OK) == 0 ? nil : record
        }
        // allowed: set aside by the caller
        guard let progress = try? WireJSON.decode(AttemptProgress.self, from: data) else { return nil }
        record.progress = progress
        return record
    }

    private func setAside(_ attempt: AttemptID) {
        let aside = folder + "/unreadable"
        mkdir(aside, 0o700)
        var target = "\(aside)/\(attempt)"
        for number in 2... {
            if rename(folder(of: attempt), target) == 0 || errno != EEXIST && errno != ENOTEMPTY { return }
            target = "\(aside)/\(attempt)-\(number)"
        }
    }

    func remove(_ attempt: AttemptID) {
        let place = folder(of: attempt)
        for name in ["order.json", "progress.json", "stdout", "stderr"] { unlink("\(place)/\(name)") }
        guard rmdir(place) != 0, errno != ENOENT else { return }
        // allowed: the next start removes what is left
        try? FileManager.default.removeItem(atPath: place)
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
        try Self.replace(folder + "/lease", Array("\(Self.boot) \(leaseEnd)".utf8))
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

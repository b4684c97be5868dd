// What the agent knows of each attempt, on disk before it acts: one folder an attempt, one record, replaced atomically.
// After kill -9 the next agent goes on from here. No fsync: a power loss ends the containers as well, and a record that
// cannot be read is "lost".
import Foundation
import Glibc
import JobModel

/// Everything about one attempt that must survive the agent.
struct JournalRecord: Codable, Sendable {
    var order: StartOrder
    var job: JobBrief
    var configuration: Configuration
    var container: String?
    /// When the container was started, in milliseconds of the boot-time clock, and of which boot.
    var startedAt: Int64?
    var boot: String?
    var startedWall: Timestamp?
    var inputs: [SlotName: TreeFingerprint]?
    var stopReason: EndReason?
    var exit: ExitRecord?
    var usage: Usage?
    /// The newest report; terminal ones are kept until the scheduler says forget.
    var report: AttemptReport?

    init(order: StartOrder, job: JobBrief, configuration: Configuration) {
        self.order = order
        self.job = job
        self.configuration = configuration
    }

    var attempt: AttemptID { order.attempt }
}

package struct Journal: Sendable {
    let folder: String

    package init(folder: String) throws {
        self.folder = folder
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    func folder(of attempt: AttemptID) -> String { "\(folder)/\(attempt)" }

    /// Replaces the attempt's record.
    func write(_ record: JournalRecord) throws {
        let place = folder(of: record.attempt)
        mkdir(place, 0o700)
        try Data(try WireJSON.encode(record)).write(to: URL(filePath: place + "/record.json"), options: .atomic)
    }

    /// Every record that can be read, and the attempts whose record cannot. Those are moved to `unreadable/`, never
    /// deleted.
    func load() throws -> (records: [JournalRecord], unreadable: [AttemptID]) {
        var records: [JournalRecord] = []
        var unreadable: [AttemptID] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() {
            guard let attempt = AttemptID(name) else { continue }
            if let data = FileManager.default.contents(atPath: folder(of: attempt) + "/record.json"),
                // allowed: set aside below
                let record = try? WireJSON.decode(JournalRecord.self, from: data), record.attempt == attempt
            {
                records.append(record)
            } else {
                unreadable.append(attempt)
                mkdir(folder + "/unreadable", 0o700)
                rename(folder(of: attempt), "\(folder)/unreadable/\(attempt)")
            }
        }
        return (records, unreadable)
    }

    func remove(_ attempt: AttemptID) {
        // allowed: the next start removes what is left
        try? FileManager.default.removeItem(atPath: folder(of: attempt))
    }

    /// The running kernel's boot id: boot-time milliseconds of another boot mean nothing.
    static let boot: String =
        FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id").map {
            String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        } ?? ""
}

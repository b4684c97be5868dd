// What the kernel's control groups tell about a container: processor time, peak memory, OOM kills. Where the engine
// uses plain cgroupfs, each attempt gets a parent group of the agent's, which outlives the container: a container
// that lived for a millisecond is measured exactly, and by the kernel. Elsewhere (systemd) the container's own group
// is read while it runs. Invariant: nothing here decides whether an attempt succeeded. Groups are created by the
// engines and removed here.
import Foundation
import Glibc
import JobModel
import Logging
import RunnerCore

/// Figures of one container.
struct Consumption: Hashable, Sendable {
    var cpuSeconds: Double
    var peakMemory: Int64

    /// The larger of both: counters only rise, and a group that is gone reads as less.
    func merged(with other: Consumption?) -> Consumption {
        guard let other else { return self }
        return Consumption(cpuSeconds: max(cpuSeconds, other.cpuSeconds), peakMemory: max(peakMemory, other.peakMemory))
    }
}

actor CgroupBook {
    private let worker: String
    private let parentsAllowed: Bool
    private struct Entry {
        let group: String
        let startedAt: Timestamp?
        /// The last figures, for groups that vanish with the container.
        var last: Consumption?
    }
    /// By container id.
    private var entries: [String: Entry] = [:]

    init(worker: String, parentsAllowed: Bool) {
        self.worker = worker
        self.parentsAllowed = parentsAllowed
    }

    /// The parent group for an attempt's container, below the root of every hierarchy.
    nonisolated func parent(of attempt: AttemptID) -> String? {
        parentsAllowed ? "/jobctl-\(worker)/\(attempt)" : nil
    }

    /// Learns where a container's figures stand.
    /// - Parameter pid: its first process while it runs, else 0.
    func learn(_ container: String, _ attempt: AttemptID?, pid: Int, startedAt: Timestamp?) {
        guard entries[container] == nil, startedAt != nil else { return }
        if let group = attempt.flatMap({ parent(of: $0) }) ?? (pid > 0 ? Self.memoryGroup(ofProcess: pid) : nil) {
            entries[container] = Entry(group: group, startedAt: startedAt)
        }
    }

    /// The figures up to now, or the last that were seen, and when the container was started; nil if nothing was
    /// learnt.
    func consumption(of container: String) -> (figures: Consumption, startedAt: Timestamp?)? {
        guard let entry = entries[container] else { return nil }
        let merged = Self.read(entry.group)?.merged(with: entry.last) ?? entry.last
        entries[container]?.last = merged
        return merged.map { ($0, entry.startedAt) }
    }

    /// Whether the kernel killed a process of the container for its memory limit. Asked where an engine says no:
    /// podman 4.3 misses it with runc and on version 1 groups.
    func wasOutOfMemory(_ attempt: AttemptID?, container: String) -> Bool {
        if ControlGroups.isUnified {
            return attempt.flatMap { parent(of: $0) }.map { ControlGroups(path: $0).wasOutOfMemory } ?? false
        }
        return kernelLogTellsOutOfMemory(container: container)
    }

    /// Removes the attempt's groups and forgets its figures.
    func remove(_ attempt: AttemptID, container: String, logger: Logger) async {
        entries[container] = nil
        guard let group = parent(of: attempt).map({ ControlGroups(path: $0) }) else { return }
        // Podman's conmon leaves its group a moment after the container is gone.
        for round in 0..<50 {
            if group.remove() { return }
            // Podman keeps the conmon of a second program for five minutes, for whoever asks how it ended. The
            // container is gone: nobody will.
            if round >= 10 { _ = group.killAll() }
            do { try await Task.sleep(for: .milliseconds(round < 10 ? 10 : 50)) } catch { break }
        }
        logger.warning("a control group could not be removed", metadata: ["attempt": "\(attempt)"])
    }

    /// Removes the groups of a worker that has ended. What still runs in one keeps it.
    static func removeGroups(ofWorker worker: String) {
        _ = ControlGroups(path: "/jobctl-\(worker)").remove()
    }

    // MARK: Leaves

    private static func read(_ group: String) -> Consumption? {
        ControlGroups(path: group).figures.map {
            Consumption(cpuSeconds: Double($0.cpuMicroseconds) / 1e6, peakMemory: $0.peakMemory)
        }
    }

    private static func memoryGroup(ofProcess pid: Int) -> String? {
        guard let table = text("/proc/\(pid)/cgroup") else { return nil }
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let wanted = ControlGroups.isUnified ? fields[0] == "0" : fields[1].split(separator: ",").contains("memory")
            if wanted, fields[2] != "/", !fields[2].contains("..") { return String(fields[2]) }
        }
        return nil
    }

    static func text(_ path: String, limit: Int = 1 << 20) -> String? {
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }  // allowed: read only
        guard let data = try? file.read(upToCount: limit) else { return nil }  // allowed: unreadable is nil
        return String(decoding: data, as: UTF8.self)
    }
}

/// Whether the kernel's log holds an OOM kill in the group of the container. The engines name the group by the
/// container's id, which nobody can choose. The log is a ring: what is long past may be gone, so this may miss a
/// kill, and never invents one.
private func kernelLogTellsOutOfMemory(container: String) -> Bool {
    guard container.utf8.count >= 32 else { return false }
    let log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard log >= 0 else { return false }
    defer { close(log) }
    var record = [UInt8](repeating: 0, count: 8192)
    for _ in 0..<1_000_000 {
        let count = record.withUnsafeMutableBytes { read(log, $0.baseAddress, $0.count) }
        if count < 0 {
            // EPIPE: the record was overwritten before it was read.
            if errno == EPIPE || errno == EINTR { continue }
            return false
        }
        let line = String(decoding: record.prefix(count), as: UTF8.self)
        guard line.contains("oom-kill:"),
            let group = line.split(separator: ",").first(where: { $0.hasPrefix("oom_memcg=") })
        else {
            continue
        }
        if group.contains(container) { return true }
    }
    return false
}

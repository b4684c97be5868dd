// CPU time and peak memory of running containers, from the kernel's own counters, and whether the kernel killed for memory. Works with
// cgroup v1, v2 and both mixed. The last sample is kept: the files vanish with the container.
import Foundation
import Glibc
import JobModel
import Synchronization

final class CgroupSampler: Sendable {
    private struct Paths {
        /// v1 controllers, or the unified folder.
        var memory: String
        var cpu: String
        var isUnified: Bool
    }
    private struct Entry {
        var paths: Paths
        var usage: Usage
        var began: Int64
        var sawOOM = false
    }

    private let entries = Mutex<[String: Entry]>([:])

    func knows(_ id: String) -> Bool { entries.withLock { $0[id] != nil } }
    func sawOOM(_ id: String) -> Bool { entries.withLock { $0[id]?.sawOOM ?? false } }
    func forget(_ id: String) { entries.withLock { $0[id] = nil } }

    /// Finds the groups of a container's first process and takes the first sample; nil if it has ended.
    func begin(_ id: String, pid: Int) -> Usage? {
        guard let paths = Self.paths(of: pid) else { return nil }
        entries.withLock { $0[id] = Entry(paths: paths, usage: Usage(cpuSeconds: 0, maxMemory: ByteCount(bytes: 0), wallSeconds: 0), began: Self.milliseconds()) }
        return sample(id)
    }

    /// The newest counters, or the last ones that could be read.
    func sample(_ id: String) -> Usage? {
        entries.withLock { entries in
            guard var entry = entries[id] else { return nil }
            let paths = entry.paths
            let peak = paths.isUnified ? Self.number(paths.memory + "/memory.peak") : Self.number(paths.memory + "/memory.max_usage_in_bytes")
            let current = paths.isUnified ? Self.number(paths.memory + "/memory.current") : nil
            let cpu =
                paths.isUnified
                ? Self.field("usage_usec", of: paths.cpu + "/cpu.stat").map { Double($0) / 1e6 }
                : Self.number(paths.cpu + "/cpuacct.usage").map { Double($0) / 1e9 }
            let kills = Self.field("oom_kill", of: paths.memory + (paths.isUnified ? "/memory.events" : "/memory.oom_control"))
            if let bytes = peak ?? current { entry.usage.maxMemory = max(entry.usage.maxMemory, ByteCount(bytes: bytes)) }
            if let cpu { entry.usage.cpuSeconds = max(entry.usage.cpuSeconds, cpu) }
            if let kills, kills > 0 { entry.sawOOM = true }
            entry.usage.wallSeconds = Double(Self.milliseconds() - entry.began) / 1000
            entries[id] = entry
            return entry.usage
        }
    }

    private static func paths(of pid: Int) -> Paths? {
        guard let text = contents("/proc/\(pid)/cgroup") else { return nil }
        var groups: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[2] != "/" else { continue }
            for controller in parts[1].split(separator: ",", omittingEmptySubsequences: false) { groups[String(controller)] = String(parts[2]) }
        }
        if let memory = groups["memory"], let cpu = groups["cpuacct"] {
            return Paths(memory: "/sys/fs/cgroup/memory" + memory, cpu: "/sys/fs/cgroup/cpuacct" + cpu, isUnified: false)
        }
        guard let unified = groups[""] else { return nil }
        let root = FileManager.default.fileExists(atPath: "/sys/fs/cgroup/cgroup.controllers") ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified"
        // An init in a group of its own below the container's: the limits are one level up.
        let folder = unified.hasSuffix("/init") ? String(unified.dropLast(5)) : unified
        return Paths(memory: root + folder, cpu: root + folder, isUnified: true)
    }

    private static func contents(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 16_384)
        let count = read(file, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    private static func number(_ path: String) -> Int64? {
        contents(path).flatMap { Int64($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    /// `name value` on a line of its own.
    private static func field(_ name: String, of path: String) -> Int64? {
        contents(path)?.split(separator: "\n").first { $0.hasPrefix(name + " ") }.flatMap { Int64($0.dropFirst(name.count + 1)) }
    }

    private static func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

// A container's control groups as files: what it used, whether the kernel killed for memory, who is still in there, and
// their end. One hierarchy (version 2) or one for each controller (version 1); mixed hosts count as version 1, with the
// hierarchy of version 2 as one more of them.
import Glibc

package struct ControlGroups: Hashable, Sendable {
    /// Below the root of each hierarchy, for example `/jobctl-w/42.7.2`.
    package let path: String
    package init(path: String) { self.path = path }

    package static let root = "/sys/fs/cgroup"
    package static let isUnified = access(root + "/cgroup.controllers", F_OK) == 0
    private static let hierarchies: [String] = isUnified ? [root] : hierarchies(below: root)

    /// What covers a hierarchy is none: a runtime may write there what it likes, also the numbers of processes that are
    /// long gone.
    package static func hierarchies(below root: String) -> [String] {
        folders(in: root).map { root + "/" + $0 }.filter { access($0 + "/cgroup.procs", F_OK) == 0 }
    }

    package struct Figures: Hashable, Sendable {
        package var cpuMicroseconds: Int64
        /// Bytes.
        package var peakMemory: Int64
        package init(cpuMicroseconds: Int64, peakMemory: Int64) {
            self.cpuMicroseconds = cpuMicroseconds
            self.peakMemory = peakMemory
        }
    }

    /// Whether the kernel itself remembers the peak; else somebody must look again and again.
    package var remembersPeak: Bool {
        !Self.isUnified || access(Self.root + path + "/memory.peak", F_OK) == 0
    }

    package var figures: Figures? {
        if Self.isUnified {
            guard let cpu = Self.value("usage_usec", in: Self.root + path + "/cpu.stat") else { return nil }
            let memory =
                Self.number(Self.root + path + "/memory.peak") ?? Self.number(Self.root + path + "/memory.current")
            return Figures(cpuMicroseconds: cpu, peakMemory: memory ?? 0)
        }
        guard let cpu = Self.number(Self.root + "/cpuacct" + path + "/cpuacct.usage"),
            let memory = Self.number(Self.root + "/memory" + path + "/memory.max_usage_in_bytes")
        else { return nil }
        return Figures(cpuMicroseconds: cpu / 1000, peakMemory: memory)
    }

    /// Whether the kernel killed a process in the group for the memory limit.
    package var wasOutOfMemory: Bool {
        let file =
            Self.isUnified ? Self.root + path + "/memory.events" : Self.root + "/memory" + path + "/memory.oom_control"
        return (Self.value("oom_kill", in: file) ?? 0) > 0
    }

    /// Kills whoever is in there. True if nobody was.
    package func killAll() -> Bool {
        var wasEmpty = true
        for hierarchy in Self.hierarchies {
            for process in processes(hierarchy + path) {
                wasEmpty = false
                kill(process, SIGKILL)
            }
            // One hierarchy of version 1 holds them all.
            if !wasEmpty { break }
        }
        return wasEmpty
    }

    private func processes(_ folder: String) -> [pid_t] {
        let lists = [folder] + Self.folders(in: folder).map { folder + "/" + $0 }
        return lists.flatMap { list in
            String(decoding: readFile(list + "/cgroup.procs", limit: 1 << 20) ?? [], as: UTF8.self)
                .split(separator: "\n").compactMap { pid_t($0) }
        }
    }

    /// Removes the groups. True if they are gone; false while somebody is still in there.
    package func remove() -> Bool {
        var isGone = true
        for hierarchy in Self.hierarchies where !Self.removeTree(hierarchy + path, depth: 0) { isGone = false }
        return isGone
    }

    private static func removeTree(_ path: String, depth: Int) -> Bool {
        if rmdir(path) == 0 || errno == ENOENT { return true }
        guard depth < 4 else { return false }
        for name in folders(in: path) { _ = removeTree(path + "/" + name, depth: depth + 1) }
        return rmdir(path) == 0 || errno == ENOENT
    }

    // MARK: Leaves

    private static func folders(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            guard Int32(entry.pointee.d_type) == Int32(DT_DIR) else { continue }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private static func number(_ path: String) -> Int64? {
        readFile(path, limit: 64).flatMap {
            Int64(String(decoding: $0.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
        }
    }

    private static func value(_ key: String, in path: String) -> Int64? {
        let text = String(decoding: readFile(path, limit: 64 << 10) ?? [], as: UTF8.self)
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == key { return Int64(words[1]) }
        }
        return nil
    }
}

// What stands on this host: processes, mounts, control groups, namespaces. Once for everybody (numbers to put side by
// side), once for one cluster (what must be gone). A cluster is known by its folder, which stands on command lines and
// in mount tables, and by the name of its worker's control groups.
import Foundation

package struct HostCensus: Hashable, Sendable {
    /// Without those that wait to be reaped.
    package var processes: Int
    /// In this process's namespace.
    package var mounts: Int
    package var controlGroups: Int
    /// Of all kinds, as lsns counts them: those that a process is in.
    package var namespaces: Int

    package static func take() -> HostCensus {
        let processes = processNumbers().filter { !commandLine($0).isEmpty }
        let spaces = processes.flatMap { process in
            folder("/proc/\(process)/ns").compactMap {
                try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/ns/\($0)")
            }
        }
        return HostCensus(
            processes: processes.count, mounts: text("/proc/self/mountinfo").split(separator: "\n").count,
            controlGroups: groupFolders().count, namespaces: Set(spaces).count)
    }

    package var line: String {
        "\(processes) processes, \(mounts) mounts, \(controlGroups) control groups, \(namespaces) namespaces"
    }

    // MARK: One cluster

    /// The processes, mounts and namespaces that exist because of a cluster, one a line. Zombies are none.
    /// - Parameters:
    ///   - folder: all of the cluster's files, and its volumes.
    ///   - except: processes that are meant to run.
    package static func left(of folder: String, worker: String?, except known: Set<pid_t>) -> [String] {
        let groups = groupFolders().filter { path in
            worker.map { path.hasSuffix("/jobctl-\($0)") || path.contains("/jobctl-\($0)/") } ?? false
        }
        var found = groups.filter { AttemptName.ends($0) }.map { "control group \($0)" }
        let members = Set(groups.flatMap { text($0 + "/cgroup.procs").split(separator: "\n").compactMap { pid_t($0) } })
        for process in processNumbers() where process != getpid() {
            let command = commandLine(process)
            guard !command.isEmpty else { continue }
            let mounts = text("/proc/\(process)/mountinfo").split(separator: "\n").filter { $0.contains(folder + "/") }
            if known.contains(process) {
                found += mounts.map { "mount of \(process) \($0)" } + heldNamespaces(process)
            } else if members.contains(process) || command.contains(folder + "/") {
                found.append("process \(process) \(command)")
            } else if !mounts.isEmpty {
                found.append("process \(process) in a namespace with \(mounts.count) mounts: \(command)")
            }
        }
        found += text("/proc/self/mountinfo").split(separator: "\n").filter { $0.contains(folder + "/") }
            .map { "mount \($0)" }
        return found
    }

    /// Namespaces without a process, which somebody keeps by a file descriptor.
    private static func heldNamespaces(_ process: pid_t) -> [String] {
        folder("/proc/\(process)/fd").compactMap { name in
            guard
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\(name)"),
                ["mnt:[", "net:[", "pid:[", "ipc:[", "uts:["].contains(where: { target.hasPrefix($0) })
            else { return nil }
            return "namespace \(target) held by \(process)"
        }
    }

    // MARK: Leaves

    package static func processNumbers() -> [pid_t] { folder("/proc").compactMap { pid_t($0) } }

    package static func commandLine(_ process: pid_t) -> String {
        text("/proc/\(process)/cmdline").replacing("\0", with: " ").trimmingCharacters(in: .whitespaces)
    }

    static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    static func folder(_ path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }

    private static func groupFolders() -> [String] {
        let root = URL(filePath: "/sys/fs/cgroup")
        let entries = FileManager.default.enumerator(at: root, includingPropertiesForKeys: [.isDirectoryKey])
        return (entries?.allObjects as? [URL] ?? [])
            .filter { (try? $0.resourceValues(forKeys: [.isDirectoryKey]).isDirectory) == true }.map(\.path)
    }
}

/// `42.7.2` at the end of a path.
private enum AttemptName {
    static func ends(_ path: String) -> Bool {
        let name = (path as NSString).lastPathComponent
        return name.split(separator: ".").count == 3 && name.allSatisfy { $0.isNumber || $0 == "." }
    }
}

/// What a process holds at a moment.
package struct ProcessFigures: Hashable, Sendable {
    package var residentKilobytes: Int
    package var threads: Int
    package var openFiles: Int

    /// Nil if there is no such process.
    package init?(_ process: pid_t) {
        let status = HostCensus.text("/proc/\(process)/status").split(separator: "\n")
        func number(_ name: String) -> Int? {
            status.first { $0.hasPrefix(name + ":") }?.split(whereSeparator: \.isWhitespace).dropFirst().first
                .flatMap { Int($0) }
        }
        guard let resident = number("VmRSS"), let threads = number("Threads") else { return nil }
        residentKilobytes = resident
        self.threads = threads
        openFiles = HostCensus.folder("/proc/\(process)/fd").count
    }
}

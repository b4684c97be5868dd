// The processes of a session on this host, whichever engine started them: those that carry its mark in their
// environment, and those in a kernel's session that such a process leads. A process number is used only while a
// descriptor holds it. Where the agent may not look into the container's processes (it is not root), none is found:
// they end with the attempt.
import CLinux
import Glibc
import RunnerCore

struct SessionProcesses: Sendable {
    private let id: String
    /// `JOBCTL_SESSION=…`.
    private var mark: String { SessionLaunch.variable + "=" + id }

    init(id: String) { self.id = id }

    /// Where proc is mounted.
    private static let root = "/proc"
    private static let environmentLimit = 4 << 20

    /// Sends a signal to every marked process.
    func signal(_ number: Int32) { for process in marked() { _ = send(number, to: process) { isMarked(process) } } }

    /// Hangs up, and kills what does not go within two seconds. Blocks for as long.
    func end() {
        for round in 0..<200 {
            let processes = all()
            if processes.isEmpty { return }
            for process in processes {
                if round == 0 { _ = send(SIGHUP, to: process.id, if: process.isStill) }
                // Who was stopped cannot hear.
                if round == 0 { _ = send(SIGCONT, to: process.id, if: process.isStill) }
                if round >= 100 { _ = send(SIGKILL, to: process.id, if: process.isStill) }
            }
            usleep(20_000)
        }
    }

    /// Whether a runtime still serves the session, or is about to.
    var isBeginning: Bool {
        let file = "/" + SessionLaunch.file(id)
        return Self.numbers.contains { process in
            let words = readFile("\(Self.root)/\(process)/cmdline", limit: 1 << 20)?.split(separator: 0) ?? []
            return words.contains { String(decoding: $0, as: UTF8.self).hasSuffix(file) }
        }
    }

    // MARK: Leaves

    private struct Found {
        let id: pid_t
        let isStill: () -> Bool
    }

    private func all() -> [Found] {
        let marked = Set(self.marked())
        var found: [Found] = []
        for id in Self.numbers {
            if marked.contains(id) {
                found.append(Found(id: id) { isMarked(id) })
            } else if let leader = Self.leader(of: id), leader != id, marked.contains(leader) {
                found.append(Found(id: id) { Self.leader(of: id) == leader && isMarked(leader) })
            }
        }
        return found
    }

    private func marked() -> [pid_t] { Self.numbers.filter(isMarked) }

    private static var numbers: [pid_t] {
        guard let folder = opendir(root) else { return [] }
        defer { closedir(folder) }
        var numbers: [pid_t] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let number = pid_t(name) { numbers.append(number) }
        }
        return numbers
    }

    private func isMarked(_ process: pid_t) -> Bool {
        guard let bytes = readFile("\(Self.root)/\(process)/environ", limit: Self.environmentLimit) else {
            return false
        }
        let wanted = Array(mark.utf8)
        return bytes.split(separator: 0).contains { $0.elementsEqual(wanted) }
    }

    /// The process that leads the kernel's session of this one.
    private static func leader(of process: pid_t) -> pid_t? {
        guard let bytes = readFile("\(root)/\(process)/stat", limit: 4096),
            let end = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        // State, parent, group, session.
        let words = bytes[end...].dropFirst(2).split(separator: UInt8(ascii: " "))
        return words.count > 3 ? pid_t(String(decoding: words[3], as: UTF8.self)) : nil
    }

    private func send(_ number: Int32, to process: pid_t, if isStill: () -> Bool) -> Bool {
        let descriptor = jc_process_open(process)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return isStill() && jc_process_signal(descriptor, number) == 0
    }
}

// A daemon that `jobctl up` starts: detached, known by process id and start time, stopped without ever asking for a
// name.
import CLinux
import Foundation
import Glibc
import JobModel

/// A daemon that outlives the command that started it.
struct LocalProcess {
    let name: String
    let folder: String
    private var file: String { "\(folder)/\(name).pid" }
    var log: String { "\(folder)/\(name).log" }

    /// The process id if this very process still runs: an id that was given to another has another start time.
    private var running: pid_t? {
        guard let data = FileManager.default.contents(atPath: file) else { return nil }
        let words = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let id = pid_t(words[0]), let startTime = Self.startTime(of: id), startTime == words[1]
        else { return nil }
        return id
    }

    var isRunning: Bool { running != nil }
    var id: pid_t? { running }

    /// When the process id was written down.
    var startedAt: Timestamp {
        var information = stat()
        stat(file, &information)
        return Timestamp(millisecondsSinceEpoch: Int64(information.st_mtim.tv_sec) * 1000)
    }

    var lastWords: String {
        guard let data = FileManager.default.contents(atPath: log) else { return "it said nothing" }
        return String(decoding: data, as: UTF8.self).split(separator: "\n").last.map(String.init) ?? "it said nothing"
    }

    /// Field 22 of /proc/PID/stat: ticks since boot. Nil if there is no such process, or only its remains.
    private static func startTime(of id: pid_t) -> Substring? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(id)/stat") else { return nil }
        let text = String(decoding: data, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return fields[19]
    }

    /// Starts the program in a session of its own, with output to the log.
    func start(_ program: String, _ arguments: [String]) throws {
        guard access(program, X_OK) == 0 else {
            throw Problem(.refused, "\(program) is missing: install it beside jobctl")
        }
        var argv = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for text in argv { free(text) } }
        let id = jc_spawn_daemon(program, &argv, log)
        guard id > 0, let startTime = Self.startTime(of: id) else {
            throw Problem(.refused, "\(program) could not be started: \(String(cString: strerror(-id)))")
        }
        try "\(id) \(startTime)\n".write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// SIGTERM, and SIGKILL after 20 s.
    func stop() async {
        guard let id = running else { return }
        kill(id, SIGTERM)
        let deadline = ContinuousClock.now + .seconds(20)
        var killed = false
        while running == id {
            if ContinuousClock.now > deadline, !killed {
                kill(id, SIGKILL)
                killed = true
            }
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
        }
        unlink(file)
    }
}

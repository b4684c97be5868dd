// Ctrl-C and SIGTERM: what was started is ended, so that whoever waits for it fails, and every folder, mount and engine
// is cleaned up on the way out, as after any other failure.
import Foundation
import Synchronization

enum Interruption {
    private static let started = Mutex<[pid_t]>([])
    /// A handler may do little more than write to a pipe.
    private static let ends: [Int32] = {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return [-1, -1] }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return ends
    }()
    private static let happened = Mutex(false)

    /// - Throws: after an interruption.
    static func check() throws {
        if happened.withLock({ $0 }) { throw BenchFailure("interrupted") }
    }

    static func note(_ id: pid_t) { started.withLock { $0.append(id) } }

    /// Handlers, unlike ignored signals, are not inherited by what is started.
    static func watch() {
        guard ends[0] >= 0 else { return }
        for number in [SIGINT, SIGTERM] { signal(number) { _ in Interruption.wake() } }
        Thread.detachNewThread {
            var byte: UInt8 = 0
            while read(ends[0], &byte, 1) == 1 {
                Progress.say("interrupted: cleaning up")
                happened.withLock { $0 = true }
                for id in started.withLock({ $0 }) where isOurs(id) { kill(id, SIGTERM) }
            }
        }
    }

    private static func wake() {
        var byte: UInt8 = 1
        write(ends[1], &byte, 1)
    }

    /// An id that was given to another process since is not a child of this one.
    private static func isOurs(_ id: pid_t) -> Bool {
        let text =
            FileManager.default.contents(atPath: "/proc/\(id)/stat").map { String(decoding: $0, as: UTF8.self) } ?? ""
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 1 && fields[1] == "\(getpid())"
    }
}

// The parts of the engines' JSON that are read, and the judgement of a container's recorded state. Docker and
// podman's libpod name these fields alike. Invariant: `judge` finds an exit only in a record that says when and how
// the program ended.
import Foundation
import Glibc
import JobModel

/// How a container ended, as far as its record proves it.
enum ContainerEnd: Hashable, Sendable {
    case exited(ExitRecord)
    /// The engine could not start it; the program is not to blame. The sentence says why.
    case neverStarted(String)
    /// The record does not prove how it ended, for example after a crash of the engine or the host. Never a success.
    case unproven(String)
}

/// `State` of an inspected container.
struct RecordedState: Decodable, Sendable {
    var status: String
    var exitCode: Int
    var oomKilled: Bool
    var error: String
    var pid: Int
    /// Podman's process that waits for the container's end.
    var monitor: Int
    var startedAt: String
    var finishedAt: String

    private enum CodingKeys: String, CodingKey {
        case status = "Status", exitCode = "ExitCode", oomKilled = "OOMKilled", error = "Error", pid = "Pid", monitor =
            "ConmonPid"
        case startedAt = "StartedAt", finishedAt = "FinishedAt"
    }

    init(
        status: String, exitCode: Int, oomKilled: Bool = false, error: String = "", pid: Int = 0, monitor: Int = 0,
        startedAt: String,
        finishedAt: String
    ) {
        self.status = status
        self.exitCode = exitCode
        self.oomKilled = oomKilled
        self.error = error
        self.pid = pid
        self.monitor = monitor
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        status = try container.decode(String.self, forKey: .status)
        exitCode = try container.decode(Int.self, forKey: .exitCode)
        oomKilled = try container.decodeIfPresent(Bool.self, forKey: .oomKilled) ?? false
        error = try container.decodeIfPresent(String.self, forKey: .error) ?? ""
        pid = try container.decodeIfPresent(Int.self, forKey: .pid) ?? 0
        monitor = try container.decodeIfPresent(Int.self, forKey: .monitor) ?? 0
        startedAt = try container.decodeIfPresent(String.self, forKey: .startedAt) ?? ""
        finishedAt = try container.decodeIfPresent(String.self, forKey: .finishedAt) ?? ""
    }

    enum Judgement: Hashable, Sendable {
        case notStarted
        case running
        /// The process is gone, and the engine has not yet recorded how it ended.
        case ending
        case ended(ContainerEnd)
    }

    /// What the record proves. After a crash of the host, dockerd 20.10 shows `exited`, code 0 and no time of the
    /// end, podman `created` with a time of the start, or code −1: none of these is a success.
    func judge() -> Judgement {
        let started = Self.time(startedAt)
        let finished = Self.time(finishedAt)
        switch status {
        case "running", "paused", "restarting": return isAbandoned ? .ending : .running
        case "stopping", "stopped", "removing": return .ending
        case "created", "configured", "initialized":
            if !error.isEmpty { return .ended(.neverStarted("the engine could not start the container: \(error)")) }
            if started != nil { return .ended(.unproven("the engine has forgotten how the container ended")) }
            return .notStarted
        case "exited": break
        default: return .ended(.unproven("the engine shows the container as \(quoted(status))"))
        }
        if started == nil {
            return .ended(
                .neverStarted(
                    "the engine could not start the container: \(error.isEmpty ? "it gives no reason" : error)"))
        }
        guard finished != nil else { return .ended(.unproven("the engine does not know when the container ended")) }
        guard (0...255).contains(exitCode) else {
            return .ended(.unproven("the engine recorded the impossible exit code \(exitCode)"))
        }
        guard error.isEmpty else {
            return .ended(.unproven("the engine recorded an error beside exit code \(exitCode): \(error)"))
        }
        return .ended(
            .exited(ExitRecord(exitCode: exitCode, oomKilled: oomKilled, startedAt: started, finishedAt: finished)))
    }

    /// Podman says `running` for ever if its monitor was killed together with the container: nobody is left to write
    /// the end down. The agent and the engine share the host, so they share process numbers.
    private var isAbandoned: Bool { monitor > 0 && isGone(monitor) && (pid <= 0 || isGone(pid)) }

    private func isGone(_ process: Int) -> Bool { kill(pid_t(clamping: process), 0) != 0 && errno == ESRCH }

    /// Nil for Go's zero time, which both engines show for "never".
    static func time(_ text: String) -> Timestamp? {
        guard text.utf8.count <= 64, !text.hasPrefix("0001-") else { return nil }
        return Timestamp(text)
    }
}

/// An inspected container.
struct InspectedContainer: Decodable, Sendable {
    struct Settings: Decodable, Sendable {
        let labels: [String: String]?
        private enum CodingKeys: String, CodingKey { case labels = "Labels" }
    }
    struct HostSettings: Decodable, Sendable {
        struct Log: Decodable, Sendable {
            /// Podman's file.
            let path: String?
            /// Docker's options.
            let options: [String: String]?
            private enum CodingKeys: String, CodingKey { case path = "Path", options = "Config" }
        }
        let log: Log?
        private enum CodingKeys: String, CodingKey { case log = "LogConfig" }
    }
    struct Mount: Decodable, Sendable {
        /// Of a volume.
        let name: String?
        private enum CodingKeys: String, CodingKey { case name = "Name" }
    }
    let id: String
    let state: RecordedState
    let settings: Settings
    let host: HostSettings?
    private let mounts: [Mount]?
    private enum CodingKeys: String, CodingKey {
        case id = "Id", state = "State", settings = "Config", host = "HostConfig", mounts = "Mounts"
    }

    var volumes: [String] { (mounts ?? []).compactMap(\.name) }
    var attempt: AttemptID? { settings.labels?[ContainerLabel.attempt].flatMap { AttemptID($0) } }
}

/// A container in a list.
struct ListedContainer: Decodable, Sendable {
    let id: String
    let labels: [String: String]?
    private enum CodingKeys: String, CodingKey { case id = "Id", labels = "Labels" }
}

/// An inspected image.
struct InspectedImage: Decodable, Sendable {
    struct Settings: Decodable, Sendable {
        let environment: [String]?
        let volumes: [String: Nothing]?
        private enum CodingKeys: String, CodingKey { case environment = "Env", volumes = "Volumes" }
    }
    /// `{}` in Go's notation of a set.
    struct Nothing: Decodable, Sendable {}

    let id: String
    let os: String?
    let architecture: String?
    let settings: Settings?
    private enum CodingKeys: String, CodingKey {
        case id = "Id", os = "Os", architecture = "Architecture", settings = "Config"
    }

    /// The names of the variables that the image sets.
    var environmentNames: [String] {
        (settings?.environment ?? []).map { String($0.prefix { $0 != "=" }) }
    }
}

// What the agent needs of a container engine, and the values that cross that seam. Every engine passes one conformance suite
// (Tests/WorkerTests/EngineConformance.swift), the simulated one included. Invariant: an end is told only from the engine's own
// durable record; what the record does not prove is `unproven`, never a success. No policy (retries, reports) belongs here.
import JobModel
import SchedulerClient

/// A container engine on this host. Safe to call from any task; every call may be repeated after a crash of the agent.
package protocol ContainerEngine: Sendable {
    /// `docker`, `podman` or `simulated`.
    var name: String { get }

    /// Which container rules this engine cannot hold on this host, one sentence each. Empty when all are held.
    var weaknesses: [String] { get }

    /// Makes the image present, pulling it by digest through the agent's loopback registry proxy. Concurrent calls pull once.
    /// - Throws: kind ``EngineError/Kind/image`` when it cannot be had.
    func ensureImage(_ image: PinnedImage) async throws(EngineError)

    /// Creates the attempt's container and returns its id. If the attempt has one already, returns that one's id.
    func create(_ specification: ContainerSpecification) async throws(EngineError) -> String

    /// Starts it; does nothing if it runs or has ended. A program that cannot be started (not found, not executable) is no error
    /// here: ``wait(_:)`` tells it, today and after a restart of the agent.
    func start(_ id: String) async throws(EngineError)

    /// Waits for the end, and returns at once if it has ended. Survives restarts of the engine while it waits.
    func wait(_ id: String) async throws(EngineError) -> ContainerEnd

    /// SIGTERM, `grace`, SIGKILL; returns when it has ended. Does nothing if it is not running.
    func stop(_ id: String, grace: TimeSpan) async throws(EngineError)

    /// The exact bytes of both streams after the first `skip` bytes of each. Nothing is read ahead of the consumer.
    /// With `follow` it ends after the container has ended and all was handed out. Throws ``EngineError``.
    func logs(_ id: String, follow: Bool, skip: LogPosition) -> AsyncThrowingStream<LogPiece, any Error>

    /// What the container has used up to now, or used until it ended; nil if the engine cannot tell. Call before ``remove(_:)``.
    func usage(_ id: String) async throws(EngineError) -> Usage?

    /// All containers that carry this worker's label, whatever their state.
    func list() async throws(EngineError) -> [FoundContainer]

    /// Kills and removes the container and what belongs to it. Does nothing if it is gone.
    func remove(_ id: String) async throws(EngineError)
}

/// How the container of one attempt shall be. Everything else is fixed by the container rules (DESIGN section 5).
package struct ContainerSpecification: Hashable, Codable, Sendable {
    package var attempt: AttemptID
    /// Beside the labels that the engine sets by itself.
    package var labels: [String: String]
    package var image: PinnedImage
    /// Executed directly; the image's ENTRYPOINT and CMD are ignored.
    package var command: [String]
    /// Beside `LANG`, `TZ`, `HOME` and the image's own ENV, which it overrides.
    package var environment: [String: String]
    /// Nil: the image's.
    package var workingDirectory: String?
    package var uid: UInt32
    package var gid: UInt32
    package var mounts: [ContainerMount]
    package var network: NetworkMode
    package var cpus: CPUAmount
    package var memory: ByteCount
    /// Identities as the worker registered them. Empty: none.
    package var gpus: [String]
    /// How much of both streams together the engine must keep at least, before it may drop the oldest.
    package var logLimit: ByteCount

    package init(
        attempt: AttemptID, labels: [String: String] = [:], image: PinnedImage, command: [String],
        environment: [String: String] = [:], workingDirectory: String? = nil, uid: UInt32, gid: UInt32,
        mounts: [ContainerMount] = [], network: NetworkMode = .none, cpus: CPUAmount, memory: ByteCount, gpus: [String] = [],
        logLimit: ByteCount
    ) {
        self.attempt = attempt
        self.labels = labels
        self.image = image
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.uid = uid
        self.gid = gid
        self.mounts = mounts
        self.network = network
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
        self.logLimit = logLimit
    }
}

/// A bind mount. The agent has prepared `source`: resolved as the submitter and mounted nosuid,nodev in its own folder.
package struct ContainerMount: Hashable, Codable, Sendable {
    /// Host path.
    package var source: String
    /// Absolute path in the container.
    package var target: String
    package var readOnly: Bool

    package init(source: String, target: String, readOnly: Bool) {
        self.source = source
        self.target = target
        self.readOnly = readOnly
    }
}

/// How a container ended, as far as the engine can prove it.
package enum ContainerEnd: Hashable, Codable, Sendable {
    /// The program ran and ended, or could not be started because of what it is (see ``ExitRecord/message``).
    case exited(ExitRecord)
    /// The engine could not start it; the program is not to blame. The sentence says why.
    case neverStarted(String)
    /// The engine's record does not prove how it ended, for example after a crash of the engine or the host.
    case unproven(String)
}

/// The engine's durable record of an end.
package struct ExitRecord: Hashable, Codable, Sendable {
    /// As a shell shows it: 128 + n after signal n.
    package var exitCode: Int
    /// The signal that ended the program, where the exit code tells one.
    package var signal: Int?
    /// The kernel killed at least one process of the container because the memory limit was reached.
    package var oomKilled: Bool
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp?
    /// One sentence for the user where the code alone does not explain it, for example that the command was not found.
    package var message: String?

    package init(
        exitCode: Int, signal: Int? = nil, oomKilled: Bool, startedAt: Timestamp?, finishedAt: Timestamp?, message: String? = nil
    ) {
        self.exitCode = exitCode
        self.signal = signal
        self.oomKilled = oomKilled
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.message = message
    }

    /// Proof of exit code 0: the only way to a success.
    package struct Zero: Hashable, Sendable {
        package let record: ExitRecord

        /// Nil unless the record holds exit code 0, no signal, no message of a failed start, and the time of the end.
        package init?(_ record: ExitRecord) {
            guard record.exitCode == 0, record.signal == nil, record.message == nil, record.finishedAt != nil else { return nil }
            self.record = record
        }
    }
}

/// How many bytes of each stream somebody has already.
package struct LogPosition: Hashable, Codable, Sendable {
    package var stdout: Int64
    package var stderr: Int64
    package static let start = LogPosition(stdout: 0, stderr: 0)

    package init(stdout: Int64, stderr: Int64) {
        self.stdout = stdout
        self.stderr = stderr
    }

    package subscript(stream: LogStream) -> Int64 {
        get {
            switch stream {
            case .stdout: stdout
            case .stderr: stderr
            }
        }
        set {
            switch stream {
            case .stdout: stdout = newValue
            case .stderr: stderr = newValue
            }
        }
    }
}

/// A piece of a container's output.
package enum LogPiece: Hashable, Sendable {
    case bytes(LogStream, [UInt8])
    /// The engine has dropped output here, or may have: what follows does not join on to what came before. One sentence.
    case gap(String)
}

/// A container that an engine has.
package struct FoundContainer: Hashable, Sendable {
    package enum Status: Hashable, Sendable { case created, running, ended }

    package var id: String
    /// Nil if the label is missing or unreadable: a leftover to remove.
    package var attempt: AttemptID?
    package var labels: [String: String]
    package var status: Status

    package init(id: String, attempt: AttemptID?, labels: [String: String], status: Status) {
        self.id = id
        self.attempt = attempt
        self.labels = labels
        self.status = status
    }
}

/// The labels by which an agent finds its containers again.
package enum ContainerLabel {
    package static let attempt = "jobctl.attempt"
    /// The id of the agent's data folder: two agents on one host never touch each other's containers.
    package static let worker = "jobctl.worker"
}

/// A failure of an engine. `message` is for the user, `cause` for the log.
package struct EngineError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A case exists where the agent acts differently.
    package enum Kind: String, Sendable {
        /// It does not answer: try again.
        case unavailable
        /// The image cannot be had.
        case image
        /// No such container (any more).
        case noSuchContainer
        /// It refused what was asked.
        case refused
        /// It answered something that cannot be understood.
        case unreadable
    }

    package var kind: Kind
    package var message: String
    package var cause: String

    package init(_ kind: Kind, _ message: String, cause: String = "") {
        self.kind = kind
        self.message = message
        self.cause = cause
    }

    package var description: String { cause.isEmpty ? message : "\(message) (\(cause))" }
}

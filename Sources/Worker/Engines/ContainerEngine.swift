// What the agent needs of whatever runs containers. Docker and Podman are behind DockerEngine; one conformance suite
// holds for each and for the simulated engine (Tests/WorkerTests/EngineConformance.swift). Invariant: an end is told
// only from the engine's own durable record; what the record does not prove is thrown as `noProof`, never returned.
// No policy (retries, reports) belongs here.
import JobModel

/// A host path that a container sees. An agent that is root has resolved and mounted it: the engine looks nothing up.
package struct ContainerMount: Hashable, Codable, Sendable {
    package var source: String
    package var target: String
    package var readOnly: Bool
    /// Where nobody has mounted it, because the agent is not root: the folder below which `source` lies. Whoever mounts
    /// it must look it up below that folder once more, following no link.
    package var volumeRoot: String?
    package init(source: String, target: String, readOnly: Bool, volumeRoot: String? = nil) {
        self.source = source
        self.target = target
        self.readOnly = readOnly
        self.volumeRoot = volumeRoot
    }
}

/// A container to create. Everything that DESIGN section 5 demands beyond it is the engine's to set.
package struct ContainerSpecification: Hashable, Sendable {
    package var attempt: AttemptID
    package var image: PinnedImage
    package var command: [String]
    package var environment: [String: String]
    package var workingDirectory: String?
    package var user: Identity
    package var mounts: [ContainerMount]
    package var network: NetworkMode
    package var resources: Resources
    /// Identities of the GPUs that were scheduled.
    package var gpus: [String]
    /// Bytes of output that the engine keeps at least.
    package var logLimit: ByteCount
    /// From the start, for engines that can enforce it while there is no agent.
    package var timeLimit: TimeSpan?
    /// From SIGTERM to SIGKILL where the engine stops by itself.
    package var grace: TimeSpan
    /// What runs beside it, on a network that only this container and they have. Then ``network`` is `none`.
    package var services: [ServiceSpecification]

    package init(
        attempt: AttemptID, image: PinnedImage, command: [String], environment: [String: String],
        workingDirectory: String?, user: Identity,
        mounts: [ContainerMount], network: NetworkMode, resources: Resources, gpus: [String], logLimit: ByteCount,
        timeLimit: TimeSpan? = nil, grace: TimeSpan = .seconds(10), services: [ServiceSpecification] = []
    ) {
        self.attempt = attempt
        self.image = image
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.user = user
        self.mounts = mounts
        self.network = network
        self.resources = resources
        self.gpus = gpus
        self.logLimit = logLimit
        self.timeLimit = timeLimit
        self.grace = grace
        self.services = services
    }
}

/// How a container ended, as the engine wrote it down when it did.
package struct ExitRecord: Hashable, Codable, Sendable {
    package var exitCode: Int
    package var oomKilled: Bool
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp?
    /// One sentence for the user where the code alone does not explain it, for example that the command was not
    /// found.
    package var message: String?
    /// Why the engine itself ended the program, with no agent to ask: the time limit, or the worker's lease.
    package var stoppedFor: EndReason?
    /// Why the program was never started: one of its services could not be used. The exit code means nothing then.
    package var serviceFailure: String?
    /// What the user should know whatever the end was: a service that ended before the program.
    package var note: String?

    package init(
        exitCode: Int, oomKilled: Bool, startedAt: Timestamp?, finishedAt: Timestamp?, message: String? = nil,
        stoppedFor: EndReason? = nil, serviceFailure: String? = nil, note: String? = nil
    ) {
        self.exitCode = exitCode
        self.oomKilled = oomKilled
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.message = message
        self.stoppedFor = stoppedFor
        self.serviceFailure = serviceFailure
        self.note = note
    }

    /// The signal that ended the program: the init that is PID 1 passes it on as 128 + signal, as shells do.
    package var signal: Int? { (129...192).contains(exitCode) ? exitCode - 128 : nil }

    /// The proof that a program ended with exit code 0. The only way to a success.
    package struct Zero: Hashable, Sendable {
        package let record: ExitRecord
        /// Nil unless the engine recorded exit code 0, when it was, and nothing that went wrong.
        package init?(_ record: ExitRecord) {
            guard record.exitCode == 0, !record.oomKilled, record.message == nil, record.stoppedFor == nil,
                record.serviceFailure == nil, record.finishedAt != nil
            else { return nil }
            self.record = record
        }
    }
}

/// A container of this worker that the engine knows.
package struct FoundContainer: Hashable, Sendable {
    package var id: String
    package var attempt: AttemptID?
    package init(id: String, attempt: AttemptID?) {
        self.id = id
        self.attempt = attempt
    }
}

/// A piece of a container's output.
package struct LogPiece: Hashable, Sendable {
    package enum Stream: String, Hashable, Sendable, CaseIterable { case stdout, stderr }
    package var stream: Stream
    package var bytes: [UInt8]
    package init(stream: Stream, bytes: [UInt8]) {
        self.stream = stream
        self.bytes = bytes
    }
}

package enum EngineError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The image could not be pulled.
    case image(String)
    /// The program could not be started: it does not exist, or may not be executed.
    case program(String)
    /// The engine has no such container, or no proof of how it ended.
    case noProof(String)
    /// The engine does not answer: it may be restarting.
    case unavailable(String)
    case refused(String)

    /// - Parameter cause: for the operator; follows the sentence in parentheses.
    init(_ make: (String) -> EngineError, _ message: String, cause: String) {
        self = make(cause.isEmpty ? message : "\(message) (\(cause))")
    }

    package var isUnavailable: Bool {
        if case .unavailable = self { true } else { false }
    }

    package var description: String {
        switch self {
        case .image(let why), .program(let why), .noProof(let why), .unavailable(let why), .refused(let why): why
        }
    }
}

/// Runs containers. Every call may be repeated after a crash of the agent.
package protocol ContainerEngine: Sendable {
    /// `oci`, `docker`, `podman`, `simulated`.
    var name: String { get }
    /// Which container rules the engine cannot hold on this host, one sentence each.
    var weaknesses: [String] { get }
    /// Makes sure that the image is there, pulled by digest. Concurrent calls pull once.
    @discardableResult
    func ensureImage(_ image: PinnedImage) async throws(EngineError) -> Digest?
    /// Creates a container, not started. One that exists for this attempt is returned as it is.
    func create(_ specification: ContainerSpecification) async throws(EngineError) -> String
    /// Starts its services, and once all of them are ready, it. One that was started already stays as it is. A command
    /// that is not found shows itself in
    /// ``wait(_:)``, today and after a crash of the agent: the container's init starts it.
    func start(_ id: String) async throws(EngineError)
    /// Waits for its end and that of its services, also while the engine restarts; returns at once if it has ended.
    /// Where a service is not ready in time, that is the end: ``ExitRecord/serviceFailure``.
    /// - Throws: ``EngineError/noProof(_:)`` if the engine cannot prove how it ended.
    func wait(_ id: String) async throws(EngineError) -> ExitRecord
    /// SIGTERM, `grace`, SIGKILL, for its services as well.
    func stop(_ id: String, grace: TimeSpan) async throws(EngineError)
    /// The exact bytes of both streams beyond those skipped, until the container has ended and all is read. Pieces
    /// are read from the engine as they are taken. Where the engine has dropped output, a line on stderr says so;
    /// after it, `skip` is not exact.
    func logs(_ id: String, skip: [LogPiece.Stream: Int64]) -> AsyncThrowingStream<LogPiece, any Error>
    /// What a container has used so far, or until it ended; nil if that cannot be told. Ask before ``remove(_:)``.
    func usage(_ id: String) async throws(EngineError) -> Usage?
    /// Every container of this worker, running or not. Services are no containers of their own.
    func list() async throws(EngineError) -> [FoundContainer]
    /// Removes it with its services, its network and its anonymous volumes, running or not. One that is gone is fine.
    func remove(_ id: String) async throws(EngineError)
    /// The file that holds the exact bytes of a stream up to the log limit, from its first, and grows until the
    /// container has ended, if there is any output; nil where the engine keeps none. It goes with the container. With
    /// one, ``logs(_:skip:)`` need not be read.
    func logFile(_ attempt: AttemptID, _ stream: LogPiece.Stream) -> String?
    /// The worker's lease ends at `moment`, in milliseconds of the boot-time clock, unless it is extended again.
    /// Engines that outlive the agent stop what they run then.
    func leaseExtended(to moment: Int64) async
    /// The container's time limit is another from now on, counted from its start. For engines that enforce it
    /// themselves; one that is gone is fine.
    func limitChanged(_ id: String, to limit: TimeSpan) async throws(EngineError)
    /// Starts a second program in a running container: as its user, with its mounts, without capabilities.
    /// - Throws: kind `refused` with a sentence, also where the engine cannot.
    func session(in id: String, _ launch: SessionLaunch) async throws(EngineError) -> any ContainerSession
}

extension ContainerEngine {
    package func logFile(_ attempt: AttemptID, _ stream: LogPiece.Stream) -> String? { nil }
    package func leaseExtended(to moment: Int64) async {}
    package func limitChanged(_ id: String, to limit: TimeSpan) async throws(EngineError) {}
}

// What the conformance suite runs against: an engine of each kind, with the image that its programs need. Started
// once for a suite.
import Foundation
import JobModel
import Logging
import OCI
import RunnerCore
import TestSupport
import Testing

@testable import Worker

/// A program in the two languages that the suite's engines understand.
struct TestProgram: Sendable {
    /// For a real engine: a script for busybox.
    var shell: String
    /// For the simulated one.
    var steps: [String]
}

/// An engine and its surroundings.
struct EngineWorld: Sendable {
    let image: PinnedImage
    var isSimulated = false
    /// Only for engines with a daemon.
    let daemon: EngineUnderTest?
    /// Only for engines that pull.
    let registry: PlainRegistryUnderTest?
    /// A folder on the host that all may read and write.
    let folder: String
    /// A new agent's view of the engine, under a worker's name.
    let engine: @Sendable (_ worker: String) async throws -> any ContainerEngine

    @TaskLocal static var current: EngineWorld?

    /// Runs `body` with an engine under a worker name of its own, and removes whatever it left.
    func withEngine(_ body: (any ContainerEngine, String) async throws -> Void) async throws {
        let worker = "test" + String(UInt32.random(in: 0 ... .max), radix: 36)
        let engine = try await engine(worker)
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(engine, worker))
        } catch {
            result = .failure(error)
        }
        for container in try await engine.list() { try await engine.remove(container.id) }
        removeGroups(of: worker)
        try result.get()
    }

    func specification(
        _ command: [String], task: Int64 = 1, memory: Int64 = 64 << 20, environment: [String: String] = [:],
        mounts: [ContainerMount] = [],
        workingDirectory: String? = nil, network: NetworkMode = .none
    ) -> ContainerSpecification {
        ContainerSpecification(
            attempt: AttemptID(task: TaskID(job: JobID(rawValue: 42), index: task), number: 2), image: image,
            command: command,
            environment: environment, workingDirectory: workingDirectory,
            user: Identity(name: UserName(unchecked: "ada"), uid: 1234, gid: 5678), mounts: mounts, network: network,
            resources: Resources(cpus: CPUAmount(thousandths: 500), memory: ByteCount(bytes: memory), gpus: 0),
            gpus: [],
            logLimit: ByteCount(bytes: 64 << 20))
    }

    /// The program in this engine's language.
    func specification(_ program: TestProgram, task: Int64 = 1, memory: Int64 = 64 << 20) -> ContainerSpecification {
        specification(
            isSimulated ? ["simulate"] + program.steps : ["sh", "-c", program.shell], task: task, memory: memory)
    }
}

extension ContainerEngine {
    /// Image, container, start.
    func begin(_ specification: ContainerSpecification) async throws -> String {
        try await ensureImage(specification.image)
        let id = try await create(specification)
        try await start(id)
        return id
    }

    /// To the end, with all output.
    func run(_ specification: ContainerSpecification) async throws -> (id: String, record: ExitRecord, output: Output) {
        let id = try await begin(specification)
        async let output = output(of: id)
        return (id, try await wait(id), try await output)
    }

    func output(of id: String, skip: [LogPiece.Stream: Int64] = [:]) async throws -> Output {
        var output = Output()
        for try await piece in logs(id, skip: skip) { output.append(piece) }
        return output
    }
}

struct Output: Equatable, Sendable {
    var stdout: [UInt8] = []
    var stderr: [UInt8] = []

    mutating func append(_ piece: LogPiece) {
        switch piece.stream {
        case .stdout: stdout += piece.bytes
        case .stderr: stderr += piece.bytes
        }
    }
    var text: String { String(decoding: stdout, as: UTF8.self) }
    var errors: String { String(decoding: stderr, as: UTF8.self) }
}

/// Starts the world of a suite once, around all of its tests, and ends it whatever happened.
struct InEngineWorld: SuiteTrait, TestScoping {
    enum Kind: Sendable { case docker, podman, simulated, oci(RuntimeKind) }
    let kind: Kind
    var isRecursive: Bool { false }

    init(_ kind: Kind) { self.kind = kind }

    func provideScope(for test: Test, testCase: Test.Case?, performing body: @Sendable () async throws -> Void)
        async throws
    {
        switch kind {
        case .simulated: try await simulated(body)
        case .docker: try await real(.docker, body)
        case .podman: try await real(.podman, body)
        case .oci(let kind): try await oci(kind, body)
        }
    }

    private func simulated(_ body: @Sendable () async throws -> Void) async throws {
        let digest = Digest(of: "an image")
        let host = SimulatedHost(available: [digest])
        let world = EngineWorld(
            image: PinnedImage(digest: digest, platform: nil), isSimulated: true, daemon: nil, registry: nil,
            folder: "/nowhere"
        ) {
            SimulatedEngine(host: host, worker: $0)
        }
        try await EngineWorld.$current.withValue(world) { try await body() }
    }

    private func oci(_ kind: RuntimeKind, _ body: @Sendable () async throws -> Void) async throws {
        let folder = try temporaryFolder("oci")
        defer { removeFolder(folder) }
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder)
        let registry = try await PlainRegistryUnderTest.start()
        let archive = try ArchiveLayerSource(url: registry.url, token: "unused", patience: .seconds(10))
        let result = await outcome {
            let digest = try await EngineTestImage.push(to: registry.port)
            let store = try LayerStore(directory: folder + "/layers", budget: ByteCount(bytes: 1 << 30))
            let roots = ArchiveRoots(store: store, source: archive)
            let image = PinnedImage(digest: digest, platform: "linux/\(EngineTestImage.architecture)")
            let world = EngineWorld(image: image, daemon: nil, registry: registry, folder: folder) { worker in
                try await OCIRuntimeDetection(runtime: kind.rawValue).engine(
                    worker: worker, dataFolder: "\(folder)/\(worker)", roots: roots, logger: Logger(label: "test"))
            }
            try await EngineWorld.$current.withValue(world) { try await body() }
        }
        await archive.close()
        await registry.stop()
        try result.get()
    }

    private func real(_ kind: EngineUnderTest.Kind, _ body: @Sendable () async throws -> Void) async throws {
        let folder = try temporaryFolder("shared")
        defer { removeFolder(folder) }
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder)
        let registry = try await PlainRegistryUnderTest.start()
        let result = await outcome {
            let digest = try await EngineTestImage.push(to: registry.port)
            let daemon = try await EngineUnderTest.start(kind)
            let result = await outcome { try await within(kind, daemon, registry, digest, folder, body) }
            await daemon.stop()
            try result.get()
        }
        await registry.stop()
        try result.get()
    }

    private func within(
        _ kind: EngineUnderTest.Kind, _ daemon: EngineUnderTest, _ registry: PlainRegistryUnderTest, _ digest: Digest,
        _ folder: String,
        _ body: @Sendable () async throws -> Void
    ) async throws {
        let logger = Logger(label: "test")
        let proxy = RegistryProxy(scheduler: registry.url, token: "unused", portFile: folder + "/port", logger: logger)
        let image = PinnedImage(digest: digest, platform: "linux/\(EngineTestImage.architecture)")
        let world = EngineWorld(image: image, daemon: daemon, registry: registry, folder: folder) { worker in
            let candidate = EngineDetection.Candidate(kind == .docker ? .docker : .podman, daemon.socketPath)
            return try await EngineDetection(candidates: [candidate]).engine(
                worker: worker, registry: proxy, logger: logger)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await proxy.run() }
            _ = try await proxy.address()
            let result = await outcome { try await EngineWorld.$current.withValue(world) { try await body() } }
            group.cancelAll()
            try result.get()
        }
    }
}

private func outcome(_ body: () async throws -> Void) async -> Result<Void, any Error> {
    do {
        return .success(try await body())
    } catch {
        return .failure(error)
    }
}

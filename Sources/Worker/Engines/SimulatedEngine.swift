// An engine without containers, for tests and simulations: it keeps the same promises as the real ones, by the same
// suite. A program is a list of steps instead of a file in an image. Invariant: a host outlives the engines that look
// at it, as dockerd outlives agents.
import Foundation
import JobModel

/// What lives as long as the simulated machine.
package actor SimulatedHost {
    fileprivate struct Container {
        let id: String
        let worker: String
        let specification: ContainerSpecification
        var startedAt: Timestamp?
        var end: ExitRecord?
        var log: [LogPiece] = []
        var program: Task<Void, Never>?
        var ignoresTermination = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    fileprivate var containers: [String: Container] = [:]
    fileprivate var images: Set<Digest> = []
    fileprivate let available: Set<Digest>
    private var created = 0
    /// How many pulls there were.
    package private(set) var pulls = 0

    /// - Parameter available: the images that a pull finds.
    package init(available: Set<Digest>) { self.available = available }

    // MARK: Inputs

    fileprivate func ensure(_ image: PinnedImage) throws(EngineError) {
        guard !images.contains(image.digest) else { return }
        guard available.contains(image.digest) else {
            throw .image("the image \(image.digest) could not be pulled: it does not exist")
        }
        pulls += 1
        images.insert(image.digest)
    }

    fileprivate func create(_ specification: ContainerSpecification, worker: String) throws(EngineError) -> String {
        guard images.contains(specification.image.digest) else {
            throw .image("the image \(specification.image.digest) is not there")
        }
        if let known = containers.values.first(where: {
            $0.worker == worker && $0.specification.attempt == specification.attempt
        }) {
            return known.id
        }
        created += 1
        let id = "simulated-\(created)"
        containers[id] = Container(id: id, worker: worker, specification: specification)
        return id
    }

    fileprivate func start(_ id: String) throws(EngineError) {
        guard let container = containers[id] else { throw .noProof("the container \(id) is gone") }
        guard container.startedAt == nil else { return }
        containers[id]?.startedAt = Self.now
        containers[id]?.program = Task { await run(id, container.specification.command) }
    }

    /// Suspends until the container has ended, is gone, or has written more than `seen` pieces.
    fileprivate func waitForChange(_ id: String, seen: Int?) async {
        guard let container = containers[id], container.end == nil, seen.map({ container.log.count <= $0 }) ?? true
        else { return }
        await withCheckedContinuation { containers[id]?.waiters.append($0) }
    }

    fileprivate func signal(_ id: String, kill: Bool) {
        guard let container = containers[id], container.startedAt != nil, container.end == nil else { return }
        if kill || !container.ignoresTermination { end(id, code: kill ? 137 : 143) }
    }

    fileprivate func remove(_ id: String) {
        signal(id, kill: true)
        wake(id)
        containers[id] = nil
    }

    // MARK: The program

    /// `simulate STEP…`: `out:TEXT`, `err:TEXT`, `lines:N`, `sleep:MILLISECONDS`, `ignore-term`, `hog`, `kill:N`,
    /// `exit:N`.
    private func run(_ id: String, _ command: [String]) async {
        guard command.first == "simulate" else {
            return end(id, code: 127, message: "the command was not found in the image")
        }
        for step in command.dropFirst() {
            let parts = step.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let value = parts.count > 1 ? parts[1] : ""
            switch parts[0] {
            case "out": write(id, LogPiece(stream: .stdout, bytes: Array(value.utf8)))
            case "err": write(id, LogPiece(stream: .stderr, bytes: Array(value.utf8)))
            case "lines":
                let text = (0..<(Int(value) ?? 0)).map { "\($0 + 1)\n" }.joined()
                write(id, LogPiece(stream: .stdout, bytes: Array(text.utf8)))
            case "sleep": do { try await Task.sleep(for: .milliseconds(Int(value) ?? 0)) } catch { return }
            case "ignore-term": containers[id]?.ignoresTermination = true
            case "hog": return end(id, code: 137, oomKilled: true)
            case "kill": return end(id, code: 128 + (Int(value) ?? 9))
            case "exit": return end(id, code: Int(value) ?? 0)
            default: return end(id, code: 2)
            }
        }
        end(id, code: 0)
    }

    private func write(_ id: String, _ piece: LogPiece) {
        guard containers[id]?.end == nil else { return }
        containers[id]?.log.append(piece)
        wake(id)
    }

    private func end(_ id: String, code: Int, oomKilled: Bool = false, message: String? = nil) {
        guard let container = containers[id], container.end == nil else { return }
        containers[id]?.end = ExitRecord(
            exitCode: code, oomKilled: oomKilled, startedAt: container.startedAt, finishedAt: Self.now, message: message
        )
        container.program?.cancel()
        wake(id)
    }

    private func wake(_ id: String) {
        let waiters = containers[id]?.waiters ?? []
        containers[id]?.waiters = []
        for waiter in waiters { waiter.resume() }
    }

    private static var now: Timestamp { Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000)) }
}

/// One agent's view of a ``SimulatedHost``.
package struct SimulatedEngine: ContainerEngine {
    package let host: SimulatedHost
    package let worker: String
    package var name: String { "simulated" }
    package var weaknesses: [String] { ["nothing is contained: the programs are simulated"] }

    package init(host: SimulatedHost, worker: String) {
        self.host = host
        self.worker = worker
    }

    package func ensureImage(_ image: PinnedImage) async throws(EngineError) -> Digest? {
        try await host.ensure(image)
        return image.digest
    }

    package func create(_ specification: ContainerSpecification) async throws(EngineError) -> String {
        try await host.create(specification, worker: worker)
    }

    package func start(_ id: String) async throws(EngineError) { try await host.start(id) }

    package func wait(_ id: String) async throws(EngineError) -> ExitRecord {
        while true {
            guard let container = await host.containers[id] else { throw .noProof("the container \(id) is gone") }
            guard container.startedAt != nil else { throw .refused("the container \(id) has not been started") }
            if let end = container.end { return end }
            await host.waitForChange(id, seen: nil)
        }
    }

    package func stop(_ id: String, grace: TimeSpan) async throws(EngineError) {
        await host.signal(id, kill: false)
        let deadline = ContinuousClock.now + .milliseconds(grace.milliseconds)
        while let container = await host.containers[id], container.startedAt != nil, container.end == nil {
            if ContinuousClock.now >= deadline { return await host.signal(id, kill: true) }
            do { try await Task.sleep(for: .milliseconds(5)) } catch { throw .unavailable("the stop was cancelled") }
        }
    }

    package func logs(_ id: String, skip: [LogPiece.Stream: Int64]) -> AsyncThrowingStream<LogPiece, any Error> {
        let cursor = SimulatedCursor(skip: skip)
        return AsyncThrowingStream { try await cursor.next(id, host) }
    }

    package func usage(_ id: String) async throws(EngineError) -> Usage? {
        guard let container = await host.containers[id], let started = container.startedAt else { return nil }
        let wall = container.end?.finishedAt.map { ($0 - started).seconds } ?? 0
        return Usage(cpuSeconds: 0.001, maxMemory: ByteCount(bytes: 1 << 20), wallSeconds: wall)
    }

    package func list() async throws(EngineError) -> [FoundContainer] {
        await host.containers.values.filter { $0.worker == worker }
            .map { FoundContainer(id: $0.id, attempt: $0.specification.attempt) }.sorted { $0.id < $1.id }
    }

    package func remove(_ id: String) async throws(EngineError) { await host.remove(id) }
}

/// Where a reader of a simulated log is.
private actor SimulatedCursor {
    private var rest: [LogPiece.Stream: Int64]
    private var index = 0

    init(skip: [LogPiece.Stream: Int64]) { rest = skip }

    func next(_ id: String, _ host: SimulatedHost) async throws -> LogPiece? {
        while true {
            guard let container = await host.containers[id] else {
                throw EngineError.noProof("the container \(id) is gone")
            }
            while index < container.log.count {
                let piece = container.log[index]
                index += 1
                let known = min(rest[piece.stream, default: 0], Int64(piece.bytes.count))
                rest[piece.stream, default: 0] -= known
                if known < piece.bytes.count {
                    return LogPiece(stream: piece.stream, bytes: Array(piece.bytes.dropFirst(Int(known))))
                }
            }
            if container.end != nil { return nil }
            await host.waitForChange(id, seen: index)
            try Task.checkCancellation()
        }
    }
}

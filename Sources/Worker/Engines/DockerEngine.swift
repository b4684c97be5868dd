// Containers through the Docker Engine API, spoken by dockerd and by `podman system service`. What a container may do stands in
// DockerEngine+Create.swift, output in DockerEngine+Logs.swift.
import AsyncHTTPClient
import Foundation
import JobModel
import NIOCore
import Synchronization

package struct DockerEngine: ContainerEngine {
    package enum Flavor: String, Sendable { case docker, podman }

    let connection: EngineConnection
    let flavor: Flavor
    /// Tells this worker's containers from others: a label.
    let workerID: String
    /// `127.0.0.1:PORT` of the agent's registry proxy.
    let registry: String
    private let pulls = PullQueue()
    let cgroups = CgroupSampler()

    package var name: String { flavor.rawValue }

    package init(http: HTTPClient, socket: String, flavor: Flavor, workerID: String, registry: String) {
        connection = EngineConnection(http: http, socket: socket)
        self.flavor = flavor
        self.workerID = workerID
        self.registry = registry
    }

    static let attemptLabel = "jobctl.attempt"
    static let workerLabel = "jobctl.worker"

    // MARK: Images

    /// The name under which the proxy serves any image of the archive.
    func reference(_ image: PinnedImage) -> String { "\(registry)/archive@\(image.digest)" }

    package func ensureImage(_ image: PinnedImage) async throws(EngineError) {
        if try await imageID(image) != nil { return }
        try await pulls.once(image.digest) { () async throws(EngineError) in
            if try await imageID(image) == nil { try await pull(image) }
        }
    }

    /// The engine's own id of the image, nil if it is not there.
    func imageID(_ image: PinnedImage) async throws(EngineError) -> String? {
        struct Inspect: Decodable { var Id: String }
        let answer = try await connection.call(.GET, "/images/\(encoded(reference(image)))/json")
        return answer.status == 200 ? try answer.decode(Inspect.self).Id : nil
    }

    /// The engine answers 200 before it has begun: errors stand in the stream.
    private func pull(_ image: PinnedImage) async throws(EngineError) {
        let platform = image.platform.map { "&platform=" + encoded($0) } ?? ""
        let path =
            switch flavor {
            case .docker: "/images/create?fromImage=\(encoded("\(registry)/archive"))&tag=\(encoded(image.digest.description))\(platform)"
            case .podman: "/v4.0.0/libpod/images/pull?reference=\(encoded(reference(image)))&tlsVerify=false&policy=missing"
            }
        let answer = try await connection.call(.POST, path, timeout: .hours(2))
        guard answer.status == 200 else { throw .image("the image \(image.digest.short) could not be pulled: \(answer.message)") }
        struct Progress: Decodable { var error: String? }
        for line in String(buffer: answer.body).split(separator: "\n") {
            let progress = try? JSONDecoder().decode(Progress.self, from: Data(line.utf8))  // allowed: other lines are progress
            if let error = progress?.error, !error.isEmpty { throw .image("the image \(image.digest.short) could not be pulled: \(error)") }
        }
        guard try await imageID(image) != nil else { throw .image("the image \(image.digest.short) is missing after it was pulled") }
    }

    // MARK: Life

    package func start(_ id: String) async throws(EngineError) {
        let answer = try await connection.call(.POST, "/containers/\(id)/start")
        switch answer.status {
        case 204, 304: return
        case 404: throw .noProof("the container is gone")
        default:
            let message = answer.message
            let isProgramsFault = ["no such file or directory", "executable file not found", "permission denied", "exec format error"]
                .contains { message.lowercased().contains($0) }
            throw isProgramsFault ? .program(message) : .refused("the engine could not start the container: \(message)")
        }
    }

    package func wait(_ id: String) async throws(EngineError) -> ExitRecord {
        let state = try await self.state(id)
        if state.Running || state.Status == "created" || state.Status == "paused" || state.Status == "removing" {
            _ = try await connection.call(.POST, "/containers/\(id)/wait", timeout: .hours(24 * 365))
        }
        return try exitRecord(try await self.state(id), id)
    }

    struct State: Decodable, Sendable {
        var Status: String
        var Running: Bool
        var OOMKilled: Bool?
        var ExitCode: Int
        var Error: String?
        var Pid: Int?
        var StartedAt: String?
        var FinishedAt: String?
    }

    func state(_ id: String) async throws(EngineError) -> State {
        struct Inspect: Decodable { var State: DockerEngine.State }
        let answer = try await connection.call(.GET, "/containers/\(id)/json")
        guard answer.status == 200 else {
            throw answer.status == 404 ? .noProof("the container is gone") : .unavailable("the engine could not describe the container: \(answer.message)")
        }
        return try answer.decode(Inspect.self).State
    }

    /// After an engine restart a container may be "exited" with code 0 although nobody saw its end: without an end time, or with an
    /// error, there is no proof.
    private func exitRecord(_ state: State, _ id: String) throws(EngineError) -> ExitRecord {
        guard state.Status == "exited" || state.Status == "stopped", !state.Running else {
            throw .noProof("the engine says that the container is '\(state.Status)'")
        }
        if let error = state.Error, !error.isEmpty { throw .noProof("the engine lost the container: \(error)") }
        guard let finished = state.FinishedAt.flatMap(Timestamp.init(engine:)) else {
            throw .noProof("the engine did not record when the container ended")
        }
        return ExitRecord(
            exitCode: state.ExitCode, oomKilled: state.OOMKilled ?? false || cgroups.sawOOM(id),
            startedAt: state.StartedAt.flatMap(Timestamp.init(engine:)), finishedAt: finished)
    }

    package func stop(_ id: String, grace: TimeSpan) async throws(EngineError) {
        let seconds = (grace.milliseconds + 999) / 1000
        let answer = try await connection.call(.POST, "/containers/\(id)/stop?t=\(seconds)", timeout: .seconds(seconds + 60))
        guard [204, 304, 404].contains(answer.status) else { throw .refused("the engine could not stop the container: \(answer.message)") }
    }

    package func list() async throws(EngineError) -> [FoundContainer] {
        struct Entry: Decodable {
            var Id: String
            var Labels: [String: String]?
        }
        let filter = encoded("{\"label\":[\"\(Self.workerLabel)=\(workerID)\"]}")
        let answer = try await connection.call(.GET, "/containers/json?all=true&filters=\(filter)")
        guard answer.status == 200 else { throw .unavailable("the engine could not list containers: \(answer.message)") }
        return try answer.decode([Entry].self).map {
            FoundContainer(id: $0.Id, attempt: $0.Labels?[Self.attemptLabel].flatMap { AttemptID($0) })
        }
    }

    package func remove(_ id: String) async throws(EngineError) {
        cgroups.forget(id)
        let answer = try await connection.call(.DELETE, "/containers/\(id)?v=true&force=true")
        guard [200, 204, 404].contains(answer.status) || answer.message.contains("already in progress") else {
            throw .refused("the engine could not remove the container: \(answer.message)")
        }
    }

    package func usage(_ id: String) async throws(EngineError) -> Usage? {
        if cgroups.knows(id) { return cgroups.sample(id) }
        guard let pid = try await state(id).Pid, pid > 0 else { return nil }
        return cgroups.begin(id, pid: pid)
    }
}

/// One pull for each digest at a time; the others wait for it.
private actor PullQueue {
    private var running: [Digest: Task<Result<Void, EngineError>, Never>] = [:]

    func once(_ digest: Digest, _ body: @escaping @Sendable () async throws(EngineError) -> Void) async throws(EngineError) {
        if let task = running[digest] { return try await task.value.get() }
        let task = Task { () -> Result<Void, EngineError> in
            do throws(EngineError) {
                try await body()
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        running[digest] = task
        let result = await task.value
        running[digest] = nil
        try result.get()
    }
}

extension Timestamp {
    /// Engines print nanoseconds, and the year 1 for "never".
    init?(engine text: String) {
        guard !text.hasPrefix("0001-"), text.count >= 20 else { return nil }
        let zone = text.hasSuffix("Z") ? "Z" : String(text.suffix(6))
        let fraction = text.dropFirst(19).dropLast(zone.count)
        let milliseconds = fraction.hasPrefix(".") ? String(fraction.dropFirst().prefix(3)) : ""
        self.init(text.prefix(19) + "." + milliseconds + String(repeating: "0", count: 3 - milliseconds.count) + zone)
    }
}

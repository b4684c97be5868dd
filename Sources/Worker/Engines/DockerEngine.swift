// Station 8 of 8. An attempt's container through the API of dockerd or of `podman system service`. Docker is spoken
// to in the Docker Engine API, podman in its own libpod API, because podman 4.3's Docker-compatible answers are wrong
// or silent about init, OOM, image volumes and pulls. Invariant: a container is found again by its name and labels
// alone; the engine keeps nothing that a restart of the agent would lose. Settings stand in ContainerSettings.swift,
// images, logs and usage in the + files.
import Foundation
import JobModel
import Logging
import NIOCore
import NIOHTTP1
import SchedulerClient

/// The labels by which an agent finds its containers again.
enum ContainerLabel {
    static let attempt = "jobctl.attempt"
    /// The id of the agent's data folder: two agents on one host never touch each other's containers.
    static let worker = "jobctl.worker"
    /// Of a container with a ``Witness``: the exit code that is a success.
    static let success = "jobctl.success"
    /// Of an attempt's own container: the names of its services.
    static let services = "jobctl.services"
    /// Of a service's container: its name.
    static let service = "jobctl.service"
    /// Of a service's container: its ``HealthCheck``.
    static let health = "jobctl.health"
}

/// Which API an engine speaks, and under which path.
package enum EngineDialect: Hashable, Sendable {
    /// `prefix`: `/v1.41`.
    case docker(prefix: String)
    /// `prefix`: `/v4.0.0/libpod`.
    case podman(prefix: String)

    var prefix: String {
        switch self {
        case .docker(let prefix), .podman(let prefix): prefix
        }
    }
}

/// A container engine behind a Unix socket. Get one from ``EngineDetection``.
package final class DockerEngine: ContainerEngine {
    package let name: String
    package let weaknesses: [String]
    /// The id of the agent's data folder.
    let worker: String
    let dialect: EngineDialect
    let http: EngineHTTP
    let registry: any ImageSource
    let images: ImageBook
    let cgroups: CgroupBook
    let services = ServiceBook()
    /// `jobctl-runner` on this host.
    let witness: String
    /// dockerd's data folder on this host.
    let dataFolder: String?
    /// Nil where the engine does not take GPUs by their CDI names.
    let devices: DeviceSpecifications?
    let logger: Logger

    init(
        name: String, weaknesses: [String], worker: String, dialect: EngineDialect, http: EngineHTTP,
        registry: any ImageSource, witness: String, dataFolder: String?, parentsAllowed: Bool,
        devices: DeviceSpecifications? = nil, logger: Logger
    ) {
        self.name = name
        self.weaknesses = weaknesses
        self.worker = worker
        self.dialect = dialect
        self.http = http
        self.registry = registry
        self.witness = witness
        self.dataFolder = dataFolder
        self.devices = devices
        self.logger = logger
        images = ImageBook()
        cgroups = CgroupBook(worker: worker, parentsAllowed: parentsAllowed)
    }

    /// How often an inspection that failed inside the engine is tried again: for 1.5 s at most.
    static let inspectionsAgain = 5

    // MARK: Life of a container

    package func create(_ specification: ContainerSpecification) async throws(EngineError) -> String {
        let name = containerName(of: specification.attempt)
        let image = try await present(specification.image)
        let network = try await network(of: specification)
        let plan = ContainerPlan(
            specification: specification, name: name, worker: worker, image: image,
            cgroupParent: cgroups.parent(of: specification.attempt), limits: ProcessLimits.ofThisProcess,
            network: network, deviceNames: try devices?.edits(for: specification.gpus)?.names ?? [], witness: witness)
        let id = try await created(plan, specification)
        if let network { try await createServices(of: specification, in: network) }
        return id
    }

    private func created(
        _ plan: ContainerPlan, _ specification: ContainerSpecification
    ) async throws(EngineError) -> String {
        let answer = try await sendCreate(plan)
        if answer.status == 201 {
            struct Created: Decodable {
                let id: String
                let warnings: [String]?
                private enum CodingKeys: String, CodingKey { case id = "Id", warnings = "Warnings" }
            }
            let created: Created = try answer.decoded()
            for warning in created.warnings ?? [] {
                logger.warning(
                    "the engine created a container with a reservation",
                    metadata: [
                        "attempt": "\(specification.attempt)", "reason": "\(warning)",
                    ])
            }
            return created.id
        }
        // A create that was repeated after a crash of the agent finds its own container; podman says so with status
        // 500.
        if let found = try await inspect(plan.name), found.settings.labels?[ContainerLabel.worker] == worker,
            found.attempt == specification.attempt
        {
            return found.id
        }
        if answer.status == 404 {
            await images.forget(specification.image)
            throw EngineError(
                EngineError.image, "the image \(specification.image.digest) is gone: \(answer.complaint)",
                cause: answer.call)
        }
        // The specification itself is wrong in the engine's eyes: a working directory that is a file, a mount over
        // `/`.
        if answer.status == 400 { throw .program("the engine refuses the container: \(answer.complaint)") }
        throw answer.failure
    }

    func sendCreate(_ plan: ContainerPlan) async throws(EngineError) -> EngineAnswer {
        switch dialect {
        case .docker:
            return try await http.exchange(
                .POST, path("/containers/create"), query: [("name", plan.name)], body: try plan.dockerJSON())
        case .podman:
            return try await http.exchange(.POST, path("/containers/create"), body: try plan.podmanJSON())
        }
    }

    package func start(_ id: String) async throws(EngineError) {
        // Engines start what has ended a second time, so the state is looked at first.
        guard let found = try await inspect(id) else { throw .noProof("the container \(id.prefix(12)) is gone") }
        guard found.state.judge() == .notStarted else { return }
        guard found.serviceNames.isEmpty else { return await gather(found) }
        let answer = try await http.exchange(.POST, container(id, "/start"))
        if answer.status == 204 || answer.status == 304 { return }
        throw answer.failure
    }

    package func stop(_ id: String, grace: TimeSpan) async throws(EngineError) {
        await services.stop(id)
        try await stopContainer(id, grace: grace)
    }

    /// - Parameter grace: nil for the container's own.
    func stopContainer(_ id: String, grace: TimeSpan?) async throws(EngineError) {
        let seconds = max(0, ((grace ?? .seconds(60)).milliseconds + 999) / 1000)
        let parameter =
            switch dialect {
            case .docker: "t"
            case .podman: "timeout"
            }
        let answer = try await http.exchange(
            .POST, container(id, "/stop"), query: grace == nil ? [] : [(parameter, String(seconds))],
            within: .seconds(seconds) + EngineHTTP.quick)
        if answer.status == 204 || answer.status == 304 || answer.status == 404 { return }
        // Podman answers 500 for a container that does not run.
        guard let found = try await inspect(id), found.state.judge() == .running else { return }
        try answer.expect(204)
    }

    package func remove(_ id: String) async throws(EngineError) {
        await services.forget(id)
        let found = try await inspect(id)
        // A service, or a network, that has no container of an attempt beside it any more goes with what is left.
        let orphan = found.flatMap { $0.serviceName == nil ? nil : $0.attempt } ?? attempt(named: id)
        let attempt = orphan ?? found?.attempt
        let hasServices = orphan != nil || found.map { !$0.serviceNames.isEmpty } ?? false
        if let attempt, hasServices { try await removeServices(of: attempt) }
        try await delete(id)
        if let attempt, hasServices { try await removeNetwork(of: attempt) }
        guard let found, let attempt else { return }
        try await removeVolumes(of: found, attempt)
        await cgroups.remove(attempt, container: found.id, logger: logger)
    }

    /// Running or not, with its anonymous volumes. One that is gone is fine.
    func delete(_ id: String) async throws(EngineError) {
        let query =
            switch dialect {
            case .docker: [("v", "1"), ("force", "1")]
            case .podman: [("v", "true"), ("force", "true"), ("timeout", "0")]
            }
        for _ in 0..<100 {
            let answer = try await http.exchange(.DELETE, container(id, ""), query: query)
            if answer.status == 404 || answer.status == 204 || answer.status == 200 { return }
            // 409: somebody else is removing it.
            guard answer.status == 409 else { throw answer.failure }
            try await pause(.milliseconds(100))
        }
    }

    package func list() async throws(EngineError) -> [FoundContainer] {
        let listed = try await listed("\(ContainerLabel.worker)=\(worker)").filter {
            $0.labels?[ContainerLabel.worker] == worker
        }
        let found = { (container: ListedContainer) in
            FoundContainer(
                id: container.id, attempt: container.labels?[ContainerLabel.attempt].flatMap { AttemptID($0) })
        }
        var containers = listed.filter { !$0.isService(of: worker) }.map(found)
        // What a crash left of an attempt whose own container is gone, or was never made: removing it removes all.
        let others = listed.filter { $0.isService(of: worker) }.map(found)
        let networks = try await networks().map { FoundContainer(id: $0.name, attempt: $0.attempt) }
        for other in others + networks where !containers.contains(where: { $0.attempt == other.attempt }) {
            containers.append(other)
        }
        return containers
    }

    func listed(_ label: String) async throws(EngineError) -> [ListedContainer] {
        let filter: [UInt8]
        do { filter = try WireJSON.encode(["label": [label]]) } catch {
            throw EngineError.refused("the label \(label) is no text")
        }
        let answer = try await http.exchange(
            .GET, path("/containers/json"),
            query: [("all", "true"), ("filters", String(decoding: filter, as: UTF8.self))])
        try answer.expect(200)
        let listed: [ListedContainer]? = try answer.decoded()
        return listed ?? []
    }

    // MARK: The end

    package func wait(_ id: String) async throws(EngineError) -> ExitRecord {
        switch await services.outcome(of: id) {
        case .failed(let record, _)?:
            if let found = try await inspect(id), let attempt = found.attempt {
                await stopServices(found.serviceNames, of: attempt)
            }
            return record
        case .broken(let error)?: throw error
        case .programStarted?, nil: break
        }
        var endingSince: ContinuousClock.Instant?
        var delay = Duration.milliseconds(50)
        while true {
            do throws(EngineError) {
                guard let found = try await inspect(id) else {
                    throw .noProof("the container \(id.prefix(12)) is gone")
                }
                switch found.state.judge() {
                case .notStarted: throw .refused("the container \(id.prefix(12)) has not been started")
                case .ended(let end): return try await finish(try await completed(end, of: found), found)
                case .running:
                    endingSince = nil
                    try await waitAtEngine(id)
                case .ending:
                    let since = endingSince ?? .now
                    endingSince = since
                    if .now - since > Self.patience {
                        throw .noProof("the engine has not recorded how the container ended")
                    }
                    try await pause(.milliseconds(50))
                }
                delay = .milliseconds(50)
            } catch {
                // The engine restarts: its record is read again when it is back.
                guard error.isUnavailable, !Task.isCancelled else { throw error }
                try await pause(delay)
                delay = min(delay * 2, .seconds(5))
            }
        }
    }

    /// How long an engine may take to record an end.
    static let patience = Duration.seconds(10)

    /// Blocks until the engine thinks that the container does not run, or for a while: podman may think that it runs
    /// when nothing is left of it. The answer is no proof, so it is not even read.
    private func waitAtEngine(_ id: String) async throws(EngineError) {
        let query =
            switch dialect {
            case .docker: [("condition", "not-running")]
            case .podman: [("condition", "stopped"), ("condition", "exited"), ("interval", "100ms")]
            }
        let limit: TimeAmount =
            switch dialect {
            case .docker: .minutes(10)
            case .podman: .seconds(30)
            }
        do throws(EngineError) {
            _ = try await http.exchange(
                .POST, container(id, "/wait"), query: query, within: limit, answerLimit: 1 << 20)
        } catch {
            // The limit looks like an engine that is away; if it is, the look at the state that follows says so.
            guard error.isUnavailable, !Task.isCancelled else { throw error }
            try await pause(.milliseconds(50))
        }
    }

    /// The proof, with what the engine's record does not hold: OOM that the engine missed, and why a program was not
    /// started.
    func completed(_ end: ContainerEnd, of found: InspectedContainer) async throws(EngineError) -> ExitRecord {
        var record: ExitRecord
        switch end {
        case .exited(let proof): record = proof
        case .neverStarted(let reason): throw EngineError.refused(reason)
        case .unproven(let reason): throw EngineError.noProof(reason)
        }
        record.exitCode = try Witness(of: found)?.exitCode(record.exitCode) ?? record.exitCode
        if !record.oomKilled, record.signal == 9 {
            record.oomKilled = await cgroups.wasOutOfMemory(found.attempt, container: found.id)
        }
        if initCodes(of: found).contains(record.exitCode), let failure = try await initFailure(of: found.id) {
            record.exitCode = failure.exitCode
            record.message = failure.message
        }
        return record
    }

    /// The exit codes with which the init says that it could not start the program.
    private func initCodes(of found: InspectedContainer) -> [Int] {
        switch dialect {
        case .podman where Witness(of: found) == nil: [1]
        case .docker, .podman: [126, 127]
        }
    }

    // MARK: Leaves

    func path(_ rest: String) -> String { dialect.prefix + rest }
    func container(_ id: String, _ rest: String) -> String { path("/containers/" + percentEncoded(id) + rest) }

    /// `jobctl-<worker>-<attempt>`: one per attempt and host, so that a repeated create meets the first.
    func containerName(of attempt: AttemptID) -> String { "jobctl-\(worker)-\(attempt)" }

    private func attempt(named name: String) -> AttemptID? {
        let prefix = "jobctl-\(worker)-"
        return name.hasPrefix(prefix) ? AttemptID(String(name.dropFirst(prefix.count))) : nil
    }

    /// Nil if there is no such container.
    func inspect(_ idOrName: String) async throws(EngineError) -> InspectedContainer? {
        var answer = try await http.exchange(.GET, container(idOrName, "/json"))
        // podman looks at /proc for it, and fails with status 500 where the process has just gone: a moment later the
        // container has ended.
        for again in 0..<Self.inspectionsAgain where answer.status == 500 {
            try await pause(.milliseconds(50 << again))
            answer = try await http.exchange(.GET, container(idOrName, "/json"))
        }
        if answer.status == 404 { return nil }
        try answer.expect(200)
        return try answer.decoded()
    }

    /// The volumes that stood in for the image's VOLUMEs (docker only; see ``ContainerPlan``).
    private func removeVolumes(of container: InspectedContainer, _ attempt: AttemptID) async throws(EngineError) {
        guard case .docker = dialect else { return }
        for volume in container.volumes where volume.hasPrefix(containerName(of: attempt) + "-") {
            let path = path("/volumes/" + percentEncoded(volume))
            try await http.exchange(.DELETE, path, query: [("force", "1")]).expect(204, 404)
        }
    }

    func pause(_ duration: Duration) async throws(EngineError) {
        do {
            try await Task.sleep(for: duration)
        } catch {
            throw EngineError.unavailable("the wait for the container engine was cancelled")
        }
    }
}

// The worker's composition root: options in, services out. The agent depends on the registry proxy, so the proxy starts
// first.
import CLinux
import Foundation
import Glibc
import JobModel
import Logging
import OCI
import SchedulerClient
import ServiceLifecycle

/// How a worker is set up.
package struct WorkerOptions: Sendable {
    package var schedulerURL: String
    package var token: String
    package var name: WorkerName
    package var dataFolder: String
    package var volumes: [Volume]
    package var allowedPaths: [String]
    package var labels: [String: String]
    package var engine: EngineChoice
    /// A path or a name; nil for the first that works.
    package var ociRuntime: String?
    package var cpus: CPUAmount?
    package var memory: ByteCount?
    /// Scratch space to offer; nil for nine tenths of the data folder's disk.
    package var disk: ByteCount?
    package var custom: ResourceCounts
    /// Where other workers reach this host; nil for its host name.
    package var address: String?

    package init(
        schedulerURL: String, token: String, name: WorkerName, dataFolder: String, volumes: [Volume],
        allowedPaths: [String],
        labels: [String: String], engine: EngineChoice, ociRuntime: String? = nil, cpus: CPUAmount?, memory: ByteCount?,
        disk: ByteCount? = nil, custom: ResourceCounts = .none, address: String? = nil
    ) {
        self.address = address
        self.disk = disk
        self.custom = custom
        self.schedulerURL = schedulerURL
        self.token = token
        self.name = name
        self.dataFolder = dataFolder
        self.volumes = volumes
        self.allowedPaths = allowedPaths
        self.labels = labels
        self.engine = engine
        self.ociRuntime = ociRuntime
        self.cpus = cpus
        self.memory = memory
    }
}

package enum WorkerService {
    package static let version = "0.1.0"

    /// Runs a worker until it is asked to stop. Containers stay: the next start adopts them.
    /// - Throws: an error whose description is a sentence for the user.
    package static func run(_ options: WorkerOptions, logger: Logger) async throws {
        let lock = try WorkerLock(folder: options.dataFolder)
        defer { withExtendedLifetime(lock) {} }
        let table = try VolumeTable(
            volumes: options.volumes, allowedPaths: options.allowedPaths, ownFolder: options.dataFolder)
        let client = try SchedulerClient(url: options.schedulerURL, token: options.token)
        let archive = try ArchiveLayerSource(url: options.schedulerURL, token: options.token)
        let result: Result<Void, any Error>
        do {
            result = .success(try await serve(options, table, client, archive, logger))
        } catch {
            result = .failure(error)
        }
        await archive.close()
        await client.close()
        try result.get()
    }

    private static func serve(
        _ options: WorkerOptions, _ table: VolumeTable, _ client: SchedulerClient, _ archive: ArchiveLayerSource,
        _ logger: Logger
    ) async throws {
        let proxy = RegistryProxy(
            scheduler: client.url, token: options.token, portFile: options.dataFolder + "/registry.port", logger: logger
        )
        let memory = EngineMemory(dataFolder: options.dataFolder)
        let journal = try Journal(folder: options.dataFolder + "/attempts")
        let engine = try await EngineSelection(
            try memory.choice(options.engine, hasAttempts: !journal.isEmpty()),
            oci: OCIRuntimeDetection(runtime: options.ociRuntime)
        ).engine(
            worker: try identity(options.dataFolder), dataFolder: options.dataFolder,
            roots: { () throws(EngineError) in try Self.roots(options.dataFolder, archive) }, registry: proxy,
            logger: logger)
        try memory.remember(engine.name)
        try await serve(options, engine: engine, table: table, client: client, proxy: proxy, logger: logger)
    }

    /// Runs an agent with this engine, whatever it is, until it is asked to stop.
    package static func serve(
        _ options: WorkerOptions, engine: any ContainerEngine, table: VolumeTable, client: SchedulerClient,
        proxy: RegistryProxy, logger: Logger
    ) async throws {
        let capacity = await Capacity.detect()
        for note in capacity.notes {
            logger.warning("a part of the host's capacity is unknown", metadata: ["reason": "\(note)"])
        }
        let registration = WorkerRegistration(
            cpus: options.cpus ?? capacity.cpus, memory: options.memory ?? capacity.memory,
            gpus: capacity.gpus.map(\.uuid), labels: options.labels,
            volumes: table.offers, allowedPaths: options.allowedPaths, engines: [engine.name], version: version,
            weaknesses: engine.weaknesses, disk: options.disk ?? offeredDisk(options.dataFolder),
            custom: options.custom.isEmpty ? nil : options.custom, address: options.address ?? hostName())
        let journal = try Journal(folder: options.dataFolder + "/attempts")
        let sessions = SessionHost(
            worker: options.name, engine: engine, scheduler: client, folder: options.dataFolder + "/sessions",
            logger: logger)
        let (reports, box) = AsyncStream.makeStream(of: AttemptReport.self)
        let services = RunnerServices(
            worker: options.name, engine: engine, scheduler: client, journal: journal,
            volumes: VolumeAccess(table: table, mountFolder: options.dataFolder + "/mounts"),
            files: FileCache(folder: options.dataFolder + "/files", scheduler: client),
            fingerprints: Fingerprinter(), report: { box.yield($0) }, sessions: sessions,
            images: PreparedImages(file: options.dataFolder + "/images"))
        let agent = Agent(
            name: options.name, registration: registration, scheduler: client, logger: logger, reports: reports,
            services: services)
        var quiet = logger
        quiet.logLevel = .warning
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: proxy), .init(service: sessions),
                    .init(service: AgentService(agent: agent), successTerminationBehavior: .gracefullyShutdownGroup),
                ], gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
        try await group.run()
    }

    /// Stops and removes every container, mount and journal record of the worker whose data lies in `folder`. For
    /// `jobctl down`.
    package static func cleanUp(dataFolder: String, engine: EngineChoice, volumes: [Volume], logger: Logger)
        async throws
    {
        let lock = try WorkerLock(folder: dataFolder)
        defer { withExtendedLifetime(lock) {} }
        let access = VolumeAccess(
            table: try VolumeTable(volumes: volumes, allowedPaths: []), mountFolder: dataFolder + "/mounts")
        let journal = try Journal(folder: dataFolder + "/attempts")
        await removeContainers(dataFolder: dataFolder, worker: try identity(dataFolder), engine, logger)
        CgroupBook.removeGroups(ofWorker: try identity(dataFolder))
        for record in try journal.load().records {
            access.unmount(record.attempt)
            access.removeStaging(of: record.attempt, in: record.job.record)
            journal.remove(record.attempt)
        }
        access.removeLeftovers(except: [])
    }

    /// The worker's own unpacked images, from the scheduler's archive.
    private static func roots(_ dataFolder: String, _ archive: ArchiveLayerSource) throws(EngineError)
        -> any RootSource
    {
        let size = diskSize(dataFolder)
        do throws(OCIError) {
            // A quarter of the disk; what attempts use is never removed.
            let store = try LayerStore(
                directory: dataFolder + "/layers", budget: ByteCount(bytes: max(size / 4, 10 << 30)))
            return ArchiveRoots(store: store, source: archive)
        } catch {
            throw EngineError.unavailable("\(error)")
        }
    }

    /// Of the file system that holds a folder, in bytes; 0 if it cannot be told.
    private static func diskSize(_ folder: String) -> Int64 {
        var disk = statvfs()
        guard statvfs(folder, &disk) == 0 else { return 0 }
        let (size, overflowed) = Int64(clamping: disk.f_blocks).multipliedReportingOverflow(
            by: Int64(clamping: disk.f_frsize))
        return overflowed ? 0 : min(size, 1 << 50)
    }

    /// Nil if the host has none that another could use.
    private static func hostName() -> String? {
        let name = ProcessInfo.processInfo.hostName
        return WorkerRegistration.isAddress(name) ? name : nil
    }

    /// Nine tenths of the whole disk, in whole GiB: the same at each start, and on hosts that are alike.
    private static func offeredDisk(_ folder: String) -> ByteCount {
        ByteCount(bytes: (diskSize(folder) / 10 * 9 >> 30) << 30)
    }

    /// Of every engine that the worker may have used.
    private static func removeContainers(
        dataFolder: String, worker: String, _ choice: EngineChoice, _ logger: Logger
    ) async {
        do {
            var engines: [any ContainerEngine] = []
            if FileManager.default.fileExists(atPath: dataFolder + "/containers") {
                engines.append(
                    try OCIRuntimeDetection().remover(worker: worker, dataFolder: dataFolder, logger: logger))
            }
            if choice != .oci, choice != .auto || engines.isEmpty {
                engines.append(
                    try await EngineDetection(choice).engine(worker: worker, registry: NoImages(), logger: logger))
            }
            for engine in engines {
                for container in try await engine.list() { try await engine.remove(container.id) }
            }
        } catch {
            logger.warning("the worker's containers could not be removed", metadata: ["cause": "\(error)"])
        }
    }

    /// What this data folder's containers are labelled with: made once, kept.
    private static func identity(_ folder: String) throws -> String {
        let file = folder + "/identity"
        if let data = FileManager.default.contents(atPath: file), data.count == 32 {
            return String(decoding: data, as: UTF8.self)
        }
        let identity = UUID().uuidString.replacing("-", with: "").lowercased()
        try identity.write(toFile: file, atomically: true, encoding: .utf8)
        return identity
    }
}

private struct AgentService: Service {
    let agent: Agent
    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await agent.run() }
        } catch is CancellationError {
            return
        }
    }
}

/// One agent a data folder.
final class WorkerLock: Sendable {
    private let file: Int32

    init(folder: String) throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        let file = jc_lock_alone(folder + "/worker.lock")
        guard file != -EWOULDBLOCK else {
            throw VolumeError("another worker uses the data folder \(folder): stop it first, or choose another folder")
        }
        guard file >= 0 else {
            throw VolumeError("the data folder \(folder) cannot be used: \(String(cString: strerror(-file)))")
        }
        self.file = file
    }

    deinit { close(file) }
}

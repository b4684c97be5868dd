// Whether this host can run containers without a daemon: finds a runtime, looks at the host's limits, and proves by a
// trial run that a container starts, is confined, and that its end is recorded. Invariant: an engine that is returned
// has run one.
import Foundation
import JobModel
import Logging
import OCI
import RunnerCore

package struct OCIRuntimeDetection: Sendable {
    /// What `--oci-runtime` said; then no other is tried.
    package var runtime: String?
    package var searchPath: String
    /// `jobctl-runner`.
    package var runner: String

    /// For a worker without root; nil for what this host allows.
    var rootless: [RootlessHost]?

    package init(
        runtime: String? = nil, runner: String = Self.besideThisProgram,
        searchPath: String = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ) {
        self.runtime = runtime
        self.runner = runner
        self.searchPath = searchPath
    }

    /// The programs of one release lie in one folder.
    package static var besideThisProgram: String {
        let path = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path
        return (path as NSString).deletingLastPathComponent + "/jobctl-runner"
    }

    /// - Throws: kind `unavailable` if `jobctl-runner` is not at this path.
    static func mustExist(_ runner: String) throws(EngineError) {
        guard access(runner, X_OK) == 0 else {
            throw .unavailable("\(runner) is missing: it belongs beside this program")
        }
    }

    /// crun before runc: it takes a quarter of the time. youki only where it is asked for.
    private var candidates: [String] {
        if let runtime { return [runtime.hasPrefix("/") ? runtime : found(runtime) ?? runtime] }
        return [RuntimeKind.crun, .runc].compactMap { found($0.rawValue) }
    }

    private func found(_ name: String) -> String? {
        searchPath.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    /// The first runtime whose trial container ends well.
    /// - Parameters:
    ///   - worker: the id of the agent's data folder.
    ///   - dataFolder: the engine keeps its containers in `containers` below it.
    /// - Throws: kind `unavailable`, with what was wrong with each.
    package func engine(
        worker: String, dataFolder: String, roots: any RootSource, logger: Logger
    ) async throws(EngineError) -> OCIRuntimeEngine {
        try Self.mustExist(runner)
        guard geteuid() != 0 || access(ControlGroups.root, W_OK) == 0 else {
            throw .unavailable("control groups are not mounted at \(ControlGroups.root), or may not be written to")
        }
        var reasons: [String] = []
        for (path, rootless) in attempts {
            do throws(EngineError) {
                let kind = try kind(of: path)
                let trial = setup(path, kind, rootless, worker: worker + "-trial", folder: dataFolder + "/trial")
                try await prove(trial, logger)
                var setup = setup(path, kind, rootless, worker: worker, folder: dataFolder + "/containers")
                setup.devices.indices = await Capacity.gpuIndices()
                for weakness in setup.weaknesses {
                    logger.warning("the engine cannot hold a container rule", metadata: ["reason": "\(weakness)"])
                }
                return try OCIRuntimeEngine(setup, roots: roots, logger: logger)
            } catch {
                let ids = rootless?.subordinate == nil ? "" : ", with subordinate ids"
                reasons.append("\(path)\(rootless.map { " (\($0.rootForm)\(ids))" } ?? ""): \(error)")
            }
        }
        let tried = reasons.isEmpty ? "neither crun nor runc is installed" : reasons.joined(separator: "; ")
        throw .unavailable("no OCI runtime works on this host (\(tried))")
    }

    /// What to try, in this order: the form of the root counts more than the runtime.
    private var attempts: [(path: String, rootless: RootlessHost?)] {
        guard geteuid() != 0 else { return candidates.map { ($0, nil) } }
        let hosts = rootless ?? RootlessHost.candidates(searchPath: searchPath)
        return hosts.flatMap { host in candidates.map { ($0, host) } }
    }

    /// An engine that can only list and remove, whatever works on this host.
    package func remover(worker: String, dataFolder: String, logger: Logger) throws(EngineError) -> OCIRuntimeEngine {
        try OCIRuntimeEngine(
            setup(
                "", .crun, RootlessHost.candidates(searchPath: searchPath).first, worker: worker,
                folder: dataFolder + "/containers"),
            roots: FolderRoots(folder: dataFolder), logger: logger)
    }

    private func kind(of path: String) throws(EngineError) -> RuntimeKind {
        guard access(path, X_OK) == 0 else { throw .unavailable("no such program") }
        let name = (path as NSString).lastPathComponent
        guard let kind = RuntimeKind.allCases.first(where: { name.contains($0.rawValue) }) else {
            throw .refused("\(quoted(name)) is not known: name it after crun, runc or youki")
        }
        return kind
    }

    private func setup(
        _ path: String, _ kind: RuntimeKind, _ rootless: RootlessHost?, worker: String, folder: String
    ) -> OCIRuntimeSetup {
        let unified = ControlGroups.isUnified
        let limitsSwap = unified || access(ControlGroups.root + "/memory/memory.memsw.limit_in_bytes", F_OK) == 0
        var weaknesses = rootless?.weaknesses ?? []
        if !limitsSwap, rootless == nil {
            weaknesses.append("swap is not limited: a container may use swap beyond its memory request")
        }
        if !unified, rootless == nil {
            for name in ["cpu", "memory", "pids"] where access("\(ControlGroups.root)/\(name)", F_OK) != 0 {
                weaknesses.append("the control group controller '\(name)' is not mounted: its limit is not enforced")
            }
        }
        let hooks = ["nvidia-container-runtime-hook", "nvidia-container-toolkit"]
        var host = BundleHost(
            limitsSwap: limitsSwap, openFiles: ProcessLimits.ofThisProcess.openFiles, initProgram: runner,
            scratch: folder + "/" + RunnerFolder.scratchName, gpuHook: hooks.compactMap { found($0) }.first)
        host.rootless = rootless
        return OCIRuntimeSetup(
            folder: folder, worker: worker, runtime: path, kind: kind, runner: runner, host: host,
            weaknesses: weaknesses)
    }

    // MARK: The trial

    /// A container of nothing but the init, which looks at its own confinement.
    private func prove(_ setup: OCIRuntimeSetup, _ logger: Logger) async throws(EngineError) {
        let empty = setup.folder + "-root"
        mkdir((empty as NSString).deletingLastPathComponent, 0o711)
        mkdir(empty, 0o755)
        defer { rmdir(empty) }
        let engine = try OCIRuntimeEngine(setup, roots: FolderRoots(folder: empty), logger: logger)
        let specification = ContainerSpecification(
            attempt: AttemptID(task: TaskID(job: JobID(rawValue: 1), index: 1), number: 1),
            image: PinnedImage(digest: Digest(of: "trial"), platform: nil),
            command: [RunnerFolder.initPath, RunnerFolder.check], environment: [:], workingDirectory: "/tmp",
            user: Identity(
                name: UserName(unchecked: "trial"), uid: setup.host.rootless?.uid ?? 65_532,
                gid: setup.host.rootless?.gid ?? 65_532),
            mounts: [], network: .none,
            resources: Resources(cpus: CPUAmount(thousandths: 1000), memory: ByteCount(bytes: 32 << 20), gpus: 0),
            gpus: [], logLimit: ByteCount(bytes: 64 << 10), timeLimit: .seconds(30), grace: .zero)
        let result = await run(specification, engine)
        // What an interrupted trial left goes too.
        for container in try await engine.list() { try await engine.remove(container.id) }
        rmdir(setup.host.scratch)
        rmdir(setup.folder)
        removeParentGroup(setup.worker)
        let record = try result.get()
        guard ExitRecord.Zero(record) != nil else {
            throw .refused("a trial container ended with code \(record.exitCode): its confinement is not complete")
        }
    }

    private func run(_ specification: ContainerSpecification, _ engine: OCIRuntimeEngine) async
        -> Result<ExitRecord, EngineError>
    {
        do throws(EngineError) {
            for container in try await engine.list() { try await engine.remove(container.id) }
            let id = try await engine.create(specification)
            try await engine.start(id)
            return .success(try await engine.wait(id))
        } catch {
            return .failure(error)
        }
    }

    private func removeParentGroup(_ worker: String) { _ = ControlGroups(path: "/jobctl-\(worker)").remove() }
}

/// One folder instead of images.
struct FolderRoots: RootSource {
    let folder: String
    func root(of image: PinnedImage) async throws(EngineError) -> (root: RootFilesystem, lease: LayerLease) {
        (RootFilesystem(folder: folder), .ofNothing)
    }
    func hold(_ diffIDs: [Digest]) -> LayerLease { .ofNothing }
}

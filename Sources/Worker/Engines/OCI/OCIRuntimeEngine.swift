// Containers without a daemon: a folder and a `jobctl-runner` for each attempt, an OCI runtime (crun, runc) below it.
// The agent writes what is to be done into the folder, the runner what became of it; either may be killed at any time.
// Invariants: a container's end is told only from the record that its runner wrote; an attempt whose runner is gone
// without one is unproven.
import CLinux
import Foundation
import JobModel
import Logging
import OCI
import RunnerCore
import Synchronization

/// Where the engine gets root file systems.
package protocol RootSource: Sendable {
    /// Unpacked, and kept for as long as the lease is held. Concurrent calls unpack once.
    func root(of image: PinnedImage) async throws(EngineError) -> (root: RootFilesystem, lease: LayerLease)
    /// Keeps layers that attempts of an earlier life of the agent use.
    func hold(_ diffIDs: [Digest]) -> LayerLease
}

/// How the engine is set up on this host; get it from ``OCIRuntimeDetection``.
package struct OCIRuntimeSetup: Sendable {
    /// `DATA/containers`.
    package var folder: String
    /// The id of the agent's data folder; names the control groups.
    package var worker: String
    package var runtime: String
    package var kind: RuntimeKind
    /// `jobctl-runner`.
    package var runner: String
    package var host: BundleHost
    package var weaknesses: [String]
    package var devices = DeviceSpecifications()

    package init(
        folder: String, worker: String, runtime: String, kind: RuntimeKind, runner: String, host: BundleHost,
        weaknesses: [String]
    ) {
        self.folder = folder
        self.worker = worker
        self.runtime = runtime
        self.kind = kind
        self.runner = runner
        self.host = host
        self.weaknesses = weaknesses
    }
}

package final class OCIRuntimeEngine: ContainerEngine {
    package let name = "oci"
    package var weaknesses: [String] { setup.weaknesses }
    let setup: OCIRuntimeSetup
    let processes = RunnerProcesses()
    let roots: any RootSource
    private let runtime: SealedProgram?
    private let writtenLease = Mutex<Int64>(0)
    private let leases = Mutex<[AttemptID: [LayerLease]]>([:])
    let logger: Logger

    /// Makes the folder. Takes hold of the layers of all attempts that are there.
    /// - Throws: kind `refused` if the folder cannot be made.
    package init(_ setup: OCIRuntimeSetup, roots: any RootSource, logger: Logger) throws(EngineError) {
        self.setup = setup
        self.roots = roots
        runtime = setup.kind == .youki ? nil : SealedProgram(path: setup.runtime)
        self.logger = logger
        for folder in [setup.folder, setup.host.scratch] {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw .refused("the folder \(folder) cannot be made: \(error.localizedDescription)")
            }
        }
        for attempt in attempts {
            guard let description = description(attempt) else { continue }
            leases.withLock { $0[attempt] = [roots.hold(description.holds.compactMap { Digest($0) })] }
        }
    }

    // MARK: Life of a container

    package func ensureImage(_ image: PinnedImage) async throws(EngineError) -> Digest? {
        try await roots.manifest(of: image)
    }

    package func create(_ specification: ContainerSpecification) async throws(EngineError) -> String {
        let attempt = specification.attempt
        let folder = folder(attempt)
        if access(folder.description, F_OK) == 0 { return attempt.description }
        if let rootless = setup.host.rootless {
            try rootless.check(specification.user)
            guard specification.services.isEmpty else {
                throw .refused("this worker runs without root: services need the engine oci as root, docker or podman")
            }
        }
        letGo(of: attempt)
        do throws(EngineError) {
            let root = try await root(of: specification.image, for: attempt)
            var services: [PreparedService] = []
            for service in specification.services.sorted(by: { $0.name < $1.name }) {
                services.append((service, try await self.root(of: service.image, for: attempt)))
            }
            try describe(specification, root, services)
        } catch {
            // Nobody removes what was never made.
            try folder.remove()
            letGo(of: attempt)
            throw error
        }
        return attempt.description
    }

    /// Held until ``letGo(of:)``.
    private func root(of image: PinnedImage, for attempt: AttemptID) async throws(EngineError) -> RootFilesystem {
        let (root, lease) = try await roots.root(of: image)
        leases.withLock { $0[attempt, default: []].append(lease) }
        return root
    }

    private func describe(
        _ specification: ContainerSpecification, _ root: RootFilesystem, _ services: [PreparedService]
    ) throws(EngineError) {
        let (attempt, folder) = (specification.attempt, folder(specification.attempt))
        mkdir(folder.path, 0o700)
        try describe(services, of: specification)
        let bundle = AttemptBundle(
            specification: specification, imageEnvironment: root.configuration.environment,
            workingDirectory: workingDirectory(specification, root), controlGroup: controlGroup(attempt).path,
            host: setup.host, company: services.isEmpty ? nil : .task,
            devices: try setup.devices.edits(for: specification.gpus))
        // Last: an attempt that is described can be started.
        try describe(
            attempt.description, specification, root, bundle,
            holds: ([root] + services.map(\.root)).flatMap(\.diffIDs), leaseFile: leaseFile,
            company: company(services, of: attempt), in: folder)
    }

    /// What a container's runner is told, beside what only the attempt's own is.
    func describe(
        _ name: String, _ container: ContainerSpecification, _ root: RootFilesystem, _ bundle: AttemptBundle,
        holds: [Digest], leaseFile: String?, company: AttemptDescription.Company?, in folder: RunnerFolder
    ) throws(EngineError) {
        var description = AttemptDescription(
            attempt: name, boot: Journal.boot, runtime: setup.runtime, runtimeKind: setup.kind,
            controlGroup: bundle.controlGroup, layers: root.layers,
            usesUserAttributes: root.form == .user || setup.host.rootless != nil, holds: holds.map(\.description),
            workingDirectory: bundle.workingDirectory, user: container.user.uid, group: container.user.gid,
            memory: bundle.memory, usesHostNetwork: container.network == .host, logLimit: container.logLimit.bytes,
            timeLimit: container.timeLimit?.milliseconds, grace: container.grace.milliseconds, leaseFile: leaseFile,
            bundle: try bundle.json(), company: company)
        description.rootless = bundle.rootlessAttempt
        do throws(FileFailure) {
            try replaceFile(folder.description, with: description.text, durable: false)
        } catch {
            throw .refused("the worker's disk cannot take the description of the container \(name): \(error)")
        }
    }

    func workingDirectory(_ specification: ContainerSpecification, _ root: RootFilesystem) -> String {
        let wanted = specification.workingDirectory ?? root.configuration.workingDirectory ?? "/"
        return wanted.hasPrefix("/") ? wanted : "/" + wanted
    }

    package func start(_ id: String) async throws(EngineError) {
        let (attempt, folder) = try known(id)
        guard !hasBegun(folder), !processes.adopt(attempt, folder: folder) else { return }
        guard let description = description(attempt) else { throw .noProof("the container \(id) has no description") }
        // After a power loss nobody knows whether it was started before.
        guard description.boot == Journal.boot else {
            throw .noProof("the host was restarted since the container \(id) was made")
        }
        // One that an earlier life of the agent made may have had another runtime.
        try processes.start(
            attempt, program: setup.runner, folder: folder,
            runtime: description.runtime == setup.runtime ? runtime : nil)
    }

    package func wait(_ id: String) async throws(EngineError) -> ExitRecord {
        let (attempt, folder) = try known(id)
        while true {
            if let end = try endRecord(folder) { return try end.exitRecord }
            guard processes.adopt(attempt, folder: folder) else { break }
            await processes.ended(attempt)
            if Task.isCancelled { throw .unavailable("the wait for the container was cancelled") }
        }
        // The runner may have written it just before it went.
        if let end = try endRecord(folder) { return try end.exitRecord }
        guard access(folder.description, F_OK) == 0 else { throw .noProof("the container \(id) is gone") }
        guard hasBegun(folder) else { throw .refused("the container \(id) has not been started") }
        throw .noProof("the container's runner ended without a record: \(complaint(folder))")
    }

    package func stop(_ id: String, grace: TimeSpan) async throws(EngineError) {
        guard let (attempt, folder) = try? known(id), access(folder.end, F_OK) != 0 else { return }  // allowed: gone
        do throws(FileFailure) {
            try replaceFile(folder.stop, with: Array("\(max(0, grace.milliseconds))\n".utf8), durable: false)
        } catch {
            throw .unavailable("the worker's disk cannot take the order to stop: \(error)")
        }
        // A runner that has not begun yet finds the order when it does.
        if processes.adopt(attempt, folder: folder) { processes.signal(attempt, SIGTERM) }
    }

    package func remove(_ id: String) async throws(EngineError) {
        guard let (attempt, folder) = try? known(id) else { return }  // allowed: gone
        if processes.adopt(attempt, folder: folder) {
            try await stop(id, grace: .zero)
            await processes.ended(attempt, within: .seconds(10))
            processes.signal(attempt, SIGKILL)
            await processes.ended(attempt, within: .seconds(10))
        }
        // From here on no runner can begin, should one still be on its way.
        let lock = open(folder.description, O_RDWR | O_CLOEXEC)
        defer { if lock >= 0 { close(lock) } }
        guard lock < 0 || jc_lock(lock) == 0 else { throw .unavailable("the runner of \(id) does not end") }
        await removeServices(of: attempt)
        let group = controlGroup(attempt)
        if access(folder.end, F_OK) == 0 {
            await removeGroups(group)
        } else {
            await removeRuntime(attempt.description, folder, group)
        }
        if setup.host.rootless != nil { removeTree(folder) }
        try folder.remove()
        letGo(of: attempt)
    }

    private func letGo(of attempt: AttemptID) {
        for lease in leases.withLock({ $0.removeValue(forKey: attempt) }) ?? [] { lease.release() }
    }

    /// An image's folders may be closed to their own owner.
    private func removeTree(_ folder: RunnerFolder) {
        let parent = jc_open_folder(folder.path)
        guard parent >= 0 else { return }
        _ = jc_remove_tree(parent, RunnerFolder.treeName)
        close(parent)
    }

    /// Until two looks in a row found nobody: what the killed runner was starting at its last moment shows itself a
    /// little later, and what it starts in turn may slip through one look.
    func removeRuntime(_ container: String, _ folder: RunnerFolder, _ group: ControlGroups) async {
        var quietLooks = 0
        for _ in 0..<100 {
            quietLooks = killRuntime(container, folder) ? 0 : quietLooks + 1
            await removeGroups(group)
            if quietLooks == 2 { return }
            // allowed: cleaning goes on when the task is cancelled
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// A runtime whose runner was killed while it was starting the container may wait for ever for a child that is
    /// gone. It is known by the runners' own folder and the container on its command line; before it has become the
    /// runtime, by the runner's own command line.
    /// - Returns: whether there was one.
    private func killRuntime(_ container: String, _ folder: RunnerFolder) -> Bool {
        let state = folder.scratch + "/state"
        var found = false
        // allowed: without /proc nothing runs
        for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let process = pid_t(entry), let bytes = readFile("/proc/\(process)/cmdline", limit: 64 << 10) else {
                continue
            }
            let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            let isRuntime = words.last == container && words.contains(state)
            let isRunner = words.last == folder.path && words.contains { $0.hasSuffix("/jobctl-runner") }
            guard isRuntime || isRunner else { continue }
            kill(process, SIGKILL)
            found = true
        }
        return found
    }

    /// What a runner that was killed left: its container ends by itself, a moment later.
    func removeGroups(_ group: ControlGroups) async {
        for round in 0..<200 {
            if group.remove() { return }
            _ = group.killAll()
            // allowed: cleaning goes on when the task is cancelled
            try? await Task.sleep(for: .milliseconds(round < 20 ? 1 : 20))
        }
        logger.warning("a control group could not be removed", metadata: ["group": "\(group.path)"])
    }

    package func list() async throws(EngineError) -> [FoundContainer] {
        attempts.map { FoundContainer(id: $0.description, attempt: $0) }
    }

    package func usage(_ id: String) async throws(EngineError) -> Usage? {
        guard let (attempt, folder) = try? known(id) else { return nil }  // allowed: gone
        if let end = try endRecord(folder) { return end.usage }
        guard let figures = controlGroup(attempt).figures else { return nil }
        return Usage(
            cpuSeconds: Double(figures.cpuMicroseconds) / 1e6, maxMemory: ByteCount(bytes: figures.peakMemory),
            wallSeconds: 0)
    }

    package func leaseExtended(to moment: Int64) async {
        // A runner may think that it ends a tenth too early, never too late.
        let tenth = (moment - jc_boot_milliseconds()) / 10
        guard writtenLease.withLock({ moment - $0 > tenth || moment < $0 }) else { return }
        do throws(FileFailure) {
            try Lease.write(moment, to: leaseFile)
            writtenLease.withLock { $0 = moment }
        } catch {
            logger.warning("the lease cannot be written down for the runners", metadata: ["cause": "\(error)"])
        }
    }

    // MARK: Leaves

    private var leaseFile: String { setup.folder + "/lease" }

    func folder(_ attempt: AttemptID) -> RunnerFolder { RunnerFolder(path: "\(setup.folder)/\(attempt)") }

    /// - Throws: kind `noProof` if there is no such container.
    func known(_ id: String) throws(EngineError) -> (attempt: AttemptID, folder: RunnerFolder) {
        guard let attempt = AttemptID(id) else { throw .noProof("there is no container \(quoted(id))") }
        let folder = folder(attempt)
        guard access(folder.path, F_OK) == 0 else { throw .noProof("the container \(id) is gone") }
        return (attempt, folder)
    }

    private var attempts: [AttemptID] {
        // allowed: no folder, no containers
        ((try? FileManager.default.contentsOfDirectory(atPath: setup.folder)) ?? []).compactMap { AttemptID($0) }
            .sorted()
    }

    private func controlGroup(_ attempt: AttemptID) -> ControlGroups {
        ControlGroups(path: "/jobctl-\(setup.worker)/\(attempt)")
    }

    func hasBegun(_ folder: RunnerFolder) -> Bool {
        var status = stat()
        return lstat(folder.description, &status) == 0 && RunnerFolder.isBegun(status.st_mode)
    }

    func description(_ attempt: AttemptID) -> AttemptDescription? {
        guard let text = readFile(folder(attempt).description, limit: RecordText.sizeLimit) else { return nil }
        return try? AttemptDescription(text)  // allowed: an attempt that cannot be read is not started
    }

    /// The config.json with which an attempt was made.
    func bundle(of attempt: AttemptID) -> String? { description(attempt)?.bundle }

    /// - Throws: kind `noProof` for a record that cannot be understood: it proves nothing.
    func endRecord(_ folder: RunnerFolder) throws(EngineError) -> EndRecord? {
        guard let text = readFile(folder.end, limit: RecordText.sizeLimit) else { return nil }
        do throws(RecordText.Malformed) {
            return try EndRecord(text)
        } catch {
            throw .noProof("the container's end cannot be read: \(error)")
        }
    }

    private func complaint(_ folder: RunnerFolder) -> String {
        let text = String(decoding: readFile(folder.complaints, limit: 64 << 10) ?? [], as: UTF8.self)
        return text.split(separator: "\n").last.map(String.init) ?? "it was killed, or the host went down"
    }
}

extension RunnerFolder {
    /// - Throws: kind `refused` if something of it stays.
    fileprivate func remove() throws(EngineError) {
        for file in [description, stdout, stderr, end, stop, limit, complaints] { unlink(file) }
        if rmdir(path) == 0 || errno == ENOENT { return }
        do { try FileManager.default.removeItem(atPath: path) } catch let error as CocoaError {
            guard error.code == .fileNoSuchFile else { throw .refused("the folder \(path) cannot be removed") }
        } catch { throw .refused("the folder \(path) cannot be removed") }
    }
}

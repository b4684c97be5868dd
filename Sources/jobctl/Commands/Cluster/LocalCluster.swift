// The processes of a cluster on this machine: started detached, known by process id and start time, stopped without
// ever asking for a name. Their options are remembered, so that what was killed comes back as it was.
import Foundation
import Glibc
import JobModel
import SchedulerClient

struct LocalCluster {
    struct Options: Codable, Hashable {
        var listen: String?
        var volumes: [String] = []
        var allowedPaths: [String] = []
        var labels: [String] = []
        var insecureRegistries: [String] = []
        var engine: String?
        var ociRuntime: String?
        var keepTasks: String?
        /// Where the container engines are; the next call may come from a shell that does not say it.
        var environment: [String: String]?

        static let remembered = ["DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR"]

        /// What is given in place of what was given before.
        func over(_ before: Options?) -> Options {
            guard let before else { return self }
            var options = before
            // Port 0 means any: the one that workers and context files know already.
            if let listen, !listen.hasSuffix(":0") || before.listen == nil { options.listen = listen }
            if let engine { options.engine = engine }
            if let ociRuntime { options.ociRuntime = ociRuntime }
            if let keepTasks { options.keepTasks = keepTasks }
            if !volumes.isEmpty { options.volumes = volumes }
            if !allowedPaths.isEmpty { options.allowedPaths = allowedPaths }
            if !labels.isEmpty { options.labels = labels }
            if !insecureRegistries.isEmpty { options.insecureRegistries = insecureRegistries }
            if let environment { options.environment = environment }
            return options
        }

        /// Whether both would start the same processes.
        func isSame(as other: Options) -> Bool {
            var (a, b) = (self, other)
            (a.environment, b.environment) = (nil, nil)
            return a == b
        }
    }

    /// What runs, as JSON.
    struct State: Encodable {
        struct Daemon: Encodable {
            let pid: Int32
            let log: String
        }
        let url: String
        let dataDirectory: String
        let context: String
        let scheduler: Daemon
        let worker: Daemon
        private enum CodingKeys: String, CodingKey {
            case url, dataDirectory = "data_dir", context, scheduler, worker
        }
    }

    let folder: String
    private let programs: String

    static var standardFolder: String {
        (ProcessInfo.processInfo.environment["XDG_DATA_HOME"] ?? Home.path + "/.local/share") + "/jobctl"
    }

    /// - Parameter given: nil for the standard folder.
    init(folder given: String?) {
        let folder = given ?? Self.standardFolder
        self.folder = folder.hasPrefix("/") ? folder : FileManager.default.currentDirectoryPath + "/" + folder
        programs =
            (URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path as NSString).deletingLastPathComponent
    }

    private var scheduler: LocalProcess { LocalProcess(name: "scheduler", folder: folder) }
    private var worker: LocalProcess { LocalProcess(name: "worker", folder: folder) }
    private var optionsFile: String { folder + "/cluster.json" }

    private func remembered() -> Options? {
        guard let data = FileManager.default.contents(atPath: optionsFile) else { return nil }
        return try? JSONDecoder().decode(Options.self, from: data)  // allowed: then only what is given counts
    }

    private func remember(_ options: Options) throws(Problem) {
        do {
            try JSONEncoder().encode(options).write(to: URL(filePath: optionsFile), options: .atomic)
        } catch {
            throw Problem(.refused, "\(optionsFile) cannot be written: \(error.localizedDescription)")
        }
    }

    // MARK: Starting

    /// Starts what does not run and waits until both are ready. If that fails, what was started is stopped again.
    func start(_ given: Options) async throws -> State {
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        } catch {
            throw Problem(.refused, "--data-dir: \(folder) cannot be made: \(error.localizedDescription)")
        }
        let before = remembered()
        var options = given.over(before)
        let (schedulerRan, workerRan) = (scheduler.isRunning, worker.isRunning)
        if schedulerRan || workerRan, let before, !options.isSame(as: before) {
            throw Problem(
                .conflict, "the cluster in \(folder) runs with other options: stop it with 'jobctl down' first")
        }
        do {
            let context = try await startMissing(&options)
            try remember(options)
            try context.write()
            return State(
                url: context.url, dataDirectory: folder, context: Context.path,
                scheduler: .init(pid: scheduler.id ?? 0, log: scheduler.log),
                worker: .init(pid: worker.id ?? 0, log: worker.log))
        } catch {
            if !workerRan { await worker.stop() }
            if !schedulerRan { await scheduler.stop() }
            throw error
        }
    }

    private func startMissing(_ options: inout Options) async throws -> Context {
        for (name, value) in options.environment ?? [:] { setenv(name, value, 1) }
        if !scheduler.isRunning {
            unlink(folder + "/scheduler/scheduler.address")
            try scheduler.start(programs + "/jobctl-scheduler", schedulerArguments(options))
        }
        let context = try await ready(scheduler)
        options.listen = String(context.url.dropFirst("http://".count))
        if !worker.isRunning { try worker.start(programs + "/jobctl-worker", workerArguments(options, context)) }
        try await ready(worker, context)
        return context
    }

    /// Returns when a process of the cluster has ended.
    /// - Returns: a sentence with its last words.
    func watch() async -> String {
        while !Task.isCancelled {
            for process in [scheduler, worker] where !process.isRunning {
                return "the \(process.name) ended: \(process.lastWords)"
            }
            do { try await Task.sleep(for: .milliseconds(500)) } catch { break }
        }
        return "nobody watches any more"
    }

    private func schedulerArguments(_ options: Options) -> [String] {
        let invoker = Invoker.current
        let listen = options.listen ?? "127.0.0.1:7070"
        return [
            "--data-dir", folder + "/scheduler", "--listen", listen, "--admin",
            UserName(rawValue: invoker.name)?.rawValue ?? "admin",
            "--admin-uid", String(invoker.uid), "--admin-gid", String(invoker.gid), "--admin-token-file",
            folder + "/admin.token",
            "--worker-token-file", folder + "/worker.token",
        ] + options.insecureRegistries.flatMap { ["--insecure-registry", $0] }
            + (options.keepTasks.map { ["--keep-tasks", $0] } ?? [])
    }

    private func workerArguments(_ options: Options, _ context: Context) -> [String] {
        [
            "--url", context.url, "--token-file", folder + "/worker.token", "--data-dir", folder + "/worker", "--name",
            Self.workerName,
        ]
            + engineArguments(options) + options.volumes.flatMap { ["--volume", $0] }
            + options.allowedPaths.flatMap { ["--allow-path", $0] } + options.labels.flatMap { ["--label", $0] }
    }

    private func engineArguments(_ options: Options?) -> [String] {
        ["--engine", options?.engine ?? "auto"] + (options?.ociRuntime.map { ["--oci-runtime", $0] } ?? [])
    }

    private static var workerName: String {
        let host = ProcessInfo.processInfo.hostName.split(separator: ".").first.map(String.init) ?? ""
        return WorkerName(rawValue: host)?.rawValue ?? "local"
    }

    private func ready(_ scheduler: LocalProcess) async throws -> Context {
        var context: Context?
        try await until(scheduler, "the scheduler") {
            guard let address = text("scheduler/scheduler.address"), let token = text("admin.token") else {
                return false
            }
            let found = Context(url: "http://" + address, token: token)
            guard await (try SchedulerClient(url: found.url, token: nil)).isHealthy() else { return false }
            context = found
            return true
        }
        guard let context else { throw Problem(.internal, "the scheduler has no address") }
        return context
    }

    private func ready(_ worker: LocalProcess, _ context: Context) async throws {
        let client = try SchedulerClient(url: context.url, token: context.token)
        let startedAt = worker.startedAt
        try await until(worker, "the worker") {
            let workers = try await client.workers().workers
            return workers.contains {
                $0.name == Self.workerName
                    && ($0.state == .known(.ready) || $0.state == .known(.draining) || $0.state == .known(.drained))
                    && ($0.lastSeen ?? startedAt) >= startedAt
            }
        }
    }

    private func until(_ process: LocalProcess, _ what: String, _ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !condition() {
            guard process.isRunning else { throw Problem(.unavailable, "\(what) ended at once: \(process.lastWords)") }
            guard ContinuousClock.now < deadline else {
                throw Problem(.unavailable, "\(what) is not ready after 60 s: see \(process.log)")
            }
            try await Task.sleep(for: .milliseconds(30))
        }
    }

    private func text(_ name: String) -> String? {
        guard let data = FileManager.default.contents(atPath: folder + "/" + name) else { return nil }
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        return text.isEmpty ? nil : text
    }

    // MARK: Stopping

    /// Ends worker and scheduler, and removes the worker's containers and mounts. Harmless when nothing runs.
    /// - Returns: the names of what ran.
    func stop() async throws -> [String] {
        let stopped = [worker, scheduler].filter(\.isRunning).map(\.name)
        await worker.stop()
        await scheduler.stop()
        guard FileManager.default.fileExists(atPath: folder + "/worker/worker.lock") else { return stopped }
        let options = remembered()
        for (name, value) in options?.environment ?? [:] { setenv(name, value, 1) }
        let cleanup = Process()
        cleanup.executableURL = URL(filePath: programs + "/jobctl-worker")
        cleanup.arguments =
            ["--cleanup", "--data-dir", folder + "/worker"] + engineArguments(options)
            + (options?.volumes ?? []).flatMap { ["--volume", $0] }
        let log = FileHandle(forWritingAtPath: worker.log)
        _ = try? log?.seekToEnd()  // allowed: the log is for people
        // The caller may not be allowed into the folder that it stands in.
        cleanup.currentDirectoryURL = URL(filePath: "/")
        cleanup.standardOutput = log
        cleanup.standardError = log
        do {
            try cleanup.run()
        } catch {
            let why = error.localizedDescription
            throw Problem(.refused, "\(programs)/jobctl-worker, which belongs beside jobctl, cannot be run: \(why)")
        }
        cleanup.waitUntilExit()
        guard cleanup.terminationStatus == 0 else {
            throw Problem(.refused, "the worker's leftovers could not be removed: see \(worker.log)")
        }
        return stopped
    }
}

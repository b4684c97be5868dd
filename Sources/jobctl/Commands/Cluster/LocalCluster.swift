// The processes of a cluster on this machine: started detached, known by process id and start time, stopped without
// ever asking for a name. Their options are remembered, so that what was killed comes back as it was.
import CLinux
import Foundation
import Glibc
import JobModel
import SchedulerClient
import Synchronization

struct LocalCluster {
    struct Options: Codable, Hashable {
        var listen: String?
        var volumes: [String]
        var allowedPaths: [String]
        var labels: [String]
        var insecureRegistries: [String]
        var engine: String?
        var ociRuntime: String?
    }

    let folder: String
    private let programs: String

    static var standardFolder: String {
        ProcessInfo.processInfo.environment["XDG_DATA_HOME"].map { $0 + "/jobctl" } ?? NSHomeDirectory()
            + "/.local/share/jobctl"
    }

    init(folder: String) throws {
        self.folder = folder.hasPrefix("/") ? folder : FileManager.default.currentDirectoryPath + "/" + folder
        programs =
            (URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path as NSString).deletingLastPathComponent
    }

    /// What was given now in place of what was given before.
    func remember(_ given: Options) throws -> Options {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        let file = folder + "/cluster.json"
        var options = given
        if let data = FileManager.default.contents(atPath: file),
            let before = try? JSONDecoder().decode(Options.self, from: data)
        {  // allowed: then only what is given counts
            options.listen = given.listen ?? before.listen
            options.engine = given.engine ?? before.engine
            options.ociRuntime = given.ociRuntime ?? before.ociRuntime
            if given.volumes.isEmpty { options.volumes = before.volumes }
            if given.allowedPaths.isEmpty { options.allowedPaths = before.allowedPaths }
            if given.labels.isEmpty { options.labels = before.labels }
            if given.insecureRegistries.isEmpty { options.insecureRegistries = before.insecureRegistries }
        }
        try JSONEncoder().encode(options).write(to: URL(filePath: file), options: .atomic)
        return options
    }

    // MARK: Starting

    /// Starts what does not run and waits until both are ready.
    func start(_ options: Options) async throws -> Context {
        let scheduler = LocalProcess(name: "scheduler", folder: folder)
        let worker = LocalProcess(name: "worker", folder: folder)
        if !scheduler.isRunning {
            unlink(folder + "/scheduler/scheduler.address")
            try scheduler.start(programs + "/jobctl-scheduler", schedulerArguments(options))
        }
        let context = try await ready(scheduler)
        // The same port the next time: workers and context files know it.
        if options.listen == nil || options.listen?.hasSuffix(":0") == true {
            var fixed = options
            fixed.listen = String(context.url.dropFirst("http://".count))
            try JSONEncoder().encode(fixed).write(to: URL(filePath: folder + "/cluster.json"), options: .atomic)
        }
        if !worker.isRunning { try worker.start(programs + "/jobctl-worker", workerArguments(options, context)) }
        try await ready(worker, context)
        try context.write()
        return context
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
    func stop() async throws {
        await LocalProcess(name: "worker", folder: folder).stop()
        await LocalProcess(name: "scheduler", folder: folder).stop()
        guard FileManager.default.fileExists(atPath: folder + "/worker/worker.lock") else { return }
        let options = try? JSONDecoder().decode(
            // allowed: then without volumes
            Options.self, from: FileManager.default.contents(atPath: folder + "/cluster.json") ?? Data())
        let cleanup = Process()
        cleanup.executableURL = URL(filePath: programs + "/jobctl-worker")
        cleanup.arguments =
            ["--cleanup", "--data-dir", folder + "/worker"] + engineArguments(options)
            + (options?.volumes ?? []).flatMap { ["--volume", $0] }
        let log = FileHandle(forWritingAtPath: folder + "/worker.log")
        _ = try? log?.seekToEnd()  // allowed: the log is for people
        cleanup.standardOutput = log
        cleanup.standardError = log
        try cleanup.run()
        cleanup.waitUntilExit()
        guard cleanup.terminationStatus == 0 else {
            throw Problem(.refused, "the worker's leftovers could not be removed: see \(folder)/worker.log")
        }
    }
}

/// A daemon that outlives the command that started it.
struct LocalProcess {
    let name: String
    let folder: String
    private var file: String { "\(folder)/\(name).pid" }
    var log: String { "\(folder)/\(name).log" }

    /// The process id if this very process still runs: an id that was given to another has another start time.
    private var running: pid_t? {
        guard let data = FileManager.default.contents(atPath: file) else { return nil }
        let words = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let id = pid_t(words[0]), let startTime = Self.startTime(of: id), startTime == words[1]
        else { return nil }
        return id
    }

    var isRunning: Bool { running != nil }

    /// When the process id was written down.
    var startedAt: Timestamp {
        var information = stat()
        stat(file, &information)
        return Timestamp(millisecondsSinceEpoch: Int64(information.st_mtim.tv_sec) * 1000)
    }

    var lastWords: String {
        guard let data = FileManager.default.contents(atPath: log) else { return "it said nothing" }
        return String(decoding: data, as: UTF8.self).split(separator: "\n").last.map(String.init) ?? "it said nothing"
    }

    /// Field 22 of /proc/PID/stat: ticks since boot. Nil if there is no such process, or only its remains.
    private static func startTime(of id: pid_t) -> Substring? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(id)/stat") else { return nil }
        let text = String(decoding: data, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return fields[19]
    }

    /// Starts the program in a session of its own, with output to the log.
    func start(_ program: String, _ arguments: [String]) throws {
        guard access(program, X_OK) == 0 else {
            throw Problem(.refused, "\(program) is missing: install it beside jobctl")
        }
        var argv = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for text in argv { free(text) } }
        let id = jc_spawn_daemon(program, &argv, log)
        guard id > 0, let startTime = Self.startTime(of: id) else {
            throw Problem(.refused, "\(program) could not be started: \(String(cString: strerror(-id)))")
        }
        try "\(id) \(startTime)\n".write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// SIGTERM, and SIGKILL after 20 s.
    func stop() async {
        guard let id = running else { return }
        kill(id, SIGTERM)
        let deadline = ContinuousClock.now + .seconds(20)
        var killed = false
        while running == id {
            if ContinuousClock.now > deadline, !killed {
                kill(id, SIGKILL)
                killed = true
            }
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
        }
        unlink(file)
    }
}

/// A continuation that may be resumed twice and counts once.
final class OnceContinuation: Sendable {
    private let continuation: Mutex<CheckedContinuation<Void, Never>?>
    init(_ continuation: CheckedContinuation<Void, Never>) { self.continuation = Mutex(continuation) }
    func resume() {
        continuation.withLock { waiting in
            waiting?.resume()
            waiting = nil
        }
    }
}

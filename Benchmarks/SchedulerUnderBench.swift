// A real scheduler process on a folder of its own, started as `jobctl up` starts it, with a client that is an
// administrator. It ends with the benchmark.
import Foundation
import JobModel
import SchedulerClient

final class SchedulerUnderBench: Sendable {
    let folder: String
    let port: Int
    let adminToken: String
    let workerToken: String
    let client: SchedulerClient
    /// From the start of the process to its first answer, in seconds.
    let startTime: Double
    private let process: ProcessID

    private struct ProcessID: Sendable { let id: pid_t }

    var url: String { "http://127.0.0.1:\(port)" }
    var database: String { folder + "/jobctl.sqlite" }

    /// Starts one on `folder`, new or with what it holds, and waits until it answers.
    static func start(on folder: String, port: Int = 0) async throws -> SchedulerUnderBench {
        let address = folder + "/scheduler.address"
        unlink(address)
        let start = ContinuousClock.now
        let id = try spawn(
            Settings.programs + "/jobctl-scheduler",
            [
                "--data-dir", folder, "--listen", "127.0.0.1:\(port)", "--admin-token-file", folder + "/admin.token",
                "--worker-token-file", folder + "/worker.token",
            ], output: folder + "/scheduler.log")
        do {
            while true {
                if let port = text(address).flatMap({ $0.split(separator: ":").last }).flatMap({ Int($0) }),
                    let admin = text(folder + "/admin.token"), let worker = text(folder + "/worker.token")
                {
                    let client = try SchedulerClient(url: "http://127.0.0.1:\(port)", token: admin)
                    if await client.isHealthy() {
                        let startTime = (ContinuousClock.now - start) / .seconds(1)
                        return SchedulerUnderBench(folder, port, admin, worker, client, startTime, ProcessID(id: id))
                    }
                }
                guard waitpid(id, nil, WNOHANG) == 0, ContinuousClock.now - start < .seconds(120) else {
                    throw BenchFailure("the scheduler did not start: \(text(folder + "/scheduler.log") ?? "")")
                }
                try await Task.sleep(for: .milliseconds(2))
            }
        } catch {
            Glibc.kill(id, SIGKILL)
            waitpid(id, nil, 0)
            throw error
        }
    }

    private init(
        _ folder: String, _ port: Int, _ admin: String, _ worker: String, _ client: SchedulerClient,
        _ startTime: Double,
        _ process: ProcessID
    ) {
        self.folder = folder
        self.port = port
        adminToken = admin
        workerToken = worker
        self.client = client
        self.startTime = startTime
        self.process = process
    }

    /// Starts one on a new folder, runs `body`, and stops it.
    static func with<Value>(
        on folder: String, _ body: (SchedulerUnderBench) async throws -> Value
    ) async throws -> Value {
        let scheduler = try await start(on: folder)
        do {
            let value = try await body(scheduler)
            scheduler.stop()
            return value
        } catch {
            scheduler.stop()
            throw error
        }
    }

    /// As a power cut would end it.
    func kill() {
        Glibc.kill(process.id, SIGKILL)
        waitpid(process.id, nil, 0)
    }

    func stop() {
        Glibc.kill(process.id, SIGTERM)
        waitpid(process.id, nil, 0)
    }

    /// What the process holds in memory, in MB.
    var residentMegabytes: Double { memory("VmRSS:") }
    /// The most that it ever held.
    var highestMegabytes: Double { memory("VmHWM:") }

    private func memory(_ field: String) -> Double {
        let line = Self.text("/proc/\(process.id)/status")?.split(separator: "\n").first { $0.hasPrefix(field) }
        return (line?.split(separator: " ").dropFirst().first).flatMap { Double($0) }.map { $0 / 1024 } ?? 0
    }

    /// Processor time that it has used, in seconds.
    var processorSeconds: Double {
        let fields = Self.text("/proc/\(process.id)/stat")?.split(separator: " ") ?? []
        guard fields.count > 14, let user = Double(fields[13]), let system = Double(fields[14]) else { return 0 }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Imports a root file system with nothing but a static busybox, under `busybox:bench`.
    func importBusybox(_ scratch: Scratch) async throws {
        _ = try await client.importImage(
            reference: "busybox:bench", FileBytes(path: try await BusyboxTree.archive(in: scratch)))
    }

    private static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map {
            String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        }.flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// Starts a program with output to a file, or to nowhere.
/// - Returns: its process id.
func spawn(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], output: String = "/dev/null"
) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    // Threads of the pool block signals, and what they start would inherit that: openssl speed ends by an alarm.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let variables = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"].merging(environment) { $1 }
    var argv = ([program] + arguments).map { strdup($0) } + [nil]
    var envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in argv + envp { free(text) } }
    var id = pid_t()
    let status = posix_spawn(&id, program, &actions, &attributes, &argv, &envp)
    guard status == 0 else { throw BenchFailure("\(program) cannot be started: \(String(cString: strerror(status)))") }
    Interruption.note(id)
    return id
}

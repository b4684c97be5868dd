// The engines that the containers' benchmark knows: how each is started for it, which option of the worker chooses it,
// and the command that runs one container without us. To add an engine, add a case to `start`.
import Foundation
import JobModel
import TestSupport

struct EngineSubject: Sendable {
    /// As the worker's `--engine` takes it.
    let name: String
    /// Of the worker and of the bare command.
    let environment: [String: String]
    /// What the baseline is called.
    let bareName: String
    /// Runs one container to its end and removes it. The argument is a name that is used once.
    let bareCommand: @Sendable (String) -> [String]
    let stop: @Sendable () async -> Void

    static func start(_ name: String, _ scratch: Scratch) async throws -> EngineSubject {
        switch name {
        case "docker": try await docker(scratch)
        case "oci": try await oci(scratch)
        default: throw BenchFailure("'\(name)' is no engine that can be measured: use docker or oci")
        }
    }

    /// A private dockerd.
    private static func docker(_ scratch: Scratch) async throws -> EngineSubject {
        let engine = try await EngineUnderTest.start(.docker)
        let host = "unix://" + engine.socketPath
        let environment = ["DOCKER_HOST": host, "HOME": scratch.path]
        do {
            let archive = try await BusyboxTree.archive(in: scratch)
            let made = try await runProcess(
                "docker", ["import", archive, "busybox:bench"], environment: environment)
            guard made.exitCode == 0 else { throw BenchFailure("docker import failed: \(made)") }
        } catch {
            await engine.stop()
            throw error
        }
        return EngineSubject(
            name: "docker", environment: environment, bareName: "docker run --rm",
            bareCommand: { _ in
                ["/usr/bin/docker", "run", "--rm", "--network", "none", "busybox:bench", "/bin/busybox", "true"]
            }, stop: { await engine.stop() })
    }
}

extension EngineSubject {
    /// No daemon: the first runtime that runs a container here, on a bundle with the same root file system.
    fileprivate static func oci(_ scratch: Scratch) async throws -> EngineSubject {
        _ = try await BusyboxTree.archive(in: scratch)
        let (bundle, state) = (try scratch.folder("bundle"), try scratch.folder("runtime"))
        var complaints: [String] = []
        for runtime in ["/usr/bin/crun", "/usr/sbin/runc", "/usr/bin/runc"] where access(runtime, X_OK) == 0 {
            let command: @Sendable (String) -> [String] = { name in
                [runtime, "--root", state, "run", "--bundle", bundle, name]
            }
            let config = bundle + "/config.json"
            unlink(config)
            let made = try await runProcess(runtime, ["spec"], folder: bundle)
            guard made.exitCode == 0 else { throw BenchFailure("\(runtime) spec failed: \(made)") }
            try runTrue(in: config, rootfs: scratch.path + "/rootfs")
            let trial = try await runProcess(runtime, Array(command("trial").dropFirst()))
            if trial.exitCode == 0 {
                let name = (runtime as NSString).lastPathComponent
                return EngineSubject(
                    name: "oci", environment: ["HOME": scratch.path], bareName: name + " run", bareCommand: command,
                    stop: {})
            }
            complaints.append("\(runtime): \(trial.errors)")
        }
        throw BenchFailure("no OCI runtime runs a container here: \(complaints.joined(separator: "; "))")
    }

    /// Makes the runtime's own standard bundle run `true` on the benchmark's root file system, without a terminal.
    private static func runTrue(in config: String, rootfs: String) throws {
        let url = URL(filePath: config)
        guard var document = try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any],
            var process = document["process"] as? [String: Any]
        else { throw BenchFailure("\(config) is not a bundle's configuration") }
        process["args"] = ["/bin/busybox", "true"]
        process["terminal"] = false
        document["process"] = process
        document["root"] = ["path": rootfs, "readonly": true] as [String: Any]
        try JSONSerialization.data(withJSONObject: document).write(to: url)
    }
}

/// A real agent with as many slots as asked for.
struct WorkerUnderBench {
    private let id: pid_t
    private let cleanup: [String]
    private let environment: [String: String]

    init(_ scheduler: SchedulerUnderBench, _ subject: EngineSubject, folder: String, slots: Int) throws {
        let own = ["--data-dir", folder, "--engine", subject.name]
        environment = subject.environment
        cleanup = ["--cleanup"] + own
        id = try spawn(
            Settings.programs + "/jobctl-worker",
            own + [
                "--url", scheduler.url, "--token-file", scheduler.folder + "/worker.token", "--name", "bench", "--cpus",
                String(slots),
            ], environment: environment, output: folder + ".log")
    }

    /// Ends the agent, then removes what it made.
    func stop() throws {
        kill(id, SIGTERM)
        waitpid(id, nil, 0)
        let cleaner = try spawn(Settings.programs + "/jobctl-worker", cleanup, environment: environment)
        var status: Int32 = 0
        guard waitpid(cleaner, &status, 0) == cleaner, status == 0 else {
            throw BenchFailure("the worker's leftovers could not be removed")
        }
        removeGroups(of: "bench")
    }
}

// The engines that the containers' benchmark knows: how each is started for it, which option of the worker chooses it,
// and the command that runs one container without us. To add an engine, add a case to `start`.
import Foundation
import JobModel
import TestSupport

struct EngineSubject: Sendable {
    /// `docker`, or the OCI runtime.
    let name: String
    /// What chooses it for the worker.
    let options: [String]
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
        case "crun", "runc": try await oci(name, scratch)
        default: throw BenchFailure("'\(name)' is no engine that can be measured: use docker, crun or runc")
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
            name: "docker", options: ["--engine", "docker"], environment: environment, bareName: "docker run --rm",
            bareCommand: { _ in
                ["/usr/bin/docker", "run", "--rm", "--network", "none", "busybox:bench", "/bin/busybox", "true"]
            }, stop: { await engine.stop() })
    }
}

extension EngineSubject {
    /// No daemon: the runtime alone, on a bundle with the same root file system.
    fileprivate static func oci(_ name: String, _ scratch: Scratch) async throws -> EngineSubject {
        guard let runtime = ["/usr/bin/", "/usr/sbin/"].map({ $0 + name }).first(where: { access($0, X_OK) == 0 })
        else { throw BenchFailure("\(name) is not installed") }
        _ = try await BusyboxTree.archive(in: scratch)
        let (bundle, state) = (try scratch.folder("bundle-" + name), try scratch.folder("state-" + name))
        let command: @Sendable (String) -> [String] = { container in
            [runtime, "--root", state, "run", "--bundle", bundle, container]
        }
        let made = try await runProcess(runtime, ["spec"], folder: bundle)
        guard made.exitCode == 0 else { throw BenchFailure("\(runtime) spec failed: \(made)") }
        try runTrue(in: bundle + "/config.json", rootfs: scratch.path + "/rootfs")
        let trial = try await runProcess(runtime, Array(command("trial").dropFirst()))
        guard trial.exitCode == 0 else { throw BenchFailure("\(runtime) runs no container here: \(trial.errors)") }
        return EngineSubject(
            name: name, options: ["--engine", "oci", "--oci-runtime", runtime],
            environment: ["HOME": scratch.path, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"], bareName: name + " run",
            bareCommand: command, stop: {})
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
        let own = ["--data-dir", folder] + subject.options
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

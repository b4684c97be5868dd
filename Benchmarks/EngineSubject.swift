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
        default: throw BenchFailure("'\(name)' is no engine that can be measured: use docker")
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

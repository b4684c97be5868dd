// The cluster of a campaign: scheduler and worker on the engine oci as `jobctl up` starts them, so that each can be
// killed and started again as a user would. Everything is gone afterwards, also when the campaign's own process dies.
import Foundation
import JobModel
import SchedulerClient

package struct CampaignCluster: Sendable {
    package enum Daemon: String, Sendable, CaseIterable { case scheduler, worker }

    package let folder: String
    private let programs: String
    private let runtime: String
    /// Where the programs of tasks leave their traces; everybody may write there.
    package var traces: String { folder + "/traces" }
    package var results: String { folder + "/results" }
    private var data: String { folder + "/cluster" }
    package var workerData: String { data + "/worker" }
    package var schedulerData: String { data + "/scheduler" }
    /// Of the administrator, whatever user that is here.
    package var adminToken: String { word("admin.token") }
    private var environment: [String: String] { ["HOME": folder, "JOBCTL_CONFIG": folder + "/context.yaml"] }

    /// Runs `body` with a cluster that is up, with the image `busybox:local` in its archive.
    /// - Parameters:
    ///   - programs: the folder of the programs.
    ///   - runtime: crun, runc or a path.
    package static func with<Value: Sendable>(
        programs: String, runtime: String, _ body: @Sendable (CampaignCluster) async throws -> Value
    ) async throws -> Value {
        let cluster = CampaignCluster(
            folder: try temporaryFolder("campaign"), programs: programs, runtime: runtime)
        let watch = try ClusterWatch.start(
            over: cluster.folder, programs: programs, environment: cluster.environment)
        let result: Result<Value, any Error>
        do {
            for folder in [cluster.traces, cluster.results] {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                chmod(folder, 0o777)
            }
            try await cluster.up()
            let archive = try await busyboxArchive(in: cluster.folder)
            try await cluster.jobctl("image", "import", archive, "-t", "busybox:local")
            result = .success(try await body(cluster))
        } catch {
            result = .failure(cluster.explained(error))
        }
        // Down may have been said already: then it says that nothing runs.
        _ = try? await cluster.down()
        for daemon in Daemon.allCases { if let id = cluster.process(daemon) { Foundation.kill(id, SIGKILL) } }
        await sweep(cluster.folder)
        watch.terminate()
        return try result.get()
    }

    /// Starts what does not run, and waits until both are ready.
    package func up() async throws {
        try await jobctl(
            "up", "--detach", "--data-dir", data, "--listen", "127.0.0.1:0", "--engine", "oci", "--oci-runtime",
            runtime, "--volume", "traces=\(traces):rw", "--volume", "results=\(results):rw")
    }

    package func down() async throws { try await jobctl("down", "--data-dir", data) }

    private func jobctl(_ arguments: String...) async throws {
        let result = try await runProcess(programs + "/jobctl", arguments, environment: environment)
        guard result.exitCode == 0 else { throw ProcessFailure(description: "jobctl \(arguments[0]): \(result)") }
    }

    /// A client of the administrator.
    package func client() throws -> SchedulerClient {
        try SchedulerClient(url: "http://" + word("scheduler/scheduler.address"), token: adminToken)
    }

    private func word(_ file: String) -> String {
        HostCensus.text(data + "/" + file).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The worker loses every unpacked image and file, as a new one has none.
    package func forgetImages() async throws {
        try await end(.worker)
        for folder in ["layers", "files"] { removeFolder("\(workerData)/\(folder)") }
        try await up()
    }

    /// `kill -9`, and waits until it is gone.
    package func end(_ daemon: Daemon) async throws {
        let id = process(daemon)
        try kill(daemon)
        try await eventually("the \(daemon) is gone") { id.map { HostCensus.commandLine($0).isEmpty } ?? true }
    }

    // MARK: Processes

    package func process(_ daemon: Daemon) -> pid_t? {
        HostCensus.text("\(data)/\(daemon.rawValue).pid").split(separator: " ").first.flatMap { pid_t($0) }
    }

    /// `kill -9`.
    package func kill(_ daemon: Daemon) throws {
        guard let id = process(daemon), Foundation.kill(id, SIGKILL) == 0 else {
            throw ProcessFailure(description: "the \(daemon.rawValue) does not run")
        }
    }

    /// The runners that live.
    package func runners() -> [pid_t] {
        HostCensus.processNumbers().filter {
            let words = HostCensus.commandLine($0).split(separator: " ")
            return words.count == 2 && words[0].hasSuffix("/jobctl-runner") && words[1].hasPrefix(workerData + "/")
        }
    }

    /// How often a daemon has said something that only a mistake in it says.
    package var crashes: [String] {
        Daemon.allCases.flatMap { daemon in
            HostCensus.text("\(data)/\(daemon.rawValue).log").split(separator: "\n").filter {
                $0.contains("Fatal error") || $0.contains("could not be removed") || $0.contains("crash")
            }.map { "\(daemon.rawValue): \($0)" }
        }
    }

    // MARK: What is left

    /// What stands on the host because of this cluster, besides its daemons and what they keep for ever. Empty once
    /// everything that ran has ended and was cleaned away.
    package func left() -> [String] {
        let identity = HostCensus.text(workerData + "/identity")
        var found = HostCensus.left(
            of: folder, worker: identity.isEmpty ? nil : identity,
            except: Set(Daemon.allCases.compactMap { process($0) }.filter { Foundation.kill($0, 0) == 0 }))
        for place in ["containers", "attempts", "mounts"] {
            found += HostCensus.folder("\(workerData)/\(place)").filter { AttemptID($0) != nil }
                .map { "folder \(place)/\($0)" }
        }
        found += HostCensus.folder(results + "/.jobctl/staging").map { "staged output of \($0)" }
        found += HostCensus.folder(workerData + "/files").filter { $0.hasSuffix(".new") }.map { "file \($0)" }
        return found
    }

    /// Waits until nothing is left.
    /// - Returns: what still is after `limit` seconds.
    package func settled(limit: Int) async throws -> [String] {
        let deadline = ContinuousClock.now + .seconds(limit)
        while true {
            let left = left()
            if left.isEmpty || ContinuousClock.now > deadline { return left }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    // MARK: Leaves

    private func explained(_ error: any Error) -> any Error {
        let logs = Daemon.allCases.map {
            "--- \($0).log\n\(HostCensus.text("\(data)/\($0.rawValue).log").suffix(1500))"
        }
        return ProcessFailure(description: "\(error)\n\(logs.joined(separator: "\n"))")
    }
}

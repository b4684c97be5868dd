// A whole cluster as a user starts it, with `jobctl up`, on a container engine of the tests: debug programs, real
// files, real sockets. Everything is reached through the command line. Invariant: processes, containers, mounts and
// files are gone afterwards, whether the test passes, throws, or its process dies.
import Foundation
import JobModel
import TestSupport
import Testing

/// A cluster that only this test uses, and the command line of its administrator.
struct ClusterUnderTest: Sendable {
    /// The cluster that a suite shares.
    @TaskLocal static var shared: ClusterUnderTest?

    let engine: EngineUnderTest
    let folder: String
    let programs: String
    /// What every call gets besides its own environment.
    let environment: [String: String]

    var data: String { folder + "/cluster" }
    var weather: String { folder + "/weather" }
    var results: String { folder + "/results" }
    /// A folder that every user may write into.
    var scratch: String { folder + "/scratch" }

    enum Daemon: String { case scheduler, worker }

    /// Runs `body` with a cluster that is up, with the image `busybox:local` in its archive.
    /// - Parameter isShared: around a suite, whose tests wait for their turn as all do: it must not hold a place at the
    ///   gate meanwhile, for which those whose turn it is may be waiting.
    static func with(
        engine kind: EngineUnderTest.Kind, submitter: UInt32? = nil, options: [String] = [],
        environment: [String: String] = [:], isShared: Bool = false,
        _ body: @Sendable (ClusterUnderTest) async throws -> Void
    ) async throws {
        guard let engines = SharedEngines.current else {
            throw ProcessFailure(description: "put the suite into EndToEnd, which has the engines")
        }
        if !isShared { await ClusterGate.shared.enter() }
        let result: Result<Void, any Error>
        do {
            let engine = try await engines.engine(kind)
            let cluster = try ClusterUnderTest(engine, submitter: submitter, environment: environment)
            let watch = try ClusterWatch.start(
                over: cluster.folder, programs: cluster.programs, environment: cluster.environment)
            do {
                try cluster.makeVolumes(owner: submitter ?? 65532)
                try await cluster.up(options: options)
                let archive = try await busyboxArchive(in: cluster.folder)
                try await cluster.ok("image", "import", archive, "-t", "busybox:local")
                result = .success(try await body(cluster))
            } catch {
                result = .failure(cluster.explained(error))
            }
            await cluster.end()
            watch.terminate()
        } catch {
            result = .failure(error)
        }
        if !isShared { await ClusterGate.shared.leave() }
        try result.get()
    }

    private init(_ engine: EngineUnderTest, submitter: UInt32?, environment: [String: String]) throws {
        self.engine = engine
        folder = try temporaryFolder("cluster")
        programs = (try builtProgram("jobctl") as NSString).deletingLastPathComponent
        var variables = ["HOME": folder, "JOBCTL_CONFIG": folder + "/context.yaml"]
        variables.merge(engine.environment) { $1 }
        if let submitter {
            for name in ["SUDO_UID", "SUDO_GID"] { variables[name] = String(submitter) }
            variables["SUDO_USER"] = "ada"
        }
        self.environment = variables.merging(environment) { $1 }
    }

    private func makeVolumes(owner: UInt32) throws {
        let examples = repositoryFolder + "/Examples/weather"
        for name in ["weather", "results", "scratch"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        for year in ["2012", "2013", "2014", "2015"] {
            try FileManager.default.copyItem(atPath: "\(examples)/\(year)", toPath: "\(weather)/\(year)")
        }
        chown(results, owner, owner)
        chmod(scratch, 0o777)
    }

    /// Starts what does not run.
    func up(options: [String] = []) async throws {
        let result = try await jobctl(
            ["up", "--detach", "--data-dir", data, "--listen", "127.0.0.1:0", "--engine", engine.kind.rawValue]
                + ["weather=\(weather):ro", "results=\(results):rw", "scratch=\(scratch):rw"].flatMap {
                    ["--volume", $0]
                } + options)
        guard result.exitCode == 0 else { throw ProcessFailure(description: "jobctl up: \(result)") }
    }

    // MARK: Ending

    private func end() async {
        _ = try? await jobctl(["down", "--data-dir", data])
        for daemon in [Daemon.worker, .scheduler] { if let id = processID(daemon) { Foundation.kill(id, SIGKILL) } }
        await sweep(folder)
    }

    /// The error with the last lines of the daemons' logs.
    private func explained(_ error: any Error) -> any Error {
        let logs = [Daemon.scheduler, .worker].map { daemon in
            let text = (try? String(contentsOfFile: "\(data)/\(daemon.rawValue).log", encoding: .utf8)) ?? ""
            return "--- \(daemon.rawValue).log\n\(text.suffix(1500))"
        }
        return ProcessFailure(description: "\(error)\n\(logs.joined(separator: "\n"))")
    }

    // MARK: Daemons

    func processID(_ daemon: Daemon) -> pid_t? {
        let text = (try? String(contentsOfFile: "\(data)/\(daemon.rawValue).pid", encoding: .utf8)) ?? ""
        return text.split(separator: " ").first.flatMap { pid_t($0) }
    }

    /// `kill -9`, and waits until it is gone.
    func kill(_ daemon: Daemon) async throws {
        guard let id = processID(daemon), Foundation.kill(id, SIGKILL) == 0 else {
            throw ProcessFailure(description: "the \(daemon.rawValue) does not run")
        }
        try await eventually("the \(daemon.rawValue) is gone") { !isAlive(id) }
    }

    func isRunning(_ daemon: Daemon) -> Bool { processID(daemon).map(isAlive) ?? false }

    private func isAlive(_ id: pid_t) -> Bool {
        let text = (try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)) ?? ""
        guard let end = text.lastIndex(of: ")") else { return false }
        return !["Z", "X"].contains(text[end...].dropFirst(2).prefix(1))
    }
}

/// The root of this package's sources.
let repositoryFolder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

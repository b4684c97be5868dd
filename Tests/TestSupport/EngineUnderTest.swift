// Private daemons for tests: dockerd, `podman system service`, docker-registry, each with its own socket or port and
// its own folders. Invariant: whatever was started is gone afterwards — processes, containers, mounts, control
// groups, files — also when a test fails, and soon after the test process died.
import Foundation
import Synchronization

/// A daemon that ends with the test process.
package final class DaemonUnderTest: Sendable {
    package let folder: String
    private let process: Process

    /// Starts `program` with output to `folder/<name>.log`.
    /// - Throws: ``ProcessFailure`` if the program is not installed: a missing engine is a failure, never a skipped
    ///   test.
    package init(_ name: String, _ program: String, _ arguments: [String], folder: String) throws {
        self.folder = folder
        guard let path = program.contains("/") ? program : findProgram(program) else {
            throw ProcessFailure(description: "\(program) is not installed: tests with real engines cannot run")
        }
        let log = folder + "/\(name).log"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        let output = try FileHandle(forWritingTo: URL(filePath: log))
        process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        // The watching shell ends the daemon when the test process is gone, however it went.
        let watch = """
            owner=$1; shift
            "$@" & daemon=$!
            trap 'kill $daemon 2>/dev/null' TERM
            while kill -0 $owner 2>/dev/null && kill -0 $daemon 2>/dev/null; do sleep 0.3; done
            kill $daemon 2>/dev/null
            for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 $daemon 2>/dev/null || exit 0; sleep 1; done
            kill -9 $daemon
            """
        process.arguments = ["-c", watch, "watch", String(getpid()), path] + arguments
        process.environment = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": folder]
        // conmon drops a file named "oom" into its working folder.
        process.currentDirectoryURL = URL(filePath: folder)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
    }

    package func stop() async {
        process.terminate()
        let deadline = ContinuousClock.now + .seconds(20)
        while process.isRunning, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(20)) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }
}

/// A container engine that only this test process uses.
package final class EngineUnderTest: Sendable {
    /// `oci` is no daemon: the worker itself is the engine.
    package enum Kind: String, Sendable, CaseIterable { case docker, podman, oci }

    package let kind: Kind
    package let folder: String
    package var socketPath: String { folder + "/engine.sock" }
    /// Nil for an engine without one.
    private let daemon: Mutex<DaemonUnderTest?>

    /// Starts one and waits until it answers.
    package static func start(_ kind: Kind) async throws -> EngineUnderTest {
        let engine = try EngineUnderTest(kind)
        do {
            try await engine.waitUntilItAnswers()
            return engine
        } catch {
            let log = (try? String(contentsOfFile: engine.folder + "/\(kind).log", encoding: .utf8)) ?? ""
            await engine.stop()
            throw ProcessFailure(description: "\(error)\n\(log.suffix(2000))")
        }
    }

    private init(_ kind: Kind) throws {
        self.kind = kind
        folder = try temporaryFolder("engine")
        daemon = Mutex(try Self.daemon(kind, folder))
    }

    /// What the worker finds the engine by.
    package var environment: [String: String] {
        switch kind {
        case .docker: ["DOCKER_HOST": "unix://" + socketPath]
        case .podman: ["CONTAINER_HOST": "unix://" + socketPath]
        case .oci: [:]
        }
    }

    private static func daemon(_ kind: Kind, _ folder: String) throws -> DaemonUnderTest? {
        switch kind {
        case .oci: nil
        case .docker:
            try DaemonUnderTest(
                "docker", "dockerd",
                [
                    "-H", "unix://\(folder)/engine.sock", "--data-root", "\(folder)/data", "--exec-root",
                    "\(folder)/exec", "-p", "\(folder)/pid",
                    "--iptables=false", "--ip6tables=false", "--bridge=none", "--exec-opt",
                    "native.cgroupdriver=cgroupfs",
                ], folder: folder)
        case .podman:
            try DaemonUnderTest(
                "podman", "podman",
                podmanOptions(folder) + ["system", "service", "--time=0", "unix://\(folder)/engine.sock"],
                folder: folder)
        }
    }

    private func waitUntilItAnswers() async throws {
        guard kind != .oci else { return }
        try await eventually("\(kind) answers on its socket") {
            guard FileManager.default.fileExists(atPath: socketPath) else { return false }
            let curl = try await runProcess(
                "curl", ["-s", "--max-time", "5", "--unix-socket", socketPath, "http://engine/version"])
            return curl.exitCode == 0 && curl.output.contains("ApiVersion")
        }
    }

    /// Kills the engine and all that it runs, with no chance to write anything down, as a crash of the host would;
    /// then starts it again.
    package func crash() async throws {
        // Twice: the first round may have been overtaken by a fork.
        for _ in 0..<2 {
            for id in processes(mentioning: folder) + containerProcesses() { kill(id, SIGKILL) }
            try await Task.sleep(for: .milliseconds(200))
        }
        await daemon.withLock { $0 }?.stop()
        for file in ["engine.sock", "pid", "exec/containerd/containerd.pid"] {
            try? FileManager.default.removeItem(atPath: "\(folder)/\(file)")
        }
        let next = try Self.daemon(kind, folder)
        daemon.withLock { $0 = next }
        try await waitUntilItAnswers()
    }

    /// The processes in containers: their root lies below the engine's folder.
    private func containerProcesses() -> [pid_t] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { pid_t($0) }.filter { id in
            let mounts = (try? String(contentsOfFile: "/proc/\(id)/mounts", encoding: .utf8)) ?? ""
            return mounts.split(separator: "\n").first { $0.hasPrefix("overlay / ") }?.contains(folder + "/") ?? false
        }
    }

    /// crun refuses hosts that have controllers in both cgroup versions.
    private static func podmanOptions(_ folder: String) -> [String] {
        let unified = (try? String(contentsOfFile: "/sys/fs/cgroup/unified/cgroup.controllers", encoding: .utf8)) ?? ""
        let isMixed = !unified.trimmingCharacters(in: .whitespacesAndNewlines).isEmpty
        return [
            "--root", folder + "/data", "--runroot", folder + "/run", "--tmpdir", folder + "/tmp", "--cgroup-manager",
            "cgroupfs", "--network-config-dir", folder + "/networks",
            "--events-backend", "file", "--runtime", isMixed ? "runc" : "crun",
        ]
    }

    /// Ends the engine and removes all that it made.
    package func stop() async {
        switch kind {
        case .docker:
            for id in await containers() { _ = try? await curl("DELETE", "/v1.41/containers/\(id)?force=1&v=1") }
        case .podman:
            _ = try? await runProcess("podman", Self.podmanOptions(folder) + ["rm", "--all", "--force", "--time", "0"])
        case .oci: break
        }
        await daemon.withLock { $0 }?.stop()
        await sweep(folder)
    }

    private func containers() async -> [String] {
        guard let list = try? await curl("GET", "/v1.41/containers/json?all=1"),
            let entries = try? JSONSerialization.jsonObject(with: Data(list.utf8)) as? [[String: Any]]
        else { return [] }
        return entries.compactMap { $0["Id"] as? String }
    }

    private func curl(_ method: String, _ path: String) async throws -> String {
        try await runProcess(
            "curl", ["-s", "--max-time", "30", "-X", method, "--unix-socket", socketPath, "http://engine" + path]
        ).output
    }
}

/// Docker's registry on 127.0.0.1, open to all.
package final class PlainRegistryUnderTest: Sendable {
    package let port: Int
    private let folder: String
    private let daemon: DaemonUnderTest
    package var url: String { "http://127.0.0.1:\(port)" }

    package static func start() async throws -> PlainRegistryUnderTest {
        let registry = try PlainRegistryUnderTest()
        do {
            try await eventually("docker-registry answers") {
                try await runProcess("curl", ["-s", "--max-time", "5", registry.url + "/v2/"]).exitCode == 0
            }
        } catch {
            await registry.stop()
            throw error
        }
        return registry
    }

    private init() throws {
        folder = try temporaryFolder("registry")
        port = try freePort()
        let settings = """
            version: 0.1
            log: {level: error}
            storage: {filesystem: {rootdirectory: \(folder)/data}}
            http: {addr: "127.0.0.1:\(port)"}
            """
        try settings.write(toFile: folder + "/config.yml", atomically: true, encoding: .utf8)
        daemon = try DaemonUnderTest("registry", "docker-registry", ["serve", folder + "/config.yml"], folder: folder)
    }

    package func stop() async {
        await daemon.stop()
        await sweep(folder)
    }
}

// MARK: Leaves

/// An empty folder with a short path, because a socket's path has at most 107 bytes.
package func temporaryFolder(_ name: String) throws -> String {
    let path = "/tmp/jobctl-\(name)-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
}

/// A port of 127.0.0.1 that nobody uses now.
package func freePort() throws -> Int {
    let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(handle) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(handle, $0, size) == 0 && getsockname(handle, $0, &size) == 0
        }
    }
    guard handle >= 0, status else { throw ProcessFailure(description: "no port is free") }
    return Int(UInt16(bigEndian: address.sin_port))
}

private func findProgram(_ name: String) -> String? {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { $0 + "/" + name }
        .first { access($0, X_OK) == 0 }
}

/// The processes that a test's daemons left behind: their command lines name its folder, which is unique.
private func processes(mentioning folder: String) -> [pid_t] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { pid_t($0) }.filter { id in
        guard id != getpid(), let data = FileManager.default.contents(atPath: "/proc/\(id)/cmdline") else {
            return false
        }
        return String(decoding: data, as: UTF8.self).contains(folder + "/")
    }
}

/// Kills what is left, unmounts what is mounted below the folder, and removes it.
package func sweep(_ folder: String) async {
    for _ in 0..<50 {
        let left = processes(mentioning: folder)
        if left.isEmpty { break }
        for id in left { kill(id, SIGKILL) }
        try? await Task.sleep(for: .milliseconds(50))
    }
    for _ in 0..<5 {
        let table = (try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? ""
        let mounts = table.split(separator: "\n").compactMap {
            $0.split(separator: " ").dropFirst(4).first.map(String.init)
        }
        .filter { $0 == folder || $0.hasPrefix(folder + "/") }
        if mounts.isEmpty { break }
        for mount in mounts.reversed() { _ = umount2(mount, Int32(MNT_DETACH)) }
    }
    removeFolder(folder)
}

/// Removes a test's folder, also while a task that the test gave up still writes its last file into it.
package func removeFolder(_ folder: String) {
    for _ in 0..<100 {
        try? FileManager.default.removeItem(atPath: folder)
        guard FileManager.default.fileExists(atPath: folder) else { return }
        usleep(20_000)
    }
}

/// Removes the control groups of a test's worker.
package func removeGroups(of worker: String) {
    let root = "/sys/fs/cgroup"
    let hierarchies =
        [root] + ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []).map { root + "/" + $0 }
    for hierarchy in hierarchies {
        let top = hierarchy + "/jobctl-" + worker
        guard FileManager.default.fileExists(atPath: top) else { continue }
        let folders = (FileManager.default.enumerator(atPath: top)?.allObjects as? [String] ?? []).map {
            top + "/" + $0
        }
        for folder in folders.sorted(by: { $0.count > $1.count }) { _ = rmdir(folder) }
        _ = rmdir(top)
    }
}

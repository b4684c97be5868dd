// Around an engine: the registry proxy's guard, detection and its reasons, and an engine that crashes while a
// container runs.
import Foundation
import JobModel
import Logging
import TestSupport
import Testing

@testable import Worker

@Suite("the registry proxy")
struct EngineRegistryProxyTests {
    /// A proxy in front of a registry that holds the test image.
    private func withProxy(_ body: (RegistryProxy, _ address: String, Digest) async throws -> Void) async throws {
        let folder = try temporaryFolder("proxy")
        defer { removeFolder(folder) }
        let registry = try await PlainRegistryUnderTest.start()
        let result: Result<Void, any Error>
        do {
            let digest = try await EngineTestImage.push(to: registry.port)
            let proxy = RegistryProxy(
                scheduler: registry.url, token: "secret", portFile: folder + "/port", logger: Logger(label: "test"))
            result = .success(try await running(proxy) { try await body(proxy, $0, digest) })
        } catch {
            result = .failure(error)
        }
        await registry.stop()
        try result.get()
    }

    private func running(_ proxy: RegistryProxy, _ body: (_ address: String) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await proxy.run() }
            let address = try await proxy.address()
            defer { group.cancelAll() }
            try await body(address)
        }
    }

    private func status(_ address: String, _ path: String, _ options: [String] = [], by: [String] = []) async throws
        -> String
    {
        let curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"] + options + ["http://\(address)\(path)"]
        let command = by + curl
        return try await runProcess(command[0], Array(command.dropFirst())).output
    }

    @Test("only what is being pulled can be pulled, by root or the agent's user, and nothing else of the scheduler")
    func guarded() async throws {
        try await withProxy { proxy, address, digest in
            let manifest = "/v2/archive/manifests/\(digest)"
            #expect(try await status(address, manifest) == "404")
            await proxy.permit(digest)
            let accept = ["-H", "Accept: application/vnd.oci.image.manifest.v1+json"]
            let text = try await runProcess("curl", ["-s"] + accept + ["http://\(address)\(manifest)"]).output
            #expect(Digest(of: text) == digest)
            let layer = try #require(text.split(separator: "\"").compactMap { Digest($0) }.last)
            #expect(try await status(address, "/v2/archive/blobs/\(layer)") == "200")
            #expect(try await status(address, "/v2/archive/blobs/\(layer)", ["-r", "0-9"]) == "206")
            #expect(try await status(address, manifest, ["-I"] + accept) == "200")
            #expect(try await status(address, "/v2/") == "200")
            let stranger = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
            #expect(try await status(address, manifest, accept, by: stranger) == "403")
            for path in [
                "/v1/jobs", "/v2/_catalog", "/v2/archive/tags/list", "/v2/archive/manifests/test",
                "/v2/other/manifests/\(digest)", "/",
                "/v2/archive/blobs/\(Digest(of: "unknown"))", "/v2/archive/manifests/\(digest)/../../../v1/jobs",
                "/v2/archive/blobs/\(layer)%2f",
            ] {
                #expect(try await status(address, path, ["--path-as-is"]) == "404", "\(path)")
            }
            #expect(try await status(address, manifest, ["-X", "PUT", "-d", "x"]) == "405")
            await proxy.revoke(digest)
            #expect(try await status(address, "/v2/archive/blobs/\(layer)") == "404")
        }
    }

    @Test("an engine that kept the manifest of an earlier pull may ask for its blobs at once")
    func keptManifest() async throws {
        try await withProxy { proxy, address, digest in
            await proxy.permit(digest)
            let accept = ["-s", "-H", "Accept: application/vnd.oci.image.manifest.v1+json"]
            let text = try await runProcess("curl", accept + ["http://\(address)/v2/archive/manifests/\(digest)"])
                .output
            let named = text.split(separator: "\"").compactMap { Digest($0) }
            await proxy.revoke(digest)
            await proxy.permit(digest)
            for blob in named { #expect(try await status(address, "/v2/archive/blobs/\(blob)") == "200") }
            #expect(try await status(address, "/v2/archive/blobs/\(Digest(of: "unknown"))") == "404")
        }
    }

    @Test("the port outlives the proxy if it is free, and another is taken if not")
    func port() async throws {
        let folder = try temporaryFolder("port")
        defer { removeFolder(folder) }
        func proxy() -> RegistryProxy {
            RegistryProxy(
                scheduler: "http://127.0.0.1:1", token: "secret", portFile: folder + "/port",
                logger: Logger(label: "test"))
        }
        var first = ""
        try await running(proxy()) { address in
            first = address
            try await running(proxy()) { #expect($0 != address) }
            try first.split(separator: ":").last.map(String.init)?.write(
                toFile: folder + "/port", atomically: true, encoding: .utf8)
        }
        try await running(proxy()) { #expect($0 == first) }
        try "no port".write(toFile: folder + "/port", atomically: true, encoding: .utf8)
        try await running(proxy()) { address in #expect(address.hasPrefix("127.0.0.1:")) }
    }

    @Test("a scheduler that is away is a bad gateway")
    func away() async throws {
        let proxy = RegistryProxy(
            scheduler: "http://127.0.0.1:1", token: "secret", portFile: nil, logger: Logger(label: "test"))
        let digest = Digest(of: "x")
        await proxy.permit(digest)
        var answer = ""
        try await running(proxy) { answer = try await status($0, "/v2/archive/manifests/\(digest)") }
        #expect(answer == "502")
    }
}

@Suite("engine detection", .serialized)
struct EngineDetectionTests {
    private let logger = Logger(label: "test")

    @Test("the sockets of the environment come first, and only those of the engine that was asked for")
    func candidates() {
        let environment = ["DOCKER_HOST": "unix:///a", "CONTAINER_HOST": "unix:///b", "XDG_RUNTIME_DIR": "/run/user/7"]
        #expect(
            EngineDetection(.auto, environment: environment).candidates.map(\.socketPath) == [
                "/a", "/var/run/docker.sock", "/run/user/7/docker.sock", "/b", "/run/podman/podman.sock",
                "/run/user/7/podman/podman.sock",
            ])
        #expect(EngineDetection(.podman, environment: environment).candidates.map(\.socketPath).first == "/b")
        #expect(
            EngineDetection(.docker, environment: ["DOCKER_HOST": "tcp://far:2375"]).candidates.map(\.socketPath) == [
                "/var/run/docker.sock"
            ])
        #expect(
            EngineDetection(.docker, socketPath: "/mine", environment: environment).candidates.map(\.socketPath) == [
                "/mine"
            ])
    }

    @Test("each engine that does not work is named with its reason")
    func reasons() async throws {
        let folder = try temporaryFolder("detect")
        defer { removeFolder(folder) }
        _ = FileManager.default.createFile(atPath: folder + "/file", contents: nil)
        let detection = EngineDetection(candidates: [
            .init(.docker, folder + "/missing"), .init(.podman, folder + "/file"),
            .init(.auto, folder + "/" + String(repeating: "x", count: 120)),
        ])
        await #expect {
            _ = try await detection.engine(worker: "w", registry: NoImages(), logger: logger)
        } throws: { error in
            guard case .unavailable(let text)? = error as? EngineError else { return false }
            return text.contains("missing: no such socket") && text.contains("file: the container engine at")
                && text.contains("too long for a socket")
        }
        await #expect(throws: EngineError.self) {
            _ = try await EngineDetection(candidates: []).engine(
                worker: "no/name", registry: NoImages(), logger: logger)
        }
    }

    @Test("podman that answers where docker was asked for is told")
    func wrongEngine() async throws {
        let podman = try await EngineUnderTest.start(.podman)
        let result: Result<DockerEngine, EngineError>
        do throws(EngineError) {
            let detection = EngineDetection(candidates: [
                .init(.docker, podman.socketPath), .init(.auto, podman.socketPath),
            ])
            result = .success(try await detection.engine(worker: "w", registry: NoImages(), logger: logger))
        } catch {
            result = .failure(error)
        }
        await podman.stop()
        #expect(try result.get().name == "podman")
    }

    @Test("versions are compared as numbers, and nonsense is none")
    func versions() throws {
        #expect(try #require(APIVersion("1.5")) < #require(APIVersion("1.41")))
        #expect(APIVersion("1.41")?.description == "1.41")
        for text in ["", "1", "1.", ".1", "1.2.3", "-1.2", "1.99999999999999999999", "a.b"] {
            #expect(APIVersion(text) == nil)
        }
    }
}

@Suite(
    "a crash of everything while a program runs is no success: dockerd", InEngineWorld(.docker),
    .timeLimit(.minutes(20))
)
struct EngineDockerCrashTests {
    @Test("neither for one who waits, nor for one who asks later")
    func crash() async throws { try await crashIsNoSuccess() }
}

@Suite(
    "a crash of everything while a program runs is no success: podman", InEngineWorld(.podman), .timeLimit(.minutes(20))
)
struct EnginePodmanCrashTests {
    @Test("neither for one who waits, nor for one who asks later")
    func crash() async throws { try await crashIsNoSuccess() }
}

private func crashIsNoSuccess() async throws {
    let world = try #require(EngineWorld.current)
    try await world.withEngine { engine, worker in
        let id = try await engine.begin(world.specification(["sh", "-c", "echo up; sleep 1000"]))
        for try await _ in engine.logs(id, skip: [:]) { break }
        let done = world.specification(["echo", "done"], task: 2)
        let ended = try await engine.begin(done)
        _ = try await engine.wait(ended)
        async let waiting = verdict(of: id, engine)
        try await #require(world.daemon).crash()
        #expect(await waiting == nil)
        #expect(await verdict(of: id, try await world.engine(worker)) == nil)
        // What was proven before the crash still is.
        #expect(await verdict(of: ended, engine) != nil)
        #expect(try await engine.output(of: ended).text == "done\n")
    }
}

/// The proof of exit code 0, if there is one.
private func verdict(of id: String, _ engine: any ContainerEngine) async -> ExitRecord.Zero? {
    do throws(EngineError) {
        return ExitRecord.Zero(try await engine.wait(id))
    } catch {
        return nil
    }
}

// The archive as a registry for the clients that people have: docker, podman, skopeo and buildah push an image and pull
// it back, over plain HTTP on loopback; and what was pushed runs as a job.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("registry clients", .serialized, .timeLimit(.minutes(20))) struct RegistryClientTests {
        @Test(
            "docker, podman, skopeo and buildah push with a user's token, pull each other's images, and jobs run them")
        func clients() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                let token = try await c.ok("user", "add", "ada", "--uid", "1234", "--gid", "1234", "-q")
                let clients = try Clients(c, address: try c.address, user: "ada", token: token)
                defer { clients.remove() }
                for client in Clients.Kind.allCases {
                    try await clients.push(client, "ada/\(client):1")
                    let shown = try await c.ok("image", "show", "ada/\(client):1", "-o", "json")
                    let image = try WireJSON.decode(ImageDocument.self, from: shown.utf8)
                    #expect(image.complete && image.references == ["docker.io/ada/\(client):1"], "\(shown)")
                    let id = try await c.submit(
                        """
                        image: ada/\(client):1
                        command: [/bin/cat, /marker]
                        resources: {cpus: 0.1, memory: 32MiB}
                        """, "--wait", environment: ["JOBCTL_TOKEN": token])
                    #expect(try await c.ok("logs", id) == "\(client)")
                    #expect(try await c.job(id).image.digest == image.digest)
                }
                for (reader, writer) in zip(Clients.Kind.allCases, Clients.Kind.allCases.reversed()) {
                    let marker = try await clients.pull(reader, "ada/\(writer):1")
                    #expect(marker == "\(writer)", "\(reader) pulled what \(writer) had pushed")
                }
                #expect(try await c.ok("image", "list").contains("docker.io/ada/buildah:1"))
            }
        }

        @Test("with a wrong token, or into another user's name, docker and skopeo are refused and say why")
        func refusals() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                // podman and buildah share skopeo's library, and try four times before they say so.
                let token = try await c.ok("user", "add", "ada", "--uid", "1234", "--gid", "1234", "-q")
                let clients = try Clients(c, address: try c.address, user: "ada", token: token)
                defer { clients.remove() }
                for client in [Clients.Kind.docker, .skopeo] {
                    let refused = try await clients.tryPush(client, "bob/\(client):1")
                    #expect(refused.exitCode != 0)
                    let said = (refused.output + refused.errors).lowercased()
                    #expect(said.contains("denied") || said.contains("may not push"), "\(client): \(refused)")
                }
                let strangers = try Clients(c, address: try c.address, user: "ada", token: "jobctl_wrong")
                defer { strangers.remove() }
                for client in [Clients.Kind.docker, .skopeo] {
                    let refused = try await strangers.tryPush(client, "ada/\(client):1")
                    #expect(refused.exitCode != 0)
                    let said = (refused.output + refused.errors).lowercased()
                    #expect(said.contains("unauthorized") || said.contains("no valid token"), "\(client): \(refused)")
                }
                #expect(try await !c.ok("image", "list").contains("docker.io/ada/"))
            }
        }

        @Test("with a public address stated, all clients use the token flow")
        func tokenFlow() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                let folder = try temporaryFolder("tokenflow")
                let port = try freePort()
                let scheduler = try DaemonUnderTest(
                    "scheduler", try builtProgram("jobctl-scheduler"),
                    [
                        "--data-dir", folder + "/data", "--listen", "127.0.0.1:\(port)", "--admin-token-file",
                        folder + "/token", "--public-url", "http://127.0.0.1:\(port)", "--log-level", "info",
                    ], folder: folder)
                let result = await outcome {
                    try await eventually("the scheduler listens") {
                        FileManager.default.fileExists(atPath: folder + "/data/scheduler.address")
                    }
                    let challenge = try await runProcess("curl", ["-si", "http://127.0.0.1:\(port)/v2/"])
                    #expect(challenge.output.contains("Bearer realm=\"http://127.0.0.1:\(port)/v2/token\""))
                    let token = try String(contentsOfFile: folder + "/token", encoding: .utf8)
                        .trimmingCharacters(in: .whitespacesAndNewlines)
                    let clients = try Clients(c, address: "127.0.0.1:\(port)", user: "admin", token: token)
                    defer { clients.remove() }
                    for client in Clients.Kind.allCases {
                        try await clients.push(client, "lab/\(client):1")
                        #expect(try await clients.pull(client, "lab/\(client):1") == "\(client)")
                    }
                    let log = try String(contentsOfFile: folder + "/scheduler.log", encoding: .utf8)
                    #expect(log.contains("/v2/token"), "the clients asked for tokens")
                }
                await scheduler.stop()
                removeFolder(folder)
                try result.get()
            }
        }
    }
}

extension ClusterUnderTest {
    /// Where the scheduler listens: `127.0.0.1:PORT`.
    fileprivate var address: String {
        get throws {
            try String(contentsOfFile: data + "/scheduler/scheduler.address", encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }
    }
}

/// The four clients with their own storage and logins, each with an image whose `/marker` holds the client's name.
private struct Clients: Sendable {
    enum Kind: String, CaseIterable, CustomStringConvertible {
        case docker, podman, skopeo, buildah
        var description: String { rawValue }
    }

    let c: ClusterUnderTest
    let folder: String
    let address: String
    let login: String
    private let token: String
    private let user: String

    init(_ c: ClusterUnderTest, address: String, user: String, token: String) throws {
        self.c = c
        self.address = address
        self.user = user
        self.token = token
        login = "\(user):\(token)"
        folder = try temporaryFolder("clients")
        try FileManager.default.createDirectory(atPath: folder + "/docker", withIntermediateDirectories: true)
        let auth = #"{"auths":{"\#(address)":{"auth":"\#(Data(login.utf8).base64EncodedString())"}}}"#
        try Data(auth.utf8).write(to: URL(filePath: folder + "/docker/config.json"))
    }

    func remove() { removeFolder(folder) }

    private func run(_ program: String, _ arguments: [String]) async throws -> ProcessResult {
        try await runProcess(program, arguments, environment: ["HOME": folder, "TMPDIR": folder])
    }

    @discardableResult
    private func ok(_ program: String, _ arguments: [String]) async throws -> String {
        let result = try await run(program, arguments)
        guard result.exitCode == 0 else {
            throw ProcessFailure(description: "\(program) \(arguments.joined(separator: " ")): \(result)")
        }
        return result.line
    }

    private var docker: [String] { ["--config", folder + "/docker", "-H", "unix://" + c.engine.socketPath] }
    private var storage: [String] {
        ["--root", folder + "/storage", "--runroot", folder + "/run", "--storage-driver", "vfs"]
    }

    func push(_ kind: Kind, _ name: String) async throws {
        let result = try await tryPush(kind, name)
        guard result.exitCode == 0 else { throw ProcessFailure(description: "\(kind) push \(name): \(result)") }
    }

    func tryPush(_ kind: Kind, _ name: String) async throws -> ProcessResult {
        let tar = try await busyboxArchive(in: folder, marker: "\(kind)")
        let target = "\(address)/\(name)"
        switch kind {
        case .docker:
            try await ok("docker", docker + ["import", tar, target])
            return try await run("docker", docker + ["push", target])
        case .podman:
            try await ok("podman", storage + ["import", "-q", tar, target])
            return try await run("podman", storage + ["push", "--tls-verify=false", "--creds", login, target])
        case .skopeo:
            // What podman would write as an archive, so that skopeo has something to copy.
            let saved = folder + "/skopeo.tar"
            try await ok("podman", storage + ["import", "-q", tar, "localhost/skopeo:1"])
            try? FileManager.default.removeItem(atPath: saved)
            try await ok("podman", storage + ["save", "--format", "docker-archive", "-o", saved, "localhost/skopeo:1"])
            return try await run(
                "skopeo",
                [
                    "copy", "--dest-tls-verify=false", "--dest-creds", login, "docker-archive:" + saved,
                    "docker://" + target,
                ])
        case .buildah:
            let container = try await ok("buildah", storage + ["from", "--pull-never", "scratch"])
            try await ok("buildah", storage + ["add", "-q", container, tar, "/"])
            try await ok("buildah", storage + ["commit", "-q", "--rm", container, "localhost/buildah:1"])
            return try await run(
                "buildah",
                storage + ["push", "--tls-verify=false", "--creds", login, "localhost/buildah:1", "docker://" + target])
        }
    }

    /// Pulls an image that this client does not have, and reads its `/marker`.
    func pull(_ kind: Kind, _ name: String) async throws -> String {
        let source = "\(address)/\(name)"
        let copy = folder + "/pulled.tar"
        try? FileManager.default.removeItem(atPath: copy)
        switch kind {
        case .docker:
            _ = try await run("docker", docker + ["image", "rm", source])
            try await ok("docker", docker + ["pull", "-q", source])
            try await ok("docker", docker + ["save", "-o", copy, source])
        case .podman:
            _ = try await run("podman", storage + ["image", "rm", source])
            try await ok("podman", storage + ["pull", "-q", "--tls-verify=false", "--creds", login, source])
            try await ok("podman", storage + ["save", "--format", "docker-archive", "-o", copy, source])
        case .skopeo:
            try await ok(
                "skopeo",
                [
                    "copy", "--src-tls-verify=false", "--src-creds", login, "docker://" + source,
                    "docker-archive:" + copy,
                ])
        case .buildah:
            _ = try await run("buildah", storage + ["rmi", source])
            try await ok("buildah", storage + ["pull", "-q", "--tls-verify=false", "--creds", login, source])
            try await ok("buildah", storage + ["push", source, "docker-archive:" + copy])
        }
        return try await marker(inArchive: copy)
    }

    /// The content of `/marker` in whichever layer of a saved image has it.
    private func marker(inArchive path: String) async throws -> String {
        let script = """
            set -e
            mkdir -p "$2"; tar -C "$2" -xf "$1"
            for layer in $(cd "$2" && find . -type f -size +100k); do
                tar -xOf "$2/$layer" ./marker 2>/dev/null || tar -xOf "$2/$layer" marker 2>/dev/null || continue
                break
            done
            rm -rf "$2"
            """
        return try await ok("sh", ["-c", script, "marker", path, folder + "/unpacked"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

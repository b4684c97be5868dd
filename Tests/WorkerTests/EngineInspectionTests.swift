// An engine that fails for a moment while a container ends. Method: a server on a Unix socket instead of podman.
import Logging
import TestSupport
import Testing

@testable import Worker

@Suite("an inspection that fails inside the engine")
struct EngineInspectionTests {
    private let gone = #"{"message": "read /proc/4711/cgroup: no such process"}"#

    private func withEngine(
        failures: Int, _ body: (DockerEngine, ScriptedServer) async throws -> Void
    ) async throws {
        let folder = try temporaryFolder("inspection")
        defer { removeFolder(folder) }
        let gone = gone
        let server = try ScriptedServer(path: folder + "/socket") { request in
            request.earlier < failures ? .init(500, gone) : .init(404, #"{"message": "no such container"}"#)
        }
        defer { server.stop() }
        let engine = DockerEngine(
            name: "podman", weaknesses: [], worker: "w", dialect: .podman(prefix: "/v4.0.0/libpod"),
            http: EngineHTTP(socketPath: folder + "/socket"), registry: NoImages(), witness: "", dataFolder: nil,
            parentsAllowed: false, logger: Logger(label: "test"))
        try await body(engine, server)
    }

    @Test("is asked for again, and then believed")
    func again() async throws {
        try await withEngine(failures: 2) { engine, server in
            let found = try await engine.inspect("abc")
            #expect(found == nil)
            #expect(server.requests.count == 3)
        }
    }

    @Test("that goes on failing is a refusal with the engine's words")
    func bounded() async throws {
        try await withEngine(failures: .max) { engine, server in
            let error = await #expect(throws: EngineError.self) { try await engine.inspect("abc") }
            guard case .refused(let why) = error, why.contains("no such process") else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(server.requests.count == 1 + DockerEngine.inspectionsAgain)
        }
    }
}

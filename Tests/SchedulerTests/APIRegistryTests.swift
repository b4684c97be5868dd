// A tag that moves upstream, and a registry that goes away: what was pinned stays pinned and stays here.
// Real parts: Debian's docker-registry, skopeo.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APIRegistryTests {
    @Test("a job keeps the digest that its tag had, in reruns too, while the tag moves and after the registry has gone")
    func movingTag() async throws {
        try await APIUnderTest.with(.live) { api in
            try await LocalRegistry.with { registry in
                try await api.importBusybox(as: "first")
                try await api.importBusybox(as: "second", more: "different")
                try await registry.copy("first", to: "app:1", from: api)
                let spec = #"{"name": "app", "image": "\#(registry.address)/app:1", "command": ["/bin/cat"]}"#
                let first = try await api.submit(spec)
                try await eventually("the image is in the archive") {
                    try await api.call(.get, "/v1/images/show?reference=\(first.image.digest)").status == 200
                }
                let image = try await api.call(.get, "/v1/images/show?reference=\(first.image.digest)").decoded(
                    ImageDocument.self)
                #expect(image.references == ["\(registry.address)/app:1@\(first.image.digest)"] && image.complete)
                try await eventually("the job does not wait for its image any more") {
                    try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).reason?.contains("image") != true
                }

                try await registry.copy("second", to: "app:1", from: api)
                let second = try await api.submit(spec)
                #expect(second.image.digest != first.image.digest)
                #expect(second.configuration.version == 2)
                for source in ["1", "app@1", first.configuration.digest.description] {
                    #expect(try await api.rerun(source).image == first.image)
                }

                let key: HTTPFields = [.init("Idempotency-Key")!: "once"]
                let accepted = try await api.call(.post, "/v1/jobs", headers: key, json: #"{"spec": \#(spec)}"#)
                registry.stop()
                let gone = try await api.call(.post, "/v1/jobs", json: #"{"spec": \#(spec)}"#)
                #expect(gone.status == 502)
                #expect(try gone.problem().detail.contains(registry.address))
                let retried = try await api.call(.post, "/v1/jobs", headers: key, json: #"{"spec": \#(spec)}"#)
                #expect(try retried.decoded(JobDocument.self).id == accepted.decoded(JobDocument.self).id)
                #expect(try await api.rerun("app@1").image == first.image)
            }
        }
    }

    @Test("a job whose image does not come is held with the reason")
    func failing() async throws {
        try await APIUnderTest.with(.live) { api in
            try await LocalRegistry.with { registry in
                let spec = #"{"image": "\#(registry.address)/app@\#(absentDigest)", "command": ["/bin/cat"]}"#
                _ = try await api.submit(spec)
                try await eventually("the job is held") {
                    try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).state == Open(.held)
                }
                let reason = try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).reason
                #expect(reason?.contains(registry.address) == true, "\(reason ?? "")")
            }
        }
    }
}

extension APIUnderTest {
    fileprivate func rerun(_ source: String) async throws -> JobDocument {
        try await call(.post, "/v1/reruns", json: #"{"source": "\#(source)"}"#).decoded(JobDocument.self)
    }
}

/// Debian's registry on a free port of this machine, with its own folder.
private final class LocalRegistry: Sendable {
    let address: String
    private let process: Process

    static func with(_ body: (LocalRegistry) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "jobctl-registry-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { removeFolder(folder.path) }
        let configuration = """
            version: 0.1
            storage: {filesystem: {rootdirectory: \(folder.path)/data}}
            http: {addr: 127.0.0.1:0}
            """
        try Data(configuration.utf8).write(to: folder.appending(path: "config.yml"))
        let log = folder.appending(path: "log")
        try Data().write(to: log)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["docker-registry", "serve", folder.appending(path: "config.yml").path]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = try FileHandle(forWritingTo: log)
        try process.run()
        defer { process.terminate() }
        func port() throws -> String? {
            let text = try String(contentsOf: log, encoding: .utf8)
            return text.firstMatch(of: #/listening on 127\.0\.0\.1:(\d+)/#).map { String($0.1) }
        }
        try await eventually("the registry listens") { try port() != nil }
        try await body(LocalRegistry(address: "127.0.0.1:\(try port() ?? "")", process: process))
    }

    private init(address: String, process: Process) {
        self.address = address
        self.process = process
    }

    func stop() {
        process.terminate()
        process.waitUntilExit()
    }

    /// Copies an image of the scheduler's archive here, in Docker's format, so that its digest is new to the archive.
    func copy(_ name: String, to target: String, from api: APIUnderTest) async throws {
        let result = try await runProcess(
            "skopeo",
            [
                "copy", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds",
                "any:\(api.token(of: .worker))", "docker://127.0.0.1:\(api.port)/\(name)",
                "docker://\(address)/\(target)",
            ])
        guard result.exitCode == 0 else { throw APIFailure(description: "\(result)") }
    }
}

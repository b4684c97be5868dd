// What is wrong with an image and how it was made, over HTTP; and what a submitter hears of it.
import Foundation
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite("reports on images over HTTP") struct APIImageReportTests {
    private static let dockerfile = "FROM scratch\nCOPY . /\n"

    private func record() throws -> [UInt8] {
        try WireJSON.encode(
            BuildRecord(
                dockerfile: Self.dockerfile, contextDigest: Digest(of: "context"),
                bases: [BuildBase(reference: "scratch", digest: nil)], tool: "buildah 1.2", arguments: ["A": "1"]))
    }

    @Test("an image is linted with all of its layers; a record of its bases is taken into account")
    func lint() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let path = "/v1/images/lint?reference=busybox"
            let report = try await api.call(.get, path, as: .worker).decoded(LintDocument.self)
            let rules = Set(report.findings.compactMap(\.rule.value))
            #expect(rules == [.baseNotPinned, .baseUnknown, .locale, .root])
            #expect(try await api.call(.post, "/v1/images/builds?reference=busybox", body: try record()).status == 201)
            let later = try await api.call(.get, path).decoded(LintDocument.self)
            #expect(!later.findings.contains { $0.rule == Open(.baseNotPinned) })
            #expect(try await api.call(.get, "/v1/images/lint?reference=nothing").status == 404)
            #expect(try await api.call(.get, "/v1/images/lint").status == 400)
        }
    }

    @Test("how an image was made is kept with who said so, and survives a restart")
    func builds() async throws {
        let folder = try temporaryFolder("builds")
        defer { removeFolder(folder) }
        try await APIUnderTest.with(directory: folder) { api in
            try await api.importBusybox()
            let path = "/v1/images/builds?reference=busybox"
            let image = try await api.call(.post, path, body: try record()).decoded(ImageDocument.self)
            let build = try #require(image.builds?.first)
            #expect(build.builtBy == "ada" && build.recordedAt != nil && build.dockerfile == Self.dockerfile)
            var wrong = try JSONParser.parse(try record()).json
            if case .object(var members) = wrong {
                members.removeAll { $0.key == "dockerfile" }
                wrong = .object(members + [("dockerfile", .string("FROM other"))])
            }
            let refused = try await api.call(.post, path, body: try WireJSON.encode(wrong))
            #expect(try refused.status == 400 && refused.problem().field == "$.dockerfile_digest")
            #expect(try await api.call(.post, path, as: .worker, body: try record()).status == 403)
            #expect(try await api.call(.post, "/v1/images/builds?reference=nothing", body: try record()).status == 404)
        }
        try await APIUnderTest.with(directory: folder) { api in
            let shown = try await api.call(.get, "/v1/images/show?reference=busybox").decoded(ImageDocument.self)
            #expect(shown.builds?.map(\.tool) == ["buildah 1.2"])
            let list = try await api.call(.get, "/v1/images").decoded(ImageList.self)
            #expect(list.images.allSatisfy { $0.builds == nil })
        }
    }

    @Test("whoever submits a job hears of secrets and volumes in its image, and of nothing where there is nothing")
    func warnings() async throws {
        try await APIUnderTest.with { api in
            let layout = try await Self.layout(#"{"Env": ["API_KEY=abc123"], "Volumes": {"/data": {}}}"#)
            let answer = try await api.call(.post, "/v1/images/import?reference=leaky", as: .admin, body: layout)
            #expect(answer.status == 201, "\(answer.text)")
            try await api.importBusybox()
            let leaky = try await api.submit(#"{"image": "leaky", "command": ["x"]}"#)
            #expect(leaky.warnings?.count == 2)
            #expect(leaky.warnings?.first?.contains("looks like a secret: API_KEY; see 'jobctl image lint") == true)
            #expect(leaky.warnings?.contains { $0.contains("abc123") } == false)
            #expect(try await api.submit(#"{"image": "busybox", "command": ["x"]}"#).warnings == nil)
            #expect(try await api.submit(pinnedSpec).warnings == nil)
            #expect(try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).warnings == nil)
        }
    }

    /// An OCI layout with an empty layer and this configuration.
    private static func layout(_ config: String) async throws -> [UInt8] {
        let folder = try temporaryFolder("layout")
        defer { removeFolder(folder) }
        try FileManager.default.createDirectory(atPath: folder + "/l/blobs/sha256", withIntermediateDirectories: true)
        func put(_ text: Data) throws -> (Digest, Int) {
            let digest = Digest(of: text)
            try text.write(to: URL(filePath: "\(folder)/l/blobs/sha256/\(digest.hex)"))
            return (digest, text.count)
        }
        let (layer, size) = try put(Data(count: 10240))
        let document = """
            {"architecture": "\(EngineTestImage.architecture)", "os": "linux", "config": \(config),
             "rootfs": {"type": "layers", "diff_ids": ["\(layer)"]}}
            """
        let (blob, length) = try put(Data(document.utf8))
        let manifest = """
            {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
             "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "\(blob)", "size": \(length)},
             "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "\(layer)", "size": \(size)}]}
            """
        let (top, all) = try put(Data(manifest.utf8))
        try Data(#"{"imageLayoutVersion": "1.0.0"}"#.utf8).write(to: URL(filePath: folder + "/l/oci-layout"))
        let index = """
            {"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
             "digest": "\(top)", "size": \(all)}]}
            """
        try Data(index.utf8).write(to: URL(filePath: folder + "/l/index.json"))
        let tar = try await runProcess("tar", ["-C", folder + "/l", "-cf", folder + "/l.tar", "."])
        guard tar.exitCode == 0 else { throw APIFailure(description: "\(tar)") }
        return Array(try Data(contentsOf: URL(filePath: folder + "/l.tar")))
    }
}

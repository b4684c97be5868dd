// What takes its time: downloads, pulls from other registries and uploads, while garbage is collected or nobody comes
// back.
import AsyncHTTPClient
import Foundation
import HTTPTypes
import JobModel
import NIOCore
import OCI
import Scheduler
import TestSupport
import Testing

@Suite(.serialized) struct RegistryTimeTests {
    @Test("a blob that is deleted while somebody downloads it arrives whole, and is gone for the next")
    func download() async throws {
        try await APIUnderTest.with(.live, archiveGrace: .zero) { api in
            // More than any buffer between disk and client holds.
            let blob = Content(bytes: (0..<48).flatMap { [UInt8](repeating: $0, count: 1 << 20) })
            try await api.push(blob, to: "ada/stack")
            let client = HTTPClient()
            let result = await outcome {
                var request = HTTPClientRequest(url: "http://127.0.0.1:\(api.port)/v2/ada/stack/blobs/\(blob.digest)")
                request.headers.add(name: "Authorization", value: "Bearer \(api.token(of: .ada))")
                let response = try await client.execute(request, timeout: .minutes(2))
                #expect(response.status == .ok)
                var pieces = response.body.makeAsyncIterator()
                var builder = DigestBuilder()
                var first = try #require(try await pieces.next())
                builder.update(first.readBytes(length: first.readableBytes) ?? [])
                let collected = try await api.call(.post, "/v1/archive/gc", as: .admin)
                    .decoded(ArchiveCollection.self)
                #expect(collected.deleted.blobs == 1)
                while var piece = try await pieces.next() {
                    builder.update(piece.readBytes(length: piece.readableBytes) ?? [])
                }
                #expect(builder.finish().description == blob.digest)
                #expect(try await api.call(.get, "/v2/ada/stack/blobs/\(blob.digest)").code == "BLOB_UNKNOWN")
            }
            try await client.shutdown()
            try result.get()
        }
    }

    @Test("an image that is pulled through while garbage is collected without mercy is complete in the end")
    func pullThrough() async throws {
        let registry = try await PlainRegistryUnderTest.start()
        let result = await outcome {
            let digest = try await EngineTestImage.push(to: registry.port)
            try await APIUnderTest.with(archiveGrace: .zero) { api in
                let job = try await api.submit(
                    #"{"image": "127.0.0.1:\#(registry.port)/archive:test", "command": ["a"]}"#)
                #expect(job.image.digest == digest)
                for _ in 0..<20 { _ = try await api.call(.post, "/v1/archive/gc", as: .admin) }
                try await eventually("the image is here") {
                    let shown = try await api.call(.get, "/v1/images/show?reference=\(digest)")
                    return try shown.status == 200 && shown.decoded(ImageDocument.self).complete
                }
                let collected = try await api.call(.post, "/v1/archive/gc", as: .admin)
                #expect(try collected.decoded(ArchiveCollection.self).deleted.blobs == 0)
                let verified = try await api.call(.post, "/v1/archive/verify", as: .admin)
                #expect(try verified.decoded(ArchiveVerification.self).damaged == [])
            }
        }
        await registry.stop()
        try result.get()
    }

    @Test("an upload that nobody goes on with is given up, and nothing is left of it; one that goes on is not")
    func staleUpload() async throws {
        try await APIUnderTest.with(uploadPatience: .milliseconds(300)) { api in
            let location = try await api.startUpload()
            _ = try await api.chunk(location, Array("abc".utf8), at: nil)
            let incoming = api.directory + "/archive/incoming"
            #expect(try FileManager.default.contentsOfDirectory(atPath: incoming).count == 1)
            // Asking for it does not keep it.
            try await eventually("the upload is given up") {
                try await api.call(.get, location).code == "BLOB_UPLOAD_UNKNOWN"
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: incoming) == [])
            #expect(try await api.chunk(location, Array("def".utf8), at: "3-5").code == "BLOB_UPLOAD_UNKNOWN")
        }
    }

    @Test("a reference that names this scheduler as its registry means what was pushed here, and nothing elsewhere")
    func ownName() async throws {
        try await APIUnderTest.with(publicURL: "https://jobs.example.org:8443") { api in
            let image = PushedImage("own")
            try await api.push(image, as: "ada/stack:1")
            let own = "jobs.example.org:8443/ada/stack"
            for reference in [own + ":1", "\(own)@\(image.manifest.digest)", "\(own):1@\(image.manifest.digest)"] {
                let job = try await api.submit(#"{"image": "\#(reference)", "command": ["a"]}"#)
                #expect(job.image.digest.description == image.manifest.digest && job.image.reference == reference)
                #expect(job.reason?.contains("image") != true, "\(job.reason ?? "")")
            }
            let shown = try await api.call(.get, "/v1/images/show?reference=\(own):1").decoded(ImageDocument.self)
            #expect(shown.digest.description == image.manifest.digest)
            for reference in [own + ":2", "\(own)@\(absentDigest)"] {
                let answer = try await api.call(
                    .post, "/v1/jobs", json: #"{"spec": {"image": "\#(reference)", "command": ["a"]}}"#)
                #expect(answer.status == 422, "\(answer.text)")
                let problem = try answer.problem()
                #expect(problem.field == "$.spec.image" && problem.detail.contains("push it first"))
            }
            _ = try await api.importBusybox(as: "jobs.example.org:8443/shared/tools:1")
            let tools = try await api.submit(#"{"image": "shared/tools:1", "command": ["a"]}"#)
            #expect(tools.reason?.contains("image") != true, "\(tools.reason ?? "")")
        }
    }

    @Test(
        "an import is named by the rule of pushes",
        arguments: [
            ("ada/a:1", APIUnderTest.Who.ada, true), ("shared/a", .ada, true), ("a", .ada, false),
            ("bob/a", .ada, false), ("ghcr.io/ada/a", .ada, false), ("a", .admin, true),
        ])
    func importName(reference: String, who: APIUnderTest.Who, isAllowed: Bool) async throws {
        try await APIUnderTest.with { api in
            let bytes = try await BusyboxArchive.bytes(more: nil)
            let answer = try await api.call(
                .post, "/v1/images/import?reference=\(reference)", as: who, body: bytes)
            #expect(answer.status == (isAllowed ? 201 : 403), "\(answer.text)")
            if !isAllowed { #expect(try answer.problem().field == "reference") }
        }
    }

    @Test("a digest that is none of SHA-256 is refused by every call that takes one, with what to write")
    func otherDigests() async throws {
        try await APIUnderTest.with { api in
            let other = "sha512:" + String(repeating: "a", count: 128)
            for (method, path) in [
                (HTTPRequest.Method.get, "blobs/\(other)"), (.get, "manifests/\(other)"), (.get, "referrers/\(other)"),
                (.put, "manifests/\(other)"), (.post, "blobs/uploads/?digest=\(other)"),
            ] {
                let answer = try await api.call(method, "/v2/ada/stack/\(path)", headers: octets, body: [1])
                #expect(answer.status == 400 && answer.code == "DIGEST_INVALID", "\(path): \(answer.text)")
                #expect(answer.messages.contains("write sha256:"), "\(answer.text)")
            }
            // What cannot be mounted is uploaded.
            #expect(try await api.call(.post, "/v2/ada/stack/blobs/uploads/?mount=\(other)").status == 202)
        }
    }
}

/// So that what a test started can be ended whatever happened.
private func outcome(_ body: () async throws -> Void) async -> Result<Void, any Error> {
    do { return .success(try await body()) } catch { return .failure(error) }
}

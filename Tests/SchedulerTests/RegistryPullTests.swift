// Workflow 1 of the OCI distribution specification 1.1, "Pull", as the public conformance suite walks through it. Each
// expectation has the requirement that it checks.
import Foundation
import HTTPTypes
import JobModel
import OCI
import TestSupport
import Testing

@Suite(.serialized) struct RegistryPullTests {
    private let image = PushedImage("pull")
    private let absent = "/v2/ada/stack/blobs/\(absentDigest)"

    @Test("end-1: GET /v2/ is 200 for whoever has a token")
    func support() async throws {
        try await APIUnderTest.with { api in
            for who in [APIUnderTest.Who.ada, .admin, .worker] {
                #expect(try await api.call(.get, "/v2/", as: who).status == 200)
            }
            let nobody = try await api.call(.get, "/v2/", as: .nobody)
            #expect(nobody.status == 401 && nobody.code == "UNAUTHORIZED")
            #expect(nobody.headers[.wwwAuthenticate] == #"Basic realm="jobctl""#)
        }
    }

    @Test("end-2: a blob is found by GET and HEAD with digest and size; one that is not there is 404")
    func blobs() async throws {
        try await APIUnderTest.with { [image, absent] api in
            try await api.push(image, as: "ada/stack:1")
            let path = "/v2/ada/stack/blobs/\(image.layer.digest)"
            let head = try await api.head(path)
            #expect(head.status == 200 && head.contentDigest == image.layer.digest && head.bytes.isEmpty)
            #expect(head.headers[.contentLength] == "\(image.layer.size)")
            let get = try await api.call(.get, path)
            #expect(get.status == 200 && get.bytes == image.layer.bytes && get.contentDigest == image.layer.digest)
            #expect(try await api.head(absent).status == 404)
            let missing = try await api.call(.get, absent)
            #expect(missing.status == 404 && missing.code == "BLOB_UNKNOWN")
            let malformed = try await api.call(.get, "/v2/ada/stack/blobs/sha256:totallywrong")
            #expect(malformed.status == 400 && malformed.code == "DIGEST_INVALID")
        }
    }

    @Test(
        "a range of a blob is 206 with exactly its bytes, one beyond the end 416 (RFC 9110)",
        arguments: [
            ("bytes=0-3", 206, "0-3"), ("bytes=2-", 206, "2-9"), ("bytes=-4", 206, "6-9"), ("bytes=8-99", 206, "8-9"),
            ("bytes=10-", 416, "*"), ("bytes=-0", 416, "*"), ("bytes=5-2", 200, ""), ("chunks=1-2", 200, ""),
        ])
    func ranges(asked: String, status: Int, given: String) async throws {
        try await APIUnderTest.with { api in
            let blob = Content("0123456789")
            try await api.push(blob, to: "ada/stack")
            let answer = try await api.call(
                .get, "/v2/ada/stack/blobs/\(blob.digest)", headers: [.range: asked])
            #expect(answer.status == status)
            switch status {
            case 206:
                let ends = given.split(separator: "-").compactMap { Int($0) }
                #expect(answer.bytes == Array(blob.bytes[ends[0]...ends[1]]))
                #expect(answer.headers[.contentRange] == "bytes \(given)/10")
            case 416: #expect(answer.headers[.contentRange] == "bytes */10")
            default: #expect(answer.bytes == blob.bytes)
            }
        }
    }

    @Test("end-3: a manifest is found by tag and by digest, by GET and HEAD, byte for byte and with its type")
    func manifests() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            for reference in ["1", image.manifest.digest] {
                let path = "/v2/ada/stack/manifests/\(reference)"
                let head = try await api.head(path)
                #expect(head.status == 200 && head.contentDigest == image.manifest.digest)
                #expect(head.headers[.contentLength] == "\(image.manifest.size)" && head.bytes.isEmpty)
                let get = try await api.call(.get, path, headers: [.accept: MediaType.manifest])
                #expect(get.status == 200 && get.bytes == image.manifest.bytes)
                #expect(get.headers[.contentType] == MediaType.manifest)
            }
        }
    }

    @Test("a manifest, tag or repository that is not there is 404, and one that cannot be is 400")
    func absentManifests() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            for path in [
                "ada/stack/manifests/nothing", "ada/stack/manifests/\(absentDigest)", "ada/nothing/manifests/1",
                // In another repository, and as a manifest what is only a blob.
                "ada/other/manifests/\(image.manifest.digest)", "ada/stack/manifests/\(image.layer.digest)",
                "archive/manifests/\(image.layer.digest)",
            ] {
                let answer = try await api.call(.get, "/v2/\(path)")
                #expect(answer.status == 404 && answer.code == "MANIFEST_UNKNOWN", "\(path): \(answer.text)")
                #expect(try await api.head("/v2/\(path)").status == 404)
            }
            for (path, code) in [
                ("ada/stack/manifests/sha256:totallywrong", "DIGEST_INVALID"),
                ("ada/stack/manifests/.hidden", "MANIFEST_INVALID"), ("Ada/stack/manifests/1", "NAME_INVALID"),
                ("ada//../x_/manifests/1", "NAME_INVALID"),
            ] {
                let answer = try await api.call(.get, "/v2/\(path)")
                #expect(answer.status == 400 && answer.code == code, "\(path): \(answer.text)")
            }
        }
    }

    @Test("the name 'archive' has every manifest by its digest, as workers need it")
    func archive() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            let answer = try await api.call(.get, "/v2/archive/manifests/\(image.manifest.digest)", as: .worker)
            #expect(answer.bytes == image.manifest.bytes)
        }
    }

    @Test("an image that was imported is in its own repository and its tags are listed")
    func imported() async throws {
        try await APIUnderTest.with { api in
            let image = try await api.importBusybox(as: "lab/tools:1")
            let manifest = try await api.call(.get, "/v2/lab/tools/manifests/\(image.digest)")
            #expect(manifest.status == 200)
            #expect(try await api.call(.get, "/v2/lab/tools/tags/list").text == #"{"name":"lab/tools","tags":["1"]}"#)
        }
    }
}

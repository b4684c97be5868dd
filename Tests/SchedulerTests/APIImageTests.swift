// Images: imported over HTTP, shown, and pulled from the archive by a real registry client and by hand.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APIImageTests {
    @Test("an import is named, listed and shown, and the same archive gives the same image")
    func importing() async throws {
        try await APIUnderTest.with { api in
            let image = try await api.importBusybox(as: "lab/tools:1")
            #expect(image.references == ["docker.io/lab/tools:1"])
            #expect(image.complete && image.layers.count == 1)
            #expect(try await api.importBusybox(as: "other").digest == image.digest)
            #expect(
                try await api.call(.get, "/v1/images").decoded(ImageList.self).images.map(\.digest) == [image.digest])
            for reference in ["lab/tools:1", "other", "docker.io/library/other:latest", image.digest.description] {
                let shown = try await api.call(.get, "/v1/images/show?reference=\(reference)").decoded(
                    ImageDocument.self)
                #expect(shown.references == ["docker.io/lab/tools:1", "docker.io/library/other:latest"])
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: api.directory + "/spool") == [])
        }
    }

    @Test("an import over the limit is refused and leaves nothing")
    func tooLarge() async throws {
        try await APIUnderTest.with(importLimit: ByteCount(bytes: 1000)) { api in
            let answer = try await api.call(
                .post, "/v1/images/import?reference=ada/a", body: [UInt8](repeating: 0, count: 100_000))
            #expect(answer.status == 413)
            #expect(try FileManager.default.contentsOfDirectory(atPath: api.directory + "/spool") == [])
            #expect(try await api.call(.get, "/v1/images").decoded(ImageList.self).images == [])
        }
    }

    @Test("skopeo copies an imported image by tag and by digest, with the token as password")
    func skopeo() async throws {
        try await APIUnderTest.with(.live) { api in
            let image = try await api.importBusybox()
            for (index, name) in ["busybox:latest", "archive@\(image.digest)"].enumerated() {
                let folder = "\(api.directory)/copy\(index)"
                let source = "docker://127.0.0.1:\(api.port)/\(name)"
                let result = try await runProcess(
                    "skopeo",
                    [
                        "copy", "--src-tls-verify=false", "--src-creds", "any:\(api.token(of: .worker))", source,
                        "dir:\(folder)",
                    ])
                #expect(result.exitCode == 0, "\(result)")
                let manifest = try Data(contentsOf: URL(filePath: folder + "/manifest.json"))
                #expect(Digest(of: Array(manifest)) == image.digest)
            }
            let refused = try await runProcess(
                "skopeo",
                ["inspect", "--tls-verify=false", "--creds", "any:wrong", "docker://127.0.0.1:\(api.port)/busybox"])
            #expect(refused.exitCode != 0)
            #expect(
                refused.errors.contains("unauthorized") || refused.errors.contains("authentication required"),
                "\(refused)")
        }
    }

    @Test("blobs come whole, in ranges, or as a head; manifests with their type and digest")
    func ranges() async throws {
        try await APIUnderTest.with { api in
            let image = try await api.importBusybox()
            let manifest = try await api.call(.get, "/v2/archive/manifests/\(image.digest)")
            #expect(Digest(of: manifest.bytes) == image.digest)
            #expect(manifest.headers[.contentType] == image.mediaType)
            #expect(manifest.headers[.init("Docker-Content-Digest")!] == image.digest.description)
            let uri = "/v2/archive/blobs/\(try #require(image.layers.first))"
            let whole = try await api.call(.get, uri)
            #expect(whole.status == 200 && Digest(of: whole.bytes) == image.layers.first)
            let size = whole.bytes.count
            for (range, expected) in [
                ("bytes=0-9", 0..<10), ("bytes=10-", 10..<size), ("bytes=-5", (size - 5)..<size),
                ("bytes=5-99999999999", 5..<size),
            ] {
                let part = try await api.call(.get, uri, headers: [.range: range])
                #expect(part.status == 206, "\(range)")
                #expect(part.bytes == Array(whole.bytes[expected]), "\(range)")
                #expect(
                    part.headers[.contentRange] == "bytes \(expected.lowerBound)-\(expected.upperBound - 1)/\(size)")
                #expect(part.headers[.contentLength] == String(expected.count))
            }
            for range in ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=", "bytes=-"] {
                #expect(try await api.call(.get, uri, headers: [.range: range]).status == 200, "\(range)")
            }
            let beyond = try await api.call(.get, uri, headers: [.range: "bytes=\(size)-"])
            #expect(beyond.status == 416 && beyond.headers[.contentRange] == "bytes */\(size)")
            let head = try await api.call(.head, uri)
            #expect(head.status == 200 && head.bytes == [] && head.headers[.contentLength] == String(size))
            #expect(
                try await api.call(.head, "/v2/library/busybox/manifests/latest").headers[
                    .init("Docker-Content-Digest")!] == image.digest.description)
            let missing = try await api.call(.get, "/v2/archive/blobs/\(absentDigest)")
            #expect(missing.status == 404 && missing.text.contains(#""code":"BLOB_UNKNOWN""#))
        }
    }
}

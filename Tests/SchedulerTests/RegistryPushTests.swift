// Workflow 2 of the OCI distribution specification 1.1, "Push", as the public conformance suite walks through it: blobs
// monolithic, streamed and in chunks, mounts, manifests.
import Foundation
import HTTPTypes
import JobModel
import OCI
import TestSupport
import Testing

@Suite(.serialized) struct RegistryBlobPushTests {
    private let blob = Content("the whole blob")

    private func expectStored(_ answer: APIUnderTest.Answer, _ blob: Content, _ api: APIUnderTest) async throws {
        #expect(answer.status == 201, "\(answer.text)")
        #expect(answer.contentDigest == blob.digest)
        // The location MUST be a pullable blob URL.
        let stored = try await api.call(.get, answer.location)
        #expect(stored.status == 200 && stored.bytes == blob.bytes)
    }

    @Test("end-4a, end-6: POST is 202 with a location, PUT with the whole blob 201 with where it can be pulled")
    func postThenPut() async throws {
        try await APIUnderTest.with { [blob] api in
            let start = try await api.call(.post, "/v2/ada/stack/blobs/uploads/")
            #expect(start.status == 202 && start.range == "0-0")
            // The location MUST contain a UUID.
            #expect(UUID(uuidString: String(start.location.split(separator: "/").last ?? "")) != nil)
            let end = try await api.call(
                .put, "\(start.location)?digest=\(blob.digest)", headers: octets, body: blob.bytes)
            try await expectStored(end, blob, api)
        }
    }

    @Test("end-4b: one POST with the digest and the blob is 201")
    func singlePost() async throws {
        try await APIUnderTest.with { [blob] api in
            let answer = try await api.call(
                .post, "/v2/ada/stack/blobs/uploads/?digest=\(blob.digest)", headers: octets, body: blob.bytes)
            try await expectStored(answer, blob, api)
        }
    }

    @Test("a streamed PATCH without a range is 202, and an empty PUT ends it")
    func streamed() async throws {
        try await APIUnderTest.with { [blob] api in
            let patch = try await api.chunk(try await api.startUpload(), blob.bytes, at: nil)
            #expect(patch.status == 202 && patch.range == "0-13")
            try await expectStored(
                try await api.call(.put, "\(patch.location)?digest=\(blob.digest)"), blob, api)
        }
    }

    @Test("end-5, end-13: chunks in order are 202 with the range so far, the last may come with the PUT")
    func chunked() async throws {
        try await APIUnderTest.with { [blob] api in
            let location = try await api.startUpload()
            let first = try await api.chunk(location, Array(blob.bytes[0..<4]), at: "0-3")
            #expect(first.status == 202 && first.range == "0-3" && first.location == location)
            let second = try await api.chunk(first.location, Array(blob.bytes[4..<9]), at: "4-8")
            #expect(second.status == 202 && second.range == "0-8")
            let status = try await api.call(.get, second.location)
            #expect(status.status == 204 && status.range == "0-8" && status.location == location)
            var headers = octets
            headers[.contentRange] = "9-13"
            let end = try await api.call(
                .put, "\(status.location)?digest=\(blob.digest)", headers: headers, body: Array(blob.bytes[9...]))
            try await expectStored(end, blob, api)
            #expect(try await api.call(.get, location).code == "BLOB_UPLOAD_UNKNOWN")
        }
    }

    @Test(
        "a chunk out of order, repeated or malformed is 416 with where the upload stands, and the upload can go on",
        arguments: ["5-9", "0-4", "3-7", "4-", "-4", "a-b", "8-4", "bytes 4-8", "4-8/14", "99999999999999999999-4"])
    func outOfOrder(range: String) async throws {
        try await APIUnderTest.with { [blob] api in
            let location = try await api.startUpload()
            _ = try await api.chunk(location, Array(blob.bytes[0..<4]), at: "0-3")
            let refused = try await api.chunk(location, Array(blob.bytes[4..<9]), at: range)
            #expect(refused.status == 416 && refused.range == "0-3" && refused.location == location)
            #expect(refused.code == "BLOB_UPLOAD_INVALID")
            #expect(try await api.call(.get, location).range == "0-3")
            _ = try await api.chunk(location, Array(blob.bytes[4...]), at: "4-13")
            try await expectStored(try await api.call(.put, "\(location)?digest=\(blob.digest)"), blob, api)
        }
    }

    @Test("a chunk whose length is not its range's is refused before a byte of it counts")
    func lengthAndRange() async throws {
        try await APIUnderTest.with { [blob] api in
            let location = try await api.startUpload()
            var headers = octets
            headers[.contentRange] = "0-9"
            headers[.contentLength] = "14"
            let refused = try await api.call(.patch, location, headers: headers, body: blob.bytes)
            #expect(refused.status == 400 && refused.code == "SIZE_INVALID")
            #expect(try await api.call(.get, location).range == "0-0")
        }
    }

    @Test("a blob that is not what its digest says is refused, and neither it nor the upload is left")
    func wrongDigest() async throws {
        try await APIUnderTest.with { [blob] api in
            let location = try await api.startUpload()
            let refused = try await api.call(
                .put, "\(location)?digest=\(absentDigest)", headers: octets, body: blob.bytes)
            #expect(refused.status == 400 && refused.code == "DIGEST_INVALID")
            #expect(refused.messages.contains(blob.digest))
            for digest in [absentDigest, blob.digest] {
                #expect(try await api.head("/v2/ada/stack/blobs/\(digest)").status == 404)
            }
            #expect(try await api.call(.get, location).status == 404)
            #expect(try FileManager.default.contentsOfDirectory(atPath: api.directory + "/archive/incoming") == [])
        }
    }

    @Test("a PUT without a digest, or with one of another kind, is refused and the upload can go on")
    func noDigest() async throws {
        try await APIUnderTest.with { [blob] api in
            let location = try await api.startUpload()
            for query in ["", "?digest=", "?digest=sha512:00", "?digest=md5:x"] {
                let refused = try await api.call(.put, location + query, headers: octets, body: blob.bytes)
                #expect(refused.status == 400 && refused.code == "DIGEST_INVALID", "\(query) \(refused.text)")
            }
            let end = try await api.call(
                .put, "\(location)?digest=\(blob.digest)", headers: octets, body: blob.bytes)
            try await expectStored(end, blob, api)
        }
    }

    @Test("a cancelled upload is gone with its bytes")
    func cancel() async throws {
        try await APIUnderTest.with { [blob] api in
            let location = try await api.startUpload()
            _ = try await api.chunk(location, blob.bytes, at: nil)
            #expect(try await api.call(.delete, location).status == 204)
            for method in [HTTPRequest.Method.get, .patch, .put, .delete] {
                let answer = try await api.call(method, "\(location)?digest=\(blob.digest)")
                #expect(answer.status == 404 && answer.code == "BLOB_UPLOAD_UNKNOWN", "\(method)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: api.directory + "/archive/incoming") == [])
        }
    }

    @Test("end-11: a blob that is here is mounted with 201, with or without 'from'; another begins an upload with 202")
    func mount() async throws {
        try await APIUnderTest.with { [blob] api in
            try await api.push(blob, to: "ada/stack")
            for from in ["&from=ada/stack", ""] {
                let mounted = try await api.call(.post, "/v2/ada/other/blobs/uploads/?mount=\(blob.digest)\(from)")
                #expect(mounted.location == "/v2/ada/other/blobs/\(blob.digest)")
                try await expectStored(mounted, blob, api)
            }
            for digest in [absentDigest, "sha256:no"] {
                let answer = try await api.call(.post, "/v2/ada/other/blobs/uploads/?mount=\(digest)&from=ada/stack")
                #expect(answer.status == 202 && answer.location.contains("/v2/ada/other/blobs/uploads/"))
            }
        }
    }

    @Test("the same blob pushed twice is one blob")
    func twice() async throws {
        try await APIUnderTest.with { [blob] api in
            for _ in 0..<2 { try await expectStored(try await api.push(blob, to: "ada/stack"), blob, api) }
        }
    }
}

@Suite(.serialized) struct RegistryManifestPushTests {
    private let image = PushedImage("push")

    @Test("end-7: a manifest is taken under tags and by digest with 201, a pullable location and its digest")
    func push() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:test0")
            for reference in ["test1", "test2", "test3", image.manifest.digest] {
                let answer = try await api.put(image.manifest, at: "ada/stack", reference)
                #expect(answer.status == 201 && answer.contentDigest == image.manifest.digest)
                #expect(try await api.call(.get, answer.location).bytes == image.manifest.bytes)
            }
        }
    }

    @Test("a manifest without layers, with parameters on its type, or without a type is taken")
    func lenient() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image.configuration, to: "ada/stack")
            let bare = Content(
                #"{"schemaVersion":2,"config":\#(image.configuration.descriptor(MediaType.configuration)),"layers":[]}"#
            )
            for type in [MediaType.manifest, MediaType.manifest + "; charset=utf-8", nil] {
                let answer = try await api.put(bare, at: "ada/stack", "bare", type: type)
                #expect(answer.status == 201, "\(answer.text)")
            }
        }
    }

    @Test("a manifest whose blobs are not all here is refused with MANIFEST_BLOB_UNKNOWN, each blob named")
    func blobUnknown() async throws {
        try await APIUnderTest.with { [image] api in
            let answer = try await api.put(image.manifest, at: "ada/stack", "1")
            #expect(answer.status == 400)
            let errors = try answer.decoded(RegistryErrorDocument.self).errors
            #expect(errors.map(\.code) == ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"])
            #expect(errors[0].message.contains(image.configuration.digest))
            #expect(errors[1].message.contains(image.layer.digest))
            #expect(try await api.head("/v2/ada/stack/manifests/1").status == 404)
        }
    }

    @Test("a layer that its maker keeps elsewhere need not be here, but such an image is not complete")
    func foreignLayer() async throws {
        try await APIUnderTest.with { api in
            let foreign = PushedImage(
                "foreign", layerType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
            try await api.push(foreign.configuration, to: "ada/stack")
            #expect(try await api.put(foreign.manifest, at: "ada/stack", "1").status == 201)
            let shown = try await api.call(.get, "/v1/images/show?reference=ada/stack:1").decoded(ImageDocument.self)
            #expect(!shown.complete)
        }
    }

    @Test("an index is taken when its manifests are here, and all of them are in its repository then")
    func index() async throws {
        try await APIUnderTest.with { [image] api in
            let other = PushedImage("other platform")
            func entry(_ image: PushedImage, _ architecture: String) -> String {
                image.manifest.descriptor(
                    MediaType.manifest, more: #","platform":{"os":"linux","architecture":"\#(architecture)"}"#)
            }
            let index = Content(
                #"{"schemaVersion":2,"mediaType":"\#(MediaType.index)","manifests":[\#(entry(image, "amd64")),\#(entry(other, "arm64"))]}"#
            )
            try await api.push(image, as: "ada/stack:amd64")
            let early = try await api.put(index, at: "shared/stack", "1", type: MediaType.index)
            #expect(early.status == 400 && early.code == "MANIFEST_BLOB_UNKNOWN")
            #expect(early.messages.contains(other.manifest.digest))
            try await api.push(other, as: "ada/stack:arm64")
            #expect(try await api.put(index, at: "shared/stack", "1", type: MediaType.index).status == 201)
            for manifest in [index, image.manifest, other.manifest] {
                let answer = try await api.call(.get, "/v2/shared/stack/manifests/\(manifest.digest)")
                #expect(answer.status == 200 && answer.bytes == manifest.bytes)
            }
            let shown = try await api.call(.get, "/v1/images/show?reference=shared/stack:1").decoded(ImageDocument.self)
            #expect(shown.platforms == ["linux/amd64", "linux/arm64"] && shown.complete)
        }
    }

    @Test(
        "what is no valid manifest is refused with one sentence",
        arguments: [
            ("{", "cannot be understood"), ("[]", "object"), (#"{"schemaVersion":1}"#, "schema 1"),
            (#"{"schemaVersion":2}"#, "config is missing"),
            (#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "manifests as well as"),
            (#"{"schemaVersion":2,"manifests":[{"digest":"sha256:0","size":1,"mediaType":"a"}]}"#, "sha256"),
            (#"{"schemaVersion":2,"manifests":[],"subject":{}}"#, "subject.digest"),
            (#"{"schemaVersion":2,"manifests":[],"annotations":{"a":1}}"#, "annotations"),
            (#"{"schemaVersion":2,"manifests":[],"artifactType":1}"#, "artifactType"),
            (#"{"schemaVersion":2,"mediaType":"text/plain","manifests":[]}"#, "text/plain"),
        ])
    func malformed(text: String, sentence: String) async throws {
        try await APIUnderTest.with { api in
            let answer = try await api.put(Content(text), at: "ada/stack", "1", type: nil)
            #expect(answer.status == 400 && answer.code == "MANIFEST_INVALID", "\(answer.status) \(answer.text)")
            #expect(answer.messages.contains(sentence), "\(answer.messages)")
            #expect(try await api.head("/v2/ada/stack/manifests/1").status == 404)
        }
    }

    @Test("a manifest under another type, digest or size than it has is refused")
    func contradictions() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            let type = try await api.put(image.manifest, at: "ada/stack", "2", type: MediaType.index)
            #expect(type.status == 400 && type.code == "MANIFEST_INVALID")
            let digest = try await api.put(image.manifest, at: "ada/stack", absentDigest)
            #expect(digest.status == 400 && digest.code == "DIGEST_INVALID")
            let wrong = Content(
                String(decoding: image.manifest.bytes, as: UTF8.self)
                    .replacing("\"size\":\(image.layer.size)", with: "\"size\":1"))
            let size = try await api.put(wrong, at: "ada/stack", "2")
            #expect(size.status == 400 && size.code == "MANIFEST_INVALID" && size.messages.contains(image.layer.digest))
        }
    }

    @Test("a manifest of 4 MiB is taken, one byte more is 413")
    func sizeLimit() async throws {
        try await APIUnderTest.with { api in
            func padded(_ size: Int) -> Content {
                let start = #"{"schemaVersion":2,"manifests":[],"annotations":{"a":""#
                let end = #""}}"#
                let padding = String(repeating: "x", count: size - start.utf8.count - end.utf8.count)
                return Content(start + padding + end)
            }
            #expect(try await api.put(padded(4 << 20), at: "ada/stack", "1", type: MediaType.index).status == 201)
            let refused = try await api.put(padded(4 << 20 + 1), at: "ada/stack", "2", type: MediaType.index)
            #expect(refused.status == 413 && refused.code == "SIZE_INVALID")
        }
    }
}

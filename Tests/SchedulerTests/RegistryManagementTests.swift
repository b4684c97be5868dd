// Workflow 4 of the OCI distribution specification 1.1, "Content Management", as the public conformance suite walks
// through it, and what this registry never deletes: what a configuration pins.
import Foundation
import HTTPTypes
import JobModel
import OCI
import TestSupport
import Testing

@Suite(.serialized) struct RegistryManagementTests {
    private let image = PushedImage("management")

    @Test("end-9: a deleted tag is 202, then 404; its manifest stays under its digest")
    func tag() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:keep")
            _ = try await api.put(image.manifest, at: "ada/stack", "tagtest0")
            #expect(try await api.call(.get, "/v2/ada/stack/manifests/tagtest0").status == 200)
            #expect(try await api.call(.delete, "/v2/ada/stack/manifests/tagtest0", as: .admin).status == 202)
            let gone = try await api.call(.get, "/v2/ada/stack/manifests/tagtest0")
            #expect(gone.status == 404 && gone.code == "MANIFEST_UNKNOWN")
            #expect(try await api.call(.get, "/v2/ada/stack/manifests/\(image.manifest.digest)").status == 200)
            #expect(try await api.call(.get, "/v2/ada/stack/tags/list").text.contains(#"["keep"]"#))
            #expect(try await api.call(.delete, "/v2/ada/stack/manifests/tagtest0", as: .admin).status == 404)
        }
    }

    @Test("end-9: a deleted manifest is 202, then 404 under its digest and under every tag that pointed to it")
    func manifest() async throws {
        try await APIUnderTest.with { [image] api in
            let other = PushedImage("other")
            try await api.push(other, as: "ada/stack:other")
            try await api.push(image, as: "ada/stack:1")
            _ = try await api.put(image.manifest, at: "ada/stack", "2")
            _ = try await api.push(image, as: "shared/stack:1")
            let path = "/v2/ada/stack/manifests/"
            #expect(try await api.call(.delete, path + image.manifest.digest, as: .admin).status == 202)
            for reference in ["1", "2", image.manifest.digest] {
                #expect(try await api.call(.get, path + reference).status == 404)
            }
            #expect(try await api.call(.get, "/v2/ada/stack/tags/list").text.contains(#"["other"]"#))
            // Another repository's is another.
            for reference in ["1", image.manifest.digest] {
                #expect(try await api.call(.get, "/v2/shared/stack/manifests/\(reference)").status == 200)
            }
            #expect(try await api.call(.delete, path + image.manifest.digest, as: .admin).status == 404)
            #expect(try await api.call(.delete, "/v2/no/thing/manifests/\(absentDigest)", as: .admin).status == 404)
            // It can come back.
            #expect(try await api.put(image.manifest, at: "ada/stack", "1").status == 201)
            #expect(try await api.call(.get, path + "1").status == 200)
        }
    }

    @Test("a deleted referrer is listed no more")
    func referrer() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(emptyConfiguration, to: "ada/stack")
            let referrer = artifact("x/y", about: image.manifest, annotation: "a")
            _ = try await api.put(referrer, at: "ada/stack")
            #expect(try await api.call(.delete, "/v2/ada/stack/manifests/\(referrer.digest)", as: .admin).status == 202)
            let list = try await api.call(.get, "/v2/ada/stack/referrers/\(image.manifest.digest)")
            #expect(list.status == 200 && list.json?[key: "manifests"] == .array([]))
        }
    }

    @Test("end-10: a deleted blob is 202, then 404; while a manifest names it, the deletion is 405 and says which")
    func blob() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            let path = "/v2/ada/stack/blobs/\(image.layer.digest)"
            let used = try await api.call(.delete, path, as: .admin)
            #expect(used.status == 405 && used.code == "UNSUPPORTED" && used.messages.contains("docker.io/ada/stack"))
            _ = try await api.call(.delete, "/v2/ada/stack/manifests/\(image.manifest.digest)", as: .admin)
            #expect(try await api.call(.delete, path, as: .admin).status == 202)
            #expect(try await api.call(.get, path).code == "BLOB_UNKNOWN")
            #expect(try await api.call(.delete, path, as: .admin).code == "BLOB_UNKNOWN")
        }
    }

    @Test("a manifest that an index of the repository names goes after the index")
    func partOfIndex() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            let index = Content(
                #"{"schemaVersion":2,"manifests":[\#(image.manifest.descriptor(MediaType.manifest))]}"#)
            #expect(try await api.put(index, at: "ada/stack", "all", type: MediaType.index).status == 201)
            let path = "/v2/ada/stack/manifests/"
            let refused = try await api.call(.delete, path + image.manifest.digest, as: .admin)
            #expect(refused.status == 405 && refused.messages.contains(index.digest))
            for digest in [index.digest, image.manifest.digest] {
                #expect(try await api.call(.delete, path + digest, as: .admin).status == 202)
            }
        }
    }

    @Test("what a configuration pins is DENIED to everybody, with its name: tag, manifest, blobs and files")
    func pinned() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            let file = Content("print(1)")
            _ = try await api.submit(
                #"{"name": "annual-temps", "image": "ada/stack:1", "command": ["a"], "files": {"/job.py": "./job.py"}}"#,
                more: #", "files": {"/job.py": {"content": "\#(Data(file.bytes).base64EncodedString())"}}"#)
            for path in [
                "manifests/1", "manifests/\(image.manifest.digest)", "blobs/\(image.layer.digest)",
                "blobs/\(image.configuration.digest)", "blobs/\(image.manifest.digest)", "blobs/\(file.digest)",
            ] {
                let answer = try await api.call(.delete, "/v2/ada/stack/\(path)", as: .admin)
                #expect(answer.status == 403 && answer.code == "DENIED", "\(path): \(answer.status) \(answer.text)")
                #expect(answer.messages.contains("annual-temps@1"), "\(answer.messages)")
                #expect(try await api.head("/v2/ada/stack/\(path)").status == 200)
            }
            // Moving the tag is no deletion: what was pinned stays.
            try await api.push(PushedImage("newer"), as: "ada/stack:1")
            #expect(try await api.call(.get, "/v2/ada/stack/manifests/\(image.manifest.digest)").status == 200)
        }
    }

    @Test("only administrators delete, and an upload is cancelled by its own user")
    func access() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            for path in ["manifests/1", "manifests/\(image.manifest.digest)", "blobs/\(image.layer.digest)"] {
                let answer = try await api.call(.delete, "/v2/ada/stack/\(path)")
                #expect(answer.status == 403 && answer.code == "DENIED")
                #expect(try await api.call(.delete, "/v2/ada/stack/\(path)", as: .worker).status == 403)
            }
            let location = try await api.startUpload()
            for who in [APIUnderTest.Who.bob, .admin] {
                for method in [HTTPRequest.Method.delete, .get, .patch] {
                    #expect(try await api.call(method, location, as: who).code == "BLOB_UPLOAD_UNKNOWN")
                }
            }
            #expect(try await api.call(.delete, location).status == 204)
        }
    }
}

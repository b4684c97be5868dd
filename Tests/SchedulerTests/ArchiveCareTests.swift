// Garbage collection that can never delete what a configuration needs, and verification that names what is damaged and
// whom it hurts.
import Foundation
import HTTPTypes
import JobModel
import OCI
import Scheduler
import TestSupport
import Testing

@Suite(.serialized) struct ArchiveCareTests {
    private static func collect(_ api: APIUnderTest, dryRun: Bool = false) async throws -> ArchiveCollection {
        try await api.call(.post, "/v1/archive/gc\(dryRun ? "?dry_run=true" : "")", as: .admin).decoded(
            ArchiveCollection.self)
    }

    private static func verify(_ api: APIUnderTest) async throws -> ArchiveVerification {
        try await api.call(.post, "/v1/archive/verify", as: .admin).decoded(ArchiveVerification.self)
    }

    private static func path(_ content: Content, _ api: APIUnderTest) -> String {
        let hex = content.digest.dropFirst("sha256:".count)
        return "\(api.directory)/archive/blobs/sha256/\(hex.prefix(2))/\(hex)"
    }

    @Test("what nothing needs is deleted, and what a name, a repository or a configuration needs stays")
    func collecting() async throws {
        try await APIUnderTest.with(archiveGrace: .zero) { api in
            let (pinned, named, byDigest) = (PushedImage("pinned"), PushedImage("named"), PushedImage("by digest"))
            let forgotten = PushedImage("forgotten")
            for (image, name) in [(pinned, "ada/pinned:1"), (named, "ada/named:1"), (forgotten, "ada/forgotten:1")] {
                try await api.push(image, as: name)
            }
            for part in [byDigest.configuration, byDigest.layer] { try await api.push(part, to: "ada/untagged") }
            #expect(try await api.put(byDigest.manifest, at: "ada/untagged").status == 201)
            let stray = Content("a blob that no manifest names")
            try await api.push(stray, to: "ada/stray")
            let file = Content("print(1)")
            _ = try await api.submit(
                #"{"name": "a", "image": "ada/pinned:1", "command": ["a"], "files": {"/job.py": "./job.py"}}"#,
                more: #", "files": {"/job.py": {"content": "\#(Data(file.bytes).base64EncodedString())"}}"#)
            // Its tag moves away: only the configuration, and its repository, hold it.
            try await api.push(named, as: "ada/pinned:1")
            _ = try await api.call(.delete, "/v2/ada/forgotten/manifests/\(forgotten.manifest.digest)", as: .admin)

            let plan = try await Self.collect(api, dryRun: true)
            #expect(plan.dryRun && plan.deleted.blobs == 4)
            #expect(FileManager.default.fileExists(atPath: Self.path(stray, api)))
            let status = try await api.call(.get, "/v1/archive", as: .admin).decoded(ArchiveStatus.self)
            #expect(status.pinned.blobs == 4 && status.named.blobs == 6 && status.unneeded == plan.deleted)

            #expect(try await Self.collect(api).deleted == plan.deleted)
            for content in [stray, forgotten.manifest, forgotten.configuration, forgotten.layer] {
                #expect(!FileManager.default.fileExists(atPath: Self.path(content, api)))
            }
            for image in [pinned, named, byDigest] {
                for content in [image.manifest, image.configuration, image.layer, file] {
                    #expect(FileManager.default.fileExists(atPath: Self.path(content, api)))
                }
            }
            #expect(try await api.call(.get, "/v1/images/show?reference=\(forgotten.manifest.digest)").status == 404)
            #expect(try await Self.collect(api).deleted.blobs == 0)
            #expect(try await Self.verify(api).damaged == [])
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "1"}"#).decoded(JobDocument.self)
            #expect(rerun.reason?.contains("image") != true)
        }
    }

    @Test("what was pushed or asked for lately is spared, with everything that a fresh manifest needs")
    func grace() async throws {
        try await APIUnderTest.with(archiveGrace: .seconds(3600)) { api in
            let image = PushedImage("fresh")
            try await api.push(image, as: "ada/stack:1")
            let stray = Content("stray")
            try await api.push(stray, to: "ada/stack")
            _ = try await api.call(.delete, "/v2/ada/stack/manifests/\(image.manifest.digest)", as: .admin)
            func age(_ contents: [Content]) throws {
                for content in contents {
                    try FileManager.default.setAttributes(
                        [.modificationDate: Date(timeIntervalSinceNow: -7200)], ofItemAtPath: Self.path(content, api))
                }
            }
            try age([image.configuration, image.layer])
            #expect(try await Self.collect(api).deleted.blobs == 0, "the manifest was touched by its deletion")
            try age([stray, image.manifest])
            // A client that asks whether a blob is here is about to name it.
            #expect(try await api.head("/v2/ada/stack/blobs/\(stray.digest)").status == 200)
            #expect(try await Self.collect(api).deleted.blobs == 3)
            #expect(try await api.head("/v2/ada/stack/blobs/\(stray.digest)").status == 200)
        }
    }

    @Test("while a pinned image's manifest is damaged nothing is deleted, because nobody knows what it needs")
    func damagedManifest() async throws {
        try await APIUnderTest.with(archiveGrace: .zero) { api in
            let image = PushedImage("damaged")
            try await api.push(image, as: "ada/stack:1")
            _ = try await api.submit(#"{"name": "a", "image": "ada/stack:1", "command": ["a"]}"#)
            for damage in [Data("{}".utf8), nil] {
                let path = Self.path(image.manifest, api)
                if let damage { try damage.write(to: URL(filePath: path)) } else { unlink(path) }
                let answer = try await api.call(.post, "/v1/archive/gc", as: .admin)
                #expect(answer.status == 422)
                #expect(try answer.problem().detail.contains("a@1"), "\(answer.text)")
                #expect(FileManager.default.fileExists(atPath: Self.path(image.layer, api)))
            }
        }
    }

    @Test("verify names each blob that changed or is gone, with the configurations and images that it hurts")
    func verifying() async throws {
        try await APIUnderTest.with { api in
            let (first, second) = (PushedImage("first"), PushedImage("second"))
            try await api.push(first, as: "ada/first:1")
            try await api.push(second, as: "ada/second:1")
            for name in ["a", "b"] {
                _ = try await api.submit(#"{"name": "\#(name)", "image": "ada/first:1", "command": ["\#(name)"]}"#)
            }
            #expect(try await Self.verify(api).damaged == [])
            try Data("layer First".utf8).write(to: URL(filePath: Self.path(first.layer, api)))
            unlink(Self.path(second.configuration, api))
            let found = try await Self.verify(api)
            #expect(found.checked.blobs == 5 && found.damaged.count == 2 && found.next == nil)
            let changed = try #require(found.damaged.first { $0.problem == .changed })
            #expect(changed.digest.description == first.layer.digest)
            #expect(changed.configurations.sorted() == ["a@1", "b@1"])
            #expect(changed.images.contains("docker.io/ada/first:1"))
            let missing = try #require(found.damaged.first { $0.problem == .missing })
            #expect(missing.digest.description == second.configuration.digest)
            #expect(missing.configurations.isEmpty && missing.images.contains("docker.io/ada/second:1"))
            // Pushing what was lost mends it.
            try await api.push(first.layer, to: "ada/first")
            try await api.push(second.configuration, to: "ada/second")
            #expect(try await Self.verify(api).damaged == [])
        }
    }

    @Test(
        "garbage is collected without mercy while images are pushed: a push may have to be repeated, and what was taken is whole"
    )
    func whileBusy() async throws {
        try await APIUnderTest.with(archiveGrace: .zero) { api in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for pusher in 0..<4 {
                    group.addTask {
                        for round in 0..<8 {
                            let (image, name) = (PushedImage("busy \(pusher) \(round % 3)"), "ada/p\(pusher):\(round)")
                            try await Self.pushPersistently(image, as: name, api)
                            _ = try await api.submit(
                                #"{"name": "p\#(pusher)", "image": "\#(name)", "command": ["\#(round)"]}"#)
                            let read = try await api.call(.get, "/v2/ada/p\(pusher)/blobs/\(image.layer.digest)")
                            #expect(read.bytes == image.layer.bytes)
                        }
                    }
                }
                group.addTask { for _ in 0..<60 { _ = try await Self.collect(api) } }
                try await group.waitForAll()
            }
            #expect(try await Self.verify(api).damaged == [])
        }
    }

    @Test(
        "what a service needs is kept, and refused to deletion, as what its task needs; an imported or built image stays"
    )
    func servicesAndImports() async throws {
        try await APIUnderTest.with(archiveGrace: .zero) { api in
            let (task, service) = (PushedImage("task"), PushedImage("service"))
            try await api.push(task, as: "ada/task:1")
            try await api.push(service, as: "ada/service:1")
            _ = try await api.submit(
                #"{"name": "a", "image": "ada/task:1", "command": ["a"], "services": {"db": {"image": "ada/service:1", "command": ["db"]}}}"#
            )
            let imported = try await api.importBusybox(as: "ada/built:1")
            let manifests = "/v2/ada/service/manifests/"
            for path in [manifests + "1", manifests + service.manifest.digest] {
                let refused = try await api.call(.delete, path, as: .admin)
                #expect(refused.status == 403 && refused.messages.contains("a@1"), "\(refused.text)")
            }
            let blob = try await api.call(.delete, "/v2/ada/service/blobs/\(service.layer.digest)", as: .admin)
            #expect(blob.status == 403 && blob.messages.contains("a@1"), "\(blob.text)")
            // Its tag moves on: the configuration alone needs it.
            try await api.push(task, as: "ada/service:1")
            #expect(try await Self.collect(api).deleted.blobs == 0)
            for content in [service.manifest, service.configuration, service.layer] {
                #expect(FileManager.default.fileExists(atPath: Self.path(content, api)))
            }
            let shown = try await api.call(.get, "/v1/images/show?reference=ada/built:1").decoded(ImageDocument.self)
            #expect(shown == imported)
            #expect(try await Self.verify(api).damaged == [])
        }
    }

    private static func pushPersistently(_ image: PushedImage, as name: String, _ api: APIUnderTest) async throws {
        for _ in 0..<200 {
            do {
                try await api.push(image, as: name)
                return
            } catch let failure as APIFailure where failure.description.contains("MANIFEST_BLOB_UNKNOWN") { continue }
        }
        throw APIFailure(description: "\(name) could not be pushed")
    }

    @Test("only administrators look after the archive")
    func access() async throws {
        try await APIUnderTest.with { (api) async throws in
            for (method, path) in [(HTTPRequest.Method.get, ""), (.post, "/gc"), (.post, "/verify")] {
                for who in [APIUnderTest.Who.ada, .worker] {
                    #expect(try await api.call(method, "/v1/archive\(path)", as: who).status == 403)
                }
            }
        }
    }
}

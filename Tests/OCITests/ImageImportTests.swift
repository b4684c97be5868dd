// Archives made by the tools that people use: tar, gzip, zstd, xz, skopeo. Damaged ones stand in DamagedArchiveTests.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct ImageImportTests {
    private func digest(ofFile path: String) throws -> Digest { Digest(of: try Data(contentsOf: URL(filePath: path))) }

    @Test("a root file system becomes an image of one layer, the same one every time, whatever the store")
    func rootFileSystem() async throws {
        try await Scratch.with { scratch in
            try await scratch.makeRootFileSystem()
            let first = try importImage(archive: scratch.folder + "/rootfs.tar", into: try scratch.store("a"))
            let second = try importImage(archive: scratch.folder + "/rootfs.tar", into: try scratch.store("b"))
            #expect(first == second)
            #expect(first.isComplete && first.platforms == [Platform.host])
            #expect(first.mediaType == MediaType.manifest)
            let layer = try digest(ofFile: scratch.folder + "/rootfs.tar")
            #expect(first.layers == [layer])
        }
    }

    @Test("gzip and zstd are kept as they are with the type that says so; xz is kept as the tar in it")
    func compressions() async throws {
        try await Scratch.with { scratch in
            try await scratch.makeRootFileSystem()
            try await scratch.shell("gzip -kn rootfs.tar; zstd -q rootfs.tar; xz -k rootfs.tar")
            let store = try scratch.store()
            let tar = try digest(ofFile: scratch.folder + "/rootfs.tar")
            for (suffix, type) in [("", ""), (".gz", "+gzip"), (".zst", "+zstd"), (".xz", "")] {
                let image = try importImage(archive: "\(scratch.folder)/rootfs.tar\(suffix)", into: store)
                let bytes = try store.read(image.digest, limit: 1 << 20)
                guard case .image(_, let configuration, let layers) = try Manifest(bytes, named: suffix) else {
                    Issue.record("not an image")
                    continue
                }
                #expect(layers.map(\.mediaType) == [MediaType.layer + type])
                let text = String(decoding: try store.read(configuration.digest, limit: 1 << 20), as: UTF8.self)
                #expect(text.contains(#""diff_ids":["\#(tar)"]"#), "\(suffix): \(text)")
            }
        }
    }

    @Test("what was imported is an image for other tools, with every file in it")
    func readBySkopeo() async throws {
        try await Scratch.with { scratch in
            let (image, _) = try await scratch.imported()
            try await scratch.shell("skopeo copy --quiet oci:layout:test dir:copied")
            let list = try await runProcess("tar", ["-tf", "copied/\(image.layers[0].hex)"], folder: scratch.folder)
            #expect(list.exitCode == 0 && list.output.contains("bin/busybox") && list.output.contains("etc/F"))
        }
    }

    @Test("docker save, as skopeo writes it, keeps configuration and layers")
    func dockerArchive() async throws {
        try await Scratch.with { scratch in
            let (image, _) = try await scratch.imported()
            try await scratch.shell(
                "skopeo copy --quiet oci:layout:test docker-archive:save.tar:name:tag; gzip -k save.tar")
            for name in ["save.tar", "save.tar.gz"] {
                let saved = try importImage(
                    archive: scratch.folder + "/" + name, into: try scratch.store(name + ".store"))
                #expect(saved.layers == image.layers && saved.isComplete)
                #expect(saved.platforms == image.platforms)
            }
        }
    }

    @Test("docker save of old, where equal layers are links to one another")
    func oldDockerArchive() async throws {
        try await Scratch.with { scratch in
            try await scratch.makeRootFileSystem()
            let layer = try digest(ofFile: scratch.folder + "/rootfs.tar")
            try scratch.write(
                #"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["\#(layer)","\#(layer)"]}}"#,
                to: "config.json")
            try scratch.write(
                #"[{"Config":"config.json","RepoTags":null,"Layers":["one/layer.tar","two/layer.tar"]}]"#,
                to: "manifest.json")
            try await scratch.shell(
                """
                mkdir one two; cp rootfs.tar one/layer.tar; ln -s ../one/layer.tar two/layer.tar
                tar -cf save.tar config.json two one manifest.json
                """)
            let image = try importImage(archive: scratch.folder + "/save.tar", into: try scratch.store())
            #expect(image.isComplete && image.layers == [layer] && image.platforms == ["linux/amd64"])
        }
    }

    @Test("an OCI layout keeps its digest")
    func layout() async throws {
        try await Scratch.with { scratch in
            let (image, _) = try await scratch.imported()
            try await scratch.shell(
                "tar -C layout -cf layout.tar .; tar -C layout -czf layout.tar.gz index.json oci-layout blobs")
            for name in ["layout.tar", "layout.tar.gz"] {
                let store = try scratch.store(name + ".store")
                #expect(try importImage(archive: scratch.folder + "/" + name, into: store) == image)
            }
        }
    }

    @Test("a layout with images for several platforms becomes an index, the same one every time")
    func severalPlatforms() async throws {
        try await Scratch.with { scratch in
            try scratch.writeLayout("layout", of: [SmallImage(), SmallImage(platform: ("linux", "arm64"))])
            try await scratch.shell("tar -C layout -cf layout.tar .")
            let image = try importImage(archive: scratch.folder + "/layout.tar", into: try scratch.store("a"))
            #expect(image.mediaType == MediaType.index && image.isComplete)
            #expect(image.platforms == ["linux/amd64", "linux/arm64"])
            #expect(try importImage(archive: scratch.folder + "/layout.tar", into: try scratch.store("b")) == image)

            try scratch.writeLayout("twice", of: [SmallImage(layerSize: 10), SmallImage(layerSize: 20)])
            try await scratch.shell("tar -C twice -cf twice.tar .")
            let why = await refusal {
                _ = try importImage(archive: scratch.folder + "/twice.tar", into: try scratch.store("c"))
            }
            #expect(why.contains("several images for linux/amd64: export one at a time"), "\(why)")
        }
    }

    @Test("a root file system that has a manifest.json of its own is still one")
    func misleadingFile() async throws {
        try await Scratch.with { scratch in
            try await scratch.makeRootFileSystem()
            try await scratch.shell(
                """
                for name in manifest.json index.json oci-layout; do echo '{}' > rootfs/$name; done
                tar -C rootfs -cf rootfs.tar .
                """)
            let image = try importImage(archive: scratch.folder + "/rootfs.tar", into: try scratch.store())
            #expect(image.isComplete && image.layers.count == 1)
        }
    }

    @Test("names that point outside change nothing outside")
    func traversal() async throws {
        try await Scratch.with { scratch in
            try await scratch.shell(
                """
                mkdir -p in/deep; echo evil > evil
                tar -P --transform 's,.*,../../escaped,' -cf evil.tar evil
                tar -P --transform 's,.*,\(scratch.folder)/absolute,' -rf evil.tar evil
                tar -tPf evil.tar | grep -qx ../../escaped
                """)
            _ = try importImage(archive: scratch.folder + "/evil.tar", into: try scratch.store("in/deep/store"))
            let found = FileManager.default.enumerator(atPath: scratch.folder)?.allObjects as? [String] ?? []
            #expect(!found.contains { $0.hasSuffix("escaped") || $0.hasSuffix("absolute") }, "\(found)")
        }
    }
}

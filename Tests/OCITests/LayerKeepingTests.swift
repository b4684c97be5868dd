// What stays and what goes: least recently used first, never one in use, the same after a restart. And which image of
// an index is meant.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct LayerKeepingTests {
    private let images = (0..<4).map { LayerImage.small($0, size: 1_000_000) }
    private func source() -> MemorySource { MemorySource(images[0], images[1], images[2], images[3]) }
    private func diffID(_ number: Int) -> Digest { images[number].layers[0].digest }

    @Test("beyond the budget the least recently used layers go, never one that is held")
    func eviction() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.layers(budget: 2_500_000)
            let source = source()
            let (root, first) = try await store.prepare(images[0].pinned, from: source)
            for number in 1...2 { try await store.prepare(images[number].pinned, from: source).lease.release() }
            await store.trim()
            #expect(store.diffIDs == [diffID(0), diffID(2)] || store.diffIDs == [diffID(0), diffID(1)])
            #expect(store.bytes < ByteCount(bytes: 2_500_000))
            #expect(try await scratch.inside(root, "wc -c < file0") == "1000000")
            first.release()
            first.release()
            _ = try await store.prepare(images[3].pinned, from: source)
            let (_, second) = try await store.prepare(images[2].pinned, from: source)
            await store.trim()
            #expect(store.diffIDs == [diffID(2), diffID(3)])
            #expect(try scratch.names(in: "layers/l").count == 3 && scratch.names(in: "layers/records").count == 2)
            #expect(try scratch.names(in: "layers/incoming").isEmpty)
            second.release()
        }
    }

    @Test("an image that is larger than the budget runs, and goes when nobody holds it")
    func larger() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.layers(budget: 1000)
            let (root, lease) = try await store.prepare(images[1].pinned, from: source())
            await store.trim()
            #expect(try await scratch.inside(root, "wc -c < file1") == "1000000")
            lease.release()
            await store.trim()
            #expect(store.diffIDs.isEmpty && store.bytes.bytes == 0)
        }
    }

    @Test("after a restart layers are there without being fetched, in the order of their use, and held by digest")
    func restart() async throws {
        try await Scratch.with { scratch in
            let root = try await {
                let store = try scratch.layers()
                for number in 0..<3 { try await store.prepare(images[number].pinned, from: source()).lease.release() }
                return try await store.prepare(images[0].pinned, from: source()).root
            }()
            // The times of use, an hour apart.
            try await scratch.shell(
                "cd layers/records; n=3; for f in *; do n=$((n-1)); touch -d \"-$n hours\" $f; done")
            let files = try scratch.names(in: "layers/records")
            let again = try await scratch.reopened(budget: 2_500_000)
            #expect(again.diffIDs == Set((0..<3).map(diffID)))
            let lease = again.hold(root.diffIDs)
            #expect(try await again.prepare(images[0].pinned, from: MemorySource()).root == root)
            await again.trim()
            #expect(again.diffIDs.contains(diffID(0)) && again.diffIDs.count == 2)
            let kept = try scratch.names(in: "layers/records")
            // Of the others, the one that was used earlier went.
            let gone = try #require(files.first { !kept.contains($0) })
            let held = try #require(files.firstIndex { root.layers[0].hasSuffix($0.prefix { $0 != "." }) })
            #expect(files.firstIndex(of: gone) == (held == 0 ? 1 : 0))
            lease.release()
        }
    }

    @Test("a store that is open cannot be opened again, and one on a folder that will not do says why")
    func exclusive() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.layers()
            #expect(await refusal { _ = try scratch.layers() }.contains("another agent uses it"))
            #expect(await refusal { _ = try scratch.layers("a:b") }.contains("without commas, colons"))
            #expect(await refusal { _ = try scratch.layers("no/such/folder") }.contains("No such file"))
            let mode = try FileManager.default.attributesOfItem(atPath: scratch.folder + "/layers")[.posixPermissions]
            #expect(mode as? Int == 0o700)
            withExtendedLifetime(store) {}
        }
    }

    @Test("of an index the image for this machine is taken, or the one that was asked for, or none")
    func platforms() async throws {
        try await Scratch.with { scratch in
            let (here, there) = (images[0], images[1])
            let other = Platform.host == "linux/amd64" ? "linux/arm64" : "linux/amd64"
            let index = LayerImage(index: [(there, other), (here, Platform.host)])
            let store = try scratch.layers()
            let source = MemorySource(index)
            #expect(try await store.prepare(index.pinned, from: source).root.manifest == here.digest)
            let missing = PinnedImage(digest: index.digest, platform: "linux/s390x")
            #expect(
                await refusal { _ = try await store.prepare(missing, from: source) }.contains(
                    "it has nothing for linux/s390x, only for \(other), \(Platform.host)"))
            let foreign = LayerImage([(images[2].blobs[diffID(2)] ?? [], nil)], platform: ("linux", "s390x"))
            #expect(
                await refusal { _ = try await store.prepare(foreign.pinned, from: MemorySource(foreign)) }.contains(
                    "it is for linux/s390x, not for \(Platform.host)"))
            let asked = PinnedImage(digest: foreign.digest, platform: "linux/s390x")
            #expect(try await store.prepare(asked, from: MemorySource(foreign)).root.platform == "linux/s390x")
        }
    }

    @Test(
        "a configuration that makes no sense is refused with its field",
        arguments: [
            (#"{"Env":[7]}"#, "$.config.Env[0] must be a string"), (#"{"Env":"x"}"#, "$.config.Env must be a list"),
            (#"{"WorkingDir":"relative"}"#, "$.config.WorkingDir must be an absolute path"),
            ("7", "$.config must be an object"),
        ])
    func configuration(_ json: String, _ says: String) async throws {
        try await Scratch.with { scratch in
            let image = LayerImage([(images[0].blobs[diffID(0)] ?? [], nil)], config: json)
            let store = try scratch.layers()
            let sentence = await refusal { _ = try await store.prepare(image.pinned, from: MemorySource(image)) }
            #expect(sentence.contains(says), "\(sentence)")
            let two = LayerImage([(images[0].blobs[diffID(0)] ?? [], nil)], diffIDs: [diffID(0), diffID(1)])
            #expect(
                await refusal { _ = try await store.prepare(two.pinned, from: MemorySource(two)) }.contains(
                    "it names 2 layers, the manifest 1"))
        }
    }
}

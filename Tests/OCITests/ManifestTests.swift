// Manifests from nobody in particular: each wrong one is refused with a sentence that names the field, and nothing
// crashes.
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct ManifestTests {
    private static let digest = "sha256:" + String(repeating: "a", count: 64)
    private static func blob(_ size: String = "1", _ digest: String = digest, type: String = MediaType.layer) -> String
    {
        #"{"mediaType":"\#(type)","digest":"\#(digest)","size":\#(size)}"#
    }
    private static let config = blob(type: MediaType.configuration)
    private static func image(config: String = config, layers: String = "[]", more: String = "") -> String {
        #"{"schemaVersion":2,"config":\#(config),"layers":\#(layers)\#(more)}"#
    }
    private static func layer(size: String) -> String { image(layers: "[\(blob(size))]") }

    private static let hostileManifests: [(String, String)] = [
        ("", "the document ends too early"), ("<html>", "a JSON value is expected here"),
        ("[]", "it must be an object"),
        ("{}", "schemaVersion must be 2"), (#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
        (#"{"schemaVersion":"2"}"#, "schemaVersion must be 2"), (#"{"schemaVersion":2}"#, "config is missing"),
        (image(more: #","mediaType":"text/plain""#), "mediaType 'text/plain' is not supported"),
        (image(more: #","mediaType":7"#), "mediaType must be a string"),
        (image(more: #","mediaType":"\#(MediaType.index)""#), "is not supported"),
        (image(more: #","manifests":[]"#), "manifests as well as config or layers"),
        (image(layers: "{}"), "layers must be a list"), (image(layers: "null"), "layers must be a list"),
        (image(layers: "[7]"), "layers[0].mediaType must be a string"),
        (layer(size: "-1"), "layers[0].size must be a number of bytes"),
        (layer(size: "1e300"), "layers[0].size must be a number of bytes"),
        (layer(size: "9223372036854775808"), "layers[0].size must be a number of bytes"),
        (layer(size: "0.5"), "layers[0].size must be a number of bytes"),
        (layer(size: "\"1\""), "layers[0].size must be a number of bytes"),
        (layer(size: "1e999"), "is too large"),
        (image(layers: "[\(blob()),\(blob("1", "sha512:abc"))]"), "layers[1].digest must be a sha256 digest"),
        (image(layers: "[\(blob("1", "sha256:ABC"))]"), "layers[0].digest must be a sha256 digest"),
        (image(layers: "[\(blob("2"))]"), "two sizes for the blob \(digest)"),
        (image(config: "7"), "config.mediaType must be a string"),
        (#"{"schemaVersion":2,"schemaVersion":2}"#, "the key is given twice"),
        (#"{"schemaVersion":2,"manifests":7}"#, "manifests must be a list"),
        (#"{"schemaVersion":2,"manifests":[{"mediaType":"x"}]}"#, "manifests[0].digest must be a sha256 digest"),
        (String(repeating: "[", count: 100_000), "nested more than 64 deep"),
        (#"{"schemaVersion":2,"config":"# + String(repeating: " ", count: 4 << 20), "at most 4194304 are allowed"),
        (
            image(layers: "[" + Array(repeating: "7", count: 10_001).joined(separator: ",") + "]"),
            "more than 10000 entries"
        ),
    ]

    @Test("a wrong manifest is refused with a sentence that names the field", arguments: hostileManifests.indices)
    func hostile(index: Int) async {
        let (text, sentence) = Self.hostileManifests[index]
        let why = await refusal { _ = try Manifest(Array(text.utf8), named: "image") }
        #expect(why.contains(sentence), "\(why)")
        #expect(why.hasPrefix("the manifest of image cannot be understood: "))
    }

    @Test("a cut or changed manifest never crashes, and never keeps its digest")
    func mutated() throws {
        let bytes = SmallImage().manifest
        for position in bytes.indices {
            _ = try? Manifest(Array(bytes[..<position]), named: "cut")
            for flip: UInt8 in [0x01, 0x20, 0x80] {
                var changed = bytes
                changed[position] ^= flip
                _ = try? Manifest(changed, named: "flipped")
                #expect(Digest(of: changed) != Digest(of: bytes))
            }
        }
    }

    @Test("an image is read whatever the family of its types, and layers may repeat")
    func good() throws {
        let layer = Self.blob()
        for type in [MediaType.manifest, MediaType.dockerManifest] {
            let text = Self.image(layers: "[\(layer),\(layer)]", more: #","mediaType":"\#(type)""#)
            guard case .image(let found, _, let layers) = try Manifest(Array(text.utf8), named: "image") else {
                Issue.record("not an image")
                continue
            }
            #expect(found == type && layers.count == 2)
        }
    }

    @Test("platforms are named as everybody names them")
    func platforms() throws {
        func entry(_ platform: String) -> String {
            #"{"mediaType":"\#(MediaType.manifest)","digest":"\#(Self.digest)","size":1,"platform":\#(platform)}"#
        }
        let entries = [
            #"{"os":"linux","architecture":"amd64"}"#, #"{"os":"linux","architecture":"arm64","variant":"v8"}"#,
            #"{"os":"linux","architecture":"arm","variant":"v7"}"#, #"{"os":"li nux","architecture":"amd64"}"#,
            #"{"os":7}"#, "[]",
        ].map(entry).joined(separator: ",")
        let text = #"{"schemaVersion":2,"manifests":[\#(entries)]}"#
        guard case .index(_, let manifests) = try Manifest(Array(text.utf8), named: "index") else {
            Issue.record("not an index")
            return
        }
        #expect(manifests.map(\.platform) == ["linux/amd64", "linux/arm64", "linux/arm/v7", nil, nil, nil])
    }

    @Test("an image of which something is missing is not complete; an index counts shared blobs once")
    func inspected() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.store()
            let image = SmallImage()
            let digest = try store.put(image.manifest)
            _ = try store.put(image.configuration)
            let partial = try inspectImage(digest, in: store)
            #expect(!partial.isComplete && partial.platforms.isEmpty && partial.layers == [image.layerDigest])
            _ = try store.put(image.layer)
            let whole = try inspectImage(digest, in: store)
            #expect(whole.isComplete && whole.platforms == ["linux/amd64"])
            #expect(whole.size.bytes == Int64(image.manifest.count + image.configuration.count + image.layer.count))

            let entry = #"{"mediaType":"\#(MediaType.manifest)","digest":"\#(digest)","size":\#(image.manifest.count)}"#
            let index = Array(#"{"schemaVersion":2,"manifests":[\#(entry),\#(entry)]}"#.utf8)
            let listed = try inspectImage(try store.put(index), in: store)
            #expect(listed.isComplete && listed.platforms == ["linux/amd64"] && listed.layers == whole.layers)
            #expect(listed.size.bytes == whole.size.bytes + Int64(index.count))
        }
    }

    @Test("indexes inside indexes end at a limit")
    func nested() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.store()
            var bytes = SmallImage().manifest
            var type = MediaType.manifest
            for _ in 0..<50 {
                let digest = try store.put(bytes)
                let entry = #"{"mediaType":"\#(type)","digest":"\#(digest)","size":\#(bytes.count)}"#
                (bytes, type) = (Array(#"{"schemaVersion":2,"manifests":[\#(entry)]}"#.utf8), MediaType.index)
            }
            let digest = try store.put(bytes)
            #expect(await refusal { _ = try inspectImage(digest, in: store) }.contains("nested more than 3 deep"))
        }
    }
}

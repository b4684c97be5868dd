// Layers that nobody should unpack, and the sentence for each. After each one nothing outside the store has changed
// and nothing of the layer is left in it.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct HostileLayerTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let says: String
        let build: @Sendable (inout TarFile) -> Void
        var testDescription: String { name }
        init(_ name: String, _ says: String, _ build: @escaping @Sendable (inout TarFile) -> Void) {
            self.name = name
            self.says = says
            self.build = build
        }
    }

    private static let long = String(repeating: "n", count: 256)
    private static let deep = String(repeating: "d/", count: 2100) + "x"

    private static let cases: [Case] = [
        Case("a way up", "the entry '../outside' of the layer sha256:") { $0.add("../outside") },
        Case("a way up inside", "would leave the layer by '..'") { $0.add("a/b/../../../outside") },
        Case("a way up and back", "would leave the layer by '..'") { $0.add("a/../b") },
        Case("a way up in a pax header", "would leave the layer by '..'") {
            $0.add("x", pax: [("path", "../outside")])
        },
        Case("an absolute path", "its path is absolute") { $0.add("/tmp/outside") },
        Case("no name", "it has no name") { $0.add("") },
        Case("a file through a link", "leads through a symbolic link") {
            $0.add("link", "2", link: "/tmp")
            $0.add("link/outside", "0", "x")
        },
        Case("a file through a link to the folder above", "leads through a symbolic link") {
            $0.add("link", "2", link: "..")
            $0.add("link/outside", "0", "x")
        },
        Case("a folder through a link", "leads through a symbolic link") {
            $0.add("link", "2", link: "/tmp")
            $0.folder("link/outside")
        },
        Case("folders through a link deep inside", "leads through a symbolic link") {
            $0.folder("a/b")
            $0.add("a/b/link", "2", link: "../../../..")
            $0.add("a/b/link/c/d/outside", "0", "x")
        },
        Case("a whiteout through a link", "leads through a symbolic link") {
            $0.add("link", "2", link: "/tmp")
            $0.add("link/.wh.outside")
        },
        Case("an opaque folder through a link", "leads through a symbolic link") {
            $0.add("link", "2", link: "/tmp")
            $0.add("link/.wh..wh..opq")
        },
        Case("a file through a file", "leads through something that is no folder") {
            $0.add("file", "0", "x")
            $0.add("file/inside", "0", "x")
        },
        Case("a hard link to the host", "its path is absolute") { $0.add("x", "1", link: "/etc/passwd") },
        Case("a hard link up", "would leave the layer by '..'") { $0.add("x", "1", link: "../../../../etc/passwd") },
        Case("a hard link through a link", "which the layer does not have") {
            $0.add("link", "2", link: "/etc")
            $0.add("x", "1", link: "link/passwd")
        },
        Case("a hard link to nothing", "a hard link to 'gone', which the layer does not have") {
            $0.add("x", "1", link: "gone")
        },
        Case("a hard link to a folder", "which the layer does not have") {
            $0.folder("folder")
            $0.add("x", "1", link: "folder")
        },
        Case("a hard link to a whiteout", "which the layer does not have") {
            $0.add(".wh.a")
            $0.add("x", "1", link: "a")
        },
        Case("a character device", "it is a device node") { $0.add("dev/null", "3") },
        Case("a block device", "it is a device node") { $0.add("dev/sda", "4") },
        Case("a forged whiteout", "it is a device node") { $0.add("a", "3") },
        Case("a link to nothing", "it is a symbolic link to nothing") { $0.add("x", "2") },
        Case("a whiteout of nothing", "it is a whiteout of nothing") { $0.add("a/.wh.") },
        Case("a whiteout of its own folder", "it is a whiteout of nothing") { $0.add("a/.wh..") },
        Case("a whiteout of the folder above", "it is a whiteout of nothing") { $0.add("a/.wh...") },
        Case("a file inside a whiteout", "has the name of a whiteout") { $0.add(".wh.a/b", "0", "x") },
        Case("a root that is a file", "it would replace the layer's root") { $0.add(".", "0", "x") },
        Case("a root that is a link", "it would replace the layer's root") { $0.add("./", "2", link: "/") },
        Case("a long name", "more than 255 bytes") { $0.add(long) },
        Case("a long path", "more than 4095 bytes") { $0.add(deep) },
        Case("a long link", "too long") { $0.add("x", "2", link: "/" + deep) },
        Case("an owner beyond numbers", "which is no user") { $0.add("x", owner: (1 << 33, 0)) },
        Case("a file of 1 TiB", "with its 1 TiB the layer's files have more than 128 GiB") {
            $0.header("big", "0", size: 1 << 40)
        },
        Case("a sparse file of 1 TiB", "with its 1 TiB the layer's files have more than 128 GiB") {
            $0.add(
                "big", "0", "1\n0\n1\n" + String(repeating: "\u{0}", count: 506) + "x",
                pax: [
                    ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "big"),
                    ("GNU.sparse.realsize", "\(1 << 40)"),
                ])
        },
        Case("many files that are too large together", "the layer's files have more than 128 GiB") { tar in
            for number in 0..<3 {
                tar.add(
                    "big\(number)", "0", "1\n0\n1\n" + String(repeating: "\u{0}", count: 506) + "x",
                    pax: [
                        ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "big\(number)"),
                        ("GNU.sparse.realsize", "\(50 << 30)"),
                    ])
            }
        },
        Case("a negative size", "the layer sha256:") { tar in
            tar.header("x", "0", size: 1)
            var bytes = tar.bytes
            for index in 0..<12 { bytes[124 + index] = 0xff }
            TarFile.sign(&bytes, at: 0)
            tar = TarFile()
            tar.append(bytes)
        },
        Case("endless special headers", "the layer sha256:") { tar in
            for _ in 0..<5000 { tar.header("g", "g", size: 0) }
        },
        Case("a damaged header", "the layer sha256:") { tar in
            tar.add("a", "0", "x")
            tar.append([UInt8](repeating: 0x41, count: 512))
        },
    ]

    @Test("a hostile layer is refused with a sentence, and leaves nothing anywhere", arguments: cases)
    func refused(_ example: Case) async throws {
        try await Scratch.with { scratch in
            var tar = TarFile()
            tar.folder("before")
            tar.add("before/file", "0", "x")
            example.build(&tar)
            tar.add("after", "0", "x")
            let image = LayerImage(tar)
            let store = try scratch.layers()
            let around = try await scratch.everything()
            let sentence = await refusal { _ = try await store.prepare(image.pinned, from: MemorySource(image)) }
            #expect(sentence.contains(example.says), "\(sentence)")
            #expect(sentence.contains("\(image.layers[0].digest)"), "\(sentence)")
            #expect(store.diffIDs.isEmpty && store.bytes.bytes == 0)
            #expect(try await scratch.everything() == around)
            #expect(!FileManager.default.fileExists(atPath: "/tmp/outside"))
        }
    }

    @Test("what is not the content that was promised is refused and not kept")
    func damaged() async throws {
        try await Scratch.with { scratch in
            var tar = TarFile()
            for number in 0..<50 { tar.add("file\(number)", "0", String(repeating: "\(number)", count: 5000)) }
            let plain = tar.closed
            let gzip = try await scratch.compressed(plain, with: "gzip -n")
            let zstd = try await scratch.compressed(plain, with: "zstd -q")
            var flipped = gzip
            flipped[gzip.count / 2] ^= 1
            let twice = try await scratch.compressed(gzip, with: "gzip -n")
            let xz = try await scratch.compressed(plain, with: "xz")
            let other = Digest(of: "other")
            let cases: [(String, LayerImage, String)] = [
                ("gzip cut short", LayerImage([(Array(gzip.dropLast(100)), plain)]), "truncated"),
                ("zstd cut short", LayerImage([(Array(zstd.dropLast(100)), plain)]), "Truncated"),
                ("tar cut short", LayerImage([(Array(plain.dropLast(5000)), nil)]), "Truncated"),
                (
                    "another diff id", LayerImage([(gzip, plain)], diffIDs: [other]),
                    "(its diff id) is damaged: expected"
                ),
                ("another diff id, plain", LayerImage([(plain, nil)], diffIDs: [other]), "expected \(other)"),
                ("a bit flipped", LayerImage([(flipped, plain)]), "the layer sha256:"),
                ("gzip inside gzip", LayerImage([(twice, plain)]), "it is compressed more than once"),
                ("xz", LayerImage([(xz, plain)]), "the layer sha256:"),
                ("text", LayerImage([(Array("<html>".utf8), nil)]), "the layer sha256:"),
            ]
            let store = try scratch.layers()
            for (name, image, says) in cases {
                let around = try await scratch.everything()
                let sentence = await refusal { _ = try await store.prepare(image.pinned, from: MemorySource(image)) }
                #expect(sentence.contains(says) && sentence.contains("the layer sha256:"), "\(name): \(sentence)")
                #expect(try await scratch.everything() == around, "\(name)")
            }
        }
    }

    @Test("a blob that is not the one of its digest, or not of its size, is refused")
    func otherBlob() async throws {
        try await Scratch.with { scratch in
            let image = LayerImage.small(1, size: 100_000)
            let blob = try #require(image.blobs[image.layers[0].digest])
            var (changed, longer, shorter) = (image, image, image)
            // Its content alone: a tar that cannot be read would be told as such first.
            changed.blobs[image.layers[0].digest] = blob.prefix(512) + blob.dropFirst(512).map { $0 == 0 ? 0 : $0 + 1 }
            longer.blobs[image.layers[0].digest] = blob + [0]
            shorter.blobs[image.layers[0].digest] = Array(blob.dropLast(512))
            let store = try scratch.layers()
            let digest = image.layers[0].digest
            for (bad, says) in [
                (changed, "the layer \(digest) is damaged: expected \(digest), found sha256:"),
                (longer, "expected \(blob.count) bytes, found at least \(blob.count + 1) bytes"),
                (shorter, "expected \(blob.count) bytes, found \(blob.count - 512) bytes"),
            ] {
                let sentence = await refusal { _ = try await store.prepare(image.pinned, from: MemorySource(bad)) }
                #expect(sentence.contains(says), "\(sentence)")
                #expect(try scratch.names(in: "layers/incoming").isEmpty && store.diffIDs.isEmpty)
            }
            _ = try await store.prepare(image.pinned, from: MemorySource(image))
        }
    }

    @Test("a bomb is defused while it goes off: by its ratio, its bytes, its entries")
    func bombs() async throws {
        try await Scratch.with { scratch in
            var zeros = TarFile()
            zeros.add("zeros", "0", String(repeating: "\u{0}", count: 8 << 20))
            let gzip = try await scratch.compressed(zeros.closed, with: "gzip -9n")
            let bomb = LayerImage([(gzip, zeros.closed)])
            var limits = LayerLimits()
            limits.ratioFloor = ByteCount(bytes: 1 << 20)
            let careful = try scratch.layers("careful", limits: limits)
            let ratio = await refusal { _ = try await careful.prepare(bomb.pinned, from: MemorySource(bomb)) }
            #expect(ratio.contains("it unpacks to more than 200 times its size"), "\(ratio)")

            limits = LayerLimits()
            limits.bytes = ByteCount(bytes: 4 << 20)
            limits.entries = 10
            let small = try scratch.layers("small", limits: limits)
            let bytes = await refusal { _ = try await small.prepare(bomb.pinned, from: MemorySource(bomb)) }
            #expect(bytes.contains("'zeros' of the layer") && bytes.contains("more than 4 MiB"), "\(bytes)")

            var many = TarFile()
            for number in 0..<11 { many.add("file\(number)") }
            let crowd = LayerImage(many)
            let entries = await refusal { _ = try await small.prepare(crowd.pinned, from: MemorySource(crowd)) }
            #expect(entries.contains("the layer has more than 10 entries"), "\(entries)")
            for store in ["careful", "small"] { #expect(try scratch.names(in: store + "/incoming").isEmpty) }
        }
    }

    @Test("folders nested deeper than any stack or path are unpacked as far as they go, and removed")
    func deep() async throws {
        try await Scratch.with { scratch in
            var tar = TarFile()
            tar.add(String(repeating: "d/", count: 2000) + "x", "0", "x")
            let image = LayerImage(tar)
            let store = try scratch.layers(budget: 0)
            let (_, lease) = try await store.prepare(image.pinned, from: MemorySource(image))
            lease.release()
            await store.trim()
            #expect(try scratch.names(in: "layers/l") == ["empty"] && scratch.names(in: "layers/incoming").isEmpty)
        }
    }
}

extension Scratch {
    /// Every name, kind, mode, owner and content below the folder.
    func everything() async throws -> String {
        let script = """
            find . -path ./layers/images -prune -o -name 'plain-*' -o \
            -printf '%p %y %m %u %s %l\\n' | sort
            """
        return try await runProcess("sh", ["-ec", script], folder: folder).output
    }
}

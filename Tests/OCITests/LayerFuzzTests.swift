// Tars with bytes changed at random: whatever they become, unpacking ends, and nothing outside the layer is touched.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct LayerFuzzTests {
    @Test("a tar with random changes is unpacked or refused, never let out", arguments: 0..<4)
    func mutated(seed: Int) async throws {
        try await Scratch.with { scratch in
            try await scratch.shell("mkdir outside; echo safe > outside/file; ln -s ../outside link")
            let store = try scratch.layers("layers", budget: 0)
            let before = try await scratch.outside()
            var random = Xorshift(state: UInt64(seed) + 88_172_645_463_325_252)
            let base = Self.base(outside: scratch.folder + "/outside")
            var accepted = 0
            for _ in 0..<60 {
                let bytes = Self.mutate(base, &random)
                let image = LayerImage([(bytes, nil)])
                do {
                    let (_, lease) = try await store.prepare(image.pinned, from: MemorySource(image))
                    lease.release()
                    accepted += 1
                } catch let error as OCIError {
                    #expect("\(error)".contains("the layer sha256:"), "\(error)")
                }
            }
            await store.trim()
            #expect(accepted > 0)
            #expect(try await scratch.outside() == before)
            #expect(try scratch.names(in: "layers/l") == ["empty"] && scratch.names(in: "layers/incoming").isEmpty)
        }
    }

    /// One of everything, with links that point out.
    private static func base(outside: String) -> [UInt8] {
        var tar = TarFile()
        tar.folder("folder")
        tar.add("folder/file", "0", "content")
        tar.add("out", "2", link: outside)
        tar.add("up", "2", link: "../../outside")
        tar.add("hard", "1", link: "folder/file")
        tar.add("pipe", "6")
        tar.add("folder/.wh.gone")
        tar.add("folder/.wh..wh..opq")
        tar.add("noted", "0", "n", pax: [("SCHILY.xattr.user.a", "b"), ("mtime", "12.5"), ("path", "folder/named")])
        tar.add(
            "sparse", "0", "1\n0\n1\n" + String(repeating: "\u{0}", count: 506) + "x",
            pax: [
                ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "sparse"),
                ("GNU.sparse.realsize", "100000"),
            ])
        tar.add("out2/file", "0", "x")
        return tar.closed
    }

    /// Changes a few bytes, mostly in headers, which are signed again so that they are read; also moves blocks.
    private static func mutate(_ base: [UInt8], _ random: inout Xorshift) -> [UInt8] {
        var bytes = base
        let blocks = bytes.count / 512
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let block = Int.random(in: 0..<blocks, using: &random) * 512
            switch Int.random(in: 0..<10, using: &random) {
            case 0: bytes.replaceSubrange(block..<block + 512, with: base.prefix(512))
            case 1:
                let other = Int.random(in: 0..<blocks, using: &random) * 512
                for index in 0..<512 { bytes.swapAt(block + index, other + index) }
            case 2: bytes[block + 156] = Array("01234567gxLKSDV".utf8).randomElement(using: &random) ?? 0
            case 3: bytes.replaceSubrange(block + 157..<block + 161, with: Array("out\u{0}".utf8))
            case 4: bytes.replaceSubrange(block..<block + 6, with: Array("out/x\u{0}".utf8))
            case 5: bytes.replaceSubrange(block..<block + 5, with: Array("../x\u{0}".utf8))
            default: bytes[block + Int.random(in: 0..<300, using: &random)] = .random(in: 0...255, using: &random)
            }
            if bytes[block..<block + 512].contains(where: { $0 != 0 }) { TarFile.sign(&bytes, at: block) }
        }
        return bytes
    }
}

/// G. Marsaglia, "Xorshift RNGs", 2003: the same numbers everywhere.
struct Xorshift: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

extension Scratch {
    fileprivate func outside() async throws -> String {
        try await runProcess(
            "sh", ["-ec", "find . -path ./layers -prune -o -printf '%p %y %m %u %n %T@ %l\n'; cat outside/*"],
            folder: folder
        ).output
    }
}

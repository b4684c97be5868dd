// Content that is kept compressed: whole or not at all, under the digest of what it is.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite("compressed content") struct CompressedStoreTests {
    private func with(_ body: (CompressedStore) throws -> Void) throws {
        let folder = try temporaryFolder("compressed")
        defer { removeFolder(folder) }
        try body(try CompressedStore(directory: folder + "/store"))
    }

    private func put(_ bytes: [UInt8], as digest: Digest, into store: CompressedStore) throws {
        var rest = bytes[...]
        try store.put(digest) {
            defer { rest = rest.dropFirst(1000) }
            return rest.isEmpty ? nil : Array(rest.prefix(1000))
        }
    }

    private func content(_ digest: Digest, of store: CompressedStore) throws -> [UInt8] {
        let reader = try store.reader(digest)
        var bytes: [UInt8] = []
        while let piece = try reader.next() { bytes += piece }
        return bytes
    }

    @Test("what was put comes back, and takes less room", arguments: [0, 1, 999, 300_000])
    func roundTrip(size: Int) throws {
        try with { store in
            let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 / 100) }
            let digest = Digest(of: bytes)
            #expect(!store.has(digest))
            try put(bytes, as: digest, into: store)
            try put(bytes, as: digest, into: store)
            #expect(try content(digest, of: store) == bytes)
            let stored = try FileManager.default.attributesOfItem(atPath: store.path(of: digest))[.size] as? Int
            if size > 100_000 { #expect(try #require(stored) < size / 10) }
        }
    }

    @Test("something else than was promised is not kept, and leaves nothing")
    func mismatch() throws {
        try with { store in
            let digest = Digest(of: "this")
            #expect(throws: OCIError.self) { try put(Array("that".utf8), as: digest, into: store) }
            struct Broken: Error {}
            #expect(throws: Broken.self) { try store.put(digest) { throw Broken() } }
            #expect(!store.has(digest))
            #expect(throws: OCIError.blobMissing(digest)) { try store.reader(digest) }
            let left = try FileManager.default.contentsOfDirectory(atPath: store.directory + "/incoming")
            #expect(left.isEmpty)
        }
    }

    @Test("a file that the disk has spoiled is an error, not another content")
    func spoiled() throws {
        try with { store in
            let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7 / 3) }
            let digest = Digest(of: bytes)
            try put(bytes, as: digest, into: store)
            try Data("no zstd".utf8).write(to: URL(filePath: store.path(of: digest)))
            #expect(throws: OCIError.self) {
                let found = try content(digest, of: store)
                if Digest(of: found) != digest { throw OCIError.blobMissing(digest) }
            }
        }
    }

    @Test("what a crash left on its way in is gone at the next start")
    func leftovers() throws {
        try with { store in
            let left = store.directory + "/incoming/1-1"
            try Data("half".utf8).write(to: URL(filePath: left))
            _ = try CompressedStore(directory: store.directory)
            #expect(!FileManager.default.fileExists(atPath: left))
        }
    }

    @Test("every file is told with its size and its last use, one may be touched or removed, all else stays")
    func removal() throws {
        try with { store in
            let digests = try ["old", "old but wanted", "new"].map { text in
                try put(Array(text.utf8), as: Digest(of: text), into: store)
                return Digest(of: text)
            }
            for digest in digests[..<2] {
                try FileManager.default.setAttributes(
                    [.modificationDate: Date(timeIntervalSince1970: 1000)], ofItemAtPath: store.path(of: digest))
            }
            store.touch(digests[1])
            var old: [Digest] = []
            var count = 0
            try store.each { digest, size, time in
                #expect(size > 0)
                count += 1
                if time < 2000 { old.append(digest) }
                return true
            }
            #expect(old == [digests[0]] && count == 3)
            var first = 0
            try store.each { _, _, _ in
                first += 1
                return false
            }
            #expect(first == 1)
            #expect(try store.remove(digests[0]) && !store.remove(digests[0]))
            #expect(digests.map(store.has) == [false, true, true])
        }
    }
}

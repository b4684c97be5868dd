// The content store on a real disk: nothing that is not whole ever has a name.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct ContentStoreTests {
    private let content = Array("some content".utf8)

    private func incoming(of store: ContentStore) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: store.directory + "/incoming")
    }

    @Test("what is written is found under its digest, in a sharded folder, by a store that is opened later")
    func written() async throws {
        try await Scratch.with { scratch in
            let digest = try scratch.store().put(content)
            #expect(digest == Digest(of: content))
            let later = try scratch.store()
            #expect(try later.read(digest, limit: 100) == content)
            #expect(later.size(of: digest) == 12)
            #expect(later.path(of: digest).hasSuffix("/blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)"))
        }
    }

    @Test("content with another digest or size than promised is refused, and leaves nothing")
    func mismatch() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.store()
            let other = Digest(of: "something else")
            let wrongDigest = await refusal {
                let writer = try store.writer()
                try writer.write(content)
                _ = try writer.commit(expecting: other, size: nil)
            }
            #expect(wrongDigest == "the blob is damaged: expected \(other), found \(Digest(of: content))")
            let wrongSize = await refusal {
                let writer = try store.writer()
                try writer.write(content)
                _ = try writer.commit(expecting: Digest(of: content), size: 13)
            }
            #expect(wrongSize == "the blob \(Digest(of: content)) is damaged: expected 13 bytes, found 12 bytes")
            #expect(store.size(of: other) == nil && store.size(of: Digest(of: content)) == nil)
            #expect(try incoming(of: store).isEmpty)
        }
    }

    @Test("a writer that is dropped or given up leaves nothing; a crashed writer's file is removed at the next start")
    func leftovers() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.store()
            do {
                let dropped = try store.writer()
                try dropped.write(content)
                #expect(try incoming(of: store).count == 1)
            }
            let writer = try store.writer()
            try writer.write(content)
            writer.abandon()
            #expect(try incoming(of: store).isEmpty)
            try scratch.write("half", to: "store/incoming/1234-5678")
            _ = try scratch.store()
            #expect(try incoming(of: store).isEmpty)
        }
    }

    @Test("a committed writer refuses a second commit")
    func twice() async throws {
        try await Scratch.with { scratch in
            let writer = try scratch.store().writer()
            try writer.write(content)
            _ = try writer.commit(expecting: nil, size: nil)
            #expect(throws: OCIError.self) { _ = try writer.commit(expecting: nil, size: nil) }
        }
    }

    @Test("many writers of the same content at once all succeed, and there is one blob")
    func concurrent() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.store()
            let bytes = [UInt8](repeating: 7, count: 300_000)
            let digests = try await withThrowingTaskGroup(of: Digest.self) { group in
                for _ in 0..<16 {
                    group.addTask {
                        let writer = try store.writer()
                        for start in stride(from: 0, to: bytes.count, by: 10_000) {
                            try writer.write(Array(bytes[start..<start + 10_000]))
                            await Task.yield()
                        }
                        return try writer.commit(expecting: Digest(of: bytes), size: 300_000)
                    }
                }
                return try await group.reduce(into: Set<Digest>()) { $0.insert($1) }
            }
            #expect(digests == [Digest(of: bytes)])
            #expect(try store.read(Digest(of: bytes), limit: 300_000) == bytes)
            #expect(try incoming(of: store).isEmpty)
        }
    }

    @Test("a blob that is missing, larger than the limit, or rotten on the disk is an error, not content")
    func reading() async throws {
        try await Scratch.with { scratch in
            let store = try scratch.store()
            let absent = Digest(of: "absent")
            #expect(
                await refusal { _ = try store.read(absent, limit: 10) } == "the blob \(absent) is not in the archive")
            let digest = try store.put(content)
            #expect(await refusal { _ = try store.read(digest, limit: 11) }.hasSuffix("is larger than 11 B"))
            try "Some content".write(toFile: store.path(of: digest), atomically: false, encoding: .utf8)
            #expect(
                await refusal { _ = try store.read(digest, limit: 100) }.hasPrefix("a blob in the archive is damaged"))
        }
    }

    @Test("a disk that is full is told apart, and leaves nothing")
    func full() async throws {
        try await Scratch.with { scratch in
            try await scratch.shell("mkdir small; mount -t tmpfs -o size=256k tmpfs small")
            defer { _ = umount2(scratch.folder + "/small", Int32(MNT_DETACH)) }
            let store = try scratch.store("small/store")
            do {
                _ = try store.put([UInt8](repeating: 1, count: 1 << 20))
                Issue.record("the content was accepted")
            } catch let error as OCIError {
                #expect(error.isDiskFull, "\(error)")
            }
            #expect(try incoming(of: store).isEmpty)
            _ = try store.put([UInt8](repeating: 1, count: 1 << 10))
        }
    }
}

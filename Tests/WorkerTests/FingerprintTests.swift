// The tree digest: its format is pinned by golden digests, everything that makes data different changes it, nothing
// else does.
import Foundation
import Glibc
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("the tree digest", .timeLimit(.minutes(20)))
struct FingerprintTests {
    private static let start = timespec(tv_sec: 1_400_000_000, tv_nsec: 123_456_789)

    /// A small tree with every kind of entry, the same bytes on every machine.
    private func withTree(_ body: (String) async throws -> Void) async throws {
        let folder = try temporaryFolder("tree")
        defer { removeFolder(folder) }
        let tree = folder + "/tree"
        mkdir(tree, 0o755)
        // Sorted as bytes, the content of "a" comes after "a-b" and "a.c".
        for name in ["a", "a/inner", "empty", ".jobctl"] { mkdir(tree + "/" + name, 0o755) }
        let files = ["a/one": "1", "a-b": "2", "a.c": "3", "a/inner/two": "22", "zero": "", ".jobctl/x": "hidden"]
        for (name, text) in files {
            try Data(text.utf8).write(to: URL(filePath: tree + "/" + name))
            chmod(tree + "/" + name, 0o644)
        }
        chmod(tree + "/a.c", 0o755)
        symlink("a/one", tree + "/link")
        for name in ["a", "a/inner", "empty", "a/one", "a-b", "a.c", "a/inner/two", "zero", "link"] {
            utimensat(AT_FDCWD, tree + "/" + name, [Self.start, Self.start], AT_SYMLINK_NOFOLLOW)
        }
        try await body(tree)
    }

    private func status(_ path: String) throws -> stat {
        var information = stat()
        try #require(lstat(path, &information) == 0)
        return information
    }

    /// The format of Sources/Worker/Volumes/Fingerprint.swift, written down once more by hand.
    private func digest(of lines: [String]) -> Digest { Digest(of: lines.map { $0 + "\0" }.joined()) }

    @Test("its format is as documented, at each level")
    func format() async throws {
        try await withTree { tree in
            func sha(_ text: String) -> String { Digest(of: text).hex }
            let found = try await Fingerprinter().fingerprint(tree, level: .content)
            #expect(found.files == 6 && found.bytes.bytes == 5 && found.level == .content)
            #expect(
                found.treeDigest
                    == digest(of: [
                        "d 755 0 - a", "f 644 1 \(sha("2")) a-b", "f 755 1 \(sha("3")) a.c", "d 755 0 - a/inner",
                        "f 644 2 \(sha("22")) a/inner/two", "f 644 1 \(sha("1")) a/one", "d 755 0 - empty",
                        "l 777 5 \(sha("a/one")) link", "f 644 0 \(sha("")) zero",
                    ]))
            let time = "1400000000123456789"
            let metadata = try await Fingerprinter().fingerprint(tree, level: .metadata)
            #expect(
                metadata.treeDigest
                    == digest(of: [
                        "d 755 0 - a", "f 644 1 \(time) a-b", "f 755 1 \(time) a.c", "d 755 0 - a/inner",
                        "f 644 2 \(time) a/inner/two", "f 644 1 \(time) a/one", "d 755 0 - empty",
                        "l 777 5 \(time) link", "f 644 0 \(time) zero",
                    ]))
            let none = try await Fingerprinter().fingerprint("/no/such/folder", level: .none)
            #expect(none.treeDigest == nil && none.files == 0 && none.level == .none)
        }
    }

    @Test("its list is written where the attempt has no folder yet, and is what the digest is of")
    func listWithoutFolder() async throws {
        try await withTree { tree in
            let list = (tree as NSString).deletingLastPathComponent + "/42.1.1.logs/tree.output"
            let fingerprint = try await Fingerprinter().fingerprint(tree, level: .content, list: list)
            #expect(fingerprint.treeDigest == Digest(of: try Data(contentsOf: URL(filePath: list))))
        }
    }

    @Test("it is pinned: digests that users have recorded stay valid")
    func golden() async throws {
        try await withTree { tree in
            let content = try await Fingerprinter().fingerprint(tree, level: .content)
            #expect(
                content.treeDigest?.description
                    == "sha256:876cda64c68612cde075ea6df00fed1582ed16085d3f1cb824dee08a199e268b")
            let file = try await Fingerprinter().fingerprint(tree + "/a-b", level: .content)
            #expect(
                file.treeDigest?.description
                    == "sha256:71ea41e9526035aa86281736cca4a8aebde2c3d420e3e8f68d6f2e281c03ec87")
            #expect(file.files == 1 && file.bytes.bytes == 1)
        }
    }

    @Test(
        "whatever makes data different changes it",
        arguments: [
            "content", "size", "mode", "name", "new file", "new folder", "missing file", "link target", "kind",
            "folder mode",
        ])
    func sensitivity(change: String) async throws {
        try await withTree { tree in
            let fingerprinter = Fingerprinter()
            let before = try await fingerprinter.fingerprint(tree, level: .content)
            switch change {
            case "content": try Data("9".utf8).write(to: URL(filePath: tree + "/a/one"))
            case "size": try Data("11".utf8).write(to: URL(filePath: tree + "/a/one"))
            case "mode": chmod(tree + "/a/one", 0o600)
            case "name": rename(tree + "/a/one", tree + "/a/uno")
            case "new file": try Data().write(to: URL(filePath: tree + "/empty/new"))
            case "new folder": mkdir(tree + "/empty/new", 0o755)
            case "missing file": unlink(tree + "/zero")
            case "link target":
                unlink(tree + "/link")
                symlink("a/two", tree + "/link")
            case "kind":
                unlink(tree + "/zero")
                mkdir(tree + "/zero", 0o755)
            default: chmod(tree + "/a", 0o700)
            }
            #expect(try await fingerprinter.fingerprint(tree, level: .content).treeDigest != before.treeDigest)
        }
    }

    @Test("neither times, nor the order of creation, nor the worker's own folder change it")
    func insensitivity() async throws {
        try await withTree { tree in
            let before = try await Fingerprinter().fingerprint(tree, level: .content)
            utimensat(AT_FDCWD, tree + "/a/one", nil, 0)
            try Data("more".utf8).write(to: URL(filePath: tree + "/.jobctl/y"))
            // Written anew in another order.
            for name in ["zero", "a-b", "a.c"] {
                let data = try #require(FileManager.default.contents(atPath: tree + "/" + name))
                let mode = try status(tree + "/" + name).st_mode & 0o7777
                unlink(tree + "/" + name)
                try data.write(to: URL(filePath: tree + "/" + name))
                chmod(tree + "/" + name, mode)
            }
            #expect(try await Fingerprinter().fingerprint(tree, level: .content).treeDigest == before.treeDigest)
            // At level metadata, a time does.
            let metadata = try await Fingerprinter().fingerprint(tree, level: .metadata)
            utimensat(AT_FDCWD, tree + "/a/one", [Self.start, Self.start], 0)
            #expect(try await Fingerprinter().fingerprint(tree, level: .metadata).treeDigest != metadata.treeDigest)
        }
    }

    @Test("unchanged files are not read again, changed ones are")
    func readsOnce() async throws {
        try await withTree { tree in
            let fingerprinter = Fingerprinter()
            // A file that was written just now may change within the same tick: it is not trusted yet.
            try await eventually("nothing is read again") {
                let before = fingerprinter.filesHashed
                _ = try await fingerprinter.fingerprint(tree, level: .content)
                return fingerprinter.filesHashed == before
            }
            let before = fingerprinter.filesHashed
            try Data("9".utf8).write(to: URL(filePath: tree + "/a/one"))
            let changed = try await fingerprinter.fingerprint(tree, level: .content)
            #expect(fingerprinter.filesHashed == before + 1)
            #expect(try await Fingerprinter().fingerprint(tree, level: .content).treeDigest == changed.treeDigest)
        }
    }

    @Test("a file that grows while it is read is an error, not a digest of something that never was")
    func growing() async throws {
        try await withTree { tree in
            let file = open(tree + "/zero", O_WRONLY | O_APPEND)
            defer { close(file) }
            ftruncate(file, 8 << 20)
            let writer = Repeater { write(file, "x", 1) }
            // However the two are scheduled: one that is read to its end was the same before and after.
            try await eventually("a change is noticed") {
                do throws(VolumeError) {
                    _ = try await Fingerprinter().fingerprint(tree, level: .content)
                    return false
                } catch {
                    return error.description == "zero changed while it was fingerprinted"
                }
            }
            #expect(writer.stop() > 0)
        }
    }

    @Test("FIFOs, sockets and devices are refused by name, without being opened", arguments: ["", "/a/inner/odd"])
    func odd(path: String) async throws {
        try await withTree { tree in
            let odd = path.isEmpty ? tree + "-fifo" : tree + path
            mkfifo(odd, 0o644)
            await #expect {
                try await Fingerprinter().fingerprint(path.isEmpty ? odd : tree, level: .content)
            } throws: { error in
                (error as? VolumeError)?.description.hasSuffix(
                    "is neither a file nor a folder nor a link: it cannot be fingerprinted") ?? false
            }
        }
    }

    @Test("names that are no UTF-8 are names like others")
    func byteNames() async throws {
        try await withTree { tree in
            let before = try await Fingerprinter().fingerprint(tree, level: .content)
            let folder = open(tree, O_RDONLY | O_DIRECTORY)
            defer { close(folder) }
            let name = [CChar](unsafeUninitializedCapacity: 4) { buffer, count in
                for (index, byte) in [0xe9, 0xff, 0x0a, 0].enumerated() {
                    buffer[index] = CChar(truncatingIfNeeded: byte)
                }
                count = 4
            }
            try #require(mkdirat(folder, name, 0o755) == 0)
            let inner = openat(folder, name, O_RDONLY | O_DIRECTORY)
            close(openat(inner, name, O_WRONLY | O_CREAT, 0o644))
            close(inner)
            let after = try await Fingerprinter().fingerprint(tree, level: .content)
            #expect(after.files == before.files + 1 && after.treeDigest != before.treeDigest)
        }
    }

    @Test("ten thousand files in deep and wide folders, and a stop in the middle")
    func large() async throws {
        let folder = try temporaryFolder("large")
        defer { removeFolder(folder) }
        var deep = folder
        for index in 0..<100 {
            deep += "/d\(index)"
            mkdir(deep, 0o755)
            for number in 0..<100 { close(open("\(deep)/\(number)", O_WRONLY | O_CREAT, 0o644)) }
        }
        let found = try await Fingerprinter().fingerprint(folder, level: .content)
        #expect(found.files == 10_000)
        let cancelled = Task { try await Fingerprinter().fingerprint(folder, level: .content) }
        cancelled.cancel()
        await #expect(throws: VolumeError("the fingerprint was given up")) { try await cancelled.value }
    }

    @Test("a link in place of the tree, or of a folder in it, is not followed")
    func links() async throws {
        try await withTree { tree in
            symlink("/etc", tree + "-link")
            await #expect(throws: VolumeError.self) {
                try await Fingerprinter().fingerprint(tree + "-link", level: .content)
            }
            symlink("/etc", tree + "/etc")
            let found = try await Fingerprinter().fingerprint(tree, level: .content)
            #expect(found.files == 7)
        }
    }
}

// Why two results differ: each pattern is named for the files that have it, and for no others.
import Foundation
import JobModel
import Testing

@testable import Worker

@Suite("probable causes of a difference") struct DifferenceCauseTests {
    private static let runs = RunNames(first: AttemptID("42.1.1")!, second: AttemptID("57.1.1")!)

    private func cause(_ first: [UInt8], _ second: [UInt8]) -> CauseKind? {
        DifferenceCause(of: ContentPair(first, second), runs: Self.runs)?.kind.value
    }
    private func cause(_ first: String, _ second: String) -> CauseKind? { cause(Array(first.utf8), Array(second.utf8)) }

    @Test(
        "texts",
        arguments: [
            ("a\nb\nc\n", "c\na\nb\n", CauseKind.order), ("B\na\n", "a\nB\n", .locale),
            ("made 2026-11-26 10:11:12\n", "made 2026-11-27 09:00:00\n", .timestamp),
            ("at 1764150000.5\n", "at 1764150022.25\n", .timestamp),
            ("Thu Nov 26 10:11:12 UTC 2026\n", "Fri Nov 27 10:11:13 UTC 2026\n", .timestamp),
            ("20261126T101112Z", "20261126T101501Z", .timestamp),
            ("x 3,14\ny 1,5\n", "x 3.14\ny 1.5\n", .locale), ("a\r\nb\r\n", "a\nb\n", .lineEndings),
            ("mean 0.30000000000000004\n", "mean 0.3\n", .rounding),
            ("a 1.00001e-5 b -2.5\n", "a 1.00002e-5 b -2.5\n", .rounding),
            ("job 42\n", "job 57\n", .jobID), ("42.1.1 ran\n", "57.1.1 ran\n", .jobID),
            ("id 123e4567-e89b-12d3-a456-426614174000\n", "id 9f3e4567-e89b-12d3-a456-426614174abc\n", .random),
            ("see /tmp/tmpab12/x\n", "see /tmp/tmpzz99/x\n", .random), ("one\ntwo\n", "one\n", .truncated),
            ("", "x", .truncated),
        ])
    func texts(first: String, second: String, kind: CauseKind) { #expect(cause(first, second) == kind) }

    @Test(
        "what has no pattern has no cause",
        arguments: [
            ("apples 3\n", "apples 4\n"), ("a\n", "b\n"), ("mean 0.3\n", "mean 0.7\n"),
            ("2026-11-26 count 3\n", "2026-11-26 count 4\n"), ("a\nb\n", "a\nc\n"), ("job 42\n", "job 58\n"),
            ("100000 rows\n", "100001 rows\n"), ("a\nx\n", "b\ny\nz\n"),
        ])
    func none(first: String, second: String) { #expect(cause(first, second) == nil) }

    @Test("a gzip header's time is told from a difference in its content")
    func gzip() {
        let header: [UInt8] = [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3]
        var later = header
        later[5] = 9
        #expect(cause(header + [1, 2, 3], later + [1, 2, 3]) == .timestamp)
        #expect(cause(header + [1, 2, 3, 0], header + [1, 2, 4, 0]) == nil)
    }

    @Test("members' times in tar and zip archives are found where the formats have them")
    func archives() {
        var tar = [UInt8](repeating: 0, count: 2048)
        for (index, byte) in "ustar".utf8.enumerated() { tar[512 + 257 + index] = byte }
        var other = tar
        other[512 + 140] = 0x31
        #expect(cause(tar, other) == .timestamp)
        other = tar
        other[512 + 5] = 0x31
        #expect(cause(tar, other) != .timestamp)
        let zip = Array("PK\u{3}\u{4}".utf8) + [20, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0]
        var changed = zip
        changed[11] = 77
        #expect(cause(zip, changed) == .timestamp)
    }

    @Test("numbers in binary files that differ in their last digits are named; other bytes are not")
    func numbers() {
        func bytes(_ values: [Double]) -> [UInt8] {
            values.flatMap { withUnsafeBytes(of: $0.bitPattern) { Array($0) } }
        }
        func bytes(_ values: [Float]) -> [UInt8] { values.flatMap { withUnsafeBytes(of: $0.bitPattern) { Array($0) } } }
        let header = Array("\u{93}NUMPY__".utf8.prefix(8))
        #expect(cause(header + bytes([0.1 + 0.2, 1e9, 5.0]), header + bytes([0.3, 1e9, 5.0.nextUp])) == .rounding)
        #expect(cause(header + bytes([0.1, 2.0]), header + bytes([0.1, 3.0])) == nil)
        #expect(cause(bytes([Float(0.1), 7]), bytes([Float(0.1).nextUp, 7])) == .rounding)
        #expect(cause([0, 1, 2, 255, 9], [0, 1, 3, 255, 9]) == nil)
    }

    @Test("a date in a binary file is seen where it differs")
    func dates() {
        let (a, b): ([UInt8], [UInt8]) = (
            [0, 1, 2] + Array("D:20261126101112 ".utf8), [0, 1, 2] + Array("D:20261127101112 ".utf8)
        )
        #expect(cause(a, b) == .timestamp)
    }

    @Test("files on disk are compared piece by piece: the first byte, also far behind the beginning, and the digest")
    func files() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "jobctl-pair-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func pair(_ a: [UInt8], _ b: [UInt8]) throws -> ContentPair {
            var files: [Int32] = []
            for (name, bytes) in [("a", a), ("b", b)] {
                try Data(bytes).write(to: folder.appending(path: name))
                files.append(open(folder.appending(path: name).path, O_RDONLY | O_CLOEXEC))
            }
            return try ContentPair(Descriptor(owning: files[0]), Descriptor(owning: files[1])) { false }
        }
        let long = (0..<4_500_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for place in [0, 262_143, 262_144, 4_499_999] {
            var other = long
            other[place] ^= 1
            let found = try pair(long, other)
            #expect(found.offset == Int64(place) && found.firstDigest == Digest(of: long) && !found.isWhole)
        }
        #expect(try pair(long, long).offset == nil)
        #expect(try pair(long, Array(long.dropLast(1))).offset == 4_499_999)
        #expect(try pair(Array(long.prefix(262_144)), Array(long.prefix(300_000))).offset == 262_144)
        #expect(try pair([], [1]).offset == 0 && (try pair([], [])).offset == nil)
    }
}

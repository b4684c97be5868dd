// Compressed files that are read from any place.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct SeekableFileTests {
    private func compressed(_ content: [UInt8], _ scratch: Scratch) throws -> String {
        try Data(content).write(to: URL(filePath: scratch.folder + "/log"))
        let path = scratch.folder + "/log.zst"
        let size = try SeekableFile.compress(scratch.folder + "/log", into: path)
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int64 == size)
        return path
    }

    /// Text that compresses, with noise that does not.
    private func content(_ size: Int) -> [UInt8] {
        var numbers = SeededNumbers(seed: 7)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        for place in 0..<size {
            let isText = (place / 4096) % 2 == 0
            bytes.append(isText ? UInt8(place % 64) + 32 : UInt8(truncatingIfNeeded: numbers.next()))
        }
        return bytes
    }

    @Test(
        "any range comes back, and zstd reads the whole",
        arguments: [0, 1, 4095, 1 << 20, (1 << 20) + 1, 3 << 20, (3 << 20) - 17])
    func ranges(size: Int) async throws {
        try await Scratch.with { scratch in
            let content = content(size)
            let path = try compressed(content, scratch)
            let reader = try #require(try SeekableReader(path: path))
            #expect(reader.size == Int64(size))
            for offset in [0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 5, 2 << 20, size - 1, size, size + 9] {
                for count in [0, 1, 100, 1 << 20, (1 << 20) + 1, 3 << 20] {
                    let wanted = offset < 0 || offset >= size ? [] : Array(content[offset..<min(size, offset + count)])
                    let got = try reader.read(from: Int64(offset), count: count)
                    #expect(got == wanted, "\(count) from \(offset) of \(size)")
                }
            }
            let whole = try await runProcess("sh", ["-c", "zstd -dcq \"$1\" | sha256sum", "x", path])
            #expect(whole.output.hasPrefix(Digest(of: content).hex), "\(whole)")
        }
    }

    @Test("text becomes smaller, noise hardly larger, and the time of change stays")
    func sizes() async throws {
        try await Scratch.with { scratch in
            let text = Array(String(repeating: "station=seattle days=365 mean=16.99\n", count: 50_000).utf8)
            let path = try compressed(text, scratch)
            let size = try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
            #expect(size < text.count / 20)
            let times = try ["/log", "/log.zst"].map {
                try FileManager.default.attributesOfItem(atPath: scratch.folder + $0)[.modificationDate] as? Date
            }
            #expect(times[0] == times[1])
            var numbers = SeededNumbers(seed: 3)
            var noise: [UInt8] = []
            for _ in 0..<3_000_000 { noise.append(UInt8(truncatingIfNeeded: numbers.next())) }
            let noisy = try compressed(noise, scratch)
            let larger = try #require(try FileManager.default.attributesOfItem(atPath: noisy)[.size] as? Int)
            #expect(larger < noise.count + 10_000)
        }
    }

    @Test("each damaged byte of the table, and a file that is cut, is found out or changes nothing")
    func damage() async throws {
        try await Scratch.with { scratch in
            let content = content(2_500_000)
            let path = try compressed(content, scratch)
            let bytes = try Data(contentsOf: URL(filePath: path))
            func outcome(_ damaged: Data) throws -> [UInt8]? {
                try damaged.write(to: URL(filePath: path))
                do {
                    guard let reader = try SeekableReader(path: path) else { return nil }
                    return try reader.read(from: 1_000_000, count: 1_200_000)
                } catch is OCIError { return nil }
            }
            let right = Array(content[1_000_000..<2_200_000])
            for place in (bytes.count - 41)..<bytes.count {
                for bit in [0, 3, 7] {
                    var damaged = bytes
                    damaged[place] ^= UInt8(1 << bit)
                    let got = try outcome(damaged)
                    #expect(got == nil || got == right, "byte \(place), bit \(bit)")
                }
            }
            for length in [0, 5, 9, bytes.count / 2, bytes.count - 1] {
                #expect(try outcome(bytes.prefix(length)) == nil, "\(length) bytes")
            }
        }
    }
}

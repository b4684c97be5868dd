// A tar as bytes, entry by entry, honest or not: real tools refuse to write what a hostile layer has.
import Foundation

struct TarFile {
    private(set) var bytes: [UInt8] = []

    /// Adds an entry. What does not fit into the header goes into pax records before it.
    /// - Parameters:
    ///   - type: `0` file, `1` hard link, `2` symbolic link, `3` character device, `5` folder, `6` pipe.
    ///   - size: what the header claims; nil for the truth.
    ///   - pax: records of an extended header.
    mutating func add(
        _ name: String, _ type: Character = "0", _ content: String = "", link: String = "", mode: Int = 0o644,
        owner: (Int, Int) = (0, 0), time: Int = 1_000_000_000, size: Int? = nil, pax: [(String, String)] = []
    ) {
        var records = pax
        if name.utf8.count > 100, !pax.contains(where: { $0.0 == "path" }) { records.append(("path", name)) }
        if link.utf8.count > 100 { records.append(("linkpath", link)) }
        if !records.isEmpty {
            let body = records.map(Self.record).joined()
            header("PaxHeader", "x", size: body.utf8.count)
            append(Array(body.utf8))
        }
        let content = Array(content.utf8)
        header(
            name, type, link: link, mode: mode, owner: owner, time: time,
            size: size ?? (type == "0" ? content.count : 0))
        if type == "0" { append(content) }
    }

    mutating func folder(_ name: String, mode: Int = 0o755, owner: (Int, Int) = (0, 0), time: Int = 1_000_000_000) {
        add(name + "/", "5", mode: mode, owner: owner, time: time)
    }

    /// Anything, filled up to whole blocks.
    mutating func append(_ content: [UInt8]) {
        bytes += content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    /// With the two empty blocks at the end.
    var closed: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }

    private static func record(_ key: String, _ value: String) -> String {
        var length = 0
        while true {
            let text = "\(length) \(key)=\(value)\n"
            if text.utf8.count == length { return text }
            length = text.utf8.count
        }
    }

    mutating func header(
        _ name: String, _ type: Character, link: String = "", mode: Int = 0o644, owner: (Int, Int) = (0, 0),
        time: Int = 0, size: Int
    ) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Sequence<UInt8>, at start: Int, _ length: Int) {
            for (index, byte) in bytes.prefix(length).enumerated() { block[start + index] = byte }
        }
        func number(_ value: Int, at start: Int, _ length: Int) {
            let digits = String(value, radix: 8)
            guard digits.count < length else {
                // GNU's binary numbers.
                for index in 0..<8 { block[start + length - 1 - index] = UInt8(value >> (8 * index) & 255) }
                block[start] |= 0x80
                return
            }
            put((String(repeating: "0", count: length - 1 - digits.count) + digits).utf8, at: start, length)
        }
        put(name.utf8, at: 0, 100)
        number(mode, at: 100, 8)
        number(owner.0, at: 108, 8)
        number(owner.1, at: 116, 8)
        number(size, at: 124, 12)
        number(time, at: 136, 12)
        put(String(type).utf8, at: 156, 1)
        put(link.utf8, at: 157, 100)
        put("ustar\u{0}00".utf8, at: 257, 8)
        if type == "3" || type == "4" {
            number(1, at: 329, 8)
            number(3, at: 337, 8)
        }
        Self.sign(&block, at: 0)
        bytes += block
    }

    /// Puts the checksum of the header at `start` in order.
    static func sign(_ bytes: inout [UInt8], at start: Int) {
        for index in 148..<156 { bytes[start + index] = 0x20 }
        let sum = bytes[start..<start + 512].reduce(0) { $0 + Int($1) }
        let text = String(sum, radix: 8)
        let digits = String(repeating: "0", count: max(0, 6 - text.count)) + text
        for (index, byte) in (digits + "\u{0} ").utf8.enumerated() { bytes[start + 148 + index] = byte }
    }
}

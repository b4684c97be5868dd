// The few parts of the tar format (POSIX ustar) that an export has: plain files with short names, one after the other.
// Every tar program can read it; nothing else is taken back, so there is nothing in a file from outside that could
// mean anything but a name and a size.
import JobModel

struct TarHeader: Hashable {
    var name: String
    var size: Int64

    static let block = 512
    /// What closes a tar.
    static let end = [UInt8](repeating: 0, count: 2 * block)

    /// The bytes between a content of `size` bytes and the next header.
    static func padding(_ size: Int64) -> Int { Int((Int64(block) - size % Int64(block)) % Int64(block)) }

    /// What a member takes in the file.
    var extent: Int64 { Int64(Self.block) + size + Int64(Self.padding(size)) }

    /// - Precondition: the name has at most 255 bytes, with a slash where more than 100 are left behind it.
    func bytes(at time: Timestamp) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: Self.block)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
        }
        func octal(_ number: Int64, digits: Int) -> String {
            let text = String(number, radix: 8)
            return String(repeating: "0", count: digits - text.utf8.count) + text
        }
        let (prefix, rest) = Self.split(name)
        put(rest, at: 0)
        put("0000644", at: 100)
        put("0000000", at: 108)
        put("0000000", at: 116)
        if size < 1 << 33 {
            put(octal(size, digits: 11), at: 124)
        } else {
            // The number in base 256, as GNU tar, libarchive and Python write and read it.
            block[124] = 0x80
            for index in 0..<8 { block[128 + index] = UInt8(truncatingIfNeeded: size >> Int64(56 - 8 * index)) }
        }
        put(octal(max(0, time.millisecondsSinceEpoch / 1000), digits: 11), at: 136)
        put("        ", at: 148)
        block[156] = UInt8(ascii: "0")
        put("ustar\u{0}00", at: 257)
        put(prefix, at: 345)
        let sum = block.reduce(Int64(0)) { $0 + Int64($1) }
        put(octal(sum, digits: 6) + "\u{0} ", at: 148)
        return block
    }

    private static func split(_ name: String) -> (prefix: String, rest: String) {
        guard name.utf8.count > 100 else { return ("", name) }
        let slash = name.indices.first { name[$0] == "/" && name[$0...].utf8.count <= 101 } ?? name.startIndex
        return (String(name[..<slash]), String(name[name.index(after: slash)...]))
    }

    /// Why a block is no header of an export.
    struct Mistake: Error, CustomStringConvertible {
        let description: String
    }

    init(name: String, size: Int64) {
        self.name = name
        self.size = size
    }

    /// Nil for a block of zeros, which closes the file.
    init?(_ block: [UInt8]) throws(Mistake) {
        guard block.contains(where: { $0 != 0 }) else { return nil }
        guard block.count == Self.block, block[257..<262].elementsEqual("ustar".utf8) else {
            throw Mistake(description: "it is no tar")
        }
        let spaced = block.enumerated().map { (148..<156).contains($0) ? 0x20 : Int64($1) }
        guard Self.number(block[148..<156]) == spaced.reduce(0, +) else {
            throw Mistake(description: "a header's checksum is wrong")
        }
        func text(_ range: Range<Int>) throws(Mistake) -> String {
            let bytes = block[range].prefix { $0 != 0 }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw Mistake(description: "a name is not UTF-8")
            }
            return text
        }
        let prefix = try text(345..<500)
        let rest = try text(0..<100)
        name = prefix.isEmpty ? rest : "\(prefix)/\(rest)"
        guard block[156] == UInt8(ascii: "0") || block[156] == 0 else {
            throw Mistake(description: "\(quoted(name)) is no plain file")
        }
        guard let size = Self.number(block[124..<136]), size <= 1 << 44 else {
            throw Mistake(description: "the size of \(quoted(name)) cannot be")
        }
        self.size = size
    }

    /// Octal digits, or base 256.
    private static func number(_ field: ArraySlice<UInt8>) -> Int64? {
        if field.first == 0x80 {
            let bytes = field.dropFirst()
            guard bytes.dropLast(7).allSatisfy({ $0 == 0 }) else { return nil }
            return bytes.suffix(7).reduce(0) { $0 << 8 | Int64($1) }
        }
        let digits = field.drop { $0 == 0x20 }.prefix { $0 != 0 && $0 != 0x20 }
        guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x37).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 << 3 | Int64($1 - 0x30) }
    }
}

// Content addresses: `sha256:` and 64 lower-case hexadecimal digits, as the OCI image specification writes them.
import Crypto

/// The SHA-256 of some content. 32 bytes; prints as `sha256:…`.
package struct Digest: Hashable, Sendable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    /// - Precondition: `bytes` holds exactly 32 bytes.
    init(bytes: some Sequence<UInt8>) {
        var values: [UInt64] = [0, 0, 0, 0]
        var count = 0
        for byte in bytes {
            values[count / 8] = values[count / 8] << 8 | UInt64(byte)
            count += 1
        }
        precondition(count == 32, "a SHA-256 has 32 bytes")
        words = (values[0], values[1], values[2], values[3])
    }

    /// Parses `sha256:<64 lower-case hex digits>`; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let prefix = "sha256:"
        guard text.utf8.count == prefix.utf8.count + 64, text.hasPrefix(prefix) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        var high: UInt8?
        for character in text.utf8.dropFirst(prefix.utf8.count) {
            let nibble: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = character - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let pending = high {
                bytes.append(pending << 4 | nibble)
                high = nil
            } else {
                high = nibble
            }
        }
        self.init(bytes: bytes)
    }

    /// The digest of `content`.
    package init(of content: some Sequence<UInt8>) {
        var hasher = DigestBuilder()
        hasher.update(Array(content))
        self = hasher.finish()
    }

    package init(of text: String) { self.init(of: text.utf8) }

    /// The 64 hexadecimal digits without the algorithm's name.
    package var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(64)
        for word in [words.0, words.1, words.2, words.3] {
            for shift in stride(from: 60, through: 0, by: -4) { text.append(digits[Int(word >> UInt64(shift) & 15)]) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The first 12 hexadecimal digits: for people, never for look-ups.
    package var short: String { String(hex.prefix(12)) }

    package static func == (a: Digest, b: Digest) -> Bool { a.words == b.words }
    package func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

extension Digest: Comparable, CustomStringConvertible, Codable, CodingKeyRepresentable {
    package static func < (a: Digest, b: Digest) -> Bool { a.words < b.words }
    package var description: String { "sha256:" + hex }
    package init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "a digest: sha256: and 64 lower-case hexadecimal digits") { Digest($0) }
    }
    package func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
    package var codingKey: any CodingKey { description.codingKey }
    package init?(codingKey: some CodingKey) { self.init(codingKey.stringValue) }
}

/// Computes a ``Digest`` from content that arrives in pieces.
package struct DigestBuilder {
    private var hasher = SHA256()
    package init() {}
    package mutating func update(_ piece: [UInt8]) { hasher.update(data: piece) }
    package mutating func update(_ piece: UnsafeRawBufferPointer) { hasher.update(bufferPointer: piece) }
    package consuming func finish() -> Digest { Digest(bytes: hasher.finalize()) }
}

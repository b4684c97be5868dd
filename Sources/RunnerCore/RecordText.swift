// The text form of what the agent and a runner tell each other through files: one `key value` a line, keys may repeat,
// the last line is `end`. Invariant: a file that was cut off anywhere has no `end` and is no record.

/// One record.
package struct RecordText: Hashable, Sendable {
    package struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
        package let description: String
        package init(_ description: String) { self.description = description }
    }

    /// Nothing that is larger is read.
    package static let sizeLimit = 4 << 20

    private var lines: [(key: String, value: String)] = []

    package init() {}

    package static func == (a: RecordText, b: RecordText) -> Bool { a.text == b.text }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }

    // MARK: Writing

    package mutating func add(_ key: String, _ value: String) { lines.append((key, value)) }
    package mutating func add(_ key: String, _ value: some BinaryInteger) { add(key, String(value)) }
    package mutating func add(_ key: String, _ value: (some BinaryInteger)?) { if let value { add(key, value) } }
    package mutating func add(_ key: String, _ value: String?) { if let value { add(key, value) } }

    package var text: [UInt8] {
        var output: [UInt8] = []
        for (key, value) in lines {
            output += key.utf8
            output.append(UInt8(ascii: " "))
            for byte in value.utf8 {
                switch byte {
                case UInt8(ascii: "%"): output += "%25".utf8
                case UInt8(ascii: "\n"): output += "%0A".utf8
                default: output.append(byte)
                }
            }
            output.append(UInt8(ascii: "\n"))
        }
        return output + "end\n".utf8
    }

    // MARK: Reading

    package init(_ text: [UInt8]) throws(Malformed) {
        guard text.count <= Self.sizeLimit else { throw Malformed("the record is larger than \(Self.sizeLimit) bytes") }
        var rest = text[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[..<end]
            rest = rest[(end + 1)...]
            if line.elementsEqual("end".utf8) {
                guard rest.isEmpty else { throw Malformed("the record goes on after its end") }
                return
            }
            guard let space = line.firstIndex(of: UInt8(ascii: " ")) else {
                throw Malformed("the record has a line without a value")
            }
            let key = String(decoding: line[..<space], as: UTF8.self)
            lines.append((key, try Self.unescaped(line[(space + 1)...])))
        }
        throw Malformed("the record is not complete")
    }

    private static func unescaped(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> String {
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if bytes[index] == UInt8(ascii: "%") {
                let code = bytes[(index + 1)...].prefix(2)
                if code.elementsEqual("25".utf8) {
                    output.append(UInt8(ascii: "%"))
                } else if code.elementsEqual("0A".utf8) {
                    output.append(UInt8(ascii: "\n"))
                } else {
                    throw Malformed("the record has an unknown escape")
                }
                index += 3
            } else {
                output.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    package func all(_ key: String) -> [String] { lines.filter { $0.key == key }.map(\.value) }

    package func optional(_ key: String) -> String? { lines.first { $0.key == key }?.value }

    package func value(_ key: String) throws(Malformed) -> String {
        guard let value = optional(key) else { throw Malformed("the record lacks '\(key)'") }
        return value
    }

    package func optionalNumber<Number: FixedWidthInteger>(_ key: String) throws(Malformed) -> Number? {
        guard let text = optional(key) else { return nil }
        guard let number = Number(text) else { throw Malformed("the record's '\(key)' is not a number that fits") }
        return number
    }

    package func number<Number: FixedWidthInteger>(_ key: String) throws(Malformed) -> Number {
        guard let number: Number = try optionalNumber(key) else { throw Malformed("the record lacks '\(key)'") }
        return number
    }

    /// - Throws: unless the record is of this format.
    package func expect(format: String) throws(Malformed) {
        guard optional("format") == format else { throw Malformed("the record is not of the format '\(format)'") }
    }
}

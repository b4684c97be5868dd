// JSON text straight into bytes, for the documents that are written thousands of times a second. The same JSON as
// ``WireJSON/encode(_:pretty:)`` gives, keys sorted by whoever writes: tests compare the two.

package struct JSONWriter {
    package private(set) var bytes: [UInt8] = []
    /// Whether the next member or element needs a comma before it.
    private var needsComma = false

    package init(capacity: Int = 512) { bytes.reserveCapacity(capacity) }

    package mutating func object(_ members: (inout JSONWriter) throws -> Void) rethrows {
        try nested(UInt8(ascii: "{"), UInt8(ascii: "}"), members)
    }

    package mutating func array<Element>(
        _ elements: some Sequence<Element>, _ write: (inout JSONWriter, Element) throws -> Void
    ) rethrows {
        try nested(UInt8(ascii: "["), UInt8(ascii: "]")) { writer in
            for element in elements { try write(&writer, element) }
        }
    }

    /// A member of an object: its key, then whatever `value` writes.
    package mutating func member(_ key: StaticString, _ value: (inout JSONWriter) throws -> Void) rethrows {
        begin()
        bytes.append(UInt8(ascii: "\""))
        key.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
        try value(&self)
    }

    package mutating func member(_ key: StaticString, _ text: String) { member(key) { $0.string(text) } }
    package mutating func member(_ key: StaticString, _ number: Int64) { member(key) { $0.number(number) } }
    package mutating func member(_ key: StaticString, ifPresent text: String?) { if let text { member(key, text) } }

    /// A member whose key is data.
    package mutating func member(named key: String, _ value: (inout JSONWriter) throws -> Void) rethrows {
        string(key)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
        try value(&self)
    }

    package mutating func strings(_ key: StaticString, _ map: [String: String]) {
        member(key) { $0.strings(map) }
    }

    package mutating func strings(_ map: [String: String]) {
        object { writer in
            for name in map.keys.sorted() { writer.member(named: name) { $0.string(map[name] ?? "") } }
        }
    }

    package mutating func number(_ number: Int64) {
        begin()
        bytes.append(contentsOf: String(number).utf8)
    }

    /// A number that has decimals unless it is whole.
    /// - Precondition: finite; JSON has no other numbers.
    package mutating func number(_ number: Double) {
        precondition(number.isFinite, "JSON has no infinity")
        begin()
        bytes.append(contentsOf: number.description.utf8)
        if bytes.suffix(2).elementsEqual(".0".utf8) { bytes.removeLast(2) }
    }

    /// A number with decimals: whole milliseconds or thousandths, so that few digits are needed.
    package mutating func seconds(_ span: TimeSpan) {
        begin()
        let text = span.milliseconds % 1000 == 0 ? String(span.milliseconds / 1000) : String(span.seconds)
        bytes.append(contentsOf: text.utf8)
    }

    package mutating func bool(_ value: Bool) {
        begin()
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    /// Text that is JSON already.
    package mutating func raw(_ json: [UInt8]) {
        begin()
        bytes.append(contentsOf: json)
    }

    package mutating func string(_ text: String) {
        begin()
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { utf8 in
            let isPlain = utf8.allSatisfy { $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
            if isPlain { bytes.append(contentsOf: utf8) } else { for byte in utf8 { escaped(byte) } }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// `"42.7.2"`.
    package mutating func attempt(_ id: AttemptID) {
        begin()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: String(id.job.rawValue).utf8)
        bytes.append(UInt8(ascii: "."))
        bytes.append(contentsOf: String(id.task.index).utf8)
        bytes.append(UInt8(ascii: "."))
        bytes.append(contentsOf: String(id.number).utf8)
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func escaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): bytes.append(contentsOf: #"\""#.utf8)
        case UInt8(ascii: "\\"): bytes.append(contentsOf: #"\\"#.utf8)
        case 0x08: bytes.append(contentsOf: #"\b"#.utf8)
        case 0x09: bytes.append(contentsOf: #"\t"#.utf8)
        case 0x0a: bytes.append(contentsOf: #"\n"#.utf8)
        case 0x0c: bytes.append(contentsOf: #"\f"#.utf8)
        case 0x0d: bytes.append(contentsOf: #"\r"#.utf8)
        case 0..<0x20:
            let digits = Array("0123456789abcdef".utf8)
            bytes.append(contentsOf: #"\u00"#.utf8)
            bytes.append(digits[Int(byte >> 4)])
            bytes.append(digits[Int(byte & 15)])
        default: bytes.append(byte)
        }
    }

    private mutating func begin() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func nested(_ open: UInt8, _ close: UInt8, _ content: (inout JSONWriter) throws -> Void) rethrows {
        begin()
        bytes.append(open)
        needsComma = false
        try content(&self)
        bytes.append(close)
        needsComma = true
    }
}

// RFC 8259, strictly, on bytes: duplicate keys, deep nesting, lone surrogates and trailing text are refused, each with
// its JSON path. Foundation's parser keeps the last of two equal keys and has no locations.

package struct JSONParser {
    private let bytes: [UInt8]
    private let limits: DocumentLimits
    private let file: String?
    private var position = 0
    private var line = 1
    private var depth = 0
    private var path: [String] = ["$"]

    /// Parses one JSON document.
    /// - Throws: ``SpecError`` with line and JSON path.
    package static func parse(_ bytes: [UInt8], file: String? = nil, limits: DocumentLimits = DocumentLimits())
        throws(SpecError)
        -> SpecNode
    {
        var parser = JSONParser(bytes: bytes, limits: limits, file: file)
        return try parser.document()
    }

    private init(bytes: [UInt8], limits: DocumentLimits, file: String?) {
        self.bytes = bytes
        self.limits = limits
        self.file = file
    }

    private mutating func document() throws(SpecError) -> SpecNode {
        guard bytes.count <= limits.size else {
            throw error("the document has \(bytes.count) bytes: at most \(limits.size) are allowed")
        }
        guard !DocumentLimits.hasByteOrderMark(bytes) else { throw error(DocumentLimits.byteOrderMark) }
        skipSpace()
        let node = try value()
        skipSpace()
        guard position == bytes.count else { throw error("there is text after the end of the document") }
        return node
    }

    private var location: SourceLocation { SourceLocation(file: file, line: line) }
    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func error(_ message: String) -> SpecError {
        SpecError(location: location, path: path.joined(), message: message)
    }

    private mutating func skipSpace() {
        while let byte = next {
            switch byte {
            case 0x0a: line += 1
            case 0x20, 0x09, 0x0d: break
            default: return
            }
            position += 1
        }
    }

    private mutating func value() throws(SpecError) -> SpecNode {
        let start = location
        switch next {
        case UInt8(ascii: "{"):
            return SpecNode(.mapping(try nested { (parser) throws(SpecError) in try parser.members() }), at: start)
        case UInt8(ascii: "["):
            return SpecNode(.sequence(try nested { (parser) throws(SpecError) in try parser.elements() }), at: start)
        case UInt8(ascii: "\""): return SpecNode(.scalar(try string(), .string), at: start)
        case UInt8(ascii: "t"): return try literal("true", .bool)
        case UInt8(ascii: "f"): return try literal("false", .bool)
        case UInt8(ascii: "n"): return try literal("null", .null)
        case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")):
            return SpecNode(.scalar(try number(), .number), at: start)
        case nil: throw error("the document ends too early")
        default: throw error("a JSON value is expected here")
        }
    }

    private mutating func nested<Result>(_ body: (inout JSONParser) throws(SpecError) -> Result) throws(SpecError)
        -> Result
    {
        depth += 1
        guard depth <= limits.depth else { throw error("values are nested more than \(limits.depth) deep") }
        position += 1
        let result = try body(&self)
        depth -= 1
        return result
    }

    private mutating func members() throws(SpecError) -> [SpecNode.Member] {
        var members: [SpecNode.Member] = []
        var keys: Set<String> = []
        skipSpace()
        if take("}") { return members }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw error("a key in double quotes is expected here") }
            let start = location
            let key = try string()
            path.append("." + shown(key))
            guard keys.insert(key).inserted else { throw error("the key is given twice") }
            skipSpace()
            guard take(":") else { throw error("':' is expected after a key") }
            skipSpace()
            members.append(SpecNode.Member(key: key, location: start, node: try value()))
            path.removeLast()
            skipSpace()
            if take("}") { return members }
            guard take(",") else { throw error("',' or '}' is expected here") }
        }
    }

    private mutating func elements() throws(SpecError) -> [SpecNode] {
        var nodes: [SpecNode] = []
        skipSpace()
        if take("]") { return nodes }
        while true {
            skipSpace()
            path.append("[\(nodes.count)]")
            nodes.append(try value())
            path.removeLast()
            skipSpace()
            if take("]") { return nodes }
            guard take(",") else { throw error("',' or ']' is expected here") }
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func literal(_ text: StaticString, _ kind: SpecNode.Kind) throws(SpecError) -> SpecNode {
        let word = text.description
        guard bytes[position...].starts(with: word.utf8) else { throw error("a JSON value is expected here") }
        position += word.utf8.count
        return SpecNode(.scalar(word, kind), at: location)
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        return position - start
    }

    private mutating func number() throws(SpecError) -> String {
        let start = position
        _ = take("-")
        let leadingZero = next == UInt8(ascii: "0")
        let count = digits()
        guard count > 0, !(leadingZero && count > 1) else { throw error("this is not a JSON number") }
        if take(".") { guard digits() > 0 else { throw error("this is not a JSON number") } }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            guard digits() > 0 else { throw error("this is not a JSON number") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let value = Double(text), value.isFinite else { throw error("the number \(quoted(text)) is too large") }
        return text
    }

    private mutating func string() throws(SpecError) -> String {
        position += 1
        let start = position
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            guard byte >= 0x20 else { throw error("a string holds a control character that is not escaped") }
            position += 1
        }
        if take("\"") { return try text(bytes[start..<(position - 1)]) }
        var content = Array(bytes[start..<position])
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return try text(content[...])
            case UInt8(ascii: "\\"): content += Array(String(try escape()).utf8)
            case 0..<0x20: throw error("a string holds a control character that is not escaped")
            default: content.append(byte)
            }
        }
        throw error("a string has no end")
    }

    private func text(_ content: ArraySlice<UInt8>) throws(SpecError) -> String {
        guard let text = String(validating: content, as: UTF8.self) else { throw error("a string is not valid UTF-8") }
        return text
    }

    private mutating func escape() throws(SpecError) -> Unicode.Scalar {
        guard let byte = next else { throw error("a string has no end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unicodeEscape()
        default: throw error("a string holds an unknown escape")
        }
    }

    private mutating func unicodeEscape() throws(SpecError) -> Unicode.Scalar {
        let high = try hexadecimal()
        if let scalar = Unicode.Scalar(high) { return scalar }
        guard (0xd800..<0xdc00).contains(high), take("\\"), take("u") else {
            throw error("a string holds half of a surrogate pair")
        }
        let low = try hexadecimal()
        guard (0xdc00..<0xe000).contains(low),
            let scalar = Unicode.Scalar(0x10000 + (high - 0xd800) << 10 + (low - 0xdc00))
        else {
            throw error("a string holds half of a surrogate pair")
        }
        return scalar
    }

    private mutating func hexadecimal() throws(SpecError) -> UInt32 {
        guard position + 4 <= bytes.count,
            bytes[position..<position + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let value = UInt32(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
        else { throw error("a \\u escape needs four hexadecimal digits") }
        position += 4
        return value
    }
}

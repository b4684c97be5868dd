// YAML by Yams, reduced to what JSON can say: no anchors, aliases, tags, merge keys or second documents, and the same
// limits. Plain scalars are typed by the YAML 1.2 core schema, so `yes`, `no` and `on` are strings.
import Yams

package enum YAMLParser {
    /// Parses one YAML document.
    /// - Throws: ``SpecError`` with file and line.
    package static func parse(_ bytes: [UInt8], file: String, limits: DocumentLimits = DocumentLimits())
        throws(SpecError) -> SpecNode
    {
        func refusal(_ message: String, line: Int = 1) -> SpecError {
            SpecError(location: SourceLocation(file: file, line: line), path: "$", message: message)
        }
        guard bytes.count <= limits.size else {
            throw refusal("the document has \(bytes.count) bytes: at most \(limits.size) are allowed")
        }
        guard !DocumentLimits.hasByteOrderMark(bytes) else { throw refusal(DocumentLimits.byteOrderMark) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw refusal("the document is not valid UTF-8")
        }
        // Yams builds its tree by recursion: what nests too deep must be found before.
        if let line = lineThatNestsTooDeep(bytes, depth: limits.depth) {
            throw refusal("values are nested more than \(limits.depth) deep", line: line)
        }
        do {
            let parser = try Yams.Parser(yaml: text, resolver: .basic)
            guard let root = try parser.nextRoot() else { throw refusal("the document is empty") }
            var walk = Walk(file: file, limits: limits)
            let node = try walk.convert(root)
            guard try parser.nextRoot() == nil else { throw refusal("the file holds more than one document: keep one") }
            return node
        } catch let error as SpecError {
            throw error
        } catch let error as YamlError {
            throw refusal(sentence(error), line: line(of: error))
        } catch {
            throw refusal("the document could not be read")
        }
    }

    /// The first line on which brackets or compact dashes nest deeper than `depth`, counted without understanding
    /// quotes: a text that opens that many brackets on its way is refused as well.
    private static func lineThatNestsTooDeep(_ bytes: [UInt8], depth limit: Int) -> Int? {
        var line = 1
        var brackets = 0
        var dashes = 0
        var indents: [Int] = []
        var column = 0
        var atStart = true
        for (index, byte) in bytes.enumerated() {
            switch byte {
            case 0x0a:
                line += 1
                column = 0
                dashes = 0
                atStart = true
                continue
            case UInt8(ascii: "["), UInt8(ascii: "{"): brackets += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"): brackets = max(0, brackets - 1)
            case UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":"):
                let nextByte = index + 1 < bytes.count ? bytes[index + 1] : 0x0a
                if nextByte == 0x20 || nextByte == 0x09 || nextByte == 0x0a { dashes += 1 }
            default: break
            }
            if atStart, byte != 0x20 {
                atStart = false
                while let last = indents.last, last >= column { indents.removeLast() }
                indents.append(column)
            }
            column += 1
            if brackets + dashes + indents.count > 4 * limit { return line }
        }
        return nil
    }

    private static func line(of error: YamlError) -> Int {
        switch error {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark.line
        case .duplicatedKeysInMapping(_, let context): context.mark.line
        default: 1
        }
    }

    private static func sentence(_ error: YamlError) -> String {
        switch error {
        case .scanner(_, let problem, _, _), .parser(_, let problem, _, _), .composer(_, let problem, _, _):
            "this is not valid YAML: \(problem)"
        case .duplicatedKeysInMapping(let keys, _): "the key \(quoted(keys.first ?? "")) is given twice"
        default: "this is not valid YAML"
        }
    }

    private struct Walk {
        let file: String
        let limits: DocumentLimits
        var path: [String] = ["$"]

        mutating func convert(_ node: Node) throws(SpecError) -> SpecNode {
            let location = SourceLocation(file: file, line: node.mark?.line ?? 1)
            func refusal(_ message: String) -> SpecError {
                SpecError(location: location, path: path.joined(), message: message)
            }
            guard path.count <= limits.depth + 1 else {
                throw refusal("values are nested more than \(limits.depth) deep")
            }
            switch node {
            case .alias: throw refusal("aliases (*name) are not supported: write the value out")
            case .scalar(let scalar):
                guard scalar.anchor == nil else {
                    throw refusal("anchors (&name) are not supported: write the value out")
                }
                return SpecNode(try typed(scalar, refusal), at: location)
            case .sequence(let sequence):
                guard sequence.anchor == nil else {
                    throw refusal("anchors (&name) are not supported: write the value out")
                }
                try refuseTag(sequence.tag, refusal)
                var nodes: [SpecNode] = []
                for element in sequence {
                    path.append("[\(nodes.count)]")
                    nodes.append(try convert(element))
                    path.removeLast()
                }
                return SpecNode(.sequence(nodes), at: location)
            case .mapping(let mapping):
                guard mapping.anchor == nil else {
                    throw refusal("anchors (&name) are not supported: write the value out")
                }
                try refuseTag(mapping.tag, refusal)
                return SpecNode(.mapping(try members(mapping)), at: location)
            }
        }

        private mutating func members(_ mapping: Node.Mapping) throws(SpecError) -> [SpecNode.Member] {
            var members: [SpecNode.Member] = []
            var keys: Set<String> = []
            for (keyNode, valueNode) in mapping {
                let location = SourceLocation(file: file, line: keyNode.mark?.line ?? 1)
                func refusal(_ message: String) -> SpecError {
                    SpecError(location: location, path: path.joined(), message: message)
                }
                guard case .scalar(let scalar) = keyNode else { throw refusal("a key must be a plain word") }
                guard scalar.anchor == nil else {
                    throw refusal("anchors (&name) are not supported: write the value out")
                }
                guard scalar.string != "<<" else {
                    throw refusal("merge keys (<<) are not supported: write the values out")
                }
                path.append("." + shown(scalar.string))
                guard keys.insert(scalar.string).inserted else { throw refusal("the key is given twice") }
                members.append(SpecNode.Member(key: scalar.string, location: location, node: try convert(valueNode)))
                path.removeLast()
            }
            return members
        }

        private func refuseTag(_ tag: Tag, _ refusal: (String) -> SpecError) throws(SpecError) {
            guard tag.description.isEmpty else {
                throw refusal("tags (!name) are not supported: a quoted value is a string, a plain 5 is a number")
            }
        }

        private func typed(_ scalar: Node.Scalar, _ refusal: (String) -> SpecError) throws(SpecError) -> SpecNode.Value
        {
            let text = scalar.string
            guard scalar.style == .plain || scalar.style == .any else {
                // Yams gives every quoted scalar the tag of strings.
                if scalar.tag.description != Tag.Name.str.rawValue { try refuseTag(scalar.tag, refusal) }
                return .scalar(text, .string)
            }
            try refuseTag(scalar.tag, refusal)
            switch text {
            case "", "~", "null", "Null", "NULL": return .scalar("null", .null)
            case "true", "True", "TRUE": return .scalar("true", .bool)
            case "false", "False", "FALSE": return .scalar("false", .bool)
            default: return .scalar(text, isNumber(text) ? .number : .string)
            }
        }

        /// Decimal numbers of the core schema. A leading zero (`0123`), hexadecimal and infinity stay text: they mean
        /// different things to different readers.
        private func isNumber(_ text: String) -> Bool {
            var rest = Substring(text)
            if rest.first == "-" || rest.first == "+" { rest = rest.dropFirst() }
            let whole = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(whole.count)
            guard !whole.isEmpty, !(whole.count > 1 && whole.first == "0") else { return false }
            if rest.first == "." {
                rest = rest.dropFirst()
                rest = rest.drop { $0.isASCII && $0.isNumber }
            }
            if rest.first == "e" || rest.first == "E" {
                rest = rest.dropFirst()
                if rest.first == "-" || rest.first == "+" { rest = rest.dropFirst() }
                guard let digit = rest.first, digit.isASCII, digit.isNumber else { return false }
                rest = rest.drop { $0.isASCII && $0.isNumber }
            }
            return rest.isEmpty && (Double(text)?.isFinite ?? false)
        }
    }
}

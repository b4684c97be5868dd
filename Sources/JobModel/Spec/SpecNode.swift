// A document as a located tree: what YAML and JSON both become before anything is understood. Both parsers obey the
// same limits, so that no document can exhaust the stack or the memory. Meaning stands in SpecParser.swift.

/// What every document from outside must keep to.
package struct DocumentLimits: Sendable {
    /// Bytes of the whole document.
    package var size = 1 << 20
    /// Mappings and sequences inside one another.
    package var depth = 64
    package init() {}

    static let byteOrderMark = "begins with a byte order mark: save the file as UTF-8 without one"
    static func hasByteOrderMark(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0xef, 0xbb, 0xbf]) }
}

/// Where a value stands: `annual-temps.yaml:7`. JSON that came over the wire has no file.
package struct SourceLocation: Hashable, Sendable, CustomStringConvertible {
    package var file: String?
    package var line: Int
    package init(file: String?, line: Int) {
        self.file = file
        self.line = line
    }
    package var description: String { file.map { "\($0):\(line)" } ?? "line \(line)" }
}

/// A document that was refused: where, which field, and one sentence.
package struct SpecError: Error, Hashable, Sendable, CustomStringConvertible {
    package var location: SourceLocation
    /// For example `$.resources.cpus`.
    package var path: String
    package var message: String

    package init(location: SourceLocation, path: String, message: String) {
        self.location = location
        self.path = path
        self.message = message
    }

    /// `annual-temps.yaml:7: resources.cpus: 'two' is not …`
    package var description: String {
        let field = path == "$" ? "" : (path.hasPrefix("$.") ? String(path.dropFirst(2)) : path) + ": "
        return location.file == nil ? field + message : "\(location): \(field)\(message)"
    }

    /// The same as a problem for the wire.
    package var problem: Problem { Problem(.badRequest, message, field: path) }
}

package struct SpecNode: Sendable {
    package enum Kind: Sendable { case string, number, bool, null }
    package struct Member: Sendable {
        package var key: String
        package var location: SourceLocation
        package var node: SpecNode
    }
    package enum Value: Sendable {
        case mapping([Member])
        case sequence([SpecNode])
        /// The source text of a plain scalar, or the content of a string.
        case scalar(String, Kind)
    }

    package var value: Value
    package var location: SourceLocation

    package init(_ value: Value, at location: SourceLocation) {
        self.value = value
        self.location = location
    }

    /// What a message calls a value of this kind.
    package var noun: String {
        switch value {
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .scalar(_, .string): "a string"
        case .scalar(_, .number): "a number"
        case .scalar(_, .bool): "true or false"
        case .scalar(_, .null): "nothing"
        }
    }

    /// A spec as a JSON value, for the wire. Values of parameters become strings of their source text, which is what
    /// they are: as JSON numbers, `3.10` would arrive as 3.1.
    package var specJSON: JSONValue {
        guard case .mapping(let members) = value else { return json }
        return .object(
            members.map { member in
                let holdsParameters = member.key == "parameters" || member.key == "matrix"
                return (member.key, holdsParameters ? member.node.textJSON : member.node.json)
            })
    }

    private var textJSON: JSONValue {
        switch value {
        case .mapping(let members): .object(members.map { ($0.key, $0.node.textJSON) })
        case .sequence(let nodes): .array(nodes.map(\.textJSON))
        case .scalar(let text, .number), .scalar(let text, .bool): .string(text)
        case .scalar(_, .string), .scalar(_, .null): json
        }
    }

    /// Bytes of all keys and scalars: near enough to the size of the text.
    var size: Int {
        switch value {
        case .mapping(let members): members.reduce(2) { $0 + $1.key.utf8.count + $1.node.size + 2 }
        case .sequence(let nodes): nodes.reduce(2) { $0 + $1.size + 1 }
        case .scalar(let text, _): text.utf8.count
        }
    }

    /// The tree as a JSON value. Numbers that no double holds become strings of their digits.
    package var json: JSONValue {
        switch value {
        case .mapping(let members): .object(members.map { ($0.key, $0.node.json) })
        case .sequence(let nodes): .array(nodes.map(\.json))
        case .scalar(let text, .string): .string(text)
        case .scalar(let text, .number): Double(text).map { .number($0) } ?? .string(text)
        case .scalar(let text, .bool): .bool(text == "true")
        case .scalar(_, .null): .null
        }
    }
}

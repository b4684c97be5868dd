// The submit request straight from its bytes: one pass, duplicate keys refused, every error with its JSON path. The
// scheduler's hottest request does not go through Codable.

/// A submit request whose spec has been understood.
package struct ParsedSubmission: Sendable {
    package var spec: JobSpec
    /// By container path.
    package var files: [String: SubmittedFile]
    package var choices: SubmissionChoices
    package var hold: Bool

    /// The limit of a submit request: its files as base64, and the spec.
    package static let sizeLimit = 32 << 20

    /// - Throws: ``SpecError`` with the JSON path, for example `$.spec.resources.cpus`.
    package init(_ bytes: [UInt8]) throws(SpecError) {
        var limits = DocumentLimits()
        limits.size = Self.sizeLimit
        limits.depth += 1
        let root = SpecReader(node: try JSONParser.parse(bytes, limits: limits), path: "$")
        try self.init(root)
        if let name = spec.dependencies.lazy.compactMap(\.memberName).first {
            throw SpecError(
                location: root.node.location, path: "$.spec.depends_on",
                message: "names '\(name)': only jobs of one file name one another, write the number of a job")
        }
    }

    init(_ root: SpecReader) throws(SpecError) {
        var spec: JobSpec?
        files = [:]
        choices = SubmissionChoices()
        hold = false
        for member in try root.members() {
            switch member.key {
            case "spec": spec = try Self.spec(member.reader)
            case "files": files = try Self.files(member.reader)
            case "bindings": choices.bindings = try Self.strings(member.reader, atMost: SpecLimits.slots)
            case "parameters": choices.parameters = try Self.strings(member.reader, atMost: SpecLimits.parameters)
            case "hold":
                guard case .scalar(let text, .bool) = member.reader.node.value else {
                    throw member.reader.refusal("must be true or false, not \(member.reader.node.noun)")
                }
                hold = text == "true"
            default: throw member.reader.refusal("is not a known key: use spec, files, bindings, parameters and hold")
            }
        }
        guard let spec else {
            throw SpecError(location: root.node.location, path: "\(root.path).spec", message: "is required")
        }
        self.spec = spec
        for path in spec.files.keys.sorted() where files[path] == nil {
            throw SpecError(
                location: root.node.location, path: "\(root.path).files.\(shown(path))",
                message: "is required: the spec names this file")
        }
        for path in files.keys.sorted() where spec.files[path] == nil {
            throw SpecError(
                location: root.node.location, path: "\(root.path).files.\(shown(path))",
                message: "is not named in the spec's files")
        }
    }

    /// The files may make a request large; a spec is bound by the limit of a spec file, because it goes to every
    /// worker.
    private static func spec(_ reader: SpecReader) throws(SpecError) -> JobSpec {
        let limit = DocumentLimits().size
        guard reader.node.size <= limit else { throw reader.refusal("is larger than \(limit) bytes") }
        return try SpecParser.parse(reader.node, path: reader.path)
    }

    private static func files(_ reader: SpecReader) throws(SpecError) -> [String: SubmittedFile] {
        var files: [String: SubmittedFile] = [:]
        for member in try reader.members() {
            var content: String?
            var executable = false
            for field in try member.reader.members() {
                switch field.key {
                case "content": content = try field.reader.string(atMost: sizeLimit)
                case "executable":
                    guard case .scalar(let text, .bool) = field.reader.node.value else {
                        throw field.reader.refusal("must be true or false, not \(field.reader.node.noun)")
                    }
                    executable = text == "true"
                default: throw field.reader.refusal("is not a known key: use content and executable")
                }
            }
            guard let content else { throw member.reader.refusal("must have 'content', in base64") }
            files[member.key] = SubmittedFile(content: content, executable: executable)
        }
        return files
    }

    private static func strings(_ reader: SpecReader, atMost limit: Int) throws(SpecError) -> [String: String] {
        try reader.strings(atMost: limit, keys: "use 1 to 63 characters", isKey: { (1...63).contains($0.utf8.count) })
    }
}

extension SubmitRequest {
    /// The request as JSON. Keys of the spec keep their order, which the coder would lose: the first axis of a matrix
    /// is the slowest.
    package var json: [UInt8] { jsonValue.written }

    var jsonValue: JSONValue {
        func object<Value>(_ map: [String: Value], _ value: (Value) -> JSONValue) -> JSONValue {
            .object(map.sorted { $0.key < $1.key }.map { ($0.key, value($0.value)) })
        }
        let files = object(files) { .object([("content", .string($0.content)), ("executable", .bool($0.executable))]) }
        return JSONValue.object([
            ("spec", spec), ("files", files), ("bindings", object(bindings) { .string($0) }),
            ("parameters", object(parameters) { .string($0) }), ("hold", .bool(hold)),
        ])
    }
}

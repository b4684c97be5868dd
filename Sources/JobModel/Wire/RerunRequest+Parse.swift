// A rerun request from its bytes: what is absent has its default, and a key that nobody knows is refused, because a
// mistyped `bindings` would run on the old data.

extension RerunRequest {
    /// The limit of a rerun request.
    package static let sizeLimit = 1 << 20

    /// - Throws: ``SpecError`` with the JSON path, for example `$.bindings.input`.
    package init(parsing bytes: [UInt8]) throws(SpecError) {
        let root = SpecReader(node: try JSONParser.parse(bytes), path: "$")
        self.init(source: "")
        for member in try root.members() {
            let reader = member.reader
            if case .scalar(_, .null) = reader.node.value { continue }
            switch member.key {
            case "source": source = try reader.string(atMost: 256)
            case "bindings": bindings = try Self.strings(reader, atMost: SpecLimits.slots)
            case "parameters": parameters = try Self.strings(reader, atMost: SpecLimits.parameters)
            case "queue": queue = try reader.name(QueueName.self).rawValue
            case "priority": priority = try reader.integer(in: -SpecLimits.priority...SpecLimits.priority)
            case "keep": keep = try reader.choice(KeepPolicy.self)
            case "hold": hold = try reader.flag()
            case "verify": verify = try reader.flag()
            case "command": command = try Self.command(reader)
            case "depends_on": dependsOn = try DependencyFields.jobs(reader)
            case "task": task = Int64(try reader.integer(in: 0...Int.max))
            default:
                throw reader.refusal(
                    "is not a known key: use source, bindings, parameters, queue, priority, hold, keep, depends_on, command, task and verify"
                )
            }
        }
        guard task == nil || command != nil || verify == true else {
            throw SpecError(
                location: root.node.location, path: "$.task", message: "is allowed only with a command or with verify")
        }
        guard dependsOn == nil || command == nil else {
            throw SpecError(
                location: root.node.location, path: "$.depends_on",
                message: "is not allowed with a command: a shell waits for nobody")
        }
        if verify == true { try checkVerification(root) }
        guard !source.isEmpty else {
            throw SpecError(
                location: root.node.location, path: "$.source",
                message: "is required: a job id, NAME, NAME@VERSION or digest")
        }
    }

    /// A verification repeats: nothing of it can be another.
    private func checkVerification(_ root: SpecReader) throws(SpecError) {
        for (name, isGiven) in [
            ("bindings", !bindings.isEmpty), ("parameters", !parameters.isEmpty), ("command", command != nil),
        ] where isGiven {
            throw SpecError(
                location: root.node.location, path: "$.\(name)",
                message: "is not allowed with verify, which runs the same on the same data: leave it out")
        }
    }

    private static func command(_ reader: SpecReader) throws(SpecError) -> [String] {
        var words: [String] = []
        for element in try reader.elements(atMost: SpecLimits.commandElements) { words.append(try element.string()) }
        guard let program = words.first, !program.isEmpty else { throw reader.refusal("is empty: name a program") }
        guard words.reduce(0, { $0 + $1.utf8.count + 1 }) <= SpecLimits.commandBytes else {
            throw reader.refusal("has more than \(SpecLimits.commandBytes) bytes")
        }
        return words
    }

    private static func strings(_ reader: SpecReader, atMost limit: Int) throws(SpecError) -> [String: String] {
        try reader.strings(atMost: limit, keys: "use 1 to 63 characters", isKey: { (1...63).contains($0.utf8.count) })
    }
}

// `${params.x}`, `${task.index}`, `${job.id}` and `${job.name}` in commands, environments and bindings; `$${` is a
// plain `${`. Any other `$` stays as it is: shells have their own.

/// A text with placeholders, parsed once.
package struct Template: Hashable, Sendable {
    package enum Variable: Hashable, Sendable, CustomStringConvertible {
        case parameter(String)
        case taskIndex
        case jobID
        case jobName

        package var description: String {
            switch self {
            case .parameter(let name): "params." + name
            case .taskIndex: "task.index"
            case .jobID: "job.id"
            case .jobName: "job.name"
            }
        }

        init?(_ text: Substring) {
            switch text {
            case "task.index": self = .taskIndex
            case "job.id": self = .jobID
            case "job.name": self = .jobName
            default:
                guard text.hasPrefix("params."), Template.isParameterName(text.dropFirst(7)) else { return nil }
                self = .parameter(String(text.dropFirst(7)))
            }
        }
    }

    private enum Piece: Hashable, Sendable {
        case text(String)
        case variable(Variable)
    }

    private let pieces: [Piece]

    /// Why a text is no template.
    package struct Mistake: Error, Hashable, Sendable {
        package let message: String
    }

    /// - Throws: ``Mistake`` for `${` without `}` and for unknown names.
    package init(_ text: String) throws(Mistake) {
        var pieces: [Piece] = []
        var rest = text[...]
        var plain = ""
        // By bytes: as characters, a combining mark after a brace would hide the brace.
        while let dollar = rest.utf8.firstIndex(of: UInt8(ascii: "$")) {
            plain += rest[..<dollar]
            let after = rest[rest.utf8.index(after: dollar)...]
            if after.utf8.starts(with: "${".utf8) {
                plain += "${"
                rest = after[after.utf8.index(after.startIndex, offsetBy: 2)...]
            } else if after.utf8.first == UInt8(ascii: "{") {
                guard let end = after.utf8.firstIndex(of: UInt8(ascii: "}")) else {
                    throw Mistake(message: "'${' has no '}': write $${ for a plain one")
                }
                let name = after[after.utf8.index(after: after.startIndex)..<end]
                guard let variable = Variable(name) else {
                    throw Mistake(
                        message:
                            "${\(shown(name))} is not known: use ${params.NAME}, ${task.index}, ${job.id} or ${job.name}, or $${ for a plain ${"
                    )
                }
                if !plain.isEmpty { pieces.append(.text(plain)) }
                plain = ""
                pieces.append(.variable(variable))
                rest = after[after.utf8.index(after: end)...]
            } else {
                plain += "$"
                rest = after
            }
        }
        plain += rest
        if !plain.isEmpty { pieces.append(.text(plain)) }
        self.pieces = pieces
    }

    /// The variables in order of appearance.
    package var variables: [Variable] {
        pieces.compactMap { if case .variable(let variable) = $0 { variable } else { nil } }
    }

    /// The text with every placeholder replaced. A parameter without a value becomes empty: that is refused at
    /// submission.
    package func text(_ values: TemplateValues) -> String {
        pieces.map { piece in
            switch piece {
            case .text(let text): text
            case .variable(.parameter(let name)): values.parameters[name] ?? ""
            case .variable(.taskIndex): String(values.taskIndex)
            case .variable(.jobID): values.job.description
            case .variable(.jobName): values.jobName
            }
        }.joined()
    }

    /// The text as a binding. Nil also if a value is empty: `weather/${params.year}` must not come to mean all of
    /// `weather`.
    func binding(_ values: TemplateValues) -> Binding? {
        for case .parameter(let name) in variables where values.parameters[name]?.isEmpty != false { return nil }
        return Binding(text(values))
    }

    /// 1 to 63 letters, digits, `_` or `-`.
    static func isParameterName(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text.utf8.count <= 63
            && text.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
                    || $0 == UInt8(ascii: "-")
            }
    }
}

/// What a task fills placeholders with.
package struct TemplateValues: Hashable, Sendable {
    package let job: JobID
    package let jobName: String
    package let taskIndex: Int64
    package let parameters: [String: String]

    /// - Precondition: `task.index` lies in the record's shape.
    package init(task: TaskID, record: JobRecord) {
        self.init(
            job: task.job, jobName: record.name, taskIndex: task.index,
            parameters: record.taskParameters(at: task.index))
    }

    init(job: JobID, jobName: String, taskIndex: Int64, parameters: [String: String]) {
        self.job = job
        self.jobName = jobName
        self.taskIndex = taskIndex
        self.parameters = parameters
    }
}

extension JobRecord {
    /// The job's parameters with the matrix's values for one task.
    package func taskParameters(at index: Int64) -> [String: String] {
        var values = parameters
        for (name, value) in shape.matrixValues(at: index) { values[name] = value }
        return values
    }

    /// Where a slot's data lies for one task. An `out` slot is published here; below `<job id>/<task index>` unless the
    /// binding itself tells jobs or tasks apart.
    /// - Throws: ``Template/Mistake`` if a value makes the binding invalid, for example a parameter `..`.
    package func location(of slot: SlotName, for task: TaskID) throws(Template.Mistake) -> Binding {
        guard let binding = bindings[slot] else { throw Template.Mistake(message: "slot '\(slot)' is not bound") }
        let template = try Template(binding.description)
        let values = TemplateValues(task: task, record: self)
        guard let resolved = template.binding(values) else {
            throw Template.Mistake(
                message:
                    "the binding \(quoted(template.text(values))) of slot '\(slot)' is not valid: \(Binding.rule)")
        }
        guard slots[slot]?.mode == .out, template.variables.isEmpty else { return resolved }
        let suffix = "\(task.job)/\(task.index)"
        return Binding(root: resolved.root, path: resolved.path.isEmpty ? suffix : resolved.path + "/" + suffix)
    }
}

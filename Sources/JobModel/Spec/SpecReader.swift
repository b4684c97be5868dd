// Typed access to a located tree: each getter checks the kind, and each refusal carries path and line.

struct SpecReader {
    let node: SpecNode
    let path: String

    func refusal(_ message: String) -> SpecError { SpecError(location: node.location, path: path, message: message) }

    /// The members of a mapping.
    func members() throws(SpecError) -> [(key: String, reader: SpecReader, keyLocation: SourceLocation)] {
        guard case .mapping(let members) = node.value else { throw refusal("must be a mapping, not \(node.noun)") }
        return members.map { ($0.key, SpecReader(node: $0.node, path: "\(path).\(shown($0.key))"), $0.location) }
    }

    func elements(atMost limit: Int) throws(SpecError) -> [SpecReader] {
        guard case .sequence(let nodes) = node.value else { throw refusal("must be a list, not \(node.noun)") }
        guard nodes.count <= limit else { throw refusal("has \(nodes.count) elements: at most \(limit) are allowed") }
        return nodes.enumerated().map { SpecReader(node: $1, path: "\(path)[\($0)]") }
    }

    /// A string of at most `limit` bytes without NUL. A number or boolean is refused with the quotes that make it a
    /// string.
    func string(atMost limit: Int = SpecLimits.textBytes) throws(SpecError) -> String {
        switch node.value {
        case .scalar(let text, .string):
            guard text.utf8.count <= limit else {
                throw refusal("has \(text.utf8.count) bytes: at most \(limit) are allowed")
            }
            guard !text.utf8.contains(0) else { throw refusal("holds a NUL character") }
            return text
        case .scalar(let text, .number), .scalar(let text, .bool):
            throw refusal("must be a string, not \(node.noun): write \"\(shown(text))\" in quotes")
        case .scalar(_, .null): throw refusal("must be a string, not nothing")
        case .mapping, .sequence: throw refusal("must be a string, not \(node.noun)")
        }
    }

    /// The source text of a string, number or boolean: for parameters, where `2014` and `"2014"` are the same.
    func scalarText() throws(SpecError) -> String {
        switch node.value {
        case .scalar(let text, .number), .scalar(let text, .bool): return text
        case .scalar(_, .string): return try string(atMost: 4096)
        case .scalar(_, .null), .mapping, .sequence:
            throw refusal("must be a string, a number, true or false, not \(node.noun)")
        }
    }

    func integer(in range: ClosedRange<Int>) throws(SpecError) -> Int {
        guard case .scalar(let text, .number) = node.value else {
            throw refusal("must be a whole number from \(range.lowerBound) to \(range.upperBound), not \(node.noun)")
        }
        guard let value = Int(text) ?? Double(text).flatMap({ Int(exactly: $0) }), range.contains(value) else {
            throw refusal("'\(text.prefix(40))' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func flag() throws(SpecError) -> Bool {
        guard case .scalar(let text, .bool) = node.value else {
            throw refusal("must be true or false, not \(node.noun)")
        }
        return text == "true"
    }

    func number() throws(SpecError) -> Double {
        guard case .scalar(let text, .number) = node.value, let value = Double(text) else {
            throw refusal("must be a number, not \(node.noun)")
        }
        return value
    }

    func name<Name: ValidatedName>(_ type: Name.Type) throws(SpecError) -> Name {
        let text = try string(atMost: 4096)
        guard let name = Name(rawValue: text) else { throw refusal(Name.refusal(of: text)) }
        return name
    }

    func choice<Choice: RawRepresentable<String> & CaseIterable>(_ type: Choice.Type) throws(SpecError) -> Choice {
        let text = try string(atMost: 4096)
        guard let choice = Choice(rawValue: text) else {
            throw refusal(
                "\(quoted(text)) is not allowed: use " + Choice.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return choice
    }

    /// `90s`, `10m`, `1h30m`, or a number of seconds.
    func timeSpan() throws(SpecError) -> TimeSpan {
        let span: TimeSpan?
        switch node.value {
        case .scalar(let text, .string): span = TimeSpan(text)
        case .scalar(let text, .number): span = Double(text).flatMap { TimeSpan(seconds: $0) }
        case .scalar, .mapping, .sequence: throw refusal("must be a time such as 90s, 10m or 1h30m, not \(node.noun)")
        }
        guard let span, span > .zero else {
            throw refusal("must be a time such as 90s, 10m or 1h30m, more than 0 and at most ten years")
        }
        return span
    }

    /// A map of strings whose keys pass `isKey`.
    func strings(atMost limit: Int, keys rule: String, isKey: (String) -> Bool) throws(SpecError) -> [String: String] {
        var result: [String: String] = [:]
        let members = try members()
        guard members.count <= limit else {
            throw refusal("has \(members.count) entries: at most \(limit) are allowed")
        }
        for member in members {
            guard isKey(member.key) else {
                throw member.reader.refusal("\(quoted(member.key)) is not allowed as a name here: \(rule)")
            }
            result[member.key] = try member.reader.string()
        }
        return result
    }
}

/// The candidate nearest to `word` by edits (insert, delete, replace, swap), if it is near enough to be meant.
package func nearest(to word: String, among candidates: [String]) -> String? {
    let limit = max(1, min(3, word.count / 2))
    return candidates.map { (editDistance(word, $0), $0) }.filter { $0.0 <= limit }.min { ($0.0, $0.1) < ($1.0, $1.1) }?
        .1
}

/// Optimal string alignment distance (Damerau–Levenshtein with adjacent swaps) of the first 64 characters.
private func editDistance(_ a: String, _ b: String) -> Int {
    let x = Array(a.lowercased().prefix(64))
    let y = Array(b.lowercased().prefix(64))
    var rows = [Array(0...y.count)]
    for i in 0..<x.count {
        var row = [i + 1]
        for j in 0..<y.count {
            var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (x[i] == y[j] ? 0 : 1))
            if i > 0, j > 0, x[i] == y[j - 1], x[i - 1] == y[j] { best = min(best, rows[i - 1][j - 1] + 1) }
            row.append(best)
        }
        rows.append(row)
    }
    return rows[x.count][y.count]
}

// How `matrix` of a spec is read: its axes, each with a list of values, and `exclude` and `include` with rows of them.

enum MatrixFields {
    static func matrix(_ field: SpecReader) throws(SpecError) -> TaskShape {
        var axes: [TaskShape.Axis] = []
        var exclude: [Row] = []
        var include: [Row] = []
        for member in try field.members() {
            switch member.key {
            case "exclude": exclude = try rows(member.reader, atMost: SpecLimits.matrixExclusions)
            case "include": include = try rows(member.reader, atMost: SpecLimits.matrixValues)
            default: axes.append(try axis(member.key, member.reader))
            }
        }
        // Where only combinations are named, the first one names the axes.
        if axes.isEmpty, let first = include.first {
            axes = first.values.map { TaskShape.Axis(name: $0.name, values: []) }
        }
        guard !axes.isEmpty, axes.count <= SpecLimits.matrixAxes else {
            throw field.refusal("must have 1 to \(SpecLimits.matrixAxes) axes")
        }
        do {
            let matrix = try Matrix(axes: axes, exclude: exclude.map(\.byName), include: include.map(\.byName))
            return .matrix(matrix)
        } catch {
            throw place(of: error, field, exclude, include).refusal(error.message)
        }
    }

    private static func place(
        of mistake: Matrix.Mistake, _ field: SpecReader, _ exclude: [Row], _ include: [Row]
    ) -> SpecReader {
        switch mistake.place {
        case .all: field
        case .exclude(let number): exclude[number].field
        case .include(let number): include[number].field
        }
    }

    private static func axis(_ name: String, _ field: SpecReader) throws(SpecError) -> TaskShape.Axis {
        try check(name, field)
        var values: [String] = []
        for element in try field.elements(atMost: SpecLimits.matrixValues) { values.append(try element.scalarText()) }
        guard !values.isEmpty else { throw field.refusal("must have at least one value") }
        return TaskShape.Axis(name: name, values: values)
    }

    /// Values by the names of axes, and where they stand.
    private struct Row {
        let field: SpecReader
        var values: [(name: String, value: String)] = []
        /// A mapping names each key once.
        var byName: [String: String] { Dictionary(values.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }) }
    }

    private static func rows(_ field: SpecReader, atMost limit: Int) throws(SpecError) -> [Row] {
        var rows: [Row] = []
        for element in try field.elements(atMost: limit) {
            var row = Row(field: element)
            let members = try element.members()
            guard !members.isEmpty, members.count <= SpecLimits.matrixAxes else {
                throw element.refusal("must name 1 to \(SpecLimits.matrixAxes) axes with a value each")
            }
            for member in members {
                try check(member.key, member.reader)
                row.values.append((member.key, try member.reader.scalarText()))
            }
            rows.append(row)
        }
        guard !rows.isEmpty else { throw field.refusal("must have at least one element") }
        return rows
    }

    private static func check(_ name: String, _ field: SpecReader) throws(SpecError) {
        guard Template.isParameterName(name) else {
            throw field.refusal(
                "\(quoted(name)) is not a parameter name: use 1 to 63 letters, digits, '_' or '-'")
        }
    }
}

// The combinations of a matrix, without a row for each: the product of its axes without what is excluded, then what is
// included. A task's number is the place of its combination in that order, so it follows from the record alone.

/// Axes, and which of their combinations there are.
package struct Matrix: Hashable, Sendable {
    /// In the order of the document. All are without values where only `include` names combinations.
    package let axes: [TaskShape.Axis]
    /// Combinations that match every value of one of these are left out.
    package let exclude: [[String: String]]
    /// Further combinations, after all others. Each has a value for every axis.
    package let include: [[String: String]]
    /// What is left out of the product, ascending and apart from one another.
    private let gaps: [Gap]
    /// How many combinations of the product are left.
    private let productCount: Int64

    /// Places of the product that are left out.
    private struct Gap: Hashable, Sendable {
        /// How many combinations stand before it.
        let before: Int64
        /// How many places this one and all before it leave out.
        let leftOut: Int64
    }

    /// Why there is no such matrix, and by which of its rows.
    package struct Mistake: Error, Hashable, Sendable {
        package enum Place: Hashable, Sendable { case all, exclude(Int), include(Int) }
        package let place: Place
        package let message: String
    }

    /// How many pieces of the product may be left out.
    package static let mostGaps: Int64 = 10_000

    /// - Throws: ``Mistake``.
    package init(axes: [TaskShape.Axis], exclude: [[String: String]] = [], include: [[String: String]] = [])
        throws(Mistake)
    {
        var product: Int64 = axes.isEmpty || axes.allSatisfy { $0.values.isEmpty } ? 0 : 1
        for axis in axes where product > 0 {
            let (next, overflowed) = product.multipliedReportingOverflow(by: Int64(axis.values.count))
            guard !overflowed, next <= TaskShape.largestCount else {
                throw Mistake(place: .all, message: "has more than \(TaskShape.largestCount) combinations")
            }
            guard next > 0 else { throw Mistake(place: .all, message: "has an axis without values") }
            product = next
        }
        let places = Places(axes)
        let leftOut = try places.leftOut(by: exclude)
        let gaps = Self.gaps(leftOut)
        let rest = product - (gaps.last?.leftOut ?? 0)
        try places.checkIncluded(include, leftOut: leftOut)
        let (count, overflowed) = rest.addingReportingOverflow(Int64(include.count))
        guard !overflowed, count <= TaskShape.largestCount else {
            throw Mistake(place: .all, message: "has more than \(TaskShape.largestCount) combinations")
        }
        guard count > 0 else {
            throw Mistake(place: .all, message: exclude.isEmpty ? "has no combination" : "excludes every combination")
        }
        self.axes = axes
        self.exclude = exclude
        self.include = include
        self.gaps = gaps
        productCount = rest
    }

    private static func gaps(_ leftOut: [ClosedRange<Int64>]) -> [Gap] {
        var gaps: [Gap] = []
        var sum: Int64 = 0
        for range in leftOut {
            let before = range.lowerBound - sum
            sum += range.upperBound - range.lowerBound + 1
            gaps.append(Gap(before: before, leftOut: sum))
        }
        return gaps
    }

    package var count: Int64 { productCount + Int64(include.count) }

    /// Every value that the axis has in some combination.
    package func values(of axis: TaskShape.Axis) -> [String] { axis.values + include.compactMap { $0[axis.name] } }

    /// - Precondition: `index` is 1 to ``count``.
    func values(at index: Int64) -> [(name: String, value: String)] {
        guard index <= productCount else {
            let row = include[Int(index - productCount - 1)]
            return axes.map { ($0.name, row[$0.name] ?? "") }
        }
        var rest = place(of: index - 1)
        var values: [(name: String, value: String)] = []
        for axis in axes.reversed() {
            let size = Int64(axis.values.count)
            values.append((axis.name, axis.values[Int(rest % size)]))
            rest /= size
        }
        return values.reversed()
    }

    /// Where the combination stands in the whole product.
    private func place(of number: Int64) -> Int64 {
        var low = 0
        var high = gaps.count
        while low < high {
            let middle = low + (high - low) / 2
            if gaps[middle].before <= number { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? number : number + gaps[low - 1].leftOut
    }
}

extension Matrix: ExpressibleByArrayLiteral {
    /// The whole product of axes that code names.
    package init(arrayLiteral axes: TaskShape.Axis...) {
        do { try self.init(axes: axes) } catch { preconditionFailure(error.message) }
    }
}

/// Where values and combinations stand on axes and in their product.
private struct Places {
    let axes: [TaskShape.Axis]
    /// By axis: how many combinations have the same value there before the next one comes.
    let strides: [Int64]
    /// By axis: the places of each value.
    let values: [[String: [Int64]]]

    init(_ axes: [TaskShape.Axis]) {
        self.axes = axes
        var strides: [Int64] = []
        var product: Int64 = 1
        for axis in axes.reversed() {
            strides.append(product)
            product *= max(1, Int64(axis.values.count))
        }
        self.strides = strides.reversed()
        values = axes.map { axis in
            axis.values.enumerated().reduce(into: [:]) { $0[$1.element, default: []].append(Int64($1.offset)) }
        }
    }

    /// What these rows leave out of the product, ascending and apart from one another.
    func leftOut(by rows: [[String: String]]) throws(Matrix.Mistake) -> [ClosedRange<Int64>] {
        var pieces: [ClosedRange<Int64>] = []
        for (number, row) in rows.enumerated() {
            for range in try leftOut(by: row, number, room: Matrix.mostGaps - Int64(pieces.count)) {
                pieces.append(range)
            }
        }
        // In their order each is added at the end.
        pieces.sort { $0.lowerBound < $1.lowerBound }
        return pieces.reduce(into: []) { $0.add($1) }
    }

    /// One run of combinations for each choice of the axes up to the last that the row names.
    private func leftOut(by row: [String: String], _ number: Int, room: Int64) throws(Matrix.Mistake)
        -> [ClosedRange<Int64>]
    {
        let place = Matrix.Mistake.Place.exclude(number)
        for name in row.keys.sorted() where !axes.contains(where: { $0.name == name }) {
            throw .init(place: place, message: "names \(quoted(name)), which is no axis of the matrix")
        }
        guard let last = axes.lastIndex(where: { row[$0.name] != nil }) else {
            throw .init(place: place, message: "names no axis")
        }
        var starts: [Int64] = [0]
        for number in 0...last {
            let axis = axes[number]
            var choices = Array(0..<Int64(axis.values.count))
            if let value = row[axis.name] {
                guard let found = values[number][value] else {
                    throw .init(
                        place: place, message: "matches nothing: the axis '\(axis.name)' has no value \(quoted(value))")
                }
                choices = found
            }
            guard Int64(starts.count) * Int64(choices.count) <= room else {
                throw .init(
                    place: place,
                    message:
                        "cuts the matrix into more than \(Matrix.mostGaps) pieces: let the axes that it names stand first"
                )
            }
            starts = starts.flatMap { start in choices.map { start + $0 * strides[number] } }
        }
        return starts.map { $0...($0 + strides[last] - 1) }
    }

    /// Each names every axis and no other, and comes to a combination that there is not yet.
    func checkIncluded(_ rows: [[String: String]], leftOut: [ClosedRange<Int64>]) throws(Matrix.Mistake) {
        let names = Set(axes.map(\.name))
        var seen: Set<[String: String]> = []
        for (number, row) in rows.enumerated() {
            let place = Matrix.Mistake.Place.include(number)
            if let unknown = row.keys.sorted().first(where: { !names.contains($0) }) {
                throw .init(place: place, message: "names \(quoted(unknown)), which is no axis of the matrix")
            }
            if let axis = axes.first(where: { row[$0.name] == nil }) {
                throw .init(
                    place: place, message: "has no value for the axis '\(axis.name)': it must name every axis")
            }
            guard seen.insert(row).inserted, !isInProduct(row, leftOut: leftOut) else {
                throw .init(place: place, message: "is a combination that the matrix has already")
            }
        }
    }

    private func isInProduct(_ row: [String: String], leftOut: [ClosedRange<Int64>]) -> Bool {
        var place: Int64 = 0
        for number in axes.indices {
            guard let first = values[number][row[axes[number].name] ?? ""]?.first else { return false }
            place += first * strides[number]
        }
        return !leftOut.holds(place)
    }
}

extension Matrix {
    /// What JSON says of it: the axes under `matrix`, as without this.
    enum CodingKeys: String, CodingKey { case axes = "matrix", exclude, include }

    /// - Returns: nil without axes.
    static func decoded(from decoder: any Decoder) throws -> Matrix? {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        guard let axes = try container.decodeIfPresent([TaskShape.Axis].self, forKey: .axes) else { return nil }
        let exclude = try container.decodeIfPresent([[String: String]].self, forKey: .exclude) ?? []
        let include = try container.decodeIfPresent([[String: String]].self, forKey: .include) ?? []
        do {
            return try Matrix(axes: axes, exclude: exclude, include: include)
        } catch {
            throw DecodingError.dataCorruptedError(
                forKey: error.key, in: container, debugDescription: "a matrix \(error.message)")
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(axes, forKey: .axes)
        if !exclude.isEmpty { try container.encode(exclude, forKey: .exclude) }
        if !include.isEmpty { try container.encode(include, forKey: .include) }
    }
}

extension Matrix.Mistake {
    fileprivate var key: Matrix.CodingKeys {
        switch place {
        case .all: .axes
        case .exclude: .exclude
        case .include: .include
        }
    }
}

// Which tasks a job has, without a row for each: a range, the product of a matrix, or the members of a gang. Outside
// the configuration, except for a gang's size.

/// The tasks of a job.
package enum TaskShape: Hashable, Sendable {
    /// One task with index 1.
    case single
    /// `array: first-last`, both included.
    case array(first: Int64, last: Int64)
    /// The combinations of a matrix, the last axis fastest, with indices from 1.
    case matrix(Matrix)
    /// `gang: size`: members 1 to `size`, which run at the same time on as many workers.
    case gang(Int)

    package struct Axis: Hashable, Codable, Sendable {
        package let name: String
        package let values: [String]
        package init(name: String, values: [String]) {
            self.name = name
            self.values = values
        }
    }

    /// How many members a gang may have.
    package static let gangSizes = 2...256

    /// The largest number of tasks in one job.
    package static let largestCount: Int64 = 10_000_000

    /// The indices of the tasks, as one range.
    package var indices: ClosedRange<Int64> {
        switch self {
        case .single: 1...1
        case .array(let first, let last): first...last
        case .matrix(let matrix): 1...matrix.count
        case .gang(let size): 1...Int64(size)
        }
    }

    /// Nil for tasks that do not depend on each other.
    package var gangSize: Int? {
        if case .gang(let size) = self { size } else { nil }
    }

    /// `1-100`: nil if the text is not two numbers, the first not above the second.
    package static func range(_ text: String) -> ClosedRange<Int64>? {
        let numbers = text.split(separator: "-", omittingEmptySubsequences: false).map { part in
            part.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int64(part) : nil
        }
        guard numbers.count == 2, let first = numbers[0], let last = numbers[1], first <= last else { return nil }
        return first...last
    }

    package var count: Int64 { indices.upperBound - indices.lowerBound + 1 }

    /// The matrix's values for the task with `index`; empty for the other shapes.
    /// - Precondition: `index` lies in ``indices``.
    package func matrixValues(at index: Int64) -> [(name: String, value: String)] {
        guard case .matrix(let matrix) = self else { return [] }
        return matrix.values(at: index)
    }
}

extension TaskShape: Codable {
    private enum CodingKeys: String, CodingKey { case array, gang }
    private struct Range: Codable { let first: Int64, last: Int64 }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        if let range = try container.decodeIfPresent(Range.self, forKey: .array) {
            let (span, overflowed) = range.last.subtractingReportingOverflow(range.first)
            guard range.first >= 0, !overflowed, (0..<Self.largestCount).contains(span) else {
                throw DecodingError.dataCorruptedError(
                    forKey: .array, in: container,
                    debugDescription: "an array needs 0 <= first <= last and at most \(Self.largestCount) tasks")
            }
            self = .array(first: range.first, last: range.last)
        } else if let matrix = try Matrix.decoded(from: decoder) {
            self = .matrix(matrix)
        } else if let size = try container.decodeIfPresent(Int.self, forKey: .gang) {
            guard Self.gangSizes.contains(size) else {
                throw DecodingError.dataCorruptedError(
                    forKey: .gang, in: container,
                    debugDescription: "a gang has \(Self.gangSizes.lowerBound) to \(Self.gangSizes.upperBound) members")
            }
            self = .gang(size)
        } else {
            self = .single
        }
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .single: _ = encoder.container(keyedBy: CodingKeys.self)
        case .array(let first, let last):
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(Range(first: first, last: last), forKey: .array)
        case .matrix(let matrix): try matrix.encode(to: encoder)
        case .gang(let size):
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(size, forKey: .gang)
        }
    }
}

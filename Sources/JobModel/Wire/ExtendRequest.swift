// What an open array is to grow by: the indices that follow its last one, or how many more.

/// `POST /v1/jobs/{id}/extend`.
package struct ExtendRequest: Hashable, Codable, Sendable {
    package enum Growth: Hashable, Codable, Sendable {
        /// These indices; the first must be the one after the last that there is.
        case range(ClosedRange<Int64>)
        /// So many more.
        case tasks(Int64)
    }

    /// `11-20`
    package var array: String?
    package var tasks: Int64?

    package static let sizeLimit = 4096

    package init(_ growth: Growth) {
        switch growth {
        case .range(let range): array = "\(range.lowerBound)-\(range.upperBound)"
        case .tasks(let count): tasks = count
        }
    }

    /// - Throws: ``SpecError`` with the JSON path, for example `$.array`.
    package static func growth(parsing bytes: [UInt8]) throws(SpecError) -> Growth {
        let root = SpecReader(node: try JSONParser.parse(bytes), path: "$")
        var growth: [Growth] = []
        for member in try root.members() {
            switch member.key {
            case "array":
                guard let range = TaskShape.range(try member.reader.string(atMost: 64)) else {
                    throw member.reader.refusal("must be a range such as 11-20, the first not above the last")
                }
                growth.append(.range(range))
            case "tasks":
                growth.append(.tasks(Int64(try member.reader.integer(in: 1...Int(TaskShape.largestCount)))))
            default: throw member.reader.refusal("is not a known key: use array or tasks")
            }
        }
        guard growth.count == 1 else { throw root.refusal("needs 'array' or 'tasks', and not both") }
        return growth[0]
    }
}

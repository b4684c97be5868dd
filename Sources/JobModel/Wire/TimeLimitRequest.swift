// `POST /v1/jobs/{id}/time-limit`: another time limit for a job that waits or runs.

package struct TimeLimitRequest: Hashable, Codable, Sendable {
    /// The limit of the body.
    package static let sizeLimit = 4096

    package var timeLimit: TimeSpan
    /// Only if this is the limit now, or the new one already: whoever adds to a limit says what they add to.
    package var from: TimeSpan?

    package init(timeLimit: TimeSpan, from: TimeSpan? = nil) {
        self.timeLimit = timeLimit
        self.from = from
    }

    private enum CodingKeys: String, CodingKey { case timeLimit = "time_limit", from }

    /// - Throws: ``SpecError`` with the JSON path, for example `$.time_limit`.
    package init(parsing bytes: [UInt8]) throws(SpecError) {
        let root = SpecReader(node: try JSONParser.parse(bytes), path: "$")
        var (limit, from): (TimeSpan?, TimeSpan?)
        for member in try root.members() {
            switch member.key {
            case "time_limit": limit = try member.reader.timeSpan()
            case "from": from = try member.reader.timeSpan()
            default: throw member.reader.refusal("is not a known key: use time_limit and from")
            }
        }
        guard let limit else {
            throw SpecError(
                location: root.node.location, path: "$.time_limit", message: "is required: a time such as 90s or 2h")
        }
        self.init(timeLimit: limit, from: from)
    }
}

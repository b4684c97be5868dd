// Sessions: a second program in the container of a running attempt, for a person at a terminal. Its bytes travel as
// ``SessionFrame``s in four streams that the scheduler joins.

/// `POST /v1/attempts/{attempt}/sessions`: what to run beside the attempt.
package struct SessionRequest: Hashable, Codable, Sendable {
    /// The largest request.
    package static let sizeLimit = 256 << 10
    /// The largest window, in characters.
    package static let windowLimit = 10_000

    package var command: [String]
    /// Whether the program gets a terminal; otherwise three pipes.
    package var tty: Bool
    /// Of the terminal, in characters.
    package var rows: Int?
    package var columns: Int?
    /// The kind of terminal, for example `xterm-256color`.
    package var term: String?

    package init(command: [String], tty: Bool, rows: Int? = nil, columns: Int? = nil, term: String? = nil) {
        self.command = command
        self.tty = tty
        self.rows = rows
        self.columns = columns
        self.term = term
    }

    /// - Throws: ``Problem`` of kind `badRequest` that names the field.
    package func check() throws(Problem) {
        guard let program = command.first, !program.isEmpty else {
            throw Problem(.badRequest, "is empty: name a program", field: "$.command")
        }
        guard command.count <= SpecLimits.commandElements,
            command.reduce(0, { $0 + $1.utf8.count + 1 }) <= SpecLimits.commandBytes
        else {
            throw Problem(
                .badRequest,
                "has more than \(SpecLimits.commandElements) elements or \(SpecLimits.commandBytes) bytes",
                field: "$.command")
        }
        guard !command.contains(where: { $0.utf8.contains(0) }) else {
            throw Problem(.badRequest, "holds a NUL character", field: "$.command")
        }
        for (field, number) in [("rows", rows), ("columns", columns)] {
            guard let number else { continue }
            guard (1...Self.windowLimit).contains(number) else {
                throw Problem(.badRequest, "\(number) is not from 1 to \(Self.windowLimit)", field: "$.\(field)")
            }
        }
        guard let term else { return }
        let isName = term.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "+"):
                true
            default: false
            }
        }
        guard isName, (1...64).contains(term.utf8.count) else {
            throw Problem(.badRequest, "\(quoted(term)) is not a kind of terminal", field: "$.term")
        }
    }
}

/// A session that was accepted: its id stands in the paths of its streams.
package struct SessionDocument: Hashable, Codable, Sendable {
    package var id: String
    package var attempt: AttemptID
    package init(id: String, attempt: AttemptID) {
        self.id = id
        self.attempt = attempt
    }
}

/// A session that a worker shall serve. Handed out once.
package struct SessionOrder: Hashable, Codable, Sendable {
    package var id: String
    package var attempt: AttemptID
    package var request: SessionRequest
    package init(id: String, attempt: AttemptID, request: SessionRequest) {
        self.id = id
        self.attempt = attempt
        self.request = request
    }
}

/// `GET /v1/workers/{name}/sessions`.
package struct SessionOrderList: Hashable, Codable, Sendable {
    package var sessions: [SessionOrder]
    package init(sessions: [SessionOrder]) { self.sessions = sessions }
}

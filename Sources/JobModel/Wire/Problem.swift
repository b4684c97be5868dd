// RFC 9457 problem details: the one shape in which any error crosses the wire, and how each kind maps to a status and
// an exit code.

/// The kinds of problem. `type` on the wire is `urn:jobctl:problem:<raw value>`.
package enum ProblemKind: String, Sendable, CaseIterable {
    case badRequest = "bad-request"
    case unauthenticated
    case forbidden
    case notFound = "not-found"
    case conflict
    case refused
    case tooLarge = "too-large"
    case upstream
    case unavailable
    case diskFull = "disk-full"
    case `internal`

    package var status: Int {
        switch self {
        case .badRequest: 400
        case .unauthenticated: 401
        case .forbidden: 403
        case .notFound: 404
        case .conflict: 409
        case .refused: 422
        case .tooLarge: 413
        case .upstream: 502
        case .unavailable: 503
        case .diskFull: 507
        case .internal: 500
        }
    }

    package var title: String {
        switch self {
        case .badRequest: "Bad request"
        case .unauthenticated: "Not authenticated"
        case .forbidden: "Not allowed"
        case .notFound: "Not found"
        case .conflict: "Conflict"
        case .refused: "Refused"
        case .tooLarge: "Too large"
        case .upstream: "Registry problem"
        case .unavailable: "Unavailable"
        case .diskFull: "Disk full"
        case .internal: "Internal error"
        }
    }

    /// The exit code of `jobctl` (DESIGN section 7).
    package var exitCode: Int32 {
        switch self {
        case .badRequest, .tooLarge: 2
        case .unauthenticated, .forbidden: 3
        case .notFound: 4
        case .conflict, .refused, .upstream, .diskFull: 5
        case .unavailable, .internal: 6
        }
    }
}

/// One problem: a sentence for the user that names the field, the value and what is allowed.
package struct Problem: Error, Hashable, Codable, Sendable, CustomStringConvertible {
    package var type: String
    package var title: String
    package var status: Int
    package var detail: String
    /// The JSON path or header or query item that is wrong.
    package var field: String?
    package var retryable: Bool

    package init(_ kind: ProblemKind, _ detail: String, field: String? = nil) {
        type = "urn:jobctl:problem:" + kind.rawValue
        title = kind.title
        status = kind.status
        self.detail = detail
        self.field = field
        retryable = kind == .unavailable || kind == .diskFull
    }

    /// The kind, if this version knows it.
    package var kind: ProblemKind? {
        type.split(separator: ":").last.flatMap { ProblemKind(rawValue: String($0)) }
    }

    package var description: String { field.map { "\($0): \(detail)" } ?? detail }
}

// From the Authorization header to a caller, and whether a role may use a route. The only place that compares roles.
import Foundation
import HTTPTypes
import JobModel

enum Authentication {
    static let explanation = "no valid token: send 'Authorization: Bearer <token>'"

    /// The caller whose token the request carries: `Bearer <token>`, or for registry clients `Basic` with the token as
    /// password.
    /// - Parameter registryTokens: good as well, below `/v2/`.
    /// - Throws: ``Problem`` of kind `unauthenticated`.
    static func caller(
        of headers: HTTPFields, in table: TokenTable, or registryTokens: RegistryTokens?
    ) throws(Problem) -> Caller {
        guard let token = token(in: headers),
            let caller = table.caller(with: token) ?? registryTokens?.caller(with: token)
        else {
            throw Problem(.unauthenticated, explanation, field: "Authorization")
        }
        return caller
    }

    static func token(in headers: HTTPFields) -> Token? {
        guard let value = headers[.authorization] else { return nil }
        let (isBlank, bytes) = ({ (byte: UInt8) in byte == 0x20 || byte == 0x09 }, value.utf8)
        guard let end = bytes.firstIndex(where: isBlank), let start = bytes[end...].firstIndex(where: { !isBlank($0) }),
            let last = bytes.lastIndex(where: { !isBlank($0) })
        else { return nil }
        let credentials = String(value[start...last])
        switch value[..<end].lowercased() {
        case "bearer": return Token(text: credentials)
        case "basic": return password(in: credentials).map(Token.init(text:))
        default: return nil
        }
    }

    private static func password(in credentials: String) -> String? {
        guard credentials.utf8.count <= 1024,
            let data = Data(base64Encoded: credentials),
            let text = String(validating: data, as: UTF8.self), let colon = text.firstIndex(of: ":")
        else { return nil }
        return String(text[text.index(after: colon)...])
    }
}

/// Who may use a route.
package enum Access: String, Sendable, CaseIterable {
    /// No token needed.
    case anyone
    /// Everyone with a token.
    case reader
    /// Users and administrators: whoever may own a job.
    case user
    /// The job's owner, or an administrator. The handler compares the owner.
    case owner
    /// Agents and administrators.
    case worker
    case admin

    /// The roles that pass; the rest get 403.
    package var roles: [Role] {
        switch self {
        case .anyone, .reader: [.user, .admin, .worker]
        case .user, .owner: [.user, .admin]
        case .worker: [.worker, .admin]
        case .admin: [.admin]
        }
    }

    func check(_ caller: Caller) throws(Problem) {
        guard !roles.contains(caller.role) else { return }
        let wanted = roles.map(\.rawValue).joined(separator: " or ")
        throw Problem(
            .forbidden, "this call needs a token of role \(wanted): '\(caller.name)' has role \(caller.role.rawValue)")
    }
}

extension Caller {
    /// - Throws: ``Problem`` of kind `forbidden` unless this is the owner or an administrator.
    func mustOwn(_ job: JobID, of owner: String) throws(Problem) {
        guard role == .admin || name.rawValue == owner else {
            throw Problem(
                .forbidden, "job \(job) belongs to '\(owner)': only its owner or an administrator may do this")
        }
    }
}

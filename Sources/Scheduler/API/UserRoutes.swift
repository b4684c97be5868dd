// Users: who may call, and as which uid and gid their containers run. A token is shown once, in the answer that makes
// it.
import Hummingbird
import JobModel

struct UserRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/users", .admin, list),
            Route(.post, "/v1/users", .admin, create),
            Route(.delete, "/v1/users/{name}", .admin, remove),
        ]
    }

    private struct NewUser: Decodable {
        let name: UserName
        let role: Role
        let uid: UInt32
        let gid: UInt32
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor")
        let limit = try call.pageLimit()
        let cursor = try call.query("cursor", "a cursor: use the 'next' of the page before") { UserName(rawValue: $0) }
        let following = services.tokens.users.filter { user in cursor.map { user.name > $0 } ?? true }
        let page = following.prefix(limit).map { UserDocument($0, token: nil) }
        return try .json(UserList(users: page, next: following.count > limit ? page.last?.name : nil))
    }

    @Sendable private func create(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let user = try await call.decode(NewUser.self, limit: 64 << 10)
        guard services.tokens.user(named: user.name) == nil else {
            throw Problem(.conflict, "there is a user '\(user.name)' already: delete it first", field: "$.name")
        }
        let caller = Caller(name: user.name, role: user.role, uid: user.uid, gid: user.gid)
        let token = try await services.issueToken(to: caller)
        return try .json(UserDocument(caller, token: token), status: .created)
    }

    @Sendable private func remove(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let name = try call.name(as: UserName.self)
        guard services.tokens.user(named: name) != nil else {
            throw Problem(.notFound, "there is no user '\(name)'", field: "name")
        }
        guard try call.caller.name != name else {
            throw Problem(.refused, "'\(name)' is yourself: ask another administrator", field: "name")
        }
        try await services.loop.record(.userRemoved(name))
        services.tokens.remove(name)
        return Response(status: .noContent)
    }
}

extension APIServices {
    /// Makes or replaces the user with a new token, which is valid once this returns.
    func issueToken(to caller: Caller) async throws(Problem) -> Token {
        let token = Token.random()
        let row = UserRow(
            name: caller.name, role: caller.role, uid: caller.uid, gid: caller.gid, tokenHash: token.hash,
            createdAt: clock.now().wall)
        try await loop.record(.userSaved(row))
        tokens.save(row)
        return token
    }
}

extension UserDocument {
    init(_ caller: Caller, token: Token?) {
        self.init(name: caller.name.rawValue, role: caller.role, uid: caller.uid, gid: caller.gid, token: token?.text)
    }
}

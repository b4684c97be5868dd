// Who calls: users by the hash of their token, in memory, because every request asks. The database is the truth; this
// table is filled from it at start and follows each change after its commit.
import JobModel
import Synchronization

/// Somebody with a token.
package struct Caller: Hashable, Sendable {
    package let name: UserName
    package let role: Role
    package let uid: UInt32
    package let gid: UInt32

    package init(name: UserName, role: Role, uid: UInt32, gid: UInt32) {
        self.name = name
        self.role = role
        self.uid = uid
        self.gid = gid
    }

    init(_ row: UserRow) { self.init(name: row.name, role: row.role, uid: row.uid, gid: row.gid) }

    /// As whom this caller's containers run: never root.
    package var identity: Identity { Identity(name: name, uid: uid, gid: gid) }
}

/// Safe from any task. A look-up costs one SHA-256 and one hash table access.
package final class TokenTable: Sendable {
    private let callers: Mutex<[Digest: Caller]>

    package init(_ rows: [UserRow]) {
        callers = Mutex(Dictionary(rows.map { ($0.tokenHash, Caller($0)) }, uniquingKeysWith: { first, _ in first }))
    }

    package func caller(with token: Token) -> Caller? {
        guard token.text.utf8.count <= Token.longestText else { return nil }
        return caller(withHash: token.hash)
    }

    package func caller(withHash hash: Digest) -> Caller? { callers.withLock { $0[hash] } }

    package func user(named name: UserName) -> Caller? {
        callers.withLock { $0.values.first { $0.name == name } }
    }

    /// Every user, in order of their names.
    package var users: [Caller] { callers.withLock { $0.values.sorted { $0.name < $1.name } } }

    /// Replaces what is known of this user, an older token included.
    package func save(_ row: UserRow) {
        callers.withLock { table in
            table = table.filter { $0.value.name != row.name }
            table[row.tokenHash] = Caller(row)
        }
    }

    package func remove(_ name: UserName) {
        callers.withLock { table in table = table.filter { $0.value.name != name } }
    }
}

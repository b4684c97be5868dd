// Queues, groups and users' shares, and why a job waits.
import JobModel
import NIOHTTP1

extension SchedulerClient {
    /// All of one kind, or of every kind.
    package func accounts(_ kind: AccountKind? = nil) async throws(Problem) -> AccountList {
        try await call(.GET, "/v1/accounts", query: [("kind", kind?.rawValue)])
    }

    package func account(_ id: AccountID) async throws(Problem) -> AccountDocument {
        try await call(.GET, "/v1/accounts/\(id.kind.rawValue)/\(id.name)")
    }

    /// - Parameter isNew: refuse if it has been set up already.
    package func save(_ id: AccountID, _ settings: AccountSettings, isNew: Bool) async throws(Problem)
        -> AccountDocument
    {
        try await call(
            .PUT, "/v1/accounts/\(id.kind.rawValue)/\(id.name)", query: [("create", isNew ? "true" : nil)],
            body: try json(settings))
    }

    package func remove(_ id: AccountID) async throws(Problem) {
        _ = try await exchange(.DELETE, "/v1/accounts/\(id.kind.rawValue)/\(id.name)", limit: 1 << 20)
    }

    package func why(_ job: JobID) async throws(Problem) -> WaitingDocument {
        try await call(.GET, "/v1/jobs/\(job)/why")
    }
}

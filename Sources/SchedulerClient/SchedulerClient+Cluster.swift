// Workers, configurations, images, users, status, and the worker's own calls.
import AsyncHTTPClient
import JobModel
import NIOCore
import NIOHTTP1

extension SchedulerClient {
    package func status() async throws(Problem) -> StatusDocument { try await call(.GET, "/v1/status") }

    /// Sums of what was held and used.
    /// - Parameters:
    ///   - by: `user,queue`; see ``UsageGrouping``.
    ///   - since: `2026-01-31` or `30d`.
    package func usage(by: String, since: String, until: String? = nil) async throws(Problem) -> UsageReport {
        try await call(
            .GET, "/v1/usage", query: [("by", by), ("since", since), ("until", until)], deadline: .minutes(2))
    }

    /// What happened after an event.
    /// - Parameter wait: seconds to wait for the next where there is none, up to 60.
    package func clusterEvents(after id: Int64, wait: Int64 = 0) async throws(Problem) -> ClusterEventList {
        try await call(
            .GET, "/v1/events", query: [("after", String(id)), ("limit", "1000"), ("wait", String(wait))],
            deadline: Self.quick + .seconds(wait))
    }

    /// Whether a scheduler answers at all; needs no token.
    package func isHealthy() async -> Bool {
        do {
            _ = try await exchange(.GET, "/healthz", deadline: .seconds(5), limit: 64 << 10)
            return true
        } catch {
            return false
        }
    }

    package func workers(limit: Int? = nil, cursor: String? = nil) async throws(Problem) -> WorkerList {
        try await call(.GET, "/v1/workers", query: [("limit", limit.map(String.init)), ("cursor", cursor)])
    }

    package func worker(_ name: WorkerName) async throws(Problem) -> WorkerDocument {
        try await call(.GET, "/v1/workers/\(name)")
    }
    package func drain(_ name: WorkerName, _ order: DrainOrder = .standard) async throws(Problem) -> WorkerDocument {
        try await call(.POST, "/v1/workers/\(name)/drain", body: try json(order))
    }
    package func resume(_ name: WorkerName) async throws(Problem) -> WorkerDocument {
        try await call(.POST, "/v1/workers/\(name)/resume")
    }

    /// The worker protocol's one call. Held by the scheduler for up to `request.wait`.
    package func sync(_ worker: WorkerName, _ request: SyncRequest) async throws(Problem) -> SyncResponse {
        let body: [UInt8]
        do { body = try request.encoded() } catch { throw Problem(.internal, "the request could not be encoded") }
        return try await call(
            .POST, "/v1/workers/\(worker)/sync", body: .bytes(ByteBuffer(bytes: body)),
            deadline: Self.quick + .milliseconds(request.wait.milliseconds))
    }

    package func configurations(name: String? = nil, limit: Int? = nil, cursor: String? = nil) async throws(Problem)
        -> ConfigurationList
    {
        try await call(
            .GET, "/v1/configurations", query: [("name", name), ("limit", limit.map(String.init)), ("cursor", cursor)])
    }

    /// - Parameter source: a digest, `name` or `name@version`.
    package func configuration(_ source: String) async throws(Problem) -> ConfigurationDocument {
        try await call(.GET, "/v1/configurations/\(Self.percentEncoded(source))")
    }

    /// The runs of a configuration, one page, newest first.
    package func runs(of source: String, limit: Int? = nil, cursor: String? = nil) async throws(Problem) -> RunList {
        try await call(
            .GET, "/v1/configurations/\(Self.percentEncoded(source))/runs",
            query: [("limit", limit.map(String.init)), ("cursor", cursor)], deadline: .minutes(2))
    }

    package func images(limit: Int? = nil, cursor: String? = nil) async throws(Problem) -> ImageList {
        try await call(.GET, "/v1/images", query: [("limit", limit.map(String.init)), ("cursor", cursor)])
    }

    /// Images on their way from their registries.
    package func imagePulls() async throws(Problem) -> ImagePullList { try await call(.GET, "/v1/images/pulls") }

    /// - Parameter reference: a name or a digest.
    package func image(_ reference: String) async throws(Problem) -> ImageDocument {
        try await call(.GET, "/v1/images/show", query: [("reference", reference)])
    }

    /// What is wrong with an image. Reads all of its layers.
    package func lint(_ reference: String) async throws(Problem) -> LintDocument {
        try await call(.GET, "/v1/images/lint", query: [("reference", reference)], deadline: .hours(1))
    }

    /// Records how an image of the archive was made.
    package func recordBuild(reference: String, _ record: BuildRecord) async throws(Problem) -> ImageDocument {
        try await call(.POST, "/v1/images/builds", query: [("reference", reference)], body: try json(record))
    }

    /// Streams an archive to the scheduler, which understands root file system tars, `docker save` archives and OCI
    /// layouts.
    package func importImage<Bytes: AsyncSequence & Sendable>(reference: String, _ archive: Bytes) async throws(Problem)
        -> ImageDocument
    where Bytes.Element == ByteBuffer {
        try await call(
            .POST, "/v1/images/import", query: [("reference", reference)],
            headers: [("Content-Type", "application/x-tar")],
            body: .stream(archive, length: .unknown), deadline: .hours(24))
    }

    /// The content of a file of a configuration, at most `limit` bytes. The caller verifies the digest.
    package func blob(_ digest: Digest, limit: Int) async throws(Problem) -> [UInt8] {
        Array(try await exchange(.GET, "/v1/blobs/\(digest)", deadline: .minutes(10), limit: limit).1.readableBytesView)
    }

    package func users() async throws(Problem) -> UserList { try await call(.GET, "/v1/users") }

    /// The answer holds the user's token, once.
    package func addUser(_ user: UserDocument) async throws(Problem) -> UserDocument {
        try await call(.POST, "/v1/users", body: try json(user))
    }

    package func removeUser(_ name: UserName) async throws(Problem) {
        _ = try await exchange(.DELETE, "/v1/users/\(name)", limit: 1 << 20)
    }
}

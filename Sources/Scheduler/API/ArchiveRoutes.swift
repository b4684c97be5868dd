// The archive as a whole, for administrators: what it holds, garbage collection, verification in steps.
import Hummingbird
import JobModel

struct ArchiveRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/archive", .admin, status),
            Route(.post, "/v1/archive/gc", .admin, collect),
            Route(.post, "/v1/archive/verify", .admin, verify),
        ]
    }

    @Sendable private func status(_ call: Call) async throws -> Response {
        try call.allowQuery()
        var status = try await services.care.status()
        let (logs, manifests) = try await services.retention.status()
        (status.logs, status.manifests) = (logs, manifests)
        return try .json(status)
    }

    @Sendable private func collect(_ call: Call) async throws -> Response {
        try call.allowQuery("dry_run")
        let dryRun = try call.flag("dry_run")
        var result = try await services.care.collect(dryRun: dryRun)
        let pass = try await services.retention.pass(dryRun: dryRun)
        (result.logs, result.manifests) = (pass.logs, pass.manifests)
        call.logger.notice(
            "The archive was cleaned up",
            metadata: [
                "blobs": "\(result.deleted.blobs)", "size": "\(result.deleted.size)", "dry_run": "\(result.dryRun)",
            ])
        return try .json(result)
    }

    @Sendable private func verify(_ call: Call) async throws -> Response {
        try call.allowQuery("after")
        let cursor = try call.query("after", "a digest: use the 'next' of the step before") { Digest($0) }
        return try .json(try await services.care.verify(after: cursor))
    }
}

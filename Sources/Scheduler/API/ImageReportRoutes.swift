// What is wrong with an image, and how it was made.
import Hummingbird
import JobModel
import OCI

struct ImageReportRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/images/lint", .reader, lint),
            Route(.post, "/v1/images/builds", .user, recordBuild),
        ]
    }

    @Sendable private func lint(_ call: Call) async throws -> Response {
        let (document, reference) = try image(call)
        guard document.complete else {
            throw Problem(.refused, "the image \(quoted(reference)) is not whole in the archive", field: "reference")
        }
        let bases = document.builds?.flatMap(\.bases) ?? []
        let isKnown = !bases.isEmpty && bases.allSatisfy { $0.digest != nil || $0.reference == "scratch" }
        do {
            return try .json(try await services.linter.lint(document, named: reference, base: isKnown))
        } catch let error as OCIError {
            throw Problem(.internal, "the image \(quoted(reference)) cannot be read: \(error)")
        }
    }

    @Sendable private func recordBuild(_ call: Call) async throws -> Response {
        let (document, _) = try image(call)
        var record = try await call.decode(BuildRecord.self, limit: BuildRecord.sizeLimit)
        try Self.check(record)
        let caller = try call.caller
        record.builtBy = caller.name.rawValue
        record.recordedAt = services.clock.now().wall
        try await services.loop.record(.imageBuilt(document.digest, record))
        guard let now = try services.store.image(document.digest) else {
            throw Problem(.internal, "the image \(document.digest) cannot be read back")
        }
        return try .json(now, status: .created)
    }

    static func check(_ record: BuildRecord) throws(Problem) {
        guard record.dockerfile.utf8.count <= BuildRecord.longestDockerfile else {
            throw Problem(
                .tooLarge, "has more than \(BuildRecord.longestDockerfile) bytes", field: "$.dockerfile")
        }
        guard Digest(of: record.dockerfile) == record.dockerfileDigest else {
            throw Problem(.badRequest, "is not the digest of $.dockerfile", field: "$.dockerfile_digest")
        }
        guard record.bases.count <= 100, record.bases.allSatisfy({ $0.reference.utf8.count <= 512 }) else {
            throw Problem(.badRequest, "has at most 100 entries, each of at most 512 bytes", field: "$.bases")
        }
        guard record.tool.utf8.count <= 256 else {
            throw Problem(.badRequest, "has more than 256 bytes", field: "$.tool")
        }
    }

    private func image(_ call: Call) throws -> (ImageDocument, String) {
        try call.allowQuery("reference")
        guard let text = try call.query("reference") else {
            throw Problem(.badRequest, "is required", field: "reference")
        }
        return (try services.archive.document(named: text), text)
    }
}

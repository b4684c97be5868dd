// Exports and imports of the archive. An export is for everybody who may read configurations; what only owners may
// read, logs and lists of files, is in it if the caller owns the job. An import names things for all users, and brings
// records that nobody here can vouch for: administrators only.
import HTTPTypes
import Hummingbird
import JobModel

struct ExportRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.post, "/v1/archive/export", .user, export),
            Route(.post, "/v1/archive/import", .admin, importArchive),
        ]
    }

    @Sendable private func export(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let request = try await call.decode(ExportRequest.self, limit: ExportRequest.sizeLimit)
        guard (1...ExportRequest.mostSources).contains(request.sources.count) else {
            throw Problem(.badRequest, "needs 1 to \(ExportRequest.mostSources) entries", field: "$.sources")
        }
        let plan = try await Exporter(services: services).plan(request, by: try call.caller)
        let body = ExportBody(
            plan: plan, content: services.content, logs: services.logs, trees: services.trees, files: services.files)
        let logger = call.logger
        return Response(
            status: .ok,
            headers: [
                .contentType: "application/x-tar", .contentLength: String(plan.size),
                .exportDigest: "\(Digest(of: plan.list))",
            ],
            body: ResponseBody(contentLength: Int(plan.size)) { writer in
                do { try await body.write(to: &writer) } catch {
                    logger.error("An export broke off", metadata: ["error": "\(error)"])
                    throw error
                }
            })
    }

    @Sendable private func importArchive(_ call: Call) async throws -> Response {
        try call.allowQuery("skip_conflicts")
        let skips = try call.flag("skip_conflicts")
        let spooled = try await services.spool.store(call)
        defer { spooled.remove() }
        let result = try await ArchiveImporter(services: services).take(
            spooled.path, by: try call.caller, skippingConflicts: skips)
        call.logger.notice("An archive was imported", metadata: ["digest": "\(result.digest)"])
        return try .json(result, status: result.configurations.contains(where: \.isNew) ? .created : .ok)
    }
}

/// Plans exports away from the event loops.
struct Exporter {
    let services: APIServices

    func plan(_ request: ExportRequest, by caller: Caller) async throws -> ExportPlan {
        let held = services.spool.hold()
        return try await services.files.runLong {
            let scratch = try ScratchFile(path: held.path)
            var planner = try ExportPlanner(services, request, by: caller, scratch: scratch)
            return try planner.plan(in: held)
        }
    }
}

extension HTTPField.Name {
    static let exportDigest = HTTPField.Name("Jobctl-Export-Digest")!  // allowed: a constant token
}

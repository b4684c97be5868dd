// Images of the archive: list, show, and import of a tar stream, which is spooled to a file and never held in memory.
import Hummingbird
import JobModel

struct ImageRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/images", .reader, list),
            Route(.get, "/v1/images/show", .reader, show),
            Route(.get, "/v1/images/pulls", .reader, pulls),
            Route(.post, "/v1/images/import", .user, importImage),
        ]
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor")
        return try .json(services.store.images(limit: try call.pageLimit(), cursor: try call.query("cursor")))
    }

    @Sendable private func show(_ call: Call) async throws -> Response {
        try call.allowQuery("reference")
        guard let text = try call.query("reference") else {
            throw Problem(.badRequest, "is required", field: "reference")
        }
        do {
            return try .json(try services.archive.document(named: text))
        } catch let problem as Problem where problem.kind == .notFound {
            let name = ImageReference(text).map { "\($0)" } ?? text
            guard
                let pull = services.puller.book.documents().first(where: {
                    $0.reference == name || $0.digest.description == text
                })
            else { throw problem }
            let why = "the archive has no image \(quoted(text)) yet, it is on its way: \(pull.sentence)"
            throw Problem(.notFound, why, field: "reference")
        }
    }

    @Sendable private func pulls(_ call: Call) async throws -> Response {
        try call.allowQuery()
        return try .json(ImagePullList(pulls: services.puller.book.documents()))
    }

    /// Who may push a name may import it, and nobody else: it decides what everybody's spec means by it.
    private func mustAllow(_ reference: ImageReference, _ caller: Caller) throws(Problem) {
        let own = services.archive.own(reference) ?? reference
        do {
            try RepositoryName("\(own.registry)/\(own.repository)").mustAllowPush(by: caller)
        } catch {
            let name = caller.name
            throw Problem(
                .forbidden,
                "'\(name)' may not import \(quoted(own.name)): name it \(name)/… or \(RepositoryName.shared)/…, or ask an administrator",
                field: "reference")
        }
    }

    @Sendable private func importImage(_ call: Call) async throws -> Response {
        try call.allowQuery("reference")
        let reference = try call.query("reference", "an image name: write NAME or NAME:TAG, in lower case") { text in
            ImageReference(text).flatMap { $0.digest == nil ? $0 : nil }
        }
        guard let reference else { throw Problem(.badRequest, "is required", field: "reference") }
        try mustAllow(reference, call.caller)
        let spooled = try await services.spool.store(call)
        defer { spooled.remove() }
        return try .json(try await services.archive.importImage(from: spooled.path, as: reference), status: .created)
    }
}

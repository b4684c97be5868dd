// The table of all routes: method, path, who may, handler. The router, the golden list `routes.txt` and the test that
// compares `openapi.yaml` are made from it, so they cannot disagree. What a route does stands in the file of its
// resource.
import HTTPTypes
import Hummingbird
import JobModel

/// One line of the table.
package struct Route: Sendable {
    package typealias Handler = @Sendable (Call) async throws -> Response

    package let method: HTTPRequest.Method
    /// As in `openapi.yaml`: `/v1/jobs/{id}`. A last part `**` stands for everything below.
    package let path: String
    package let access: Access
    let handler: Handler

    init(_ method: HTTPRequest.Method, _ path: String, _ access: Access, _ handler: @escaping Handler) {
        self.method = method
        self.path = path
        self.access = access
        self.handler = handler
    }

    /// Whether a request's path has this route's form.
    func matches(_ path: String) -> Bool {
        let pattern = self.path.split(separator: "/")
        let parts = path.split(separator: "/")
        for (index, piece) in pattern.enumerated() {
            if piece == "**" { return parts.count > index }
            guard index < parts.count else { return false }
            guard piece == parts[index] || piece.first == "{" else { return false }
        }
        return pattern.count == parts.count
    }
}

package enum Routes {
    /// Every route, in the order of the documentation.
    package static func all(_ services: APIServices) -> [Route] {
        StatusRoutes(services: services).routes + JobRoutes(services: services).routes
            + OpenArrayRoutes(services: services).routes
            + PipelineRoutes(services: services).routes + ScheduleRoutes(services: services).routes
            + EventRoutes(services: services).routes + UsageRoutes(services: services).routes
            + LogRoutes(services: services).routes + TreeRoutes(services: services).routes
            + SessionRoutes(services: services).routes
            + WorkerRoutes(services: services).routes
            + ConfigurationRoutes(services: services).routes + ImageRoutes(services: services).routes
            + ImageReportRoutes(services: services).routes
            + BlobRoutes(services: services).routes + ArchiveRoutes(services: services).routes
            + ExportRoutes(services: services).routes
            + UserRoutes(services: services).routes + AccountRoutes(services: services).routes
            + LicenseRoutes(services: services).routes + ReservationRoutes(services: services).routes
            + RegistryRoutes(services: services).routes
    }

    /// The router: problems first, then for each route the caller, the role and the handler.
    package static func router(_ services: APIServices) -> Router<APIContext> {
        let routes = all(services)
        let router = Router(context: APIContext.self)
        router.add(middleware: ProblemMiddleware(routes: routes, challenge: services.registryTokens.challenge))
        for route in routes {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                var caller: Caller?
                if route.access != .anyone {
                    let authenticated = try Authentication.caller(
                        of: request.headers, in: services.tokens,
                        or: route.path.hasPrefix("/v2") ? services.registryTokens : nil)
                    try route.access.check(authenticated)
                    caller = authenticated
                }
                return try await route.handler(Call(request: request, context: context, authenticated: caller))
            }
        }
        return router
    }

    /// `GET     /v1/jobs/{id}    reader`, a line a route.
    package static func listing(_ routes: [Route]) -> String {
        func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
        return routes.map { padded($0.method.rawValue, 8) + padded($0.path, 56) + $0.access.rawValue + "\n" }.joined()
    }
}

// Licenses of the cluster: list, set, remove.
import Hummingbird
import JobModel
import SchedulingCore

struct LicenseRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/licenses", .reader, list),
            Route(.put, "/v1/licenses/{name}", .admin, save),
            Route(.delete, "/v1/licenses/{name}", .admin, remove),
        ]
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery()
        return try .json(LicenseList(licenses: try await views()))
    }

    @Sendable private func save(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let name = try call.name(as: ResourceName.self)
        let settings = try await call.decode(LicenseSettings.self, limit: 64 << 10)
        guard (0...ResourceCounts.largest).contains(settings.total) else {
            throw Problem(
                .badRequest, "\(settings.total) is no count: use 0 to \(ResourceCounts.largest)", field: "$.total")
        }
        try await services.loop.send(.licenseSaved(LicenseRow(name: name, total: settings.total)))
        guard let license = try await views().first(where: { $0.name == name }) else {
            throw Problem(.conflict, "the license was removed meanwhile", field: "name")
        }
        return try .json(license)
    }

    @Sendable private func remove(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let name = try call.name(as: ResourceName.self)
        guard try await views().contains(where: { $0.name == name }) else {
            throw Problem(.notFound, "there is no license '\(name)'", field: "name")
        }
        try await services.loop.send(.licenseRemoved(name))
        return Response(status: .noContent)
    }

    private func views() async throws(Problem) -> [LicenseDocument] {
        try await services.loop.query { $0.licenseViews() }
    }
}

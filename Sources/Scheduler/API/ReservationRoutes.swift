// Advance reservations and maintenance windows: list, set up, remove.
import Hummingbird
import JobModel
import SchedulingCore

struct ReservationRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/reservations", .reader, list),
            Route(.put, "/v1/reservations/{name}", .admin, save),
            Route(.delete, "/v1/reservations/{name}", .admin, remove),
        ]
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery()
        return try .json(ReservationList(reservations: try await views()))
    }

    @Sendable private func save(_ call: Call) async throws -> Response {
        try call.allowQuery("create")
        let name = try call.name(as: ReservationName.self)
        let reservation = try await call.decode(AdvanceReservation.self, limit: 4 << 20)
        guard reservation.name == name else {
            throw Problem(.badRequest, "\(reservation.name) is not the name in the path, \(name)", field: "$.name")
        }
        try reservation.check(at: services.clock.now().wall)
        if try call.flag("create"), try await views().contains(where: { $0.name == name }) {
            throw Problem(.conflict, "there is a reservation '\(name)' already: remove it first", field: "name")
        }
        try await services.loop.send(.reservationSaved(reservation))
        return try .json(reservation)
    }

    @Sendable private func remove(_ call: Call) async throws -> Response {
        try call.allowQuery()
        try await services.loop.send(.reservationRemoved(call.name(as: ReservationName.self)))
        return Response(status: .noContent)
    }

    private func views() async throws(Problem) -> [AdvanceReservation] {
        try await services.loop.query { $0.reservationViews() }
    }
}

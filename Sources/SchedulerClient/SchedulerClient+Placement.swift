// Licenses and reservations.
import JobModel
import NIOHTTP1

extension SchedulerClient {
    package func licenses() async throws(Problem) -> LicenseList { try await call(.GET, "/v1/licenses") }

    package func setLicense(_ name: ResourceName, total: Int64) async throws(Problem) -> LicenseDocument {
        try await call(.PUT, "/v1/licenses/\(name)", body: try json(LicenseSettings(total: total)))
    }

    package func removeLicense(_ name: ResourceName) async throws(Problem) {
        _ = try await exchange(.DELETE, "/v1/licenses/\(name)", limit: 1 << 20)
    }

    package func reservations() async throws(Problem) -> ReservationList { try await call(.GET, "/v1/reservations") }

    /// Refused if there is one of this name.
    package func addReservation(_ reservation: AdvanceReservation) async throws(Problem) -> AdvanceReservation {
        try await call(
            .PUT, "/v1/reservations/\(reservation.name)", query: [("create", "true")], body: try json(reservation))
    }

    package func removeReservation(_ name: ReservationName) async throws(Problem) {
        _ = try await exchange(.DELETE, "/v1/reservations/\(name)", limit: 1 << 20)
    }
}

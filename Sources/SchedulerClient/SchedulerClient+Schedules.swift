// Schedules.
import JobModel

extension SchedulerClient {
    package func schedules() async throws(Problem) -> ScheduleList { try await call(.GET, "/v1/schedules") }

    package func schedule(_ name: ScheduleName) async throws(Problem) -> ScheduleDocument {
        try await call(.GET, "/v1/schedules/\(name)")
    }

    package func add(_ name: ScheduleName, _ settings: ScheduleSettings) async throws(Problem) -> ScheduleDocument {
        try await call(.PUT, "/v1/schedules/\(name)", query: [("create", "true")], body: try json(settings))
    }

    package func pause(_ name: ScheduleName, _ isPaused: Bool) async throws(Problem) -> ScheduleDocument {
        try await call(.POST, "/v1/schedules/\(name)/\(isPaused ? "pause" : "resume")")
    }

    package func runNow(_ name: ScheduleName) async throws(Problem) -> JobDocument {
        try await call(.POST, "/v1/schedules/\(name)/run")
    }

    package func remove(_ name: ScheduleName) async throws(Problem) {
        _ = try await exchange(.DELETE, "/v1/schedules/\(name)", limit: 1 << 20)
    }
}

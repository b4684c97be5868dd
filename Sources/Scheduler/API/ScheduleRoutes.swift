// Schedules: set up, list, show, pause, resume, run now, remove.
import Hummingbird
import JobModel

struct ScheduleRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/schedules", .reader, list),
            Route(.get, "/v1/schedules/{name}", .reader, show),
            Route(.put, "/v1/schedules/{name}", .user, save),
            Route(.delete, "/v1/schedules/{name}", .owner, remove),
            Route(.post, "/v1/schedules/{name}/pause", .owner) { try await pause($0, true) },
            Route(.post, "/v1/schedules/{name}/resume", .owner) { try await pause($0, false) },
            Route(.post, "/v1/schedules/{name}/run", .owner, run),
        ]
    }

    private var now: Timestamp { services.clock.now().wall }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let now = now
        return try .json(ScheduleList(schedules: try services.store.schedules().map { $0.document(at: now) }))
    }

    @Sendable private func show(_ call: Call) async throws -> Response {
        try call.allowQuery()
        return try .json(try existing(call).document(at: now))
    }

    /// Makes it, or changes one of the caller's. What was due before the change is not run after it.
    @Sendable private func save(_ call: Call) async throws -> Response {
        try call.allowQuery("create")
        let name = try call.name(as: ScheduleName.self)
        let settings = try await call.decode(ScheduleSettings.self, limit: 64 << 10)
        _ = try ScheduleClock(settings)
        let caller = try call.caller
        let known = try services.store.schedule(name)
        if let known { try mustOwn(known, caller) }
        if known != nil, try call.flag("create") {
            throw Problem(.conflict, "there is a schedule '\(name)' already: remove it first", field: "name")
        }
        let own = try services.store.schedules().filter { $0.owner == caller.name }
        guard known != nil || own.count < Schedules.most else {
            throw Problem(.refused, "\(caller.name) has \(own.count) schedules: no more are allowed", field: "name")
        }
        try services.submission.mustBeKnown(settings.rerun)
        let row = ScheduleRow(
            name: name, owner: known?.owner ?? caller.name, settings: settings, isPaused: known?.isPaused ?? false,
            createdAt: known?.createdAt ?? now, handledUntil: now)
        try await services.loop.record(.schedule(.saved(row)))
        return try .json(try existing(call).document(at: now))
    }

    @Sendable private func remove(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let row = try own(call)
        try await services.loop.record(.schedule(.removed(row.name)))
        return Response(status: .noContent)
    }

    private func pause(_ call: Call, _ isPaused: Bool) async throws -> Response {
        try call.allowQuery()
        let row = try own(call)
        if row.isPaused != isPaused {
            try await services.loop.record(.schedule(.paused(row.name, isPaused, at: now)))
        }
        return try .json(try existing(call).document(at: now))
    }

    @Sendable private func run(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let row = try own(call)
        let key = try call.header("Idempotency-Key", limit: 40) ?? "\(now)"
        let document = try await services.schedules.runNow(row, key: key)
        return .json(bytes: JobJSON.encode(document), status: .created)
    }

    private func own(_ call: Call) throws -> ScheduleRow {
        let row = try existing(call)
        try mustOwn(row, try call.caller)
        return row
    }

    private func mustOwn(_ row: ScheduleRow, _ caller: Caller) throws(Problem) {
        guard caller.role == .admin || caller.name == row.owner else {
            throw Problem(
                .forbidden,
                "the schedule '\(row.name)' belongs to '\(row.owner)': only its owner or an administrator may do this")
        }
    }

    private func existing(_ call: Call) throws -> ScheduleRow {
        let name = try call.name(as: ScheduleName.self)
        guard let row = try services.store.schedule(name) else {
            throw Problem(.notFound, "there is no schedule '\(name)'", field: "name")
        }
        return row
    }
}

// Whether the scheduler lives, and the cluster at a glance. Both cost the same at ten jobs and at a million.
import Hummingbird
import JobModel
import SchedulingCore

struct StatusRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/healthz", .anyone) { _ in try .json(Health(status: "ok", version: SchedulerService.version))
            },
            Route(.get, "/v1/status", .reader, status),
        ]
    }

    private struct Health: Encodable {
        let status: String
        let version: String
    }

    @Sendable private func status(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let now = services.clock.now()
        let (totals, workers) = try await services.loop.query { ($0.totals, $0.workerViews(at: now)) }
        return try .json(StatusDocument(totals: totals, workers: workers, startedAt: services.startedAt))
    }
}

extension StatusDocument {
    init(totals: Totals, workers: [WorkerView], startedAt: Timestamp) {
        let alive = workers.filter { $0.state != .lost }
        self.init(
            version: SchedulerService.version, startedAt: startedAt,
            jobs: Dictionary(uniqueKeysWithValues: zip(JobState.allCases.map(\.rawValue), totals.jobs)),
            tasks: totals.tasks,
            workers: Dictionary(workers.map { ($0.state.rawValue, 1) }, uniquingKeysWith: +),
            capacity: WorkerResources(sum: alive.map { WorkerResources($0.registration) }),
            free: WorkerResources(sum: alive.map(\.free)))
    }
}

extension WorkerResources {
    init(_ registration: WorkerRegistration) {
        self.init(
            cpus: registration.cpus, memory: registration.memory, gpus: registration.gpus, disk: registration.disk,
            custom: registration.custom)
    }

    /// Registrations are bounded (SyncLimits), so that no sum of them can overflow.
    init(sum parts: [WorkerResources]) {
        self.init(
            cpus: CPUAmount(thousandths: parts.reduce(0) { $0 &+ $1.cpus.thousandths }),
            memory: ByteCount(bytes: parts.reduce(0) { $0 &+ $1.memory.bytes }), gpus: parts.flatMap(\.gpus))
        let custom = parts.reduce(ResourceCounts.none) { $0 + ($1.custom ?? .none) }
        if !custom.isEmpty { self.custom = custom }
        let disk = parts.reduce(Int64(0)) { $0 &+ ($1.disk?.bytes ?? 0) }
        if disk > 0 { self.disk = ByteCount(bytes: disk) }
    }
}

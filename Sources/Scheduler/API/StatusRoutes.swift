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
        let (totals, workers) = try await services.loop.query { ($0.totals, $0.workerSums()) }
        return try .json(StatusDocument(totals: totals, workers: workers, startedAt: services.startedAt))
    }
}

extension StatusDocument {
    init(totals: Totals, workers: WorkerSums, startedAt: Timestamp) {
        let states = zip(WorkerState.allCases.map(\.rawValue), workers.counts).filter { $0.1 > 0 }
        self.init(
            version: SchedulerService.version, startedAt: startedAt,
            jobs: Dictionary(uniqueKeysWithValues: zip(JobState.allCases.map(\.rawValue), totals.jobs)),
            tasks: totals.tasks, workers: Dictionary(uniqueKeysWithValues: states), capacity: workers.capacity,
            free: workers.free)
    }
}

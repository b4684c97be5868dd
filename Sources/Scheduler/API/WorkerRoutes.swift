// Workers: list, show, drain, resume, and their one call, `sync`. What a worker is lies in the core's memory: these are
// questions to the loop, answered between two batches.
import Hummingbird
import JobModel
import SchedulingCore

struct WorkerRoutes {
    let services: APIServices

    static let syncLimit = 16 << 20

    var routes: [Route] {
        [
            Route(.get, "/v1/workers", .reader, list),
            Route(.get, "/v1/workers/{name}", .reader, show),
            Route(.post, "/v1/workers/{name}/drain", .admin, drain),
            Route(.post, "/v1/workers/{name}/resume", .admin) { try await change($0) { .resumeRequested($0) } },
            Route(.post, "/v1/workers/{name}/sync", .worker, sync),
        ]
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor")
        let limit = try call.pageLimit()
        let cursor = try call.query("cursor", "a cursor: use the 'next' of the page before") {
            WorkerName(rawValue: $0)
        }
        let following = try await views().filter { view in cursor.map { view.name > $0 } ?? true }
        let page = following.prefix(limit)
        let next = following.count > limit ? page.last?.name.rawValue : nil
        return try .json(WorkerList(workers: page.map(WorkerDocument.init), next: next))
    }

    @Sendable private func show(_ call: Call) async throws -> Response {
        try call.allowQuery()
        return try .json(try await document(of: call.name(as: WorkerName.self)))
    }

    private func change(_ call: Call, _ event: (WorkerName) -> Event) async throws -> Response {
        try call.allowQuery()
        let name = try call.name(as: WorkerName.self)
        try await services.loop.send(event(name))
        return try .json(try await document(of: name))
    }

    /// Without a body: no reason, no deadline.
    @Sendable private func drain(_ call: Call) async throws -> Response {
        let body = try await call.body(limit: 64 << 10)
        let order =
            body.readableBytes == 0 ? .standard : try WireJSON.decode(DrainOrder.self, from: body.readableBytesView)
        guard (order.reason?.utf8.count ?? 0) <= AdvanceReservation.longestReason else {
            throw Problem(
                .badRequest, "has more than \(AdvanceReservation.longestReason) bytes", field: "$.reason")
        }
        return try await change(call) { .drainRequested($0, order) }
    }

    @Sendable private func sync(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let name = try call.name(as: WorkerName.self)
        let body = try await call.body(limit: Self.syncLimit)
        return .json(bytes: try await services.gateway.sync(name, body))
    }

    private func document(of name: WorkerName) async throws -> WorkerDocument {
        guard let view = try await views().first(where: { $0.name == name }) else {
            throw Problem(.notFound, "there is no worker '\(name)'", field: "name")
        }
        return WorkerDocument(view)
    }

    private func views() async throws(Problem) -> [WorkerView] {
        try await services.loop.query { $0.workerViews() }
    }
}

extension WorkerDocument {
    init(_ view: WorkerView) {
        let volumes = Dictionary(uniqueKeysWithValues: view.registration.volumes.map { ($0.key.rawValue, $0.value) })
        self.init(
            name: view.name.rawValue, state: Open(view.state), capacity: WorkerResources(view.registration),
            free: view.free,
            labels: view.registration.labels, volumes: volumes, engines: view.registration.engines,
            version: view.registration.version, lastSeen: view.lastSeen, attempts: view.live,
            weaknesses: view.registration.weaknesses, drain: view.isDraining ? view.drain : nil)
    }
}

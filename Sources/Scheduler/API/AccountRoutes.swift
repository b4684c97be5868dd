// Queues, groups of users and users' shares: list, show, set up, remove; and why a job waits. What they are lies in the
// core's memory: these are questions to the loop, answered between two batches.
import Hummingbird
import JobModel
import SchedulingCore

struct AccountRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/jobs/{id}/why", .reader, why),
            Route(.get, "/v1/accounts", .reader, list),
            Route(.get, "/v1/accounts/{kind}/{name}", .reader, show),
            Route(.put, "/v1/accounts/{kind}/{name}", .admin, save),
            Route(.delete, "/v1/accounts/{kind}/{name}", .admin, remove),
        ]
    }

    @Sendable private func why(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let job = try services.existingJob(call.job())
        let now = services.clock.now()
        guard let why = try await services.loop.query({ $0.why(job.id, at: now) }) else {
            let reason = "it does not wait: it has ended as \(job.state)"
            return try .json(
                WaitingDocument(job: job.id, state: job.state, reason: reason, priority: nil, terms: []))
        }
        return try .json(WaitingDocument(why))
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery("kind")
        let kind = try call.choice("kind", of: AccountKind.self)
        let documents = try await views().filter { kind == nil || $0.row.id.kind == kind }
            .map(AccountDocument.init)
        return try .json(AccountList(accounts: documents))
    }

    @Sendable private func show(_ call: Call) async throws -> Response {
        try call.allowQuery()
        return try .json(try await document(of: call.account()))
    }

    @Sendable private func save(_ call: Call) async throws -> Response {
        try call.allowQuery("create")
        let id = try call.account()
        let settings = try await call.decode(AccountSettings.self, limit: 64 << 10)
        try settings.check(for: id.kind)
        if try call.flag("create"), try await views().contains(where: { $0.row.id == id && $0.isStored }) {
            throw Problem(.conflict, "there is a \(id) already: change it instead", field: "name")
        }
        try await services.loop.send(.accountSaved(AccountRow(id: id, settings: settings)))
        return try .json(try await document(of: id))
    }

    @Sendable private func remove(_ call: Call) async throws -> Response {
        try call.allowQuery()
        try await services.loop.send(.accountRemoved(try call.account()))
        return Response(status: .noContent)
    }

    private func document(of id: AccountID) async throws -> AccountDocument {
        if let view = try await views().first(where: { $0.row.id == id }) { return AccountDocument(view) }
        throw Problem(.notFound, "there is no \(id) yet: nobody has set it up or used it", field: "name")
    }

    /// The queue, group and user that exist without anybody's doing come first in a new cluster as well.
    private func views() async throws(Problem) -> [AccountView] {
        let now = services.clock.now()
        return try await services.loop.query { $0.accountViews(at: now) }
    }
}

extension Call {
    fileprivate func account() throws(Problem) -> AccountID {
        let kind = try parameter("kind", "a kind: use queue, group or user") { AccountKind(rawValue: $0) }
        switch kind {
        case .queue: return .queue(try name(as: QueueName.self))
        case .group: return .group(try name(as: GroupName.self))
        case .user: return .user(try name(as: UserName.self))
        }
    }
}

extension AccountDocument {
    init(_ view: AccountView) {
        self.init(
            kind: Open(view.row.id.kind), name: view.row.id.name, configured: view.isStored,
            settings: view.row.settings, pending: view.pending, running: view.running, cpus: view.held.cpus,
            memory: view.held.memory, gpus: view.held.gpus, entitled: view.entitled.map { Double($0) / 1000 },
            used: view.used.map { Double($0) / 1000 })
    }
}

extension WaitingDocument {
    init(_ why: WaitingReason) {
        let (factors, weights) = (why.factors, why.weights)
        self.init(
            job: why.job, state: Open(why.state), reason: why.sentence, priority: why.priority,
            terms: [
                Term(name: "queue", weight: weights.queue, factor: factors.queue),
                Term(name: "share", weight: weights.share, factor: factors.share),
                Term(name: "age", weight: weights.age, factor: factors.age),
                Term(name: "size", weight: weights.size, factor: factors.size),
                Term(name: "job", weight: weights.job, factor: factors.job),
            ])
    }
}

// Open arrays: more tasks, or the word that no more come.
import Hummingbird
import JobModel
import NIOCore
import SchedulingCore

struct OpenArrayRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.post, "/v1/jobs/{id}/extend", .owner, extend),
            Route(.post, "/v1/jobs/{id}/close", .owner, close),
        ]
    }

    /// The same key with the same request is done once, also when the job has ended since.
    @Sendable private func extend(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let bytes = Array(buffer: try await call.body(limit: ExtendRequest.sizeLimit))
        let (id, job) = try services.ownJob(call)
        let growth: ExtendRequest.Growth
        do { growth = try ExtendRequest.growth(parsing: bytes) } catch { throw error.problem }
        let name = try call.caller.name
        let idempotency = try call.header("Idempotency-Key", limit: IdempotencyKey.longest).map {
            IdempotencyKey(user: name, key: $0, requestDigest: Digest(of: Array("extend \(id) ".utf8) + bytes))
        }
        if let state = job.state.value, state.isTerminal {
            guard let idempotency, try services.store.job(submittedWith: idempotency) == id else {
                throw Problem(.jobIsFinished(id, state))
            }
            return try .json(job)
        }
        try await services.loop.extend(AcceptedExtension(job: id, growth: growth, idempotency: idempotency))
        return try .json(try services.existingJob(id))
    }

    /// What was closed, and has ended since, is closed.
    @Sendable private func close(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let (id, job) = try services.ownJob(call)
        if let state = job.state.value, state.isTerminal {
            guard job.rules?.open != nil else { throw Problem(.jobIsFinished(id, state)) }
            return try .json(job)
        }
        try await services.loop.send(.closeRequested(id))
        return try .json(try services.existingJob(id))
    }
}

// Several jobs in one request, and what is done to all of them.
import Hummingbird
import JobModel

struct PipelineRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.post, "/v1/pipelines", .user, submit),
            Route(.get, "/v1/pipelines/{id}", .reader, show),
            Route(.post, "/v1/pipelines/{id}/cancel", .owner, cancel),
        ]
    }

    @Sendable private func submit(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let body = try await call.body(limit: ParsedSubmission.sizeLimit)
        let key = try call.header("Idempotency-Key", limit: IdempotencyKey.longest)
        let pipeline = try await services.submission.submitTogether(body, by: try call.caller, key: key)
        return try .json(pipeline, status: .created)
    }

    @Sendable private func show(_ call: Call) async throws -> Response {
        try call.allowQuery()
        return try .json(try existing(call.job()))
    }

    /// From the last to the first: nothing starts because what it waited for was cancelled a moment before it.
    @Sendable private func cancel(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let pipeline = try existing(call.job())
        for job in pipeline.jobs { try call.caller.mustOwn(job.id, of: job.owner) }
        for job in pipeline.jobs.reversed() where job.state.value?.isTerminal == false {
            try await cancel(job.id)
        }
        return try .json(try existing(pipeline.id))
    }

    /// One that has ended since is left as it is.
    private func cancel(_ id: JobID) async throws(Problem) {
        do {
            try await services.loop.send(.cancelRequested(id))
        } catch {
            if error.kind != .conflict { throw error }
        }
    }

    private func existing(_ id: JobID) throws -> PipelineDocument {
        let jobs = try services.store.pipeline(id)
        guard let first = jobs.first else {
            throw Problem(.notFound, "no jobs were submitted together under the number \(id)", field: "id")
        }
        return PipelineDocument(id: id, name: first.pipeline?.name?.rawValue, jobs: jobs)
    }
}

// Jobs: submit, rerun, look, end. A submit that got no answer is sent again under its idempotency key: the scheduler
// then returns the same job.
import AsyncHTTPClient
import JobModel
import NIOCore
import NIOHTTP1

extension SchedulerClient {
    /// Submits a job. Durable when it returns.
    ///
    /// Station 2 of 8. Next: Sources/Scheduler/API/JobRoutes.swift
    /// - Parameter idempotencyKey: names this submission, at most 128 bytes; the same key and request give the same
    ///   job.
    package func submit(_ request: SubmitRequest, idempotencyKey: String) async throws(Problem) -> JobDocument {
        try await postOnce("/v1/jobs", .bytes(ByteBuffer(bytes: request.json)), key: idempotencyKey)
    }

    package func rerun(_ request: RerunRequest, idempotencyKey: String) async throws(Problem) -> JobDocument {
        try await postOnce("/v1/reruns", try json(request), key: idempotencyKey)
    }

    /// Submits jobs together: all are accepted or none.
    package func submit(_ request: PipelineRequest, idempotencyKey: String) async throws(Problem) -> PipelineDocument {
        try await postOnce("/v1/pipelines", .bytes(ByteBuffer(bytes: request.json)), key: idempotencyKey)
    }

    package func pipeline(_ id: JobID) async throws(Problem) -> PipelineDocument {
        try await call(.GET, "/v1/pipelines/\(id)")
    }

    package func cancelPipeline(_ id: JobID) async throws(Problem) -> PipelineDocument {
        try await call(.POST, "/v1/pipelines/\(id)/cancel")
    }

    private func postOnce<Document: Decodable & Sendable>(
        _ path: String, _ body: HTTPClientRequest.Body, key: String
    ) async throws(Problem) -> Document {
        var attempt = 0
        while true {
            do {
                return try await call(
                    .POST, path, headers: [("Idempotency-Key", key)], body: body, deadline: .seconds(60))
            } catch  where error.kind == .unavailable && attempt < 2 {
                attempt += 1
                try? await Task.sleep(for: .milliseconds(200 * attempt))  // allowed: a cancelled pause only shortens it
            }
        }
    }

    package func job(_ id: JobID) async throws(Problem) -> JobDocument { try await call(.GET, "/v1/jobs/\(id)") }

    /// One page, newest first.
    package func jobs(
        state: String? = nil, owner: String? = nil, name: String? = nil, pipeline: JobID? = nil, limit: Int? = nil,
        cursor: String? = nil
    )
        async throws(Problem) -> JobList
    {
        try await call(
            .GET, "/v1/jobs",
            query: [
                ("state", state), ("owner", owner), ("name", name), ("pipeline", pipeline?.description),
                ("limit", limit.map(String.init)), ("cursor", cursor),
            ])
    }

    package func tasks(of job: JobID, state: String? = nil, limit: Int? = nil, cursor: String? = nil)
        async throws(Problem) -> TaskList
    {
        try await call(
            .GET, "/v1/jobs/\(job)/tasks",
            query: [("state", state), ("limit", limit.map(String.init)), ("cursor", cursor)])
    }

    /// One page, oldest first.
    package func attempts(of job: JobID, task: Int64? = nil, limit: Int? = nil, cursor: String? = nil)
        async throws(Problem) -> AttemptList
    {
        try await call(
            .GET, "/v1/jobs/\(job)/attempts",
            query: [("task", task.map { String($0) }), ("limit", limit.map(String.init)), ("cursor", cursor)])
    }

    package func cancel(_ id: JobID) async throws(Problem) -> JobDocument {
        try await call(.POST, "/v1/jobs/\(id)/cancel")
    }
    /// Durable when it returns; the same key and request are done once.
    package func extend(_ id: JobID, by request: ExtendRequest, idempotencyKey: String) async throws(Problem)
        -> JobDocument
    {
        try await postOnce("/v1/jobs/\(id)/extend", try json(request), key: idempotencyKey)
    }
    package func close(_ id: JobID) async throws(Problem) -> JobDocument {
        try await call(.POST, "/v1/jobs/\(id)/close")
    }
    /// - Parameter task: nil for all that run.
    package func requeue(_ id: JobID, task: Int64?) async throws(Problem) -> JobDocument {
        try await call(.POST, "/v1/jobs/\(id)/requeue", query: [("task", task.map { String($0) })])
    }
    package func changeTimeLimit(_ id: JobID, _ request: TimeLimitRequest) async throws(Problem) -> JobDocument {
        try await call(.POST, "/v1/jobs/\(id)/time-limit", body: try json(request))
    }
    package func hold(_ id: JobID) async throws(Problem) -> JobDocument { try await call(.POST, "/v1/jobs/\(id)/hold") }
    package func release(_ id: JobID) async throws(Problem) -> JobDocument {
        try await call(.POST, "/v1/jobs/\(id)/release")
    }
}

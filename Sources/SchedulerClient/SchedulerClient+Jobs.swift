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

    private func postOnce(_ path: String, _ body: HTTPClientRequest.Body, key: String) async throws(Problem)
        -> JobDocument
    {
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
        state: String? = nil, owner: String? = nil, name: String? = nil, limit: Int? = nil, cursor: String? = nil
    )
        async throws(Problem) -> JobList
    {
        try await call(
            .GET, "/v1/jobs",
            query: [
                ("state", state), ("owner", owner), ("name", name), ("limit", limit.map(String.init)),
                ("cursor", cursor),
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
    package func hold(_ id: JobID) async throws(Problem) -> JobDocument { try await call(.POST, "/v1/jobs/\(id)/hold") }
    package func release(_ id: JobID) async throws(Problem) -> JobDocument {
        try await call(.POST, "/v1/jobs/\(id)/release")
    }
}

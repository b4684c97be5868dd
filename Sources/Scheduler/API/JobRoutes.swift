// Jobs: submit, list, show, cancel, hold, release, rerun, and their tasks and attempts. Reads go to the store's
// snapshots; what changes a job goes through the loop and is answered after the commit.
import Hummingbird
import JobModel
import SchedulingCore

struct JobRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.post, "/v1/jobs", .user, submit),
            Route(.get, "/v1/jobs", .reader, list),
            Route(.get, "/v1/jobs/{id}", .reader, show),
            Route(.post, "/v1/jobs/{id}/cancel", .owner) { try await change($0) { .cancelRequested($0) } },
            Route(.post, "/v1/jobs/{id}/hold", .owner) { try await change($0) { .holdRequested($0) } },
            Route(.post, "/v1/jobs/{id}/release", .owner, release),
            Route(.post, "/v1/jobs/{id}/requeue", .owner, requeue),
            Route(.post, "/v1/jobs/{id}/time-limit", .owner, changeTimeLimit),
            Route(.get, "/v1/jobs/{id}/tasks", .reader, tasks),
            Route(.get, "/v1/jobs/{id}/attempts", .reader, attempts),
            Route(.post, "/v1/reruns", .user, rerun),
        ]
    }

    /// Station 3 of 8. Next: Sources/Scheduler/SchedulerLoop.swift
    @Sendable private func submit(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let body = try await call.body(limit: ParsedSubmission.sizeLimit)
        let key = try call.header("Idempotency-Key", limit: IdempotencyKey.longest)
        var document = try await services.submission.submit(body, by: try call.caller, key: key)
        let image = PinnedImage(digest: document.image.digest, platform: nil)
        let warnings = await services.linter.warnings(of: image, named: document.image.reference)
        if !warnings.isEmpty { document.warnings = warnings }
        return .json(bytes: JobJSON.encode(document), status: .created)
    }

    @Sendable private func rerun(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let body = try await call.body(limit: RerunRequest.sizeLimit)
        let key = try call.header("Idempotency-Key", limit: IdempotencyKey.longest)
        let document = try await services.submission.rerun(body, by: try call.caller, key: key)
        return .json(bytes: JobJSON.encode(document), status: .created)
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor", "state", "owner", "name", "pipeline")
        return try .json(services.store.jobs(try call.jobQuery()))
    }

    @Sendable private func show(_ call: Call) async throws -> Response {
        try call.allowQuery()
        var job = try services.existingJob(call.job())
        job.pulls = services.puller.pulls(for: job)
        return try .json(job)
    }

    /// Of one task with `?task=7`, else of all that run.
    @Sendable private func requeue(_ call: Call) async throws -> Response {
        try call.allowQuery("task")
        let task = try call.query("task", "the index of a task") { text in Int64(text).flatMap { $0 >= 0 ? $0 : nil } }
        return try await changed(call) { .requeueRequested($0, task: task) }
    }

    @Sendable private func changeTimeLimit(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let body = try await call.body(limit: TimeLimitRequest.sizeLimit)
        let request: TimeLimitRequest
        do throws(SpecError) {
            request = try TimeLimitRequest(parsing: Array(body.readableBytesView))
        } catch {
            throw error.problem
        }
        return try await changed(call) { .timeLimitRequested($0, request.timeLimit, from: request.from) }
    }

    @Sendable private func change(_ call: Call, _ event: (JobID) -> Event) async throws -> Response {
        try call.allowQuery()
        return try await changed(call, event)
    }

    private func changed(_ call: Call, _ event: (JobID) -> Event) async throws -> Response {
        let (id, job) = try services.ownJob(call)
        // The core remembers the newest finished jobs only, and none after a restart. A final state never changes.
        if let state = job.state.value, state.isTerminal { throw Problem(.jobIsFinished(id, state)) }
        try await services.loop.send(event(id))
        return try .json(try services.existingJob(id))
    }

    /// A job that was held because its image did not come asks for it again.
    @Sendable private func release(_ call: Call) async throws -> Response {
        let response = try await change(call) { .releaseRequested($0) }
        try await services.puller.resume()
        return response
    }

    @Sendable private func tasks(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor", "state")
        let id = try call.job()
        _ = try services.existingJob(id)
        return try .json(services.store.tasks(try call.taskQuery(id)))
    }

    @Sendable private func attempts(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor", "task")
        let id = try call.job()
        _ = try services.existingJob(id)
        return try .json(services.store.attempts(try call.attemptQuery(id)))
    }
}

extension APIServices {
    /// - Throws: ``Problem`` of kind `notFound`.
    func existingJob(_ id: JobID) throws -> JobDocument {
        guard let job = try store.job(id) else { throw Problem(.notFound, "there is no job \(id)", field: "id") }
        return job
    }

    /// The job that the call names, if it is the caller's to change.
    func ownJob(_ call: Call) throws -> (JobID, JobDocument) {
        let id = try call.job()
        let job = try existingJob(id)
        try call.caller.mustOwn(id, of: job.owner)
        return (id, job)
    }
}

extension Call {
    fileprivate func jobQuery() throws(Problem) -> JobQuery {
        JobQuery(
            limit: try pageLimit(), cursor: try query("cursor"), state: try choice("state", of: JobState.self),
            owner: try query("owner"), name: try query("name"),
            pipeline: try query("pipeline", "the number of a pipeline") { JobID($0) })
    }

    fileprivate func taskQuery(_ job: JobID) throws(Problem) -> TaskQuery {
        TaskQuery(
            job: job, limit: try pageLimit(), cursor: try query("cursor"),
            state: try choice("state", of: TaskState.self))
    }

    fileprivate func attemptQuery(_ job: JobID) throws(Problem) -> AttemptQuery {
        let task = try query("task", "the index of a task") { text in Int64(text).flatMap { $0 >= 0 ? $0 : nil } }
        return AttemptQuery(job: job, limit: try pageLimit(), cursor: try query("cursor"), task: task)
    }
}

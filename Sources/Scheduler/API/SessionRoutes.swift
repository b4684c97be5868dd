// Sessions: an owner opens one beside a running attempt, its worker takes it, and the bytes of four half-duplex streams
// are passed on as they come (Sessions/SessionBroker.swift). What the bytes say is the business of both ends.
import AsyncAlgorithms
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import SchedulingCore
import ServiceLifecycle

struct SessionRoutes {
    let services: APIServices
    private var sessions: SessionBroker { services.sessions }

    var routes: [Route] {
        [
            Route(.post, "/v1/attempts/{attempt}/sessions", .owner, open),
            Route(.post, "/v1/sessions/{id}/input", .owner) { try await upload($0, .clientInput) },
            Route(.get, "/v1/sessions/{id}/output", .owner) { try await download($0, .clientOutput) },
            Route(.get, "/v1/workers/{name}/sessions", .worker, take),
            Route(.get, "/v1/workers/{name}/sessions/{id}/input", .worker) { try await download($0, .workerInput) },
            Route(.post, "/v1/workers/{name}/sessions/{id}/output", .worker) { try await upload($0, .workerOutput) },
        ]
    }

    @Sendable private func open(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let attempt = try call.parameter("attempt", "an attempt id such as 42.7.2") { AttemptID($0) }
        let request = try await call.decode(SessionRequest.self, limit: SessionRequest.sizeLimit)
        try request.check()
        guard let record = try services.store.record(of: attempt.job),
            let worker = try services.store.attempt(attempt).flatMap({ WorkerName(rawValue: $0.worker) })
        else { throw Problem(.notFound, "there is no attempt \(attempt)", field: "attempt") }
        let caller = try call.caller
        try caller.mustOwn(attempt.job, of: record.owner.name.rawValue)
        let session = Session(user: caller.name, attempt: attempt, worker: worker, request: request)
        // It waits before the worker is told of it: a worker that comes at once finds it.
        try sessions.open(session)
        do {
            try await services.loop.send(.sessionRequested(attempt))
        } catch {
            sessions.end(session)
            throw error
        }
        if record.isShell { Task { await cancel(attempt.job, after: session) } }
        return try .json(SessionDocument(id: session.id, attempt: attempt), status: .created)
    }

    /// The job of a shell has no purpose without it, also when its user's machine is gone.
    private func cancel(_ job: JobID, after session: Session) async {
        for await _ in session.end {}
        // allowed: it may have ended already
        try? await services.loop.send(.cancelRequested(job))
    }

    @Sendable private func take(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let worker = try call.name(as: WorkerName.self)
        // First, so that whatever is opened from here on is told of again.
        try await services.loop.send(.sessionsTaken(worker))
        return try .json(SessionOrderList(sessions: sessions.take(worker)))
    }

    // MARK: Streams

    /// Passes a request's body on until it ends, or the session does.
    private func upload(_ call: Call, _ stream: Session.Stream) async throws -> Response {
        let session = try attach(call, stream)
        let channel = stream == .clientInput ? session.toWorker : session.toClient
        let body = call.request.body
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                // A connection that was lost ends the session as well.
                do { for try await piece in body { await channel.send(piece) } } catch { return }
            }
            group.addTask { await cancelWhenGracefulShutdown { for await _ in session.end {} } }
            await group.next()
            group.cancelAll()
        }
        sessions.end(session)
        return Response(status: .noContent)
    }

    /// Answers with what the other side sends.
    private func download(_ call: Call, _ stream: Session.Stream) async throws -> Response {
        let session = try attach(call, stream)
        let channel = stream == .clientOutput ? session.toClient : session.toWorker
        let sessions = sessions
        return Response(
            status: .ok, headers: [.contentType: "application/octet-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                let watch = Task {
                    await cancelWhenGracefulShutdown { for await _ in session.end {} }
                    sessions.end(session)
                }
                defer {
                    watch.cancel()
                    sessions.end(session)
                }
                var isEmpty = true
                for await piece in channel {
                    isEmpty = false
                    try await writer.write(piece)
                }
                if isEmpty, let failure = session.failure {
                    try await writer.write(ByteBuffer(bytes: SessionFrame.failure(failure).encoded))
                }
                try await writer.finish(nil)
            })
    }

    private func attach(_ call: Call, _ stream: Session.Stream) throws(Problem) -> Session {
        try call.allowQuery()
        let id = try call.text("id")
        switch stream {
        case .clientInput, .clientOutput:
            let caller = try call.caller
            return try sessions.attach(id, stream) { $0.user == caller.name || caller.role == .admin }
        case .workerInput, .workerOutput:
            let worker = try call.name(as: WorkerName.self)
            return try sessions.attach(id, stream) { $0.worker == worker }
        }
    }
}

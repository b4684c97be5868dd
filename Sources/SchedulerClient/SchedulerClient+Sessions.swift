// Sessions: opened by a user's command line, served by a worker. Each side sends frames in the body of one call and
// receives frames in the answer of another.
import AsyncHTTPClient
import JobModel
import NIOCore
import NIOHTTP1

extension SchedulerClient {
    /// Opens a session beside a running attempt. Then take both of its streams.
    package func openSession(beside attempt: AttemptID, _ request: SessionRequest) async throws(Problem)
        -> SessionDocument
    {
        try await call(.POST, "/v1/attempts/\(attempt)/sessions", body: try json(request))
    }

    /// Sends what the user does, until `frames` end or the session does.
    package func sendInput<Frames: AsyncSequence & Sendable>(of session: String, _ frames: Frames) async throws(Problem)
    where Frames.Element == SessionFrame {
        try await send(frames, to: "/v1/sessions/\(Self.percentEncoded(session))/input")
    }

    /// Receives what the program prints, until the session ends.
    package func receiveOutput(of session: String, _ take: (SessionFrame) async -> Void) async throws(Problem) {
        try await receive("/v1/sessions/\(Self.percentEncoded(session))/output", take)
    }

    /// The sessions that wait for this worker. Each is handed out once.
    package func sessions(for worker: WorkerName) async throws(Problem) -> [SessionOrder] {
        let list: SessionOrderList = try await call(.GET, "/v1/workers/\(worker)/sessions")
        return list.sessions
    }

    package func sendOutput<Frames: AsyncSequence & Sendable>(
        of session: String, _ worker: WorkerName, _ frames: Frames
    ) async throws(Problem) where Frames.Element == SessionFrame {
        try await send(frames, to: "/v1/workers/\(worker)/sessions/\(Self.percentEncoded(session))/output")
    }

    package func receiveInput(
        of session: String, _ worker: WorkerName, _ take: (SessionFrame) async -> Void
    ) async throws(Problem) {
        try await receive("/v1/workers/\(worker)/sessions/\(Self.percentEncoded(session))/input", take)
    }

    // MARK: Streams

    /// Longer than any attempt.
    private static let endless = TimeAmount.hours(24 * 30)

    private func send<Frames: AsyncSequence & Sendable>(_ frames: Frames, to path: String) async throws(Problem)
    where Frames.Element == SessionFrame {
        let bytes = frames.map { ByteBuffer(bytes: $0.encoded) }
        _ = try await exchange(
            .POST, path, headers: [("Content-Type", "application/octet-stream")],
            body: .stream(bytes, length: .unknown), deadline: Self.endless, limit: 1 << 20)
    }

    private func receive(_ path: String, _ take: (SessionFrame) async -> Void) async throws(Problem) {
        let response = try await send(.GET, path, deadline: Self.endless)
        var parser = SessionFrameParser()
        do {
            if response.status.code >= 400 { try check(response, try await response.body.collect(upTo: 1 << 20)) }
            for try await piece in response.body {
                for frame in try parser.take(piece.readableBytesView) { await take(frame) }
            }
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.unavailable, "the connection to the scheduler was lost")
        }
    }
}

// Sessions while they last: who opened one, which worker is to serve it, and the two channels that join their
// streams. In memory only. Invariants: a channel holds one piece at a time, so a side that does not read holds up
// the other and no memory; each of the four streams is taken once; when one of them ends, all do.
import AsyncAlgorithms
import Foundation
import JobModel
import NIOCore
import Synchronization

/// One session. Safe from any task.
final class Session: Sendable {
    /// Its four streams.
    enum Stream: Hashable, Sendable, CaseIterable { case clientInput, clientOutput, workerInput, workerOutput }

    let id: String
    let user: UserName
    let order: SessionOrder
    let worker: WorkerName
    let toWorker = AsyncChannel<ByteBuffer>()
    let toClient = AsyncChannel<ByteBuffer>()
    private let state = Mutex(State())

    private struct State {
        var streams: Set<Stream> = []
        var hasEnded = false
        var failure: String?
        var waiters: [AsyncStream<Never>.Continuation] = []
    }

    init(user: UserName, attempt: AttemptID, worker: WorkerName, request: SessionRequest) {
        id = UUID().uuidString.replacing("-", with: "").lowercased()
        self.user = user
        self.worker = worker
        order = SessionOrder(id: id, attempt: attempt, request: request)
    }

    /// Why it ended before anybody served it.
    var failure: String? { state.withLock { $0.failure } }

    /// Ends with the session.
    var end: AsyncStream<Never> {
        let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
        let hasEnded = state.withLock { state in
            if !state.hasEnded { state.waiters.append(continuation) }
            return state.hasEnded
        }
        if hasEnded { continuation.finish() }
        return stream
    }

    /// False if somebody has this stream already.
    fileprivate func attach(_ stream: Stream) -> Bool { state.withLock { $0.streams.insert(stream).inserted } }

    fileprivate var isComplete: Bool { state.withLock { $0.streams.count == Stream.allCases.count } }

    fileprivate func finish(_ failure: String?) {
        let waiters = state.withLock { state in
            if !state.hasEnded { state.failure = failure }
            state.hasEnded = true
            defer { state.waiters = [] }
            return state.waiters
        }
        toWorker.finish()
        toClient.finish()
        for waiter in waiters { waiter.finish() }
    }
}

/// All sessions.
package final class SessionBroker: Sendable {
    static let limit = 256
    static let limitPerUser = 16
    static let limitPerWorker = 16

    private struct State {
        var sessions: [String: Session] = [:]
        /// Opened and not yet taken, by worker, in order.
        var waiting: [WorkerName: [Session]] = [:]
    }
    private let state = Mutex(State())
    private let patience: Duration

    /// - Parameter patience: how long both sides may take to come.
    package init(patience: Duration = .seconds(30)) { self.patience = patience }

    /// - Throws: ``Problem`` of kind `refused` where there are too many.
    func open(_ session: Session) throws(Problem) {
        let refusal = state.withLock { state -> String? in
            if state.sessions.count >= Self.limit { return "the scheduler has \(Self.limit) sessions" }
            if state.sessions.values.count(where: { $0.user == session.user }) >= Self.limitPerUser {
                return "'\(session.user)' has \(Self.limitPerUser) sessions"
            }
            if state.sessions.values.count(where: { $0.worker == session.worker }) >= Self.limitPerWorker {
                return "the worker '\(session.worker)' has \(Self.limitPerWorker) sessions"
            }
            state.sessions[session.id] = session
            state.waiting[session.worker, default: []].append(session)
            return nil
        }
        if let refusal { throw Problem(.refused, refusal + ", which is the limit: end one first") }
        Task { [patience] in
            // allowed: nobody cancels this
            try? await Task.sleep(for: patience)
            guard !session.isComplete else { return }
            end(session, because: "the worker '\(session.worker)' did not take the session in time")
        }
    }

    /// What a worker has not taken yet.
    func take(_ worker: WorkerName) -> [SessionOrder] {
        state.withLock { $0.waiting.removeValue(forKey: worker) ?? [] }.map(\.order)
    }

    /// Takes one of a session's streams.
    /// - Throws: ``Problem`` of kind `notFound`, also for a session of somebody else, or `conflict` if it is taken.
    func attach(_ id: String, _ stream: Session.Stream, _ isAllowed: (Session) -> Bool) throws(Problem) -> Session {
        guard let session = state.withLock({ $0.sessions[id] }), isAllowed(session) else {
            throw Problem(.notFound, "there is no session \(quoted(id)): it may have ended", field: "id")
        }
        guard session.attach(stream) else {
            throw Problem(.conflict, "the session has this stream already", field: "id")
        }
        return session
    }

    /// Ends both sides. The first reason counts.
    func end(_ session: Session, because failure: String? = nil) {
        state.withLock { state in
            state.sessions[session.id] = nil
            state.waiting[session.worker]?.removeAll { $0.id == session.id }
            if state.waiting[session.worker]?.isEmpty == true { state.waiting[session.worker] = nil }
        }
        session.finish(failure)
    }
}

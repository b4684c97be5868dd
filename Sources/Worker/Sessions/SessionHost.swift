// The sessions of a worker: takes those that wait at the scheduler, and serves each beside the agent's other work.
// Invariant: when a session is over, whoever ended it, nothing of it is left in the container; what an agent that was
// killed left there, the next one ends.
import AsyncAlgorithms
import Glibc
import JobModel
import Logging
import RunnerCore
import SchedulerClient
import ServiceLifecycle

/// What sessions ask of the scheduler.
package protocol SessionConnection: Sendable {
    func sessions(for worker: WorkerName) async throws(Problem) -> [SessionOrder]
    /// Returns when `frames` or the session have ended.
    func sendOutput(of session: String, _ worker: WorkerName, _ frames: AsyncChannel<SessionFrame>)
        async throws(Problem)
    func receiveInput(of session: String, _ worker: WorkerName, _ take: (SessionFrame) async -> Void)
        async throws(Problem)
}

extension SchedulerClient: SessionConnection {}

package actor SessionHost: Service {
    private let worker: WorkerName
    private let engine: any ContainerEngine
    private let scheduler: any SessionConnection
    private let logger: Logger
    private let book: SessionBook
    private var sessions: [String: Task<Void, Never>] = [:]
    private var isTaking = false
    private var mustTakeAgain = false
    private var isOver = false

    /// - Parameter folder: where it is kept which sessions are served.
    package init(
        worker: WorkerName, engine: any ContainerEngine, scheduler: any SessionConnection, folder: String,
        logger: Logger
    ) {
        self.worker = worker
        self.engine = engine
        self.scheduler = scheduler
        self.logger = logger
        book = SessionBook(folder: folder)
    }

    /// Until the worker stops; then every session ends.
    package func run() async throws {
        let left = book.open
        let clearing = Task { await self.clear(left) }
        do { try await gracefulShutdown() } catch { isOver = true }
        await stop()
        await clearing.value
    }

    /// Ends what an earlier life of the agent left in containers.
    private func clear(_ left: [String]) async {
        for id in left {
            logger.notice("a session that was cut off is ended")
            let processes = SessionProcesses(id: id)
            for _ in 0..<50 {
                await onThread { processes.end() }
                // A runtime that is about to start its program does so also when the agent is gone.
                guard await onThread({ processes.isBeginning }) else { break }
                await onThread { _ = usleep(50_000) }
            }
            book.end(id)
        }
    }

    /// The scheduler says that sessions wait.
    package nonisolated func wanted() { Task { await take() } }

    private func take() async {
        guard !isTaking else {
            mustTakeAgain = true
            return
        }
        isTaking = true
        defer { isTaking = false }
        repeat {
            mustTakeAgain = false
            do throws(Problem) {
                for order in try await scheduler.sessions(for: worker) where !isOver { begin(order) }
            } catch {
                // The next answer to a sync says again that they wait.
                logger.warning("sessions could not be taken", metadata: ["cause": "\(error)"])
            }
        } while mustTakeAgain
    }

    private func begin(_ order: SessionOrder) {
        guard sessions[order.id] == nil else { return }
        logger.notice("session begins", metadata: ["attempt": "\(order.attempt)"])
        let service = SessionService(order: order, worker: worker, engine: engine, scheduler: scheduler, book: book)
        sessions[order.id] = Task {
            await service.run()
            ended(order)
        }
    }

    private func ended(_ order: SessionOrder) {
        sessions[order.id] = nil
        logger.notice("session ended", metadata: ["attempt": "\(order.attempt)"])
    }

    private func stop() async {
        isOver = true
        let all = Array(sessions.values)
        for session in all { session.cancel() }
        for session in all { await session.value }
    }
}

/// One session, from its order to its end.
struct SessionService: Sendable {
    let order: SessionOrder
    let worker: WorkerName
    let engine: any ContainerEngine
    let scheduler: any SessionConnection
    let book: SessionBook

    /// Whoever sends nothing for two minutes is cut off.
    static let heartbeat = Duration.seconds(30)

    private enum End: Sendable { case programEnded, outputSent, inputEnded, heartbeatEnded }

    func run() async {
        let frames = AsyncChannel<SessionFrame>()
        do {
            let session = try await start()
            await serve(session, frames)
        } catch {
            async let sending: Void = upload(frames)
            await frames.send(.failure(String("\(error)".prefix(1000))))
            frames.finish()
            await sending
        }
    }

    private func start() async throws -> any ContainerSession {
        try order.request.check()
        guard let container = try await engine.list().first(where: { $0.attempt == order.attempt }) else {
            throw EngineError.refused("the container of \(order.attempt) is not here")
        }
        do throws(FileFailure) {
            try book.begin(order.id)
        } catch {
            throw EngineError.refused("the worker's disk cannot take the session: \(error)")
        }
        do {
            return try await engine.session(in: container.id, SessionLaunch(id: order.id, request: order.request))
        } catch {
            book.end(order.id)
            throw error
        }
    }

    private func serve(_ session: any ContainerSession, _ frames: AsyncChannel<SessionFrame>) async {
        await withTaskGroup(of: End.self) { group in
            group.addTask {
                await upload(frames)
                return .outputSent
            }
            group.addTask {
                await download(to: session)
                return .inputEnded
            }
            group.addTask {
                await copyOutput(of: session, to: frames)
                return .programEnded
            }
            group.addTask {
                while !Task.isCancelled {
                    do { try await Task.sleep(for: Self.heartbeat) } catch { break }
                    await frames.send(.alive)
                }
                return .heartbeatEnded
            }
            if await group.next() == .programEnded {
                // Its last frame was taken; the scheduler answers when it has passed everything on.
                frames.finish()
                while let end = await group.next(), end != .outputSent {}
            }
            group.cancelAll()
            await clear(session)
            await session.close()
            book.end(order.id)
        }
    }

    /// Ends what is left of the session, also what is only about to begin.
    private func clear(_ session: any ContainerSession) async {
        let processes = SessionProcesses(id: order.id)
        for _ in 0..<50 {
            await onThread { processes.end() }
            guard await session.isRunning() else { return }
            await onThread { _ = usleep(50_000) }
        }
    }

    // MARK: Streams

    private func upload(_ frames: AsyncChannel<SessionFrame>) async {
        // However it ends, the session is over.
        do { try await scheduler.sendOutput(of: order.id, worker, frames) } catch { return }
    }

    private func download(to session: any ContainerSession) async {
        let processes = SessionProcesses(id: order.id)
        do throws(Problem) {
            try await scheduler.receiveInput(of: order.id, worker) { frame in
                switch frame {
                case .input(let bytes): await session.write(bytes)
                case .inputEnd: await session.endInput()
                case .resize(let rows, let columns): await session.resize(rows: rows, columns: columns)
                case .signal(let number): await onThread { processes.signal(Int32(number)) }
                case .alive, .output, .errors, .exit, .failure: break
                }
            }
        } catch { return }
    }

    private func copyOutput(of session: any ContainerSession, to frames: AsyncChannel<SessionFrame>) async {
        do throws(EngineError) {
            while let piece = try await session.read() {
                var rest = piece.bytes[...]
                while !rest.isEmpty {
                    let bytes = Array(rest.prefix(SessionFrame.payloadLimit))
                    rest = rest.dropFirst(bytes.count)
                    await frames.send(piece.stream == .stdout ? .output(bytes) : .errors(bytes))
                }
            }
            await frames.send(.exit(try await session.exitCode()))
        } catch {
            await frames.send(.failure(String(error.description.prefix(1000))))
        }
    }
}

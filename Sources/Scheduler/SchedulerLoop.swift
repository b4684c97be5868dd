// The scheduler's one writer: a thread that drains its inbox, steps, and answers after the commit. Under load the batch
// grows and a commit serves more. Handlers put an envelope in and wait; a handler that is cancelled gives up the wait,
// never the write.
import Foundation
import JobModel
import Logging
import SchedulingCore
import ServiceLifecycle
import Synchronization

package final class SchedulerLoop: Service {
    /// Envelopes that may wait. More are refused with "unavailable".
    private static let inboxLimit = 100_000
    private static let batchLimit = 4_096
    /// How often time alone is looked at, in milliseconds.
    private static let tick = 100

    private let inbox: Inbox
    private let watchers = Watchers()
    private let ended = Ended()

    /// Rebuilds the state from the store and starts the thread.
    package init(store: Store, policy: Policy, clock: any SchedulerClock, events: EventLog, logger: Logger) throws {
        inbox = Inbox(limit: Self.inboxLimit)
        let stepper = try Stepper(store: store, policy: policy, at: clock.now())
        for (kind, id, reason) in try store.quarantined() {
            logger.error(
                "A record cannot be read", metadata: ["kind": "\(kind)", "id": "\(id)", "reason": "\(reason)"])
        }
        let worker = LoopThread(
            stepper: stepper, clock: clock, logger: logger, inbox: inbox, watchers: watchers, events: events,
            batchLimit: Self.batchLimit, tick: Self.tick)
        let ended = self.ended
        let thread = Thread { ended.finish(worker.run()) }
        thread.name = "scheduler-loop"
        thread.stackSize = 8 << 20
        thread.start()
    }

    /// A loop that nobody runs or holds any more ends its thread, which lets the data folder go.
    deinit { inbox.close() }

    /// Waits until a graceful stop has committed everything that was accepted.
    /// - Throws: ``StoreFailure`` if the disk failed.
    package func run() async throws {
        let result = await withTaskCancellationOrGracefulShutdownHandler {
            await ended.wait()
        } onCancelOrGracefulShutdown: {
            self.inbox.close()
        }
        try result.get()
    }

    /// Accepts a job. It is durable when this returns.
    ///
    /// Station 4 of 8. Next: Sources/SchedulingCore/Jobs.swift
    /// - Throws: `conflict` if the idempotency key was used for another request, `unavailable` if the inbox is full.
    package func submit(_ submission: AcceptedSubmission) async throws(Problem) -> JobDocument {
        switch try await reply(to: .submission(submission)) {
        case .submitted(let document): return document
        case .refused(let problem): throw problem
        case .done, .submittedTogether: throw Problem(.internal, "the submission was not answered")
        }
    }

    /// Accepts jobs together. All are durable when this returns.
    package func submit(_ pipeline: AcceptedPipeline) async throws(Problem) -> [JobDocument] {
        switch try await reply(to: .pipeline(pipeline)) {
        case .submittedTogether(let documents): return documents
        case .refused(let problem): throw problem
        case .done, .submitted: throw Problem(.internal, "the submission was not answered")
        }
    }

    /// Lets an open array grow; durable when this returns.
    package func extend(_ growth: AcceptedExtension) async throws(Problem) {
        try await acknowledge(.extension(growth))
    }

    /// Applies an event; its changes are durable when this returns.
    package func send(_ event: Event) async throws(Problem) { try await acknowledge(.event(event)) }

    /// Writes a row that is not the core's.
    package func record(_ entry: BookEntry) async throws(Problem) { try await acknowledge(.entry(entry)) }

    private func acknowledge(_ envelope: Envelope) async throws(Problem) {
        switch try await reply(to: envelope) {
        case .done, .submitted, .submittedTogether: return
        case .refused(let problem): throw problem
        }
    }

    /// A worker's call. Waits until the core answers it.
    package func sync(_ worker: WorkerName, _ request: SyncRequest) async throws(Problem) -> SyncOrders {
        try await waiting { (waiter: CheckedContinuation<Result<SyncOrders, Problem>, Never>) in
            .sync(worker, request, waiter)
        }
    }

    /// Looks at the state on the loop's thread, after the events that came before.
    package func query<Value: Sendable>(_ body: @escaping @Sendable (borrowing Cluster) -> Value) async throws(Problem)
        -> Value
    {
        try await waiting { (waiter: CheckedContinuation<Result<Value, Problem>, Never>) in
            .query { result in
                switch result {
                case .success(let stepper): waiter.resume(returning: .success(body(stepper.pointee.cluster)))
                case .failure(let problem): waiter.resume(returning: .failure(problem))
                }
            }
        }
    }

    /// A tick for each committed change of a job; ticks that nobody took are merged.
    package func revisions(of job: JobID) -> AsyncStream<Int64> { watchers.stream(job) }

    private func reply(to envelope: Envelope) async throws(Problem) -> StepReply {
        try await waiting { .envelope(envelope, $0) }
    }

    private func waiting<Value: Sendable>(
        _ letter: (CheckedContinuation<Result<Value, Problem>, Never>) -> Letter
    ) async throws(Problem) -> Value {
        let result: Result<Value, Problem> = await withCheckedContinuation { waiter in
            if let problem = inbox.put(letter(waiter)) { waiter.resume(returning: .failure(problem)) }
        }
        return try result.get()
    }
}

/// What lies in the inbox, with whoever waits for it.
enum Letter: Sendable {
    case envelope(Envelope, CheckedContinuation<Result<StepReply, Problem>, Never>)
    case sync(WorkerName, SyncRequest, CheckedContinuation<Result<SyncOrders, Problem>, Never>)
    case query(@Sendable (Result<UnsafePointer<Stepper>, Problem>) -> Void)
}

/// The bounded queue between handlers and the loop's thread.
final class Inbox: Sendable {
    private struct State {
        var letters: [Letter] = []
        var isClosed = false
        var isSignalled = false
    }

    private let limit: Int
    private let state = Mutex(State())
    private let signal = DispatchSemaphore(value: 0)

    init(limit: Int) { self.limit = limit }

    /// Why the letter was not taken; nil if it was.
    func put(_ letter: Letter) -> Problem? {
        let (problem, wake) = state.withLock { state -> (Problem?, Bool) in
            if state.isClosed {
                return (Problem(.unavailable, "the scheduler is stopping: try again in a moment"), false)
            }
            guard state.letters.count < limit else {
                return (Problem(.unavailable, "the scheduler is overloaded: try again in a moment"), false)
            }
            state.letters.append(letter)
            defer { state.isSignalled = true }
            return (nil, !state.isSignalled)
        }
        if wake { signal.signal() }
        return problem
    }

    func close() {
        state.withLock { $0.isClosed = true }
        signal.signal()
    }

    /// Up to `count` letters, after waiting for the first for at most `milliseconds`. Nil when closed and empty.
    func take(_ count: Int, waiting milliseconds: Int) -> [Letter]? {
        if state.withLock({ $0.letters.isEmpty && !$0.isClosed }) {
            _ = signal.wait(timeout: .now() + .milliseconds(milliseconds))
        } else {
            // Letters that came while the thread was busy have signalled once: unspent, it would wake the thread for
            // nothing.
            _ = signal.wait(timeout: .now())
        }
        return state.withLock { state in
            state.isSignalled = false
            if state.letters.isEmpty { return state.isClosed ? nil : [] }
            if state.letters.count <= count {
                let all = state.letters
                state.letters = []
                return all
            }
            let some = Array(state.letters.prefix(count))
            state.letters.removeFirst(count)
            return some
        }
    }
}

/// Streams of those who watch a job.
final class Watchers: Sendable {
    private struct State {
        var streams: [JobID: [Int: AsyncStream<Int64>.Continuation]] = [:]
        var next = 0
    }

    private let state = Mutex(State())

    func stream(_ job: JobID) -> AsyncStream<Int64> {
        let (stream, continuation) = AsyncStream.makeStream(of: Int64.self, bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock { state -> Int in
            state.next += 1
            state.streams[job, default: [:]][state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in
                state.streams[job]?[id] = nil
                if state.streams[job]?.isEmpty == true { state.streams[job] = nil }
            }
        }
        return stream
    }

    func announce(_ changes: [Change]) {
        state.withLock { state in
            guard !state.streams.isEmpty else { return }
            for change in changes {
                switch change {
                case .jobAdded(let id, _, let progress), .job(let id, let progress):
                    for stream in state.streams[id, default: [:]].values { stream.yield(progress.revision) }
                case .record, .task, .attempt, .worker, .account, .accountRemoved, .usage, .license, .licenseRemoved,
                    .reservation, .reservationRemoved, .ended:
                    break
                }
            }
        }
    }
}

/// The end of the loop's thread, for whoever waits for it.
private final class Ended: Sendable {
    private struct State {
        var result: Result<Void, StoreFailure>?
        var waiter: CheckedContinuation<Result<Void, StoreFailure>, Never>?
    }

    private let state = Mutex(State())

    func finish(_ result: Result<Void, StoreFailure>) {
        let waiter = state.withLock { state in
            state.result = result
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: result)
    }

    func wait() async -> Result<Void, StoreFailure> {
        await withCheckedContinuation { waiter in
            let result = state.withLock { state in
                if state.result == nil { state.waiter = waiter }
                return state.result
            }
            if let result { waiter.resume(returning: result) }
        }
    }
}

// The runners that live, by their process descriptors: one thread waits for all of them. Invariant: a process number is
// used only while the process is proven to be the one that holds the attempt's lock, or to be a child that was not
// reaped.
import CLinux
import Foundation
import Glibc
import JobModel
import RunnerCore
import Synchronization

final class RunnerProcesses: Sendable {
    private struct Runner {
        var descriptor: Int32
        var isChild: Bool
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    }
    private struct State {
        var runners: [AttemptID: Runner] = [:]
        var attempts: [Int32: AttemptID] = [:]
        var tickets: UInt64 = 0
    }
    private final class Core: Sendable {
        let state = Mutex(State())
        let watch = jc_watch_open()
        /// Readable when the thread shall end.
        let end = jc_event_open()
    }
    private let core = Core()

    init() {
        _ = jc_watch_add(core.watch, core.end)
        let core = core
        let thread = Thread { Self.serve(core) }
        thread.name = "runners"
        thread.stackSize = 512 << 10
        thread.start()
    }

    deinit { jc_event_set(core.end) }

    // MARK: Inputs

    /// Starts the runner of an attempt, unless this object knows of one that lives.
    /// - Parameter runtime: what it is handed as the runtime's program, if anything.
    func start(
        _ attempt: AttemptID, program: String, folder: RunnerFolder, runtime: SealedProgram?
    ) throws(EngineError) {
        let failure: Int32? = core.state.withLock { state in
            guard state.runners[attempt] == nil else { return nil }
            var arguments = [strdup(program), strdup(folder.path), nil]
            defer { for pointer in arguments { free(pointer) } }
            let process = jc_spawn_detached(program, &arguments, runtime?.descriptor ?? -1)
            guard process > 0 else { return -process }
            let descriptor = jc_process_open(process)
            guard descriptor >= 0 else { return -descriptor }
            state.runners[attempt] = Runner(descriptor: descriptor, isChild: true)
            state.attempts[descriptor] = attempt
            _ = jc_watch_add(core.watch, descriptor)
            return nil
        }
        if let failure {
            throw .refused("the runner \(program) could not be started: \(String(cString: strerror(failure)))")
        }
    }

    /// Takes up the runner that an earlier life of the agent started.
    /// - Returns: whether there is one, or was one known already.
    func adopt(_ attempt: AttemptID, folder: RunnerFolder) -> Bool {
        core.state.withLock { state in
            if state.runners[attempt] != nil { return true }
            guard let descriptor = Self.holder(folder) else { return false }
            state.runners[attempt] = Runner(descriptor: descriptor, isChild: false)
            state.attempts[descriptor] = attempt
            _ = jc_watch_add(core.watch, descriptor)
            return true
        }
    }

    func signal(_ attempt: AttemptID, _ number: Int32) {
        core.state.withLock { state in
            guard let runner = state.runners[attempt] else { return }
            _ = jc_process_signal(runner.descriptor, number)
        }
    }

    /// Returns when no runner of the attempt is known to live, or when the task is cancelled.
    func ended(_ attempt: AttemptID) async {
        let ticket = core.state.withLock { state in
            state.tickets += 1
            return state.tickets
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = core.state.withLock { state in
                    guard !Task.isCancelled, state.runners[attempt] != nil else { return true }
                    state.runners[attempt]?.waiters[ticket] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            core.state.withLock { $0.runners[attempt]?.waiters.removeValue(forKey: ticket) }?.resume()
        }
    }

    /// As ``ended(_:)``, but not longer than `limit`.
    func ended(_ attempt: AttemptID, within limit: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.ended(attempt) }
            group.addTask { try? await Task.sleep(for: limit) }  // allowed: cancelled when the runner ended first
            await group.next()
            group.cancelAll()
        }
    }

    // MARK: Leaves

    /// The process that holds the attempt's lock. It is looked up again once it cannot be mistaken any more.
    private static func holder(_ folder: RunnerFolder) -> Int32? {
        let file = open(folder.description, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return nil }
        defer { close(file) }
        let process = jc_lock_holder(file)
        guard process > 0 else { return nil }
        let descriptor = jc_process_open(process)
        guard descriptor >= 0 else { return nil }
        guard jc_lock_holder(file) == process else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    private static func serve(_ core: Core) {
        while true {
            let descriptor = jc_watch_next(core.watch)
            guard descriptor != core.end else { break }
            if descriptor >= 0 { finish(descriptor, core) }
        }
        close(core.watch)
        close(core.end)
    }

    private static func finish(_ descriptor: Int32, _ core: Core) {
        let waiters = core.state.withLock { state -> [CheckedContinuation<Void, Never>] in
            guard let attempt = state.attempts.removeValue(forKey: descriptor),
                let runner = state.runners.removeValue(forKey: attempt)
            else { return [] }
            if runner.isChild { _ = jc_process_reap(descriptor) }
            // Closing takes it out of the epoll set.
            close(descriptor)
            return Array(runner.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
    }
}

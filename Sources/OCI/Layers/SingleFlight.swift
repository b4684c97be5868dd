// Work that many ask for and that happens once: whoever comes while it is under way waits for the same result. It is
// given up only when the last one who waits has gone.
import JobModel
import Synchronization

package final class SingleFlight<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private typealias Waiter = CheckedContinuation<Result<Value, OCIError>, Never>

    private struct Flight {
        var task: Task<Void, Never>?
        var waiters: [UInt64: Waiter] = [:]
    }

    private struct State {
        var flights: [Key: Flight] = [:]
        var tickets: UInt64 = 0
        /// Callers whose work it is that flies.
        var starters: Set<UInt64> = []
        /// Callers that do not wait yet; false if they were cancelled meanwhile.
        var arriving: [UInt64: Bool] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// The result of `work`, or of the same key's work that is under way.
    /// - Throws: ``OCIError/cancelled`` as soon as the caller's task is cancelled, and what `work` throws.
    package func run(
        _ key: Key, _ work: @escaping @Sendable () async throws(OCIError) -> Value
    ) async throws(OCIError) -> Value {
        while true {
            guard !Task.isCancelled else { throw OCIError.cancelled }
            let ticket = state.withLock { state in
                state.tickets += 1
                state.arriving[state.tickets] = true
                return state.tickets
            }
            let result = await wait(key, ticket, work)
            let hasStarted = state.withLock { $0.starters.remove(ticket) != nil }
            // A caller that joined a flight just given up by others starts over.
            if case .failure(.cancelled) = result, !hasStarted { continue }
            return try result.get()
        }
    }

    private func wait(
        _ key: Key, _ ticket: UInt64, _ work: @escaping @Sendable () async throws(OCIError) -> Value
    ) async -> Result<Value, OCIError> {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: Waiter) in
                let isGone = state.withLock { state in
                    guard state.arriving.removeValue(forKey: ticket) ?? false else { return true }
                    if state.flights[key] == nil {
                        state.flights[key] = Flight(task: fly(key, work))
                        state.starters.insert(ticket)
                    }
                    state.flights[key]?.waiters[ticket] = waiter
                    return false
                }
                if isGone { waiter.resume(returning: .failure(.cancelled)) }
            }
        } onCancel: {
            leave(key, ticket)
        }
    }

    private func fly(_ key: Key, _ work: @escaping @Sendable () async throws(OCIError) -> Value) -> Task<Void, Never> {
        Task {
            let result: Result<Value, OCIError>
            do throws(OCIError) {
                result = .success(try await work())
            } catch {
                result = .failure(error)
            }
            let waiters = state.withLock { $0.flights.removeValue(forKey: key)?.waiters ?? [:] }
            for waiter in waiters.values { waiter.resume(returning: result) }
        }
    }

    private func leave(_ key: Key, _ ticket: UInt64) {
        let (waiter, task): (Waiter?, Task<Void, Never>?) = state.withLock { state in
            guard let waiter = state.flights[key]?.waiters.removeValue(forKey: ticket) else {
                if state.arriving[ticket] != nil { state.arriving[ticket] = false }
                return (nil, nil)
            }
            let isLast = state.flights[key]?.waiters.isEmpty ?? false
            return (waiter, isLast ? state.flights[key]?.task : nil)
        }
        task?.cancel()
        waiter?.resume(returning: .failure(.cancelled))
    }
}

/// Lets a few through at a time, in order.
package actor Gate {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    package init(width: Int) { free = width }

    package func enter() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    package func leave() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}

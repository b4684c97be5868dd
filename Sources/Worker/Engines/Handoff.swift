// One value at a time from one producer to one consumer: the producer waits until the consumer has taken it, so that
// nothing of unlimited size lies between them. Invariant: what was sent before `finish` is handed out before the end.

/// A channel without a buffer.
actor Handoff<Value: Sendable> {
    private var value: Value?
    private var result: Result<Void, any Error>?
    private var consumer: CheckedContinuation<Void, Never>?
    private var producer: CheckedContinuation<Void, Never>?

    /// Waits until the value before was taken.
    /// - Throws: `CancellationError` if the producing task is cancelled.
    func send(_ next: Value) async throws {
        while value != nil {
            try Task.checkCancellation()
            await withTaskCancellationHandler {
                await withCheckedContinuation { park(producer: $0) }
            } onCancel: {
                Task { await self.wake() }
            }
        }
        try Task.checkCancellation()
        value = next
        wakeConsumer()
    }

    /// Ends the channel, once.
    func finish(_ error: (any Error)?) {
        guard result == nil else { return }
        result = error.map { .failure($0) } ?? .success(())
        wakeConsumer()
    }

    /// The next value; nil at the end. Throws what ended the channel, or `CancellationError`.
    func next() async throws -> Value? {
        while true {
            if let taken = value {
                value = nil
                producer?.resume()
                producer = nil
                return taken
            }
            if let result {
                try result.get()
                return nil
            }
            try Task.checkCancellation()
            await withTaskCancellationHandler {
                await withCheckedContinuation { park(consumer: $0) }
            } onCancel: {
                Task { await self.wake() }
            }
        }
    }

    private func park(producer continuation: CheckedContinuation<Void, Never>) {
        if value == nil || Task.isCancelled { return continuation.resume() }
        producer?.resume()
        producer = continuation
    }

    private func park(consumer continuation: CheckedContinuation<Void, Never>) {
        if value != nil || result != nil || Task.isCancelled { return continuation.resume() }
        consumer?.resume()
        consumer = continuation
    }

    private func wakeConsumer() {
        consumer?.resume()
        consumer = nil
    }

    private func wake() {
        wakeConsumer()
        producer?.resume()
        producer = nil
    }
}

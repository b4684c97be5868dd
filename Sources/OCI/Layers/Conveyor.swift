// Pieces of a layer on their way from one stage to the next: from the network to the thread that decompresses, from
// there to the thread that writes files. Bounded, so that a fast stage waits and memory stays flat.
import Dispatch
import Synchronization

/// A bounded queue with one giver and one taker. The taker blocks its thread; a giver may wait either way.
final class Conveyor: Sendable {
    enum Piece {
        case bytes([UInt8])
        case end
        /// The giver has failed and has said so elsewhere.
        case broken
    }

    private struct State {
        var pieces: [[UInt8]] = []
        var bytes = 0
        var isClosed = false
        var isBroken = false
        var takerIsGone = false
        /// The async giver, while there is no room.
        var waiter: CheckedContinuation<Void, Never>?
        var blockedGiver = false

        mutating func freed() -> CheckedContinuation<Void, Never>? {
            defer { waiter = nil }
            return waiter
        }
    }

    private let state = Mutex(State())
    private let filled = DispatchSemaphore(value: 0)
    private let emptied = DispatchSemaphore(value: 0)
    /// Bytes that may wait.
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    // MARK: Giving

    /// False if the taker has gone: nothing that is given will be used.
    func give(_ piece: [UInt8]) async -> Bool {
        guard add(piece, blocking: false) else { return !isAbandoned }
        await withCheckedContinuation { continuation in
            let runs = state.withLock { state in
                guard state.bytes > capacity, !state.takerIsGone else { return true }
                state.waiter = continuation
                return false
            }
            if runs { continuation.resume() }
        }
        return !isAbandoned
    }

    /// The same for a thread.
    func giveBlocking(_ piece: [UInt8]) -> Bool {
        if add(piece, blocking: true) { emptied.wait() }
        return !isAbandoned
    }

    /// Nothing more will come: all was given, or the rest cannot be had.
    func close(broken: Bool) {
        state.withLock { state in
            state.isClosed = true
            state.isBroken = broken
        }
        filled.signal()
    }

    /// Whether the taker has gone.
    var isAbandoned: Bool { state.withLock { $0.takerIsGone } }

    /// Whether the giver must wait for room.
    private func add(_ piece: [UInt8], blocking: Bool) -> Bool {
        let isFull = state.withLock { state in
            guard !state.takerIsGone else { return false }
            state.pieces.append(piece)
            state.bytes += piece.count
            let isFull = state.bytes > capacity
            if blocking { state.blockedGiver = isFull }
            return isFull
        }
        filled.signal()
        return isFull
    }

    // MARK: Taking

    /// Waits for the next piece. After `end` or `broken` it returns the same again.
    func take() -> Piece {
        while true {
            let (piece, waiter, wake): (Piece?, CheckedContinuation<Void, Never>?, Bool) = state.withLock { state in
                if state.pieces.isEmpty {
                    return (state.isClosed ? (state.isBroken ? .broken : .end) : nil, nil, false)
                }
                let piece = state.pieces.removeFirst()
                state.bytes -= piece.count
                guard state.bytes <= capacity / 2 else { return (.bytes(piece), nil, false) }
                let wake = state.blockedGiver
                state.blockedGiver = false
                return (.bytes(piece), state.freed(), wake)
            }
            waiter?.resume()
            if wake { emptied.signal() }
            if let piece { return piece }
            filled.wait()
        }
    }

    /// The taker stops: givers are told, and what waits is dropped.
    func abandon() {
        let (waiter, wake) = state.withLock { state in
            state.takerIsGone = true
            state.pieces = []
            state.bytes = 0
            let wake = state.blockedGiver
            state.blockedGiver = false
            return (state.freed(), wake)
        }
        waiter?.resume()
        if wake { emptied.signal() }
    }
}

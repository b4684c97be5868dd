// The agent's ends of a program's streams: files that do not block, each call on a thread that waits for them.
// Nothing is read before somebody wants it, so a slow user slows the program down and fills no memory.
import CLinux
import Foundation
import Glibc
import JobModel
import Synchronization

final class SessionStreams: Sendable {
    private struct State {
        var input: Int32
        var outputs: [(stream: LogPiece.Stream, file: Int32)]
        var phase = Phase.open
        /// Calls that are waiting for a file.
        var users = 0
    }
    private enum Phase { case open, draining, closed }

    /// A connection carries both directions: its input ends by half.
    private let isConnection: Bool
    private let state: Mutex<State>
    /// Readable from the beginning of the end.
    private let event = jc_event_open()

    static let pieceSize = 32 << 10

    /// Takes the files over. `input` may be one of the outputs.
    init(input: Int32, outputs: [(stream: LogPiece.Stream, file: Int32)], isConnection: Bool) {
        self.isConnection = isConnection
        state = Mutex(State(input: input, outputs: outputs))
    }

    deinit { Glibc.close(event) }

    // MARK: Output

    /// Nil at the end of all streams, when nothing more comes after ``drain()``, or after ``close()``.
    func read() async -> LogPiece? { await onThread { self.nextPiece() } }

    /// The program has ended: what is there is still read, and then nothing is waited for.
    func drain() {
        state.withLock { if $0.phase == .open { $0.phase = .draining } }
        jc_event_set(event)
    }

    private func nextPiece() -> LogPiece? {
        state.withLock { $0.users += 1 }
        defer { leave() }
        while true {
            let (outputs, phase) = state.withLock { ($0.outputs, $0.phase) }
            guard phase != .closed, !outputs.isEmpty else { return nil }
            var wanted = outputs.map { pollfd(fd: $0.file, events: Int16(POLLIN), revents: 0) }
            if phase == .open { wanted.append(pollfd(fd: event, events: Int16(POLLIN), revents: 0)) }
            let count = poll(&wanted, nfds_t(wanted.count), phase == .open ? -1 : 0)
            if count < 0, errno == EINTR { continue }
            if count == 0, phase == .draining { return nil }
            for (place, output) in outputs.enumerated() where wanted[place].revents != 0 {
                if let piece = take(output) { return piece }
            }
        }
    }

    private func take(_ output: (stream: LogPiece.Stream, file: Int32)) -> LogPiece? {
        var buffer = [UInt8](repeating: 0, count: Self.pieceSize)
        let count = Glibc.read(output.file, &buffer, buffer.count)
        if count > 0 { return LogPiece(stream: output.stream, bytes: Array(buffer[..<count])) }
        if count < 0, errno == EINTR || errno == EAGAIN { return nil }
        // A terminal whose other side is gone answers with an error instead of an end.
        let mayClose = state.withLock { state in
            state.outputs.removeAll { $0.file == output.file }
            return state.input != output.file
        }
        if mayClose { Glibc.close(output.file) }
        return nil
    }

    // MARK: Input

    func write(_ bytes: [UInt8]) async { await onThread { self.send(bytes) } }

    private func send(_ bytes: [UInt8]) {
        state.withLock { $0.users += 1 }
        defer { leave() }
        // A program that reads no more is no reason for this process to end.
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &pipe, nil)
        var done = 0
        while done < bytes.count {
            let (input, phase) = state.withLock { ($0.input, $0.phase) }
            guard phase == .open, input >= 0 else { return }
            var wanted = [input, event].map { pollfd(fd: $0, events: 0, revents: 0) }
            wanted[0].events = Int16(POLLOUT)
            wanted[1].events = Int16(POLLIN)
            guard poll(&wanted, 2, -1) > 0 || errno == EINTR else { return }
            guard wanted[0].revents != 0 else { continue }
            let count = bytes.withUnsafeBytes {
                Glibc.write(input, $0.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if count > 0 { done += count } else if errno != EAGAIN, errno != EINTR { return }
        }
    }

    /// Not while somebody writes.
    func endInput() {
        let input = state.withLock { state in
            defer { if !isConnection { state.input = -1 } }
            return state.input
        }
        guard input >= 0 else { return }
        if isConnection { shutdown(input, Int32(SHUT_WR)) } else { Glibc.close(input) }
    }

    /// Whether output may still come.
    var isOpen: Bool { state.withLock { $0.phase == .open && !$0.outputs.isEmpty } }

    /// Does something with a file that is surely still the session's.
    func whileOpen(_ body: () -> Void) { state.withLock { if $0.phase != .closed { body() } } }

    // MARK: The end

    func close() {
        state.withLock { state in
            state.phase = .closed
            state.users += 1
        }
        jc_event_set(event)
        leave()
    }

    /// The last to leave after the end closes the files: a number that is waited for must not become another file's.
    private func leave() {
        let files = state.withLock { state -> Set<Int32> in
            state.users -= 1
            guard state.phase == .closed, state.users == 0 else { return [] }
            defer {
                state.input = -1
                state.outputs = []
            }
            return Set(state.outputs.map(\.file) + [state.input])
        }
        for file in files where file >= 0 { Glibc.close(file) }
    }
}

/// Runs what blocks on a thread of its own.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        let thread = Thread { continuation.resume(returning: body()) }
        thread.name = "session"
        thread.stackSize = 256 << 10
        thread.start()
    }
}

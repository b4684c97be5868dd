// The terminal of whoever calls: raw while a session lasts, and as it was afterwards, however the session ends.
import CLinux
@preconcurrency import Dispatch
import Foundation
import Glibc
import JobModel
import Synchronization

/// Raw mode of standard input. Invariant: ``restore()`` before the program ends.
final class UserTerminal: Sendable {
    static let shared = UserTerminal()
    private let saved = Mutex<termios?>(nil)

    static var isInput: Bool { isatty(STDIN_FILENO) == 1 }
    static var isBoth: Bool { isInput && isatty(STDOUT_FILENO) == 1 }

    /// Every key goes to the program, also Ctrl-C.
    func makeRaw() {
        saved.withLock { saved in
            var settings = termios()
            guard saved == nil, tcgetattr(STDIN_FILENO, &settings) == 0 else { return }
            saved = settings
            cfmakeraw(&settings)
            tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
        }
    }

    func restore() {
        saved.withLock { saved in
            guard var settings = saved else { return }
            saved = nil
            tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
        }
    }

    /// Of the window, in characters; nil without a window.
    static var size: (rows: UInt16, columns: UInt16)? {
        for file in [STDOUT_FILENO, STDIN_FILENO, STDERR_FILENO] {
            var (rows, columns): (UInt16, UInt16) = (0, 0)
            if jc_terminal_size(file, &rows, &columns) >= 0, rows > 0, columns > 0 { return (rows, columns) }
        }
        return nil
    }
}

/// Signals that this program got, instead of what they would do to it.
final class SignalFeed: Sendable {
    private let readers: Readers
    private let sources: [any DispatchSourceSignal]

    init(_ numbers: [Int32]) {
        let readers = Readers()
        self.readers = readers
        sources = numbers.map { number in
            Glibc.signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { readers.tell(number) }
            source.activate()
            return source
        }
    }

    /// Those from now on, until the reader's task is cancelled.
    var signals: AsyncStream<Int32> { readers.stream() }
}

/// Whoever listens for signals: the wait for a job first, then a session.
private final class Readers: Sendable {
    private struct State {
        var readers: [Int: AsyncStream<Int32>.Continuation] = [:]
        var next = 0
    }
    private let state = Mutex(State())

    func stream() -> AsyncStream<Int32> {
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingOldest(64))
        let number = state.withLock { state in
            state.next += 1
            state.readers[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.readers[number] = nil } }
        return stream
    }

    func tell(_ signal: Int32) { for reader in state.withLock({ Array($0.readers.values) }) { reader.yield(signal) } }
}

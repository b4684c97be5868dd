// The user's side of a session: keys, window and signals go to the program, its output and exit code come back.
import AsyncAlgorithms
import Foundation
import Glibc
import JobModel
import SchedulerClient
import Synchronization

struct SessionClient: Sendable {
    let client: SchedulerClient
    let attempt: AttemptID
    let command: [String]
    let tty: Bool
    /// Of this program: INT, TERM, HUP, QUIT and WINCH.
    let signals: SignalFeed

    /// This program was asked to end.
    struct Interrupted: Error { let signal: Int32 }

    private enum End: Sendable {
        case exit(UInt8)
        case failure(String)
        case lost(Problem)
        case interrupted(Int32)
    }

    static let caught = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH]
    private static let heartbeat = Duration.seconds(30)

    /// Runs the program to its end.
    /// - Returns: its exit code, 128 + signal if a signal ended it.
    /// - Throws: ``Problem`` with what kept it from running or broke it off, or ``Interrupted``.
    func run() async throws -> UInt8 {
        let size = tty ? UserTerminal.size : nil
        let request = SessionRequest(
            command: command, tty: tty, rows: size.map { Int($0.rows) }, columns: size.map { Int($0.columns) },
            term: tty ? ProcessInfo.processInfo.environment["TERM"].flatMap { $0.isEmpty ? nil : $0 } : nil)
        let session = try await client.openSession(beside: attempt, request)
        if tty, UserTerminal.isInput { UserTerminal.shared.makeRaw() }
        defer { UserTerminal.shared.restore() }
        switch await end(of: session) {
        case .exit(let code): return code
        case .failure(let sentence): throw Problem(.refused, sentence)
        case .lost(let problem): throw problem
        case .interrupted(let signal): throw Interrupted(signal: signal)
        }
    }

    private func end(of session: SessionDocument) async -> End {
        let frames = AsyncChannel<SessionFrame>()
        let (ends, ended) = AsyncStream.makeStream(of: End.self)
        // Not children: a read of standard input cannot be called off. They end with this program.
        let tasks = [
            Task { await copyInput(to: frames) },
            Task { await beat(frames) },
            Task { await passSignals(to: frames, ended) },
            // The other stream says how it ended.
            Task { _ = try? await client.sendInput(of: session.id, frames) },  // allowed: as above
            Task { await receive(session, ended) },
        ]
        defer { for task in tasks { task.cancel() } }
        for await end in ends { return end }
        return .lost(Self.broken)
    }

    private static let broken = Problem(
        .unavailable, "the connection was lost and the session has ended; what it ran has been stopped")

    private func receive(_ session: SessionDocument, _ ended: AsyncStream<End>.Continuation) async {
        do throws(Problem) {
            try await client.receiveOutput(of: session.id) { frame in
                switch frame {
                case .output(let bytes): if !Self.write(bytes, STDOUT_FILENO) { ended.yield(.interrupted(SIGPIPE)) }
                case .errors(let bytes): _ = Self.write(bytes, STDERR_FILENO)
                case .exit(let code): ended.yield(.exit(code))
                case .failure(let sentence): ended.yield(.failure(sentence))
                case .alive, .input, .inputEnd, .resize, .signal: break
                }
            }
            ended.yield(.lost(Self.broken))
        } catch {
            ended.yield(.lost(error.kind == .unavailable ? Self.broken : error))
        }
    }

    // MARK: What the user does

    private func copyInput(to frames: AsyncChannel<SessionFrame>) async {
        while let bytes = await Self.readInput() { await frames.send(.input(bytes)) }
        await frames.send(.inputEnd)
    }

    /// Nil at the end of standard input.
    private static func readInput() async -> [UInt8]? {
        await withCheckedContinuation { continuation in
            let thread = Thread {
                var buffer = [UInt8](repeating: 0, count: 32 << 10)
                while true {
                    let count = read(STDIN_FILENO, &buffer, buffer.count)
                    if count < 0, errno == EAGAIN {
                        var wanted = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                        _ = poll(&wanted, 1, -1)
                    } else if count >= 0 || errno != EINTR {
                        return continuation.resume(returning: count > 0 ? Array(buffer[..<count]) : nil)
                    }
                }
            }
            thread.start()
        }
    }

    private func beat(_ frames: AsyncChannel<SessionFrame>) async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: Self.heartbeat) } catch { return }
            await frames.send(.alive)
        }
    }

    /// With a terminal Ctrl-C is a key like any other, so a signal means this program. Without one, INT and TERM mean
    /// the program in the container.
    private func passSignals(to frames: AsyncChannel<SessionFrame>, _ ended: AsyncStream<End>.Continuation) async {
        for await signal in signals.signals {
            switch signal {
            case SIGWINCH:
                guard tty, let size = UserTerminal.size else { continue }
                await frames.send(.resize(rows: size.rows, columns: size.columns))
            case SIGINT where !tty, SIGTERM where !tty: await frames.send(.signal(UInt8(signal)))
            default: ended.yield(.interrupted(signal))
            }
        }
    }

    // MARK: Leaves

    /// False if nobody reads any more.
    private static func write(_ bytes: [UInt8], _ file: Int32) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(file, $0.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if count >= 0 {
                done += count
            } else if errno == EAGAIN {
                var wanted = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
                _ = poll(&wanted, 1, -1)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}

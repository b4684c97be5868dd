// A second program in a running container, as an engine gives it to the agent. Engines start it and hold its streams;
// that nothing of it is left behind is the business of SessionProcesses.swift.
import JobModel

/// What to start, and how to know it again.
package struct SessionLaunch: Hashable, Sendable {
    package var id: String
    package var request: SessionRequest

    package init(id: String, request: SessionRequest) {
        self.id = id
        self.request = request
    }

    /// The variable by which all processes of a session are found on the host.
    package static let variable = "JOBCTL_SESSION"
    package var mark: String { Self.variable + "=" + id }
    /// The file by which a runtime on this host is told of the session; it stands on the runtime's command line.
    static func file(_ id: String) -> String { "session-\(id).json" }

    /// `NAME=value`, beside what every program in the container gets.
    package var environment: [String] { request.tty ? [mark, "TERM=" + (request.term ?? "xterm")] : [mark] }
    package var rows: UInt16 { UInt16(clamping: request.rows ?? 24) }
    package var columns: UInt16 { UInt16(clamping: request.columns ?? 80) }
}

/// A program that was started. One task reads, one writes.
package protocol ContainerSession: Sendable {
    /// The next piece of output; nil once there will be no more.
    func read() async throws(EngineError) -> LogPiece?
    /// Returns when the program's side has taken it. A program that reads no more loses it.
    func write(_ bytes: [UInt8]) async
    /// The program's input ends here.
    func endInput() async
    func resize(rows: UInt16, columns: UInt16) async
    /// Waits until the program has ended, 0 to 255. Ask after ``read()`` gave nil.
    func exitCode() async throws(EngineError) -> UInt8
    /// Whether the program may still run; true where nobody knows.
    func isRunning() async -> Bool
    /// Lets go of the streams: ``read()`` gives nil from here on. Once, at last.
    func close() async
}

extension ContainerEngine {
    package func session(in id: String, _ launch: SessionLaunch) async throws(EngineError) -> any ContainerSession {
        throw .refused("the engine '\(name)' cannot run a second program in a container")
    }
}

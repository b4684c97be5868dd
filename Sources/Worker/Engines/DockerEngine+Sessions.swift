// A second program beside an attempt through the engine's exec calls: create, start, and from then on the connection is
// the program's. Docker and podman differ only in paths.
import CLinux
import Foundation
import Glibc
import JobModel
import Synchronization

extension DockerEngine {
    package func session(in id: String, _ launch: SessionLaunch) async throws(EngineError) -> any ContainerSession {
        struct Created: Decodable {
            let id: String
            private enum CodingKeys: String, CodingKey { case id = "Id" }
        }
        // The program is there only once its services are.
        _ = await services.outcome(of: id)
        let answer = try await http.exchange(
            .POST, container(id, "/exec"), body: try Self.encoded(createDocument(launch)))
        guard answer.status == 201 else { throw .refused("the engine refuses the session: \(answer.complaint)") }
        let created: Created = try answer.decoded()
        let tty = launch.request.tty
        let body = try Self.encoded(["Detach": false, "Tty": .bool(tty)])
        let (path, socket) = (path("/exec/\(percentEncoded(created.id))/start"), http.socketPath)
        let connection = try await onThread { () -> Result<UpgradedConnection, EngineError> in
            do throws(EngineError) {
                return .success(try UpgradedConnection(socket: socket, path: path, body: body))
            } catch {
                return .failure(error)
            }
        }.get()
        let session = ExecSession(engine: self, id: created.id, connection, tty: tty)
        // As soon as it can be: the call is refused until the program has been started.
        if tty { Task { await session.resize(rows: launch.rows, columns: launch.columns) } }
        return session
    }

    private func createDocument(_ launch: SessionLaunch) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("AttachStdin", true), ("AttachStdout", true), ("AttachStderr", true), ("Privileged", false),
            ("Tty", .bool(launch.request.tty)), ("Cmd", .array(launch.request.command.map { .string($0) })),
            ("Env", .array(launch.environment.map { .string($0) })),
        ]
        switch dialect {
        // What detaches is taken out of the input: a sequence that nobody types, instead of Ctrl-P Ctrl-Q.
        case .docker: members.append(("DetachKeys", "ctrl-^,ctrl-],ctrl-^,ctrl-],ctrl-_"))
        case .podman: members.append(("DetachKeys", ""))
        }
        return .object(members)
    }

    private static func encoded(_ document: JSONValue) throws(EngineError) -> [UInt8] { document.canonical }

    /// What the engine knows of an exec; nil if it knows none.
    fileprivate func inspectExec(_ id: String) async throws(EngineError) -> InspectedExec? {
        let answer = try await http.exchange(.GET, path("/exec/\(percentEncoded(id))/json"))
        if answer.status == 404 { return nil }
        try answer.expect(200)
        return try answer.decoded()
    }

    /// 409 or 500 while the program is being started.
    fileprivate func resizeExec(_ id: String, rows: UInt16, columns: UInt16) async -> Bool {
        let answer = try? await http.exchange(
            .POST, path("/exec/\(percentEncoded(id))/resize"), query: [("h", String(rows)), ("w", String(columns))])
        return (200..<300).contains(answer?.status ?? 0)  // allowed: a window of another size
    }
}

private struct InspectedExec: Decodable {
    let isRunning: Bool
    let exitCode: Int?
    private enum CodingKeys: String, CodingKey { case isRunning = "Running", exitCode = "ExitCode" }
}

/// A connection that the engine has handed over: what comes after the head is the program's output.
private struct UpgradedConnection: Sendable {
    let file: Int32
    /// What came along with the head.
    let first: [UInt8]
    private static let headLimit = 64 << 10
    private static let patience: Int32 = 60_000

    /// Blocks.
    init(socket: String, path: String, body: [UInt8]) throws(EngineError) {
        let file = jc_connect(socket)
        guard file >= 0 else { throw .unavailable("the container engine does not answer") }
        let head =
            "POST \(path) HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nConnection: Upgrade\r\n"
            + "Upgrade: tcp\r\nContent-Length: \(body.count)\r\n\r\n"
        do throws(EngineError) {
            // A socket takes these few bytes at once.
            let request = Array(head.utf8) + body
            guard send(file, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
                throw .unavailable("the container engine does not take the call")
            }
            first = try Self.rest(file)
        } catch {
            close(file)
            throw error
        }
        self.file = file
    }

    /// Reads the head, which must hand over.
    private static func rest(_ file: Int32) throws(EngineError) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            if let end = headEnd(bytes) {
                let line = String(decoding: bytes.prefix { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
                let status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
                if status == 101 || status == 200 { return Array(bytes[end...]) }
                let complaint = String(decoding: bytes[end...].prefix(2000), as: UTF8.self)
                throw .refused("the program could not be started: \(message(complaint))")
            }
            guard bytes.count <= headLimit else { throw .refused("the engine's answer has no end") }
            var wanted = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
            let count = poll(&wanted, 1, patience)
            if count < 0, errno == EINTR { continue }
            var buffer = [UInt8](repeating: 0, count: 16 << 10)
            let size = count > 0 ? read(file, &buffer, buffer.count) : 0
            if size < 0, errno == EINTR || errno == EAGAIN { continue }
            guard size > 0 else { throw .unavailable("the container engine does not answer") }
            bytes += buffer[..<size]
        }
    }

    private static func headEnd(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (3..<bytes.count).first { place in
            bytes[place] == 10 && bytes[place - 1] == 13 && bytes[place - 2] == 10 && bytes[place - 3] == 13
        }.map { $0 + 1 }
    }

    /// The sentence in the engine's JSON, or the text as it is.
    private static func message(_ text: String) -> String {
        let document = try? WireJSON.decode(JSONValue.self, from: text.utf8)  // allowed: then it is no JSON
        if case .string(let message)? = document?[key: "message"] { return message }
        return text
    }
}

/// An exec whose connection is open.
private final class ExecSession: ContainerSession {
    private let engine: DockerEngine
    private let id: String
    private let tty: Bool
    private let streams: SessionStreams
    private let parts: Mutex<Parts>
    private let window = Mutex<(rows: UInt16, columns: UInt16)>((24, 80))

    private struct Parts {
        var demultiplexer = LogDemultiplexer(isLocalDriver: false)
        var pieces: [LogPiece] = []
    }

    init(engine: DockerEngine, id: String, _ connection: UpgradedConnection, tty: Bool) {
        self.engine = engine
        self.id = id
        self.tty = tty
        streams = SessionStreams(
            input: connection.file, outputs: [(.stdout, connection.file)], isConnection: true)
        parts = Mutex(
            Parts(pieces: connection.first.isEmpty ? [] : [LogPiece(stream: .stdout, bytes: connection.first)]))
        guard !tty, !connection.first.isEmpty else { return }
        parts.withLock { parts in
            parts.pieces = []
            // allowed: what is wrong here is wrong in what follows
            parts.pieces = (try? parts.demultiplexer.take(connection.first)) ?? []
        }
    }

    func read() async throws(EngineError) -> LogPiece? {
        while true {
            let ready = parts.withLock { $0.pieces.isEmpty ? nil : $0.pieces.removeFirst() }
            if let ready { return ready }
            guard let piece = await streams.read() else { return nil }
            if tty { return piece }
            let result = parts.withLock { parts -> EngineError? in
                do throws(EngineError) {
                    parts.pieces += try parts.demultiplexer.take(piece.bytes)
                    return nil
                } catch {
                    return error
                }
            }
            if let result { throw result }
        }
    }

    func write(_ bytes: [UInt8]) async { await streams.write(bytes) }

    func endInput() async { if tty { await streams.write([4]) } else { streams.endInput() } }

    func resize(rows: UInt16, columns: UInt16) async {
        window.withLock { $0 = (rows, columns) }
        for _ in 0..<40 where streams.isOpen {
            let newest = window.withLock { $0 }
            if await engine.resizeExec(id, rows: newest.rows, columns: newest.columns) { return }
            // allowed: a session that ends needs no size
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    func exitCode() async throws(EngineError) -> UInt8 {
        for _ in 0..<200 {
            guard let found = try await engine.inspectExec(id) else { break }
            if !found.isRunning, let code = found.exitCode { return UInt8(truncatingIfNeeded: code) }
            try await engine.pause(.milliseconds(50))
        }
        throw .noProof("the engine does not say how the program ended")
    }

    func isRunning() async -> Bool {
        do throws(EngineError) {
            return try await engine.inspectExec(id)?.isRunning ?? false
        } catch {
            return true
        }
    }

    func close() async { streams.close() }
}

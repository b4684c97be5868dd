// An HTTP server on 127.0.0.1 that does what a test tells it, wrong things above all: short bodies, broken
// connections, silence. One thread a connection, one request a connection. Not for anything but tests.
import Foundation
import Synchronization

package final class ScriptedServer: Sendable {
    package struct Request: Sendable {
        package let method: String
        /// Without the query.
        package let path: String
        package let query: String
        /// Names in lower case.
        package let headers: [String: String]
        package let body: String
        /// How many requests for this path there were before.
        package let earlier: Int
    }

    package struct Reply: Sendable {
        /// What happens after the body.
        package enum End: Sendable {
            case close
            /// The connection is reset, as when a machine dies.
            case reset
            /// Nothing more comes until the client gives up.
            case silence
            /// One byte more, every 50 ms, until the client gives up.
            case trickle
        }
        package var status: Int
        package var headers: [String: String]
        package var body: [UInt8]
        /// The `Content-Length` that is claimed; nil for the truth.
        package var claimedLength: Int?
        /// No `Content-Length` at all: the body ends when the connection does.
        package var hidesLength = false
        package var end = End.close
        /// The head comes byte by byte, one every 50 ms.
        package var dripsHead = false

        package init(_ status: Int, _ body: [UInt8] = [], headers: [String: String] = [:]) {
            self.status = status
            self.body = body
            self.headers = headers
        }
        package init(_ status: Int, _ body: String, headers: [String: String] = [:]) {
            self.init(status, Array(body.utf8), headers: headers)
        }
        package func with(_ change: (inout Reply) -> Void) -> Reply {
            var copy = self
            change(&copy)
            return copy
        }
    }

    private struct State {
        var requests: [Request] = []
        var counts: [String: Int] = [:]
        var isStopped = false
    }

    package let port: Int
    package var address: String { "127.0.0.1:\(port)" }
    package var requests: [Request] { state.withLock { $0.requests } }
    private let listener: Int32
    private let handler: @Sendable (Request) -> Reply
    private let state = Mutex(State())

    package static func with(
        _ handler: @escaping @Sendable (Request) -> Reply, _ body: (ScriptedServer) async throws -> Void
    ) async throws {
        let server = try ScriptedServer(handler)
        defer { server.stop() }
        try await body(server)
    }

    /// Listens on a Unix socket.
    package init(path: String, _ handler: @escaping @Sendable (Request) -> Reply) throws {
        self.handler = handler
        port = 0
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
        let (socket, size) = (listener, socklen_t(MemoryLayout<sockaddr_un>.size))
        let isOpen = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) == 0 }
        }
        guard isOpen, listen(socket, 64) == 0 else {
            throw ProcessFailure(description: "\(path) cannot be listened on")
        }
        acceptConnections()
    }

    package init(_ handler: @escaping @Sendable (Request) -> Reply) throws {
        self.handler = handler
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = listener
        let isOpen = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, size) == 0 && listen(socket, 64) == 0 && getsockname(socket, $0, &size) == 0
            }
        }
        guard isOpen else { throw ProcessFailure(description: "no port is free") }
        port = Int(UInt16(bigEndian: address.sin_port))
        acceptConnections()
    }

    private func acceptConnections() {
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                Thread.detachNewThread { [self] in serve(connection) }
            }
            close(listener)
        }
    }

    package func stop() {
        state.withLock { $0.isStopped = true }
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func serve(_ connection: Int32) {
        defer { close(connection) }
        guard let request = read(connection) else { return }
        let reply = handler(request)
        var head = "HTTP/1.1 \(reply.status) Scripted\r\nConnection: close\r\n"
        for (name, value) in reply.headers.sorted(by: { $0.key < $1.key }) { head += "\(name): \(value)\r\n" }
        if !reply.hidesLength { head += "Content-Length: \(reply.claimedLength ?? reply.body.count)\r\n" }
        if reply.dripsHead {
            for byte in (head + "\r\n").utf8 { guard !isOver(connection), send(connection, [byte]) else { return } }
        } else {
            guard send(connection, Array((head + "\r\n").utf8)) else { return }
        }
        guard send(connection, reply.body) else { return }
        switch reply.end {
        case .close: break
        case .reset:
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        case .silence: while !isOver(connection) {}
        case .trickle: while !isOver(connection), send(connection, [0x20]) {}
        }
    }

    /// Whether the client or the test is gone; waits at most 50 ms.
    private func isOver(_ connection: Int32) -> Bool {
        var handle = pollfd(fd: connection, events: Int16(POLLIN), revents: 0)
        return poll(&handle, 1, 50) > 0 || state.withLock { $0.isStopped }
    }

    private func send(_ connection: Int32, _ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress?.advanced(by: done), bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    private func read(_ connection: Int32) -> Request? {
        var bytes: [UInt8] = []
        var headEnd: Int?
        var wanted = 0
        while headEnd.map({ bytes.count < $0 + wanted }) ?? true {
            var buffer = [UInt8](repeating: 0, count: 16_384)
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0, bytes.count < 1 << 20 else { return nil }
            bytes += buffer.prefix(count)
            if headEnd == nil, let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                headEnd = end.upperBound
                wanted = Self.headers(bytes[..<end.lowerBound])["content-length"].flatMap { Int($0) } ?? 0
            }
        }
        let end = headEnd ?? bytes.count
        let text = String(decoding: bytes[..<end], as: UTF8.self)
        let first = text.prefix { $0 != "\r\n" }.split(separator: " ").map(String.init)
        guard first.count >= 2 else { return nil }
        let target = first[1].split(separator: "?", maxSplits: 1).map(String.init)
        return state.withLock { state in
            let request = Request(
                method: first[0], path: target[0], query: target.count > 1 ? target[1] : "",
                headers: Self.headers(bytes[..<end]), body: String(decoding: bytes[end...], as: UTF8.self),
                earlier: state.counts[target[0], default: 0])
            state.counts[target[0], default: 0] += 1
            state.requests.append(request)
            return request
        }
    }

    private static func headers(_ head: ArraySlice<UInt8>) -> [String: String] {
        var result: [String: String] = [:]
        for line in String(decoding: head, as: UTF8.self).split(separator: "\r\n").dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            result[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return result
    }
}

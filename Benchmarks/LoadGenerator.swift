// A closed loop of HTTP requests over several connections, on one thread and with nothing in between: each connection
// sends, waits for its whole answer, and sends again. It is lean because it shares the machine with what it measures.
import Foundation

struct LoadGenerator: ~Copyable {
    private struct Connection {
        let socket: Int32
        var received: [UInt8] = []
        /// Bytes of the whole answer, once its head is here.
        var expected: Int?
        var status = 0
        var sentAt = ContinuousClock.now
    }

    private var connections: [Connection] = []
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)
    /// How many answers had the status that was wanted.
    private(set) var answers = 0
    /// Of each answer, in milliseconds.
    private(set) var latencies: [Double] = []

    init(port: Int, connections count: Int) throws {
        for _ in 0..<count {
            let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard handle >= 0 else { throw BenchFailure("no socket is to be had") }
            connections.append(Connection(socket: handle))
            var address = sockaddr_in(loopback: in_port_t(port))
            let status = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(handle, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard status == 0 else { throw BenchFailure("port \(port) does not take a connection") }
            var on: Int32 = 1
            setsockopt(handle, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    deinit { for connection in connections { close(connection.socket) } }

    /// Sends `request(n)`, n from 0, for `seconds`, then takes the answers that are still under way.
    /// - Returns: answers a second.
    /// - Throws: at the first answer whose status is not `status`.
    mutating func run(seconds: Double, expecting status: Int, request: (Int) -> [UInt8]) throws -> Double {
        let start = ContinuousClock.now
        let end = start + .seconds(seconds)
        let before = answers
        var sent = 0
        for index in connections.indices {
            try send(request(sent), on: index)
            sent += 1
        }
        var open = connections.count
        var polled = connections.map { pollfd(fd: $0.socket, events: Int16(POLLIN), revents: 0) }
        while open > 0 {
            guard poll(&polled, nfds_t(polled.count), 30_000) > 0 else { throw BenchFailure("no answer within 30 s") }
            for index in polled.indices where polled[index].revents != 0 {
                guard try receive(on: index, expecting: status) else { continue }
                if ContinuousClock.now < end {
                    try send(request(sent), on: index)
                    sent += 1
                } else {
                    open -= 1
                    polled[index].fd = -1
                }
            }
        }
        return Double(answers - before) / ((ContinuousClock.now - start) / .seconds(1))
    }

    private mutating func send(_ bytes: [UInt8], on index: Int) throws {
        connections[index].sentAt = .now
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(connections[index].socket, $0.baseAddress?.advanced(by: done), bytes.count - done, 0)
            }
            guard count > 0 else { throw BenchFailure("the scheduler closed a connection") }
            done += count
        }
    }

    /// Takes what is there; true once the answer is whole.
    private mutating func receive(on index: Int, expecting status: Int) throws -> Bool {
        let count = recv(connections[index].socket, &buffer, buffer.count, 0)
        guard count > 0 else { throw BenchFailure("the scheduler closed a connection") }
        connections[index].received += buffer[0..<count]
        if connections[index].expected == nil { readHead(of: index) }
        guard let expected = connections[index].expected, connections[index].received.count >= expected else {
            return false
        }
        guard connections[index].status == status else {
            throw BenchFailure(
                "an answer was not \(status): \(String(decoding: connections[index].received, as: UTF8.self))")
        }
        answers += 1
        latencies.append((ContinuousClock.now - connections[index].sentAt) / .milliseconds(1))
        connections[index].received.removeAll(keepingCapacity: true)
        connections[index].expected = nil
        return true
    }

    /// Status and length, once the empty line is here. Answers of the scheduler have a Content-Length.
    private mutating func readHead(of index: Int) {
        let received = connections[index].received
        let mark: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a]
        guard let end = received.indices.first(where: { received[$0...].starts(with: mark) }) else { return }
        let lines = String(decoding: received[..<end], as: UTF8.self).split(whereSeparator: \.isNewline)
        connections[index].status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        let length = lines.first { $0.lowercased().hasPrefix("content-length:") }?.split(separator: " ").last
        connections[index].expected = end + 4 + (length.flatMap { Int($0) } ?? 0)
    }
}

/// The bytes of a POST with a JSON body.
struct PostTemplate {
    private let before: [UInt8]
    private let after: [UInt8]

    init(path: String, port: Int, token: String, body: [UInt8]) {
        before = Array(
            """
            POST \(path) HTTP/1.1\r
            Host: 127.0.0.1:\(port)\r
            Authorization: Bearer \(token)\r
            Content-Type: application/json\r
            Content-Length: \(body.count)\r

            """.utf8)
        after = [0x0d, 0x0a, 0x0d, 0x0a] + body
    }

    /// With an idempotency key, as `jobctl submit` sends it.
    func bytes(key: String) -> [UInt8] { before + Array("Idempotency-Key: \(key)".utf8) + after }
}

extension sockaddr_in {
    /// A port of this machine.
    init(loopback port: in_port_t) {
        self.init()
        sin_family = sa_family_t(AF_INET)
        sin_port = port.bigEndian
        sin_addr.s_addr = inet_addr("127.0.0.1")
    }
}

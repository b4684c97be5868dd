// HTTP/1.1 over an engine's Unix socket: bounded answers, checked decoding, every failure an EngineError.
// Invariant: nothing of unlimited size is kept. What the paths mean stands in DockerEngine*.swift.
import AsyncHTTPClient
import Foundation
import JobModel
import NIOCore
import NIOFoundationCompat
import NIOHTTP1

/// Calls to the engine that listens on one Unix socket.
struct EngineHTTP: Sendable {
    let socketPath: String
    private let base: String

    /// The largest JSON answer that is read.
    static let answerLimit = 64 << 20
    /// For calls that an engine answers at once, on a busy host.
    static let quick = TimeAmount.minutes(2)
    /// For calls that last as long as a container.
    static let endless = TimeAmount.hours(24 * 365)

    /// One pool for the life of the process: it is never shut down, because engines come and go with their sockets.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(10)
        // Each running container holds two calls open (wait, logs).
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 20_000
        configuration.redirectConfiguration = .disallow
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    init(socketPath: String) {
        self.socketPath = socketPath
        base = "http+unix://" + percentEncoded(socketPath)
    }

    /// Sends a request and returns the status and the whole answer, whatever the status is.
    func exchange(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], body: [UInt8]? = nil,
        within limit: TimeAmount = EngineHTTP.quick, answerLimit: Int = EngineHTTP.answerLimit
    ) async throws(EngineError) -> EngineAnswer {
        let response = try await open(method, path, query: query, body: body, within: limit)
        do {
            let bytes = try await response.body.collect(upTo: answerLimit)
            return EngineAnswer(call: "\(method) \(path)", status: Int(response.status.code), body: bytes)
        } catch is NIOTooManyBytesError {
            throw EngineError(
                EngineError.refused, "the engine's answer is larger than \(answerLimit) bytes", cause: path)
        } catch {
            throw unavailable(error)
        }
    }

    /// Sends a request and returns as soon as the answer's head is there.
    func open(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], body: [UInt8]? = nil,
        within limit: TimeAmount
    ) async throws(EngineError) -> HTTPClientResponse {
        let items = query.map { percentEncoded($0.0) + "=" + percentEncoded($0.1) }.joined(separator: "&")
        var request = HTTPClientRequest(url: base + path + (items.isEmpty ? "" : "?" + items))
        request.method = method
        request.headers.add(name: "Host", value: "engine")
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        do {
            return try await Self.client.execute(request, deadline: .now() + limit)
        } catch {
            throw unavailable(error)
        }
    }

    private func unavailable(_ error: any Error) -> EngineError {
        EngineError(EngineError.unavailable, "the container engine at \(socketPath) does not answer", cause: "\(error)")
    }
}

/// An engine's answer, not yet judged.
struct EngineAnswer: Sendable {
    let call: String
    let status: Int
    let body: ByteBuffer

    /// The body as JSON. Unknown fields are ignored.
    func decoded<Value: Decodable>(_ type: Value.Type = Value.self) throws(EngineError) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(body.readableBytesView))
        } catch {
            throw EngineError(
                EngineError.refused, "the engine's answer to \(call) could not be understood", cause: "\(error)")
        }
    }

    /// What the engine says is wrong: `message` of its JSON, or the beginning of the body.
    var complaint: String {
        struct Complaint: Decodable { let message: String? }
        let document = Data(body.readableBytesView)
        let complaint = try? JSONDecoder().decode(Complaint.self, from: document)  // allowed: else as it is
        if let message = complaint?.message {
            return String(message.prefix(2000))
        }
        return String(decoding: body.readableBytesView.prefix(500), as: UTF8.self)
    }

    /// The failure that this answer means.
    var failure: EngineError {
        let make = status == 404 ? EngineError.noProof : EngineError.refused
        return EngineError(make, "the container engine refused: \(complaint)", cause: "\(call): status \(status)")
    }

    /// - Throws: ``failure`` unless the status is one of `statuses`.
    func expect(_ statuses: Int...) throws(EngineError) {
        guard statuses.contains(status) else { throw failure }
    }
}

/// All but RFC 3986's unreserved characters as `%XX`.
func percentEncoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var encoded: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            encoded.append(byte)
        default:
            encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: encoded, as: UTF8.self)
}

// HTTP over an engine's Unix socket: one JSON call, or one stream. Sizes are limited; an engine is an external input too.
import AsyncHTTPClient
import Foundation
import JobModel
import NIOCore
import NIOHTTP1

struct EngineConnection: Sendable {
    let http: HTTPClient
    /// The path of the engine's Unix socket.
    let socket: String

    private static let answerLimit = 32 << 20

    struct Answer: Sendable {
        let status: Int
        let body: ByteBuffer

        func decode<Value: Decodable>(_ type: Value.Type) throws(EngineError) -> Value {
            do {
                return try JSONDecoder().decode(type, from: Data(body.readableBytesView))
            } catch {
                throw .unavailable("the engine's answer cannot be understood: \(error)")
            }
        }

        /// The engine's own words for an error.
        var message: String {
            struct Message: Decodable {
                var message: String?
                var cause: String?
            }
            let decoded = try? JSONDecoder().decode(Message.self, from: Data(body.readableBytesView))  // allowed: falls back to the text
            return decoded?.message ?? decoded?.cause ?? String(String(buffer: body).prefix(500))
        }
    }

    func url(_ path: String) -> String {
        "http+unix://" + (socket.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? socket) + path
    }

    func call(
        _ method: HTTPMethod, _ path: String, body: [UInt8]? = nil, timeout: TimeAmount = .seconds(120)
    ) async throws(EngineError) -> Answer {
        let response = try await open(method, path, body: body, timeout: timeout)
        do {
            return Answer(status: Int(response.status.code), body: try await response.body.collect(upTo: Self.answerLimit))
        } catch {
            throw .unavailable("the engine at \(socket) broke off: \(error)")
        }
    }

    /// Sends a request; the body of the answer is still to be read.
    func open(_ method: HTTPMethod, _ path: String, body: [UInt8]? = nil, timeout: TimeAmount) async throws(EngineError) -> HTTPClientResponse {
        var request = HTTPClientRequest(url: url(path))
        request.method = method
        request.headers.add(name: "Host", value: "localhost")
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        do {
            return try await http.execute(request, timeout: timeout)
        } catch {
            throw .unavailable("the engine at \(socket) does not answer: \(error)")
        }
    }
}

/// A query item's value, percent-encoded.
func encoded(_ text: String) -> String {
    text.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._~"))) ?? ""
}

// The typed client of the scheduler's API, for jobctl and the worker. Every failure is a Problem; every answer has a
// size limit. One file a resource; what they share is here.
import AsyncHTTPClient
import Glibc
import JobModel
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOPosix

/// A connection to one scheduler. Safe from any task; share one for the life of the process.
///
///     let client = try SchedulerClient(url: "http://127.0.0.1:7070", token: token)
///     let job = try await client.job(JobID(rawValue: 42))
package final class SchedulerClient: Sendable {
    /// Without a trailing slash.
    package let url: String
    private let token: String?
    private let http: HTTPClient

    /// The largest JSON answer that is read.
    static let answerLimit = 64 << 20
    /// For calls that the scheduler answers at once.
    static let quick = TimeAmount.seconds(30)

    /// - Throws: ``JobModel/Problem`` if `url` is no http or https URL with a host.
    /// - Parameter stall: an answer of which nothing comes for this long is given up; nil for calls that wait long.
    package init(url: String, token: String?, stall: TimeSpan? = nil) throws(Problem) {
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), url.utf8.count <= 2048,
            url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            url.split(separator: "/", omittingEmptySubsequences: true).count >= 2
        else {
            throw Problem(.badRequest, "\(quoted(url)) is not a scheduler's URL: write http://HOST:PORT", field: "url")
        }
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
        self.token = token
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(10)
        configuration.timeout.read = stall.map { .milliseconds($0.milliseconds) }
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        configuration.redirectConfiguration = .disallow
        // Whoever can wait tries again by itself; a person learns at once that nobody listens.
        configuration.connectionPool.retryConnectionEstablishment = false
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    deinit {
        // AsyncHTTPClient insists on a shutdown before it goes; one that happened already answers with an error.
        let http = self.http
        http.shutdown { _ in withExtendedLifetime(http) {} }
    }

    /// Ends the connections. The client cannot be used afterwards.
    package func close() async {
        try? await http.shutdown()  // allowed: nothing can be done about a connection that does not close
    }

    // MARK: Calls

    /// Sends a request and decodes the answer.
    func call<Answer: Decodable>(
        _ method: HTTPMethod, _ path: String, query: [(String, String?)] = [], headers: [(String, String)] = [],
        body: HTTPClientRequest.Body? = nil, deadline: TimeAmount = SchedulerClient.quick,
        as type: Answer.Type = Answer.self
    ) async throws(Problem) -> Answer {
        let (_, bytes) = try await exchange(
            method, path, query: query, headers: headers, body: body, deadline: deadline, limit: Self.answerLimit)
        return try decode(bytes)
    }

    func decode<Answer: Decodable>(_ bytes: ByteBuffer) throws(Problem) -> Answer {
        do {
            return try WireJSON.decode(Answer.self, from: bytes.readableBytesView)
        } catch {
            throw Problem(.internal, "the scheduler's answer could not be understood: \(error)")
        }
    }

    /// The body of a JSON request.
    func json(_ value: some Encodable) throws(Problem) -> HTTPClientRequest.Body {
        do {
            return .bytes(ByteBuffer(bytes: try WireJSON.encode(value)))
        } catch {
            throw Problem(.internal, "the request could not be encoded")
        }
    }

    /// Sends a request and reads the answer's body, at most `limit` bytes.
    /// - Throws: the ``JobModel/Problem`` that the scheduler answered, or `unavailable` if it could not be reached.
    func exchange(
        _ method: HTTPMethod, _ path: String, query: [(String, String?)] = [], headers: [(String, String)] = [],
        body: HTTPClientRequest.Body? = nil, deadline: TimeAmount = SchedulerClient.quick, limit: Int
    ) async throws(Problem) -> (HTTPHeaders, ByteBuffer) {
        let response = try await send(method, path, query: query, headers: headers, body: body, deadline: deadline)
        let bytes = try await collect(response, upTo: limit)
        try check(response, bytes)
        return (response.headers, bytes)
    }

    /// The whole body of an answer.
    func collect(_ response: HTTPClientResponse, upTo limit: Int) async throws(Problem) -> ByteBuffer {
        do {
            return try await response.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw Problem(.tooLarge, "the scheduler's answer has more than \(limit) bytes")
        } catch {
            throw unreachable(error)
        }
    }

    /// Sends a request; the body of the answer is still to be read.
    func send(
        _ method: HTTPMethod, _ path: String, query: [(String, String?)] = [], headers: [(String, String)] = [],
        body: HTTPClientRequest.Body? = nil, deadline: TimeAmount
    ) async throws(Problem) -> HTTPClientResponse {
        var request = HTTPClientRequest(url: url + path + Self.queryText(query))
        request.method = method
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let body {
            request.body = body
            if !request.headers.contains(name: "Content-Type") {
                request.headers.add(name: "Content-Type", value: "application/json")
            }
        }
        do {
            return try await http.execute(request, timeout: deadline)
        } catch {
            throw unreachable(error)
        }
    }

    /// Throws the problem that an answer with an error status holds.
    func check(_ response: HTTPClientResponse, _ bytes: ByteBuffer) throws(Problem) {
        guard response.status.code >= 400 else { return }
        // allowed: handled below
        if let problem = try? WireJSON.decode(Problem.self, from: bytes.readableBytesView) { throw problem }
        throw Problem(
            .internal,
            "the scheduler at \(url) answered \(response.status.code) without an explanation: is this a jobctl scheduler?"
        )
    }

    func unreachable(_ error: any Error) -> Problem {
        if error is CancellationError { return Problem(.unavailable, "the call was given up") }
        return Problem(
            .unavailable,
            "the scheduler at \(url) cannot be reached (\(Self.cause(error))): is it running? 'jobctl up' starts one on this machine"
        )
    }

    private static func cause(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError
        where error == .deadlineExceeded || error == .readTimeout || error == .connectTimeout:
            "it did not answer in time"
        case let error as HTTPClientError: error.shortDescription.isEmpty ? "\(error)" : error.shortDescription
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { cause($0.error) } ?? "its host is not known"
        case let error as IOError: String(cString: strerror(error.errnoCode))
        default: "\(error)"
        }
    }

    // MARK: URLs

    /// `?a=b&c=d`, with values percent-encoded and absent ones left out.
    static func queryText(_ items: [(String, String?)]) -> String {
        let pairs = items.compactMap { name, value in value.map { "\(name)=\(percentEncoded($0))" } }
        return pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&")
    }

    /// RFC 3986: everything but unreserved characters is encoded.
    static func percentEncoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += "%" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return result
    }
}

// One HTTP request as a route handler sees it: who calls, checked parameters and query items, a body with a limit, and
// the few forms of an answer. Whether the caller may make this call was decided before (Routes.swift); no other
// decision is made here.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import Logging
import NIOCore
import NIOFoundationCompat

package struct APIContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    package init(source: Source) { coreContext = CoreRequestContextStorage(source: source) }
}

package struct Call: Sendable {
    let request: Request
    let context: APIContext
    /// Nil only on routes that anyone may call.
    let authenticated: Caller?

    var logger: Logger { context.logger }

    var caller: Caller {
        get throws(Problem) {
            guard let authenticated else {
                throw Problem(.unauthenticated, Authentication.explanation, field: "Authorization")
            }
            return authenticated
        }
    }

    // MARK: path and query

    /// A part of the path, decoded.
    func text(_ name: String) throws(Problem) -> String {
        guard let raw = context.parameters[name[...]], let decoded = String(raw).removingPercentEncoding,
            !decoded.isEmpty
        else {
            throw Problem(.badRequest, "is not valid percent-encoded text", field: name)
        }
        return decoded
    }

    /// A part of the path, parsed; `expected` says what it should have been.
    func parameter<Value>(_ name: String, _ expected: String, _ parse: (String) -> Value?) throws(Problem) -> Value {
        let text = try text(name)
        guard let value = parse(text) else {
            throw Problem(.badRequest, "\(quoted(text)) is not \(expected)", field: name)
        }
        return value
    }

    func job() throws(Problem) -> JobID { try parameter("id", "a job id such as 42") { JobID($0) } }

    func name<Name: ValidatedName>(_ parameter: String = "name", as type: Name.Type) throws(Problem) -> Name {
        let text = try text(parameter)
        guard let name = Name(rawValue: text) else {
            throw Problem(.badRequest, Name.refusal(of: text), field: parameter)
        }
        return name
    }

    /// A query item as it was given; nil if it is absent. Given twice: refused.
    func query(_ name: String) throws(Problem) -> String? {
        guard request.uri.query != nil else { return nil }
        let values = request.uri.queryParameters[values: name[...]]
        guard values.count <= 1 else {
            throw Problem(.badRequest, "is given \(values.count) times: give it once", field: name)
        }
        return values.first.map(String.init)
    }

    /// A query item, parsed; nil if it is absent.
    func query<Value>(_ name: String, _ expected: String, _ parse: (String) -> Value?) throws(Problem) -> Value? {
        guard let text = try query(name) else { return nil }
        guard let value = parse(text) else {
            throw Problem(.badRequest, "\(quoted(text)) is not \(expected)", field: name)
        }
        return value
    }

    func integer(_ name: String, in range: ClosedRange<Int64>, otherwise standard: Int64) throws(Problem) -> Int64 {
        try query(name, "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            Int64(text).flatMap { range.contains($0) ? $0 : nil }
        } ?? standard
    }

    /// `limit`: 1…1,000, 100 if it is absent.
    func pageLimit() throws(Problem) -> Int { Int(try integer("limit", in: 1...1000, otherwise: 100)) }

    func choice<Value: RawRepresentable<String> & CaseIterable>(_ name: String, of type: Value.Type) throws(Problem)
        -> Value?
    {
        try query(name, "allowed: use " + Value.allCases.map(\.rawValue).joined(separator: ", ")) {
            Value(rawValue: $0)
        }
    }

    func flag(_ name: String) throws(Problem) -> Bool {
        try query(name, "true or false") { Bool($0) } ?? false
    }

    /// Refuses query items that no part of this route reads, so that a typing error cannot pass for a filter.
    func allowQuery(_ names: String...) throws(Problem) {
        guard request.uri.query != nil else { return }
        for (key, _) in request.uri.queryParameters where !names.contains(String(key)) {
            let allowed = names.isEmpty ? "this call takes none" : "this call takes \(names.joined(separator: ", "))"
            throw Problem(
                .badRequest, "\(quoted(String(key))) is not a query item here: \(allowed)",
                field: String(key.prefix(80)))
        }
    }

    func header(_ name: String, limit: Int) throws(Problem) -> String? {
        guard let field = HTTPField.Name(name), let value = request.headers[field] else { return nil }
        guard !value.isEmpty, value.utf8.count <= limit else {
            throw Problem(.badRequest, "must have 1 to \(limit) bytes", field: name)
        }
        return value
    }

    // MARK: body

    /// The whole body.
    /// - Throws: ``Problem`` of kind `tooLarge` if it has more than `limit` bytes.
    func body(limit: Int) async throws -> ByteBuffer {
        let problem = Problem(
            .tooLarge, "the body has more than the \(ByteCount(bytes: Int64(limit))) that this call takes",
            field: "body")
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit { throw problem }
        do {
            return try await request.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw problem
        }
    }

    func decode<Value: Decodable>(_ type: Value.Type, limit: Int) async throws -> Value {
        try WireJSON.decode(type, from: try await body(limit: limit).readableBytesView)
    }
}

// MARK: - answers

extension Response {
    /// A document as JSON.
    static func json(_ document: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        .json(bytes: try WireJSON.encode(document), status: status)
    }

    static func json(bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    static func bytes(_ bytes: [UInt8], headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "application/octet-stream"
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}

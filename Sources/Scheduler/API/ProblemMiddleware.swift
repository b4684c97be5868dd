// Every error becomes one problem document with a sentence, here and nowhere else: our own, Hummingbird's, and the
// unknown, which is logged at `error` with the request's id while the caller gets only that id. Below /v2/ the same
// problem is written in the form of the OCI distribution specification.
import HTTPTypes
import Hummingbird
import JobModel
import Logging
import NIOCore
import OCI

struct ProblemMiddleware: RouterMiddleware {
    typealias Context = APIContext
    let routes: [Route]
    /// How registry clients are asked for a token.
    let challenge: String

    func handle(
        _ request: Request, context: APIContext, next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        do {
            let response = try await next(request, context)
            context.logger.info("Request", metadata: metadata(request, status: response.status.code))
            return response
        } catch {
            let answer = answer(to: error, request, context)
            context.logger.info("Request refused", metadata: metadata(request, status: answer.problem.status))
            return answer.response(challenge: challenge(for: request), isHead: request.method == .head)
        }
    }

    private func metadata(_ request: Request, status: Int) -> Logger.Metadata {
        ["method": "\(request.method.rawValue)", "path": "\(quoted(request.uri.path))", "status": "\(status)"]
    }

    /// Nil for what is no registry call. At the place that gives tokens the user's own one is wanted.
    private func challenge(for request: Request) -> String? {
        let path = request.uri.path
        guard path == "/v2" || path.hasPrefix("/v2/") else { return nil }
        return path == "/v2/token" ? RegistryTokens.basicChallenge : challenge
    }

    private func answer(to error: any Error, _ request: Request, _ context: APIContext) -> ProblemAnswer {
        switch error {
        case let problem as Problem: ProblemAnswer(problem)
        case let failure as RegistryFailure: ProblemAnswer(failure)
        case let error as StoreFailure: ProblemAnswer(logged(Problem(error), error, context))
        case let error as OCIError: ProblemAnswer(Problem(error))
        case is NIOTooManyBytesError:
            ProblemAnswer(Problem(.tooLarge, "the body is larger than this call takes", field: "body"))
        case is CancellationError: ProblemAnswer(Problem(.unavailable, "the scheduler is stopping: call again"))
        case let error as HTTPError where error.status == .notFound: noRoute(request)
        case let error as HTTPError: ProblemAnswer(problem(of: error))
        case is ChannelError, is IOError:
            ProblemAnswer(Problem(.badRequest, "the connection ended before the request did"))
        default: ProblemAnswer(unknown(error, context))
        }
    }

    /// No route has this path, or one has it with other methods.
    private func noRoute(_ request: Request) -> ProblemAnswer {
        let path = request.uri.path
        let methods = routes.filter { $0.matches(path) }.map(\.method.rawValue)
        guard !methods.isEmpty else { return ProblemAnswer(Problem(.notFound, "there is nothing at \(quoted(path))")) }
        var problem = Problem(
            .badRequest,
            "\(quoted(path)) does not take \(request.method.rawValue): use \(methods.joined(separator: " or "))")
        problem.title = "Method not allowed"
        problem.status = 405
        return ProblemAnswer(problem, headers: [.allow: methods.joined(separator: ", ")])
    }

    private func problem(of error: HTTPError) -> Problem {
        let kind = ProblemKind.allCases.first { $0.status == error.status.code } ?? .badRequest
        return Problem(kind, error.body ?? "the request is not valid: \(error.status.reasonPhrase)")
    }

    private func logged(_ problem: Problem, _ error: any Error, _ context: APIContext) -> Problem {
        if problem.kind == .internal { context.logger.error("A request failed", metadata: ["error": "\(error)"]) }
        return problem
    }

    private func unknown(_ error: any Error, _ context: APIContext) -> Problem {
        // The type lies in a module that this target does not import.
        if String(reflecting: type(of: error)).hasPrefix("NIOHTTP1.HTTPParserError") {
            return Problem(.badRequest, "the request is not valid HTTP")
        }
        context.logger.error(
            "A request failed for an unknown reason", metadata: ["error": "\(String(reflecting: error))"])
        return Problem(.internal, "the scheduler failed; its log has the reason under request \(context.id)")
    }
}

/// A problem as a response.
struct ProblemAnswer {
    var problem: Problem
    var headers: HTTPFields
    /// The document in the form of the OCI distribution specification, if the refusal was made in it.
    private var registryDocument: [UInt8]?

    init(_ problem: Problem, headers: HTTPFields = [:]) {
        self.problem = problem
        self.headers = headers
    }

    init(_ failure: RegistryFailure) {
        problem = Problem(.badRequest, failure.messages.joined(separator: "; "))
        problem.status = failure.status
        headers = failure.headers
        registryDocument = failure.document
    }

    /// - Parameter challenge: how to ask for a token, for a registry call; nil for any other call.
    func response(challenge: String?, isHead: Bool) -> Response {
        var headers = headers
        if problem.status == 401 { headers[.wwwAuthenticate] = challenge ?? "Bearer realm=\"jobctl\"" }
        if problem.status == 503 { headers[.retryAfter] = "1" }
        headers[.contentType] = challenge != nil ? "application/json" : "application/problem+json"
        let body =
            challenge != nil ? registryDocument ?? RegistryFailure.document(problem) : problemDocument()
        if isHead {
            headers[.contentLength] = String(body.count)
            return Response(status: .init(code: problem.status), headers: headers)
        }
        return Response(
            status: .init(code: problem.status), headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }

    private func problemDocument() -> [UInt8] {
        do { return try WireJSON.encode(problem) } catch {
            return Array(#"{"status":500,"title":"Internal error"}"#.utf8)
        }
    }
}

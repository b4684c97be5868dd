// A registry on loopback, through which the engine pulls images from the scheduler's archive: engines trust 127.0.0.0/8 without TLS
// and need no configuration. Only GET and HEAD of /v2/ are passed on, with the worker's token. Whoever has a shell on this host can
// pull through it; images are not secret from those who may run containers here.
import AsyncHTTPClient
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle

package struct RegistryProxy: Sendable {
    let schedulerURL: String
    let token: String
    let http: HTTPClient

    /// The proxy as a server on 127.0.0.1:`port`.
    func application(port: Int, logger: Logger) -> some ApplicationProtocol {
        let router = Router()
        router.get("/v2/**") { request, _ in try await forward(request, .GET) }
        router.head("/v2/**") { request, _ in try await forward(request, .HEAD) }
        router.get("/v2") { request, _ in try await forward(request, .GET) }
        return Application(
            router: router, configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: port)), logger: logger)
    }

    private static let passedOn = ["Accept", "Range"]
    private static let passedBack = ["Content-Type", "Content-Range", "Accept-Ranges", "Docker-Content-Digest", "Docker-Distribution-Api-Version"]

    private func forward(_ request: Request, _ method: HTTPMethod) async throws -> Response {
        var outgoing = HTTPClientRequest(url: schedulerURL + request.uri.path)
        outgoing.method = method
        outgoing.headers.add(name: "Authorization", value: "Bearer \(token)")
        for name in Self.passedOn {
            if let field = HTTPField.Name(name), let value = request.headers[field] { outgoing.headers.add(name: name, value: value) }
        }
        let answer: HTTPClientResponse
        do {
            answer = try await http.execute(outgoing, timeout: .hours(2))
        } catch {
            return Response(status: .badGateway)
        }
        var headers = HTTPFields()
        for name in Self.passedBack {
            if let field = HTTPField.Name(name), let value = answer.headers.first(name: name) { headers[field] = value }
        }
        let length = answer.headers.first(name: "Content-Length").flatMap { Int($0) }
        if method == .HEAD {
            // The length of what a GET would give; there is no body.
            headers[.contentLength] = length.map(String.init)
            return Response(status: .init(code: Int(answer.status.code)), headers: headers)
        }
        let body = answer.body
        return Response(
            status: .init(code: Int(answer.status.code)), headers: headers,
            body: ResponseBody(contentLength: length) { writer in
                for try await piece in body { try await writer.write(piece) }
                try await writer.finish(nil)
            })
    }

    /// A port that is free now: the one that was used before, so that the engine finds its images under the same name, or another.
    static func port(remembered file: String) throws -> Int {
        let remembered = (try? String(contentsOfFile: file, encoding: .utf8)).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }  // allowed: no file yet
        if let remembered, (1024...65535).contains(remembered), let port = freePort(remembered) { return port }
        guard let port = freePort(0) else { throw EngineError.unavailable("no port on 127.0.0.1 is free for the registry proxy") }
        try String(port).write(toFile: file, atomically: true, encoding: .utf8)
        return port
    }

    private static func freePort(_ wanted: Int) -> Int? {
        let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard handle >= 0 else { return nil }
        defer { close(handle) }
        var yes: Int32 = 1
        setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(wanted).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(handle, $0, size) == 0 && getsockname(handle, $0, &size) == 0 }
        }
        return bound ? Int(UInt16(bigEndian: address.sin_port)) : nil
    }
}

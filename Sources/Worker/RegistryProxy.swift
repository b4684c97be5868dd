// The agent's only listener: a loopback registry from which the engine pulls, so that no engine needs any
// configuration (docker trusts 127.0.0.0/8 over plain HTTP; podman is told per pull). It adds the worker's token and
// passes on to the scheduler's archive.
//
// Who else on the host could pull through it? Engines send no secret, so the proxy looks at what it can see: it
// answers only connections of root and of the agent's own user (by the kernel's table of sockets), and only for
// images that the engine is pulling at that moment on the agent's behalf (the manifest's digest, and the digests
// that its manifests name). Nothing else of the scheduler's API is reachable. Invariant: what is forwarded is a GET
// or HEAD of a manifest or blob by a permitted digest.
import AsyncHTTPClient
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle

/// A loopback registry in front of the scheduler's archive. Run it as a service; engines wait for ``address()``.
package final class RegistryProxy: Service, ImageSource {
    private let scheduler: String
    private let token: String
    private let portFile: String?
    private let logger: Logger
    private let state = ProxyState()

    /// The largest manifest that is passed on.
    static let manifestLimit = 4 << 20

    /// One pool for the life of the process.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(10)
        configuration.timeout.read = .minutes(5)
        configuration.redirectConfiguration = .disallow
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    /// - Parameters:
    ///   - scheduler: the scheduler's URL without a trailing slash.
    ///   - portFile: where the port is kept over restarts, so that engines know images by the same reference; nil:
    ///     nowhere.
    package init(scheduler: String, token: String, portFile: String?, logger: Logger) {
        self.scheduler = scheduler
        self.token = token
        self.portFile = portFile
        self.logger = logger
    }

    package func address() async throws(EngineError) -> String {
        guard let port = await state.waitForPort() else {
            throw EngineError.unavailable("the agent's registry proxy has stopped")
        }
        return "127.0.0.1:\(port)"
    }

    package func permit(_ digest: Digest) async { await state.permit(digest) }
    package func revoke(_ digest: Digest) async { await state.revoke(digest) }

    /// Listens until the service group stops it.
    package func run() async throws {
        do {
            do {
                try await serve(port: savedPort ?? 0)
            } catch let error as IOError where error.errnoCode == EADDRINUSE || error.errnoCode == EACCES {
                try await serve(port: 0)
            }
        } catch {
            await state.close()
            throw error
        }
        await state.close()
    }

    private func serve(port: Int) async throws {
        let state = state
        let responder = CallbackResponder<ProxyContext> { [self] request, context in await answer(request, context) }
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let application = Application(
            responder: responder,
            configuration: .init(address: .hostname("127.0.0.1", port: port), serverName: nil),
            onServerRunning: { [self] channel in
                guard let bound = channel.localAddress?.port else { return }
                save(port: bound)
                await state.opened(port: bound)
            },
            logger: quiet)
        try await application.run()
    }

    // MARK: One request

    private func answer(_ request: Request, _ context: ProxyContext) async -> Response {
        guard request.method == .get || request.method == .head else {
            return refusal(.methodNotAllowed, "UNSUPPORTED")
        }
        guard let peer = context.peer, let port = await state.port, mayPull(peer: peer, port: port) else {
            return refusal(.forbidden, "DENIED")
        }
        let path = request.uri.path
        if path == "/v2/" || path == "/v2" {
            return Response(
                status: .ok, headers: [.contentType: "application/json", .dockerVersion: "registry/2.0"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: request.method == .head ? "" : "{}")))
        }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 5, parts[0].isEmpty, parts[1] == "v2", parts[2] == "archive",
            parts[3] == "manifests" || parts[3] == "blobs",
            let digest = Digest(parts[4])
        else { return refusal(.notFound, "MANIFEST_UNKNOWN") }
        // An engine that kept a manifest of an earlier pull asks for what it names without asking for it again.
        if await !state.permits(digest) { await state.readManifests { await self.manifest($0) } }
        guard await state.permits(digest) else { return refusal(.notFound, "MANIFEST_UNKNOWN") }
        do {
            return try await forward(request, isManifest: parts[3] == "manifests", digest)
        } catch {
            logger.warning(
                "the scheduler's archive could not be reached", metadata: ["digest": "\(digest)", "reason": "\(error)"])
            return refusal(.badGateway, "UNKNOWN")
        }
    }

    /// A manifest of the archive; nil if it cannot be had.
    package func manifest(_ digest: Digest) async -> [UInt8]? {
        var call = HTTPClientRequest(url: scheduler + "/v2/archive/manifests/" + digest.description)
        call.headers.add(name: "Authorization", value: "Bearer " + token)
        for type in ["oci.image.manifest.v1", "oci.image.index.v1"] {
            call.headers.add(name: "Accept", value: "application/vnd.\(type)+json")
        }
        for type in ["manifest.v2", "manifest.list.v2"] {
            call.headers.add(name: "Accept", value: "application/vnd.docker.distribution.\(type)+json")
        }
        do {
            let response = try await Self.client.execute(call, deadline: .now() + .seconds(60))
            let body = try await response.body.collect(upTo: Self.manifestLimit)
            return response.status.code == 200 ? Array(body.readableBytesView) : nil
        } catch {
            logger.warning(
                "a manifest could not be read", metadata: ["digest": "\(digest)", "reason": "\(error)"])
            return nil
        }
    }

    private func forward(_ request: Request, isManifest: Bool, _ digest: Digest) async throws -> Response {
        var call = HTTPClientRequest(
            url: scheduler + "/v2/archive/" + (isManifest ? "manifests/" : "blobs/") + digest.description)
        call.method = request.method == .head ? .HEAD : .GET
        call.headers.add(name: "Authorization", value: "Bearer " + token)
        for name in [HTTPField.Name.accept, .range, .ifRange] {
            for value in request.headers[values: name] { call.headers.add(name: name.canonicalName, value: value) }
        }
        let response = try await Self.client.execute(call, deadline: .now() + .hours(24))
        var headers = HTTPFields()
        for name in [HTTPField.Name.contentType, .contentRange, .acceptRanges, .eTag, .dockerDigest] {
            for value in response.headers[name.canonicalName] { headers.append(HTTPField(name: name, value: value)) }
        }
        let status = HTTPResponse.Status(code: Int(response.status.code))
        let length = response.headers.first(name: "content-length").flatMap { Int($0) }
        if request.method == .head {
            if let length { headers[.contentLength] = String(length) }
            return Response(status: status, headers: headers)
        }
        if isManifest {
            let body = try await response.body.collect(upTo: Self.manifestLimit)
            if response.status.code == 200 { await state.permit(named: Array(body.readableBytesView), by: digest) }
            return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: body))
        }
        let body = response.body
        return Response(
            status: status, headers: headers,
            body: ResponseBody(contentLength: length) { writer in
                for try await piece in body { try await writer.write(piece) }
                try await writer.finish(nil)
            })
    }

    private func refusal(_ status: HTTPResponse.Status, _ code: String) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: #"{"errors":[{"code":"\#(code)","message":"refused"}]}"#))
        )
    }

    // MARK: The port

    private var savedPort: Int? {
        guard let portFile, let text = CgroupBook.text(portFile), text.utf8.count <= 16,
            let port = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)), (1024...65_535).contains(port)
        else { return nil }
        return port
    }

    private func save(port: Int) {
        guard let portFile, port != savedPort else { return }
        do {
            try Data("\(port)\n".utf8).write(to: URL(filePath: portFile), options: .atomic)
        } catch {
            // The next life takes another port and pulls manifests again: no harm.
            logger.warning(
                "the registry proxy's port could not be saved", metadata: ["path": "\(portFile)", "reason": "\(error)"])
        }
    }
}

extension HTTPField.Name {
    fileprivate static let dockerDigest = HTTPField.Name("Docker-Content-Digest") ?? .contentType
    fileprivate static let dockerVersion = HTTPField.Name("Docker-Distribution-Api-Version") ?? .contentType
}

/// A request with its sender.
private struct ProxyContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let peer: SocketAddress?

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        peer = source.channel.remoteAddress
    }
}

/// Whether root or the agent's own user holds the other end of the connection.
private func mayPull(peer: SocketAddress, port: Int) -> Bool {
    guard let peerPort = peer.port, peer.ipAddress == "127.0.0.1",
        let table = CgroupBook.text("/proc/net/tcp", limit: 64 << 20)
    else {
        return false
    }
    // `sl local remote state queues timer retransmits uid …`, addresses as little-endian hexadecimal.
    let local = "0100007F:" + hexadecimal(peerPort)
    let remote = "0100007F:" + hexadecimal(port)
    for line in table.split(separator: "\n") {
        let fields = line.split(separator: " ", maxSplits: 8)
        guard fields.count > 7, fields[1] == local, fields[2] == remote, let uid = UInt32(fields[7]) else { continue }
        return uid == 0 || uid == geteuid()
    }
    return false
}

private func hexadecimal(_ port: Int) -> String {
    let digits = String(port, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
}

/// The port, and what may be pulled.
private actor ProxyState {
    private(set) var port: Int?
    private var isClosed = false
    private var waiters: [CheckedContinuation<Void, Never>] = []
    /// The pulls of one image that are under way.
    private struct Pull {
        var count = 0
        /// The image, and what its manifests have named.
        var named: Set<Digest>
        var reading: Task<Void, Never>?
    }
    private var pulls: [Digest: Pull] = [:]

    func opened(port: Int) {
        self.port = port
        wake()
    }

    func close() {
        isClosed = true
        port = nil
        wake()
    }

    /// Nil once the proxy has stopped.
    func waitForPort() async -> Int? {
        while port == nil, !isClosed {
            await withCheckedContinuation { waiters.append($0) }
        }
        return port
    }

    private func wake() {
        for waiter in waiters { waiter.resume() }
        waiters = []
    }

    func permit(_ digest: Digest) { pulls[digest, default: Pull(named: [digest])].count += 1 }

    func revoke(_ digest: Digest) {
        guard let count = pulls[digest]?.count else { return }
        if count > 1 { pulls[digest]?.count = count - 1 } else { pulls[digest] = nil }
    }

    func permits(_ digest: Digest) -> Bool { pulls.values.contains { $0.named.contains(digest) } }

    /// Lets through what a manifest names, for as long as its image is being pulled.
    func permit(named manifest: [UInt8], by digest: Digest) {
        let found = digests(in: manifest)
        for (image, pull) in pulls where pull.named.contains(digest) { pulls[image]?.named.formUnion(found) }
    }

    /// Reads the manifests of all pulls under way, each once.
    func readManifests(_ read: @escaping @Sendable (Digest) async -> [UInt8]?) async {
        for image in pulls.keys.sorted(by: { $0.description < $1.description }) {
            let task = pulls[image]?.reading ?? Task { await self.readManifests(of: image, read) }
            pulls[image]?.reading = task
            await task.value
        }
    }

    /// An image's manifest; if it is an index, those that it lists as well.
    private func readManifests(of image: Digest, _ read: @Sendable (Digest) async -> [UInt8]?) async {
        guard let manifest = await read(image) else { return }
        permit(named: manifest, by: image)
        for listed in listedManifests(in: manifest) {
            if let manifest = await read(listed) { permit(named: manifest, by: listed) }
        }
    }

    private struct Index: Decodable {
        struct Entry: Decodable { let digest: String }
        let manifests: [Entry]?
    }

    private func listedManifests(in text: [UInt8]) -> [Digest] {
        let index = try? JSONDecoder().decode(Index.self, from: Data(text))  // allowed: then nothing is listed
        return (index?.manifests ?? []).prefix(100).compactMap { Digest($0.digest) }
    }

    private func digests(in text: [UInt8]) -> [Digest] {
        String(decoding: text, as: UTF8.self).split(separator: "\"").filter { $0.hasPrefix("sha256:") }.compactMap {
            Digest($0)
        }
    }
}

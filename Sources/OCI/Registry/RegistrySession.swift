// One registry for the length of one pull: which scheme, which token. Credentials go to the registry that they were given for and to
// the token service that this registry names over HTTPS (or on the same host), and never along a redirect to another host.
import Foundation
import JobModel
import Synchronization

final class RegistrySession: Sendable {
    let reference: ImageReference
    private let client: RegistryClient
    /// The Authorization header that the registry accepted.
    private let authorization = Mutex<String?>(nil)

    private static let mostRedirects = 5
    private static let tries = 4

    init(client: RegistryClient, reference: ImageReference) {
        self.client = client
        self.reference = reference
    }

    /// `https://host`, or `http://host` on this machine and where it was allowed.
    private var base: String {
        let host = reference.registry == "docker.io" ? "registry-1.docker.io" : reference.registry
        let name = host.split(separator: ":").first.map(String.init) ?? host
        let isLocal = name == "localhost" || name.hasPrefix("127.")
        return (isLocal || client.insecure.contains(host) ? "http://" : "https://") + host
    }

    /// A GET that logs in where it must, follows redirects, and tries again after 429 and 5xx.
    /// - Parameter begin: called before each answer's body.
    func get(
        _ path: String, accept: [String], limit: Int64, headers: [String], begin: @escaping @Sendable () -> Void,
        sink: @escaping @Sendable (UnsafeRawBufferPointer) throws(OCIError) -> Void
    ) async throws(OCIError) -> CurlResponse {
        var url = base + path
        var redirects = 0
        var loggedIn = false
        var attempt = 1
        while true {
            begin()
            var request = CurlRequest(url: url, headers: headers, bodyLimit: limit)
            if !accept.isEmpty { request.headers.append("Accept: " + accept.joined(separator: ", ")) }
            if Self.origin(url) == Self.origin(base), let value = authorization.withLock({ $0 }) { request.headers.append("Authorization: " + value) }
            let response = try await send(request, sink)
            switch response.status {
            case 200..<300: return response
            case 301, 302, 303, 307, 308:
                redirects += 1
                guard redirects <= Self.mostRedirects, let target = response.headers["location"].flatMap({ Self.absolute($0, from: url) }) else {
                    throw OCIError.unreachable(registry: reference.registry, why: "it redirects to nowhere")
                }
                guard !(url.hasPrefix("https://") && target.hasPrefix("http://")) else {
                    throw OCIError.unreachable(registry: reference.registry, why: "it redirects from https to http")
                }
                url = target
            case 401 where !loggedIn:
                loggedIn = true
                try await logIn(response.headers["www-authenticate"] ?? "")
            case 401, 403: throw OCIError.denied(registry: reference.registry)
            case 404: throw OCIError.notFound(reference: reference.description)
            case 429, 500..<600:
                guard attempt < Self.tries else {
                    throw OCIError.unreachable(registry: reference.registry, why: "it answers \(response.status)")
                }
                try await pause(seconds: Self.pause(after: response, attempt: attempt))
                attempt += 1
            default: throw OCIError.unreachable(registry: reference.registry, why: "it answers \(response.status)")
            }
        }
    }

    private func send(
        _ request: CurlRequest, _ sink: @escaping @Sendable (UnsafeRawBufferPointer) throws(OCIError) -> Void
    ) async throws(OCIError) -> CurlResponse {
        do {
            return try await CurlTransfer.run(request, sink: sink)
        } catch {
            switch error {
            case .transport(let why): throw OCIError.unreachable(registry: reference.registry, why: why)
            case .bodyTooLarge: throw OCIError.tooLarge(what: "an answer of \(reference.registry)", limit: request.bodyLimit)
            case .cancelled: throw OCIError.unreachable(registry: reference.registry, why: "the call was given up")
            case .sink(let error): throw error
            }
        }
    }

    /// Answers a challenge: basic, or Docker's token flow (distribution's "Token Authentication Specification").
    private func logIn(_ challenge: String) async throws(OCIError) {
        let login = client.credentials.login(for: reference.registry)
        let scheme = challenge.prefix { $0 != " " }.lowercased()
        switch scheme {
        case "basic":
            guard let login else { throw OCIError.denied(registry: reference.registry) }
            authorization.withLock { $0 = "Basic " + login.basic }
        case "bearer":
            let token = try await self.token(Self.parameters(challenge), login)
            authorization.withLock { $0 = "Bearer " + token }
        default: throw OCIError.denied(registry: reference.registry)
        }
    }

    private func token(_ challenge: [String: String], _ login: RegistryLogin?) async throws(OCIError) -> String {
        guard let realm = challenge["realm"], let host = Self.origin(realm) else {
            throw OCIError.unreachable(registry: reference.registry, why: "its challenge names no token service")
        }
        // A plain-HTTP token service would read the password off the wire; one on the registry's own origin already could.
        let mayHavePassword = realm.hasPrefix("https://") || host == Self.origin(base)
        var items = [("service", challenge["service"]), ("scope", challenge["scope"] ?? "repository:\(reference.repository):pull")]
        if let login { items.append(("account", login.user.isEmpty ? nil : login.user)) }
        let query = items.compactMap { name, value in
            value.flatMap { $0.addingPercentEncoding(withAllowedCharacters: .alphanumerics) }.map { "\(name)=\($0)" }
        }.joined(separator: "&")
        var request = CurlRequest(url: realm + (realm.contains("?") ? "&" : "?") + query, bodyLimit: 1 << 20)
        if let login, mayHavePassword { request.headers.append("Authorization: Basic " + login.basic) }
        let collected = Collected()
        let response = try await send(request) { (piece) throws(OCIError) in collected.append(piece) }
        guard response.status == 200 else { throw OCIError.denied(registry: reference.registry) }
        guard let json = try? JSONParser.parse(collected.bytes).json,  // allowed: handled as a registry that answers nonsense
            case .string(let token) = json[key: "token"] ?? json[key: "access_token"], !token.isEmpty,
            token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw OCIError.unreachable(registry: reference.registry, why: "its token service gave no token") }
        return token
    }

    private func pause(seconds: Double) async throws(OCIError) {
        do {
            try await Task.sleep(for: .seconds(seconds))
        } catch {
            throw OCIError.unreachable(registry: reference.registry, why: "the call was given up")
        }
    }

    /// `Retry-After` in seconds, at most a minute; otherwise doubled from half a second.
    private static func pause(after response: CurlResponse, attempt: Int) -> Double {
        response.headers["retry-after"].flatMap { Double($0) }.map { min(60, max(0, $0)) } ?? 0.25 * Double(1 << attempt)
    }

    /// Scheme, host and port of an absolute URL, in lower case.
    static func origin(_ url: String) -> String? {
        guard let parts = URLComponents(string: url), let scheme = parts.scheme?.lowercased(), scheme == "http" || scheme == "https",
            let host = parts.host?.lowercased(), !host.isEmpty
        else { return nil }
        return "\(scheme)://\(host):\(parts.port ?? (scheme == "https" ? 443 : 80))"
    }

    private static func absolute(_ location: String, from url: String) -> String? {
        guard let base = URL(string: url), let target = URL(string: location, relativeTo: base)?.absoluteString, origin(target) != nil else { return nil }
        return target
    }

    /// The parameters of `Bearer realm="…",service="…"` (RFC 9110, section 11.2), names in lower case.
    static func parameters(_ challenge: String) -> [String: String] {
        var result: [String: String] = [:]
        var rest = challenge.drop { $0 != " " }.dropFirst()
        while let equals = rest.firstIndex(of: "="), result.count < 20 {
            let name = rest[..<equals].trimmingCharacters(in: CharacterSet(charactersIn: " ,")).lowercased()
            rest = rest[rest.index(after: equals)...]
            if rest.first == "\"" {
                rest = rest.dropFirst()
                let value = rest.prefix { $0 != "\"" }
                result[name] = String(value)
                rest = rest.dropFirst(value.count + 1)
            } else {
                let value = rest.prefix { $0 != "," }
                result[name] = value.trimmingCharacters(in: .whitespaces)
                rest = rest.dropFirst(value.count)
            }
        }
        return result
    }
}

/// Bytes that arrive on a transfer's thread.
final class Collected: Sendable {
    private let content = Mutex<[UInt8]>([])
    var bytes: [UInt8] { content.withLock { $0 } }
    func append(_ piece: UnsafeRawBufferPointer) { content.withLock { $0.append(contentsOf: piece) } }
    func clear() { content.withLock { $0.removeAll() } }
}

/// A blob writer that transfers of one blob use one after the other, each on its own thread.
final class SharedWriter: Sendable {
    private let writer: Mutex<BlobWriter>
    private let limit: Int64
    private let progress: @Sendable (Int64) -> Void

    init(_ writer: sending BlobWriter, limit: Int64, progress: @escaping @Sendable (Int64) -> Void) {
        self.writer = Mutex(writer)
        self.limit = limit
        self.progress = progress
    }

    var size: Int64 { writer.withLock { $0.size } }

    func write(_ piece: UnsafeRawBufferPointer) throws(OCIError) {
        let bytes = Array(piece)  // A copy of libcurl's buffer: raw memory may not cross into the lock's region.
        let error: OCIError? = writer.withLock { (writer) -> OCIError? in
            guard writer.size + Int64(bytes.count) <= limit else { return .tooLarge(what: "a blob of the registry", limit: limit) }
            do throws(OCIError) {
                try writer.write(bytes)
                return nil
            } catch {
                return error
            }
        }
        if let error { throw error }
        progress(Int64(bytes.count))
    }

    func commit(_ descriptor: Descriptor) throws(OCIError) {
        let error: OCIError? = writer.withLock { (writer) -> OCIError? in
            do throws(OCIError) {
                _ = try writer.commit(expecting: descriptor.digest, size: descriptor.size)
                return nil
            } catch {
                return error
            }
        }
        if let error { throw error }
    }
}

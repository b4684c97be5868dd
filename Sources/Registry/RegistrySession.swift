// One registry for the length of one call: which scheme, which login, which redirects, when to try again. Credentials
// go to the registry that they were given for (and to its token service, RegistrySession+Login.swift), never along a
// redirect.
import Foundation
import JobModel
import OCI
import Synchronization

final class RegistrySession: Sendable {
    let reference: ImageReference
    let client: RegistryClient
    let base: WebAddress
    /// As messages and logins name it: the reference's registry, or its mirror.
    let registry: String
    /// What the reference's repository is called here.
    let repository: String
    /// The certificate file of a registry that has an authority of its own.
    let authority: String?
    /// The Authorization header that the registry accepted.
    private let authorization = Mutex<String?>(nil)
    /// The host that wanted the password and did not get it.
    let withheld = Mutex<String?>(nil)

    private static let mostRedirects = 5
    private static let tries = 5
    /// So much of a blob makes a broken connection forgotten.
    private static let goodProgress: Int64 = 1 << 20

    /// - Parameter mirror: nil for the registry itself.
    init(client: RegistryClient, reference: ImageReference, mirror: RegistryMirror?) throws(OCIError) {
        self.client = client
        self.reference = reference
        if let mirror {
            (registry, base) = (mirror.host, mirror.address)
            repository = (mirror.prefix.isEmpty ? "" : mirror.prefix + "/") + reference.repository
            authority = client.certificates.authority(of: mirror.host)
            return
        }
        registry = reference.registry
        repository = reference.repository
        let host = reference.registry == "docker.io" ? "registry-1.docker.io" : reference.registry
        let name = host.split(separator: ":").first.map(String.init) ?? host
        authority = client.certificates.authority(of: host)
        let isPlain =
            authority == nil && isLoopbackHost(name) || client.insecure.contains(host)
            || client.insecure.contains(reference.registry)
        guard let base = WebAddress((isPlain ? "http://" : "https://") + host) else {
            throw OCIError.unreachable(registry: reference.registry, why: "\(quoted(host)) is no host")
        }
        self.base = base
    }

    /// What may be connected to. A host that the operator named (a mirror, an insecure registry) may be anywhere.
    func rule(for address: WebAddress) -> AddressRule {
        let isNamed =
            client.insecure.contains(registry) || client.mirrors.values.contains { $0.contains { $0.host == registry } }
        let isOwn = address.hasOrigin(of: base)
        return AddressRule(allowsLoopback: isOwn || base.isLoopback, isTrusted: isOwn && isNamed)
    }

    /// - Throws: ``OCIError/refused(what:why:)`` for an address that no registry may lead to.
    func check(_ address: WebAddress) throws(OCIError) {
        if let why = rule(for: address).refusal(of: address.host) { throw refused(why) }
    }

    func refused(_ why: String) -> OCIError { .refused(what: "the registry \(registry)", why: why) }

    /// What is fetched.
    struct Item {
        /// Below `/v2/<repository>/`.
        let path: String
        /// What messages call it.
        let what: String
        var accept: [String] = []
        let limit: Int64
        let isSmall: Bool
    }

    /// A GET that logs in where it must, follows redirects, goes on where a connection broke, and tries again after
    /// 429 and 5xx as long as the client has patience.
    func get(_ item: Item, into receiver: any BodyReceiver) async throws(OCIError) -> CurlResponse {
        guard let start = WebAddress("/v2/\(repository)/\(item.path)", relativeTo: base) else {
            throw unreachable("\(quoted(item.path)) is no path")
        }
        try check(start)
        var address = start
        var redirects = 0
        var isLoggedIn = false
        var patience = Patience(seconds: client.timeouts.patience, tries: Self.tries)
        var offset = receiver.offset
        while true {
            let response: CurlResponse
            do throws(CurlFailure) {
                response = try await CurlTransfer.run(request(item, address, receiver), into: receiver)
            } catch {
                let why = try tryAgain(after: error, item, isResumable: receiver.offset > 0)
                if receiver.offset - offset >= Self.goodProgress { patience.renew() }
                offset = receiver.offset
                try await wait(&patience, asked: nil, why)
                // From the registry again: an address that it redirected to may be good for a few minutes only.
                (address, redirects) = (start, 0)
                continue
            }
            switch response.status {
            case 200..<300:
                if receiver.isComplete { return response }
                try await wait(&patience, asked: nil, "\(item.what) ended too early")
                (address, redirects) = (start, 0)
            case 301, 302, 303, 307, 308:
                redirects += 1
                address = try redirect(response, from: address, redirects)
                try check(address)
            case 401 where !isLoggedIn && address.hasOrigin(of: base):
                isLoggedIn = true
                let header = try await logIn(response.challenges)
                authorization.withLock { $0 = header }
            case 401 where address.hasOrigin(of: base), 403 where address.hasOrigin(of: base):
                throw denied()
            case 404: throw OCIError.notFound(reference: item.what)
            case 429, 500..<600:
                try await wait(&patience, asked: response.retryAfter, sentence(response, address))
                (address, redirects) = (start, 0)
            default: throw unreachable(sentence(response, address))
            }
        }
    }

    func unreachable(_ why: String) -> OCIError { .unreachable(registry: registry, why: why) }

    func denied() -> OCIError {
        guard let host = withheld.withLock({ $0 }) else { return .denied(registry: registry) }
        return refused(
            "it wants its password to be sent to \(quoted(host)), another host; if that is its token service, start "
                + "the scheduler with --token-service \(registry)=\(host)")
    }

    private func request(_ item: Item, _ address: WebAddress, _ receiver: any BodyReceiver) -> CurlRequest {
        var request = CurlRequest(
            address: address, rule: rule(for: address), bodyLimit: item.limit, timeouts: client.timeouts,
            isSmall: item.isSmall)
        if address.hasOrigin(of: base) { request.authority = authority }
        if !item.accept.isEmpty { request.headers.append("Accept: " + item.accept.joined(separator: ", ")) }
        if receiver.offset > 0 { request.headers.append("Range: bytes=\(receiver.offset)-") }
        if address.hasOrigin(of: base), let value = authorization.withLock({ $0 }) {
            request.headers.append("Authorization: " + value)
        }
        return request
    }

    /// The words for a failure after which another try makes sense; throws those for any other.
    private func tryAgain(after failure: CurlFailure, _ item: Item, isResumable: Bool) throws(OCIError) -> String {
        switch failure {
        case .transport(let why, let isBroken, let isTimeout):
            guard isBroken || (isTimeout && isResumable) else { throw unreachable(why) }
            return why
        case .bodyTooLarge: throw OCIError.tooLarge(what: item.what, limit: item.limit)
        case .cancelled: throw unreachable("the call was given up")
        case .address(let why): throw refused(why)
        case .refused(let error): throw error
        }
    }

    private func redirect(_ response: CurlResponse, from address: WebAddress, _ count: Int) throws(OCIError)
        -> WebAddress
    {
        guard count <= Self.mostRedirects else {
            throw unreachable("it redirects more than \(Self.mostRedirects) times")
        }
        guard let target = response.headers["location"].flatMap({ WebAddress($0, relativeTo: address) }) else {
            throw unreachable("it redirects to nowhere")
        }
        guard address.scheme == "http" || target.scheme == "https" else {
            throw unreachable("it redirects from https to http, to \(target.host)")
        }
        return target
    }

    private func wait(_ patience: inout Patience, asked: Int?, _ why: String) async throws(OCIError) {
        switch patience.pause(asked: asked) {
        case .giveUp: throw unreachable(why)
        case .tooLong(let seconds): throw OCIError.busy(registry: registry, why: why, seconds: seconds)
        case .wait(let pause):
            do {
                try await Task.sleep(for: .seconds(pause))
            } catch {
                throw unreachable("the call was given up")
            }
        }
    }

    /// `it answers 429: You have reached your pull rate limit`.
    private func sentence(_ response: CurlResponse, _ address: WebAddress) -> String {
        // What another host says is not repeated: it may be one that only the scheduler can reach.
        guard address.hasOrigin(of: base) else {
            return "\(address.host), to which it redirects, answers \(response.status)"
        }
        guard let json = try? parseJSON(response.errorBody, limit: 4096, named: ""),  // allowed: the words are an extra
            case .array(let errors) = json[key: "errors"], case .string(let words) = errors.first?[key: "message"],
            !words.isEmpty
        else { return "it answers \(response.status)" }
        return "it answers \(response.status): \(quoted(words))"
    }
}

extension CurlResponse {
    /// Seconds that it asks to wait.
    var retryAfter: Int? {
        Registry.retryAfter(headers["retry-after"], date: headers["date"], now: Date().timeIntervalSince1970)
    }
}

// Answers a registry's challenge: basic, or Docker's token flow (distribution's "Token Authentication
// Specification").
//
// Which token service may have the password? One on the registry's own host; over https also one beside it (GitLab's
// registry.example.org and gitlab.example.org), Docker Hub's, and those that the operator named. Any other is asked for
// an anonymous token, and if that opens nothing, the refusal says which host wanted the password. Only the registry's
// own challenge counts, never one from where it redirects to.
import Foundation
import JobModel
import OCI

extension RegistrySession {
    /// The Authorization header that answers one of `challenges`.
    func logIn(_ challenges: [String]) async throws(OCIError) -> String {
        let (credentials, registry) = (client.credentials, registry)
        let login = await CurlTransfer.onOwnThread { credentials.login(for: registry) }
        let parsed = challenges.map(Challenge.init)
        if let bearer = parsed.first(where: { $0.scheme == "bearer" }) {
            return "Bearer " + (try await token(bearer.parameters, login))
        }
        guard parsed.contains(where: { $0.scheme == "basic" }), let basic = login?.basic else {
            throw OCIError.denied(registry: registry)
        }
        return "Basic " + basic
    }

    private func token(_ challenge: [String: String], _ login: RegistryLogin?) async throws(OCIError) -> String {
        guard let realm = challenge["realm"].flatMap({ WebAddress($0) }) else {
            throw unreachable("its challenge names no token service")
        }
        try check(realm)
        let isTrusted = mayHavePassword(realm)
        if login != nil, !isTrusted { withheld.withLock { $0 = realm.host } }
        let request = tokenRequest(realm, challenge, isTrusted ? login : nil)
        let body = CollectedBody()
        let response: CurlResponse
        do throws(CurlFailure) {
            response = try await CurlTransfer.run(request, into: body)
        } catch {
            switch error {
            case .transport(let why, _, _): throw unreachable("its token service \(realm.host) fails: \(why)")
            case .bodyTooLarge: throw unreachable("its token service \(realm.host) answers too much")
            case .cancelled: throw unreachable("the call was given up")
            case .address(let why): throw refused(why)
            case .refused(let error): throw error
            }
        }
        switch response.status {
        case 200: break
        case 400..<500 where response.status != 429: throw denied()
        default:
            let why = "its token service \(realm.host) answers \(response.status)"
            guard let seconds = response.retryAfter else { throw unreachable(why) }
            throw OCIError.busy(registry: registry, why: why, seconds: min(seconds, Patience.longest))
        }
        guard let json = try? parseJSON(body.bytes, limit: 1 << 20, named: ""),  // allowed: told as no token
            case .string(let token) = json[key: "token"] ?? json[key: "access_token"], !token.isEmpty,
            token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw unreachable("its token service \(realm.host) gave no token") }
        return token
    }

    private func mayHavePassword(_ realm: WebAddress) -> Bool {
        if realm.host == base.host { return realm.scheme == "https" || base.scheme == "http" }
        guard realm.scheme == "https" else { return false }
        if registry == "docker.io", realm.host == "auth.docker.io" { return true }
        if client.tokenServices[registry]?.contains(realm.host) == true { return true }
        return isBesideRegistry(realm.host, base.host)
    }

    private func tokenRequest(_ realm: WebAddress, _ challenge: [String: String], _ login: RegistryLogin?)
        -> CurlRequest
    {
        var items = [("scope", challenge["scope"] ?? "repository:\(repository):pull")]
        if let service = challenge["service"] { items.append(("service", service)) }
        func request(_ address: WebAddress) -> CurlRequest {
            CurlRequest(
                address: address, rule: rule(for: address), bodyLimit: 1 << 20, timeouts: client.timeouts,
                isSmall: true)
        }
        // An identity token is an OAuth refresh token, and goes into the body, never into an address.
        if let token = login?.identityToken {
            var post = request(realm)
            post.form = Self.form(
                items + [("grant_type", "refresh_token"), ("client_id", "jobctl"), ("refresh_token", token)])
            return post
        }
        if let login { items.append(("account", login.user)) }
        let query = (realm.description.contains("?") ? "&" : "?") + Self.form(items)
        var get = request(WebAddress(realm.description + query) ?? realm)
        if let login { get.headers.append("Authorization: Basic " + login.basic) }
        return get
    }

    private static func form(_ items: [(String, String)]) -> String {
        let unreserved = CharacterSet(
            charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
        return items.compactMap { name, value in
            value.addingPercentEncoding(withAllowedCharacters: unreserved).map { "\(name)=\($0)" }
        }.joined(separator: "&")
    }
}

/// Whether a host is the parent of the registry's domain name or below that parent. What is shared by strangers is
/// no parent: `org`, `co.uk`.
package func isBesideRegistry(_ host: String, _ registry: String) -> Bool {
    let labels = registry.split(separator: ".", omittingEmptySubsequences: false)
    guard labels.count >= 3, labels.last?.allSatisfy(\.isLetter) == true else { return false }
    let parent = labels.dropFirst()
    if parent.count == 2, let country = parent.last, let kind = parent.first, country.count == 2, kind.count <= 3 {
        return false
    }
    let name = parent.joined(separator: ".")
    return host == name || host.hasSuffix("." + name)
}

/// `Bearer realm="…",service="…"` (RFC 9110, section 11.2), names in lower case.
private struct Challenge {
    let scheme: String
    let parameters: [String: String]

    init(_ text: String) {
        scheme = text.prefix { $0 != " " }.lowercased()
        var result: [String: String] = [:]
        var rest = text.drop { $0 != " " }.dropFirst()
        while let equals = rest.firstIndex(of: "="), result.count < 20 {
            let name = rest[..<equals].trimmingCharacters(in: CharacterSet(charactersIn: " ,")).lowercased()
            rest = rest[rest.index(after: equals)...]
            let isQuoted = rest.first == "\""
            if isQuoted { rest = rest.dropFirst() }
            let value = rest.prefix { $0 != (isQuoted ? "\"" : ",") }
            result[name] = isQuoted ? String(value) : value.trimmingCharacters(in: .whitespaces)
            rest = rest.dropFirst(value.count + 1)
        }
        parameters = result
    }
}

// Answers a registry's challenge: basic, or Docker's token flow (distribution's "Token Authentication
// Specification").
//
// Which token service may have the password? A registry may name one on any host (Docker Hub's is auth.docker.io),
// and the registry itself was trusted with the password, so its word is good, as long as nobody on the wire could
// have put it in its mouth or can read the answer: over https always, over plain http only where the registry speaks
// plain http too and the service is on the same host. Any other service is asked for an anonymous token. Only the
// registry's own challenge counts, never one from where it redirects to.
import Foundation
import JobModel
import OCI

extension RegistrySession {
    /// The Authorization header that answers one of `challenges`.
    func logIn(_ challenges: [String]) async throws(OCIError) -> String {
        let (credentials, registry) = (client.credentials, reference.registry)
        let login = await CurlTransfer.onOwnThread { credentials.login(for: registry) }
        let parsed = challenges.map(Challenge.init)
        if let bearer = parsed.first(where: { $0.scheme == "bearer" }) {
            return "Bearer " + (try await token(bearer.parameters, login))
        }
        guard parsed.contains(where: { $0.scheme == "basic" }), let basic = login?.basic else {
            throw OCIError.denied(registry: reference.registry)
        }
        return "Basic " + basic
    }

    private func token(_ challenge: [String: String], _ login: RegistryLogin?) async throws(OCIError) -> String {
        guard let realm = challenge["realm"].flatMap({ WebAddress($0) }) else {
            throw unreachable("its challenge names no token service")
        }
        let request = tokenRequest(realm, challenge, mayHavePassword(realm) ? login : nil)
        let body = CollectedBody()
        let response: CurlResponse
        do throws(CurlFailure) {
            response = try await CurlTransfer.run(request, into: body)
        } catch {
            switch error {
            case .transport(let why, _, _): throw unreachable("its token service \(realm.host) fails: \(why)")
            case .bodyTooLarge: throw unreachable("its token service \(realm.host) answers too much")
            case .cancelled: throw unreachable("the call was given up")
            case .refused(let error): throw error
            }
        }
        switch response.status {
        case 200: break
        case 400..<500 where response.status != 429: throw OCIError.denied(registry: reference.registry)
        default: throw unreachable("its token service \(realm.host) answers \(response.status)")
        }
        guard let json = try? parseJSON(body.bytes, limit: 1 << 20, named: ""),  // allowed: told as no token
            case .string(let token) = json[key: "token"] ?? json[key: "access_token"], !token.isEmpty,
            token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw unreachable("its token service \(realm.host) gave no token") }
        return token
    }

    private func mayHavePassword(_ realm: WebAddress) -> Bool {
        realm.scheme == "https" || (base.scheme == "http" && realm.host == base.host)
    }

    private func tokenRequest(_ realm: WebAddress, _ challenge: [String: String], _ login: RegistryLogin?)
        -> CurlRequest
    {
        var items = [("scope", challenge["scope"] ?? "repository:\(reference.repository):pull")]
        if let service = challenge["service"] { items.append(("service", service)) }
        func request(_ address: WebAddress) -> CurlRequest {
            CurlRequest(address: address, bodyLimit: 1 << 20, timeouts: client.timeouts, isSmall: true)
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

// The registry's token flow (distribution "Token Authentication"): a client shows its user's token once at /v2/token and
// gets one that is good for minutes and only below /v2/. Nothing is stored: what is signed names the user's token by
// its hash, so removing the user or the token ends it at once, and a restart makes clients ask again.

import Foundation
import Hummingbird
import JobModel

import struct Crypto.HMAC
import struct Crypto.SHA256
import struct Crypto.SymmetricKey

package struct RegistryTokens: Sendable {
    /// How long a token is good, in seconds.
    static let lifetime: Int64 = 900
    private static let prefix = "jobctlr_"
    private let key = SymmetricKey(size: .bits256)
    private let users: TokenTable
    private let clock: any SchedulerClock
    /// Where the scheduler is reached from outside, if its operator has said so: `https://jobs.lab.example`.
    private let publicURL: String?

    package init(users: TokenTable, clock: any SchedulerClock, publicURL: String?) {
        self.users = users
        self.clock = clock
        self.publicURL = publicURL
    }

    /// What a client without a good token is asked for. A client sends its password to wherever the token flow's
    /// address says, so that flow is only named with an address that the operator has stated; else basic
    /// authentication, to the place that was asked.
    var challenge: String {
        publicURL.map { "Bearer realm=\"\($0)/v2/token\",service=\"jobctl\"" } ?? Self.basicChallenge
    }
    static let basicChallenge = "Basic realm=\"jobctl\""

    /// A token for whoever called with the token that has this hash.
    func issue(for hash: Digest) -> (text: String, issuedAt: Timestamp) {
        let now = clock.now().wall
        let expiry = now.millisecondsSinceEpoch / 1000 + Self.lifetime
        let claim = "\(expiry).\(hash.hex)"
        return ("\(Self.prefix)\(claim).\(signature(claim))", now)
    }

    /// Whose token it is; nil if it is none of ours, too old, or its user is gone.
    func caller(with token: Token) -> Caller? {
        guard token.text.hasPrefix(Self.prefix), token.text.utf8.count <= Token.longestText else { return nil }
        let parts = token.text.dropFirst(Self.prefix.count).split(separator: ".", omittingEmptySubsequences: false)
        // Digests are compared, so that the time it takes tells nothing about the signature.
        guard parts.count == 3, let expiry = Int64(parts[0]), let hash = Digest("sha256:" + parts[1]),
            Digest(of: signature("\(parts[0]).\(parts[1])")) == Digest(of: String(parts[2])),
            clock.now().wall.millisecondsSinceEpoch / 1000 < expiry
        else { return nil }
        return users.caller(withHash: hash)
    }

    private func signature(_ claim: String) -> String {
        HMAC<SHA256>.authenticationCode(for: Data(claim.utf8), using: key).map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }
}

/// `GET /v2/token`, with basic authentication. What a token may do is decided at each call, so its scope is not looked
/// at: every user may pull everything.
struct RegistryTokenRoute {
    let services: APIServices

    private struct Document: Encodable {
        let token: String
        let accessToken: String
        let expiresIn: Int64
        let issuedAt: Timestamp
        enum CodingKeys: String, CodingKey {
            case token, accessToken = "access_token", expiresIn = "expires_in", issuedAt = "issued_at"
        }
    }

    @Sendable func issue(_ call: Call) async throws -> Response {
        guard let token = Authentication.token(in: call.request.headers), services.tokens.caller(with: token) != nil
        else {
            throw Problem(.unauthenticated, "send your user name and your token with basic authentication")
        }
        let issued = services.registryTokens.issue(for: token.hash)
        return try .json(
            Document(
                token: issued.text, accessToken: issued.text, expiresIn: RegistryTokens.lifetime,
                issuedAt: issued.issuedAt))
    }
}

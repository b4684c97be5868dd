// Where credentials go, and above all where they do not. In these tests the password of user `ada` is `secret`.
import Foundation
import JobModel
import OCI
import Registry
import TestSupport
import Testing

@Suite struct RegistryLoginTests {
    private let image = SmallImage()
    private static let basic = "Basic " + Data("ada:secret".utf8).base64EncodedString()
    private static let login = #""username":"ada","password":"secret""#

    private func client(for server: ScriptedServer, _ scratch: Scratch, entry: String = login) throws -> RegistryClient
    {
        let credentials = try scratch.credentials(#"{"auths":{"\#(server.address)":{\#(entry)}}}"#)
        return RegistryClient(credentials: credentials, timeouts: .short)
    }

    private func app(at server: ScriptedServer) throws -> ImageReference {
        try #require(ImageReference("\(server.address)/app"))
    }

    private func challenge(_ realm: String) -> ScriptedServer.Reply {
        let parameters = #"realm="\#(realm)",service="the service",scope="repository:app:pull""#
        return .init(401, "", headers: ["WWW-Authenticate": "Bearer " + parameters])
    }

    /// The server's own `/token`.
    private func challenge(by request: ScriptedServer.Request) -> ScriptedServer.Reply {
        challenge("http://\(request.headers["host"] ?? "")/token")
    }

    /// A registry that wants the token `good`, given by its own `/token`.
    private func tokenRegistry(_ request: ScriptedServer.Request) -> ScriptedServer.Reply {
        if request.path == "/token" { return .init(200, #"{"token":"good","expires_in":300}"#) }
        return request.headers["authorization"] == "Bearer good" ? image.reply(to: request) : challenge(by: request)
    }

    @Test("the token flow: the password goes to the token service once, the token to the registry")
    func tokenFlow() async throws {
        try await Scratch.with { scratch in
            try await ScriptedServer.with {
                tokenRegistry($0)
            } _: { server in
                let client = try client(for: server, scratch)
                let store = try scratch.store()
                let reference = try app(at: server)
                let pulled = try await client.pull(reference, digest: image.digest, platform: nil, into: store)
                #expect(pulled.isComplete)
                let tokens = server.requests.filter { $0.path == "/token" }
                #expect(tokens.map { $0.headers["authorization"] } == [Self.basic])
                let query = Set(tokens[0].query.split(separator: "&").map(String.init))
                #expect(query == ["service=the%20service", "scope=repository%3Aapp%3Apull", "account=ada"])
                let others = server.requests.filter { $0.path != "/token" }
                #expect(others.allSatisfy { $0.headers["authorization"] != Self.basic })
            }
        }
    }

    @Test("without a login the token service is asked as nobody")
    func anonymous() async throws {
        try await ScriptedServer.with {
            tokenRegistry($0)
        } _: { server in
            let client = RegistryClient(credentials: RegistryCredentials(file: nil), timeouts: .short)
            let resolved = try await client.resolve(try app(at: server))
            #expect(resolved.digest == image.digest)
            let asked = server.requests.filter { $0.path == "/token" }
            #expect(asked.count == 1 && asked[0].headers["authorization"] == nil)
        }
    }

    @Test("an identity token is posted, never put into an address")
    func identityToken() async throws {
        try await Scratch.with { scratch in
            try await ScriptedServer.with { request in
                request.path == "/token" ? .init(200, #"{"access_token":"good"}"#) : tokenRegistry(request)
            } _: { server in
                let client = try client(for: server, scratch, entry: #""auth":"","identitytoken":"re+fresh""#)
                let resolved = try await client.resolve(try app(at: server))
                #expect(resolved.digest == image.digest)
                let asked = try #require(server.requests.first { $0.path == "/token" })
                #expect(asked.method == "POST" && asked.query.isEmpty && asked.headers["authorization"] == nil)
                #expect(
                    asked.body.contains("refresh_token=re%2Bfresh") && asked.body.contains("grant_type=refresh_token"))
            }
        }
    }

    @Test("a token that expires in the middle of a pull is asked for again")
    func expired() async throws {
        try await Scratch.with { scratch in
            try await ScriptedServer.with { request in
                if request.path == "/token" { return .init(200, #"{"token":"token\#(request.earlier)"}"#) }
                let wanted = request.path.contains("/blobs/") ? "Bearer token1" : "Bearer token0"
                return request.headers["authorization"] == wanted ? image.reply(to: request) : challenge(by: request)
            } _: { server in
                let client = try client(for: server, scratch)
                let store = try scratch.store()
                let reference = try app(at: server)
                let pulled = try await client.pull(reference, digest: image.digest, platform: nil, into: store)
                #expect(pulled.isComplete)
            }
        }
    }

    @Test("a redirect of a blob to another server carries no credentials")
    func redirectedBlob() async throws {
        try await Scratch.with { scratch in
            let other = try ScriptedServer { [image] _ in .init(200, image.layer) }
            defer { other.stop() }
            try await ScriptedServer.with { request in
                let reply = tokenRegistry(request)
                guard reply.status == 200, request.path.hasSuffix(image.layerDigest.description) else { return reply }
                return .init(307, "", headers: ["Location": "http://\(other.address)/blob?signature=x"])
            } _: { server in
                let client = try client(for: server, scratch)
                let store = try scratch.store()
                let reference = try app(at: server)
                let pulled = try await client.pull(reference, digest: image.digest, platform: nil, into: store)
                #expect(pulled.isComplete)
                #expect(other.requests.count == 1 && other.requests[0].headers["authorization"] == nil)
            }
        }
    }

    @Test("the challenge of a server that a registry redirects to is not answered")
    func redirectedChallenge() async throws {
        try await Scratch.with { scratch in
            let thief = try ScriptedServer { request in
                request.path == "/token" ? .init(200, #"{"token":"good"}"#) : challenge(by: request)
            }
            defer { thief.stop() }
            try await ScriptedServer.with { request in
                .init(307, "", headers: ["Location": "http://\(thief.address)\(request.path)"])
            } _: { server in
                let why = await refusal { _ = try await client(for: server, scratch).resolve(try app(at: server)) }
                #expect(why.contains("127.0.0.1, to which it redirects, answers 401"), "\(why)")
                #expect(thief.requests.count == 1 && thief.requests[0].headers["authorization"] == nil)
            }
        }
    }

    @Test("a redirect on the same server keeps the login")
    func sameServer() async throws {
        try await Scratch.with { scratch in
            try await ScriptedServer.with { request in
                let reply = tokenRegistry(request)
                guard reply.status == 200, request.path == "/v2/app/manifests/latest" else { return reply }
                return .init(307, "", headers: ["Location": "../manifests/\(image.digest)"])
            } _: { server in
                let resolved = try await client(for: server, scratch).resolve(try app(at: server))
                #expect(resolved.digest == image.digest)
            }
        }
    }

    @Test("a token service on another host that speaks plain http is asked as nobody")
    func foreignPlainService() async throws {
        try await Scratch.with { scratch in
            let service = try ScriptedServer { _ in .init(200, #"{"token":"good"}"#) }
            defer { service.stop() }
            try await ScriptedServer.with { request in
                request.headers["authorization"] == "Bearer good"
                    ? image.reply(to: request) : challenge("http://localhost:\(service.port)/token")
            } _: { server in
                let resolved = try await client(for: server, scratch).resolve(try app(at: server))
                #expect(resolved.digest == image.digest)
                #expect(service.requests.count == 1 && service.requests[0].headers["authorization"] == nil)
            }
        }
    }

    private static let tokenAnswers: [(ScriptedServer.Reply, String)] = [
        (.init(200, "<html>"), "gave no token"), (.init(200, "{}"), "gave no token"),
        (.init(200, #"{"token":7}"#), "gave no token"), (.init(200, #"{"token":"a\r\nX-Evil: 1"}"#), "gave no token"),
        (.init(401, ""), "wants other credentials"), (.init(500, ""), "answers 500"),
        (.init(200, [UInt8](repeating: 0x20, count: 2 << 20)), "answers too much"),
    ]

    @Test("a token service that gives nonsense is said to, without the password", arguments: tokenAnswers.indices)
    func badTokens(index: Int) async throws {
        let (answer, sentence) = Self.tokenAnswers[index]
        try await Scratch.with { scratch in
            try await ScriptedServer.with {
                $0.path == "/token" ? answer : tokenRegistry($0)
            } _: { server in
                let why = await refusal { _ = try await client(for: server, scratch).resolve(try app(at: server)) }
                #expect(why.contains(sentence) && !why.contains("secret"), "\(why)")
            }
        }
    }

    @Test("plain http is for this machine: a host that only looks local is not asked by it")
    func plain() async throws {
        try await ScriptedServer.with { [image] in
            image.reply(to: $0)
        } _: { server in
            let client = RegistryClient(credentials: RegistryCredentials(file: nil), timeouts: .short)
            let local = try #require(ImageReference("localhost:\(server.port)/app"))
            #expect(try await client.resolve(local).digest == image.digest)
            // A name service that knew it would lead the request here, by https.
            let lookalike = try #require(ImageReference("127.0.0.1.invalid:\(server.port)/app"))
            let why = await refusal { _ = try await client.resolve(lookalike) }
            #expect(why.contains("cannot be reached") && server.requests.count == 1, "\(why)")
        }
    }

    @Test("a credential helper is asked by Docker's protocol")
    func helper() async throws {
        try await Scratch.with { scratch in
            try await ScriptedServer.with { request in
                request.headers["authorization"] == Self.basic
                    ? image.reply(to: request) : .init(401, "", headers: ["WWW-Authenticate": #"Basic realm="x""#])
            } _: { server in
                let name = "jobctl-test-\(server.port)"
                try scratch.write(
                    """
                    #!/bin/sh
                    [ "$1" = get ] && [ "$(cat)" = "\(server.address)" ] && echo '{"Username":"ada","Secret":"secret"}'
                    """, to: "docker-credential-" + name)
                try await scratch.shell("chmod 755 docker-credential-\(name)")
                try scratch.write(#"{"credHelpers":{"\#(server.address)":"\#(name)"}}"#, to: "config.json")
                let credentials = RegistryCredentials(
                    file: scratch.folder + "/config.json", searchPath: scratch.folder + ":/usr/bin:/bin")
                let client = RegistryClient(credentials: credentials, timeouts: .short)
                let resolved = try await client.resolve(try app(at: server))
                #expect(resolved.digest == image.digest)
            }
        }
    }
}

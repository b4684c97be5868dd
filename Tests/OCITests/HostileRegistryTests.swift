// Registries that lie, stall and break off: what is stored is whole or nothing, and errors are sentences.
import Foundation
import JobModel
import OCI
import Registry
import TestSupport
import Testing

/// What every test against a scripted registry needs: an image, and a client that knows nobody and waits little.
struct ScriptedPull: Sendable {
    let image = SmallImage()
    let client = RegistryClient(credentials: RegistryCredentials(file: nil), timeouts: .short)

    func isLayer(_ request: ScriptedServer.Request) -> Bool { request.path.hasSuffix(image.layerDigest.description) }

    func run(_ server: ScriptedServer, _ scratch: Scratch, progress: @escaping @Sendable (Int64) -> Void = { _ in })
        async throws -> StoredImage
    {
        let reference = try #require(ImageReference("\(server.address)/app"))
        return try await client.pull(
            reference, digest: image.digest, platform: nil, into: try scratch.store(), progress: progress)
    }

    /// Pulls from a registry that is honest but for the layer.
    func with(
        layer reply: @escaping @Sendable (ScriptedServer.Request) -> ScriptedServer.Reply,
        _ body: (ScriptedServer, Scratch) async throws -> Void
    ) async throws {
        try await Scratch.with { scratch in
            try await ScriptedServer.with {
                isLayer($0) ? reply($0) : image.reply(to: $0)
            } _: { server in
                try await body(server, scratch)
            }
        }
    }

    /// What such a pull ends with; nothing of the layer may be left.
    func refused(layer reply: @escaping @Sendable (ScriptedServer.Request) -> ScriptedServer.Reply) async throws
        -> String
    {
        var why = ""
        try await with(layer: reply) { server, scratch in
            why = await refusal { _ = try await run(server, scratch) }
            let store = try scratch.store()
            #expect(store.size(of: image.layerDigest) == nil && store.size(of: image.digest) == nil)
        }
        return why
    }

    /// What resolving a tag ends with at a registry that always answers the same.
    func refused(always answer: ScriptedServer.Reply) async throws -> String {
        var why = ""
        try await ScriptedServer.with { _ in
            answer
        } _: { server in
            let reference = try #require(ImageReference("\(server.address)/app"))
            why = await refusal { _ = try await client.resolve(reference) }
        }
        return why
    }
}

@Suite struct HostileRegistryTests {
    private let pull = ScriptedPull()
    private var image: SmallImage { pull.image }

    @Test("a blob with other content is refused")
    func wrongBlob() async throws {
        let size = image.layer.count
        let why = try await pull.refused { _ in .init(200, [UInt8](repeating: 9, count: size)) }
        #expect(why.hasPrefix("the blob is damaged: expected \(image.layerDigest), found sha256:"), "\(why)")
    }

    @Test("a blob that is longer than its descriptor says is cut off")
    func endlessBlob() async throws {
        let layer = image.layer
        let why = try await pull.refused { _ in .init(200, layer + layer) }
        #expect(why.contains("damaged: expected 100000 bytes, found more") || why.contains("is larger than"), "\(why)")
    }

    @Test("a manifest that is not the one that was asked for, or claimed, is refused")
    func wrongManifest() async throws {
        try await ScriptedServer.with { [image] request in
            .init(200, image.manifest, headers: ["Docker-Content-Digest": "\(Digest(of: request.path))"])
        } _: { server in
            let tag = try #require(ImageReference("\(server.address)/app:1"))
            let claimed = Digest(of: "/v2/app/manifests/1")
            let why = await refusal { _ = try await pull.client.resolve(tag) }
            #expect(why == "the manifest of \(tag) is damaged: expected \(claimed), found \(image.digest)")
        }
        let other = Digest(of: "other")
        try await ScriptedServer.with { [image] _ in
            .init(200, image.manifest)
        } _: { server in
            let pinned = try #require(ImageReference("\(server.address)/app@\(other)"))
            #expect(await refusal { _ = try await pull.client.resolve(pinned) }.contains("expected \(other)"))
        }
    }

    private static let answers: [(ScriptedServer.Reply, String)] = [
        (.init(200, "<html>Please log in to the hotel's network</html>"), "cannot be understood: "),
        (.init(200, ""), "cannot be understood"),
        (.init(200, [UInt8](repeating: 0x20, count: 5 << 20)), "is larger than 4 MiB"),
        (.init(200, #"{"schemaVersion":1,"name":"app","fsLayers":[]}"#), "schema 1"),
        (.init(302, "", headers: ["Location": "ftp://127.0.0.1/x"]), "redirects to nowhere"),
        (.init(302, "", headers: ["Location": "http://user:secret@127.0.0.1/x"]), "redirects to nowhere"),
        (.init(302, ""), "redirects to nowhere"),
        (.init(302, "", headers: ["Location": "/v2/app/manifests/latest"]), "redirects more than 5 times"),
        (.init(404, ""), "the registry has no image"), (.init(418, ""), "it answers 418"),
        (.init(500, #"{"errors":[{"message":"out of order"}]}"#), "it answers 500: 'out of order'"),
        (.init(401, ""), "wants other credentials"), (.init(403, ""), "wants other credentials"),
        (.init(401, "", headers: ["WWW-Authenticate": "Bearer service=x"]), "names no token service"),
        (
            .init(401, "", headers: ["WWW-Authenticate": #"Bearer realm="file:///etc/passwd""#]),
            "names no token service"
        ),
        (.init(401, "", headers: ["WWW-Authenticate": "Negotiate"]), "wants other credentials"),
        (.init(401, "", headers: ["WWW-Authenticate": #"Bearer realm="#]), "names no token service"),
    ]

    @Test("answers that are no manifest are refused with a sentence", arguments: answers.indices)
    func nonsense(index: Int) async throws {
        let (answer, sentence) = Self.answers[index]
        let why = try await pull.refused(always: answer)
        #expect(why.contains(sentence), "\(answer.status): \(why)")
    }

    @Test("a chart or a signature is no container image")
    func artifact() async throws {
        let type = "application/vnd.cncf.helm.config.v1+json"
        let text = String(decoding: image.manifest, as: UTF8.self).replacing(MediaType.configuration, with: type)
        let why = try await pull.refused(always: .init(200, text))
        #expect(why.contains("it is no container image: config has the type '\(type)'"), "\(why)")
    }

    @Test("silence and a trickle end with a sentence", arguments: [ScriptedServer.Reply.End.silence, .trickle])
    func slow(end: ScriptedServer.Reply.End) async throws {
        let blob = try await pull.refused { _ in .init(200, [1]).with { ($0.claimedLength, $0.end) = (100_000, end) } }
        #expect(blob.contains("cannot be reached: Operation too slow"), "\(blob)")
        let manifest = try await pull.refused(
            always: .init(200, "{").with { ($0.claimedLength, $0.end) = (100_000, end) })
        #expect(manifest.contains("cannot be reached: Operation"), "\(manifest)")
    }

    @Test("a cancelled call ends, though the registry is silent")
    func cancelled() async throws {
        try await ScriptedServer.with { _ in
            .init(200, "{").with { ($0.claimedLength, $0.end) = (100, .silence) }
        } _: { server in
            let reference = try #require(ImageReference("\(server.address)/app"))
            let client = RegistryClient(credentials: RegistryCredentials(file: nil))
            let task = Task { await refusal { _ = try await client.resolve(reference) } }
            try await eventually("the registry was asked") { !server.requests.isEmpty }
            task.cancel()
            #expect(await task.value.hasSuffix("the call was given up"))
        }
    }
}

/// Connections that break, and registries that ask for patience.
@Suite struct BrokenPullTests {
    private let pull = ScriptedPull()
    private var image: SmallImage { pull.image }

    @Test(
        "a blob whose connection breaks is taken up where it broke off",
        arguments: [ScriptedServer.Reply.End.close, .reset])
    func resumed(end: ScriptedServer.Reply.End) async throws {
        try await pull.with { [image] request in
            let rest = image.layer(from: request)
            guard request.earlier < 2 else { return rest }
            return rest.with {
                $0.body = Array(rest.body.prefix(30_000))
                ($0.claimedLength, $0.end) = (rest.body.count, end)
            }
        } _: { server, scratch in
            let pulled = try await pull.run(server, scratch)
            #expect(pulled.isComplete)
            let ranges = server.requests.filter(pull.isLayer).map { $0.headers["range"] }
            // A reset may throw away what was on its way.
            #expect(ranges.count == 3 && ranges[0] == nil)
            if case .close = end { #expect(ranges == [nil, "bytes=30000-", "bytes=60000-"]) }
        }
    }

    @Test("a blob that ends too early without a word is taken up as well")
    func shortBody() async throws {
        try await pull.with { [image] request in
            guard request.earlier == 0 else { return image.layer(from: request) }
            return .init(200, Array(image.layer.prefix(10))).with { $0.hidesLength = true }
        } _: { server, scratch in
            let pulled = try await pull.run(server, scratch)
            #expect(pulled.isComplete)
            #expect(server.requests.filter(pull.isLayer).map { $0.headers["range"] } == [nil, "bytes=10-"])
        }
    }

    @Test("a registry that knows no ranges sends a broken blob again, from its beginning")
    func noRanges() async throws {
        try await pull.with { [image] request in
            guard request.earlier == 0 else { return .init(200, image.layer) }
            return .init(200, Array(image.layer.prefix(30_000))).with { $0.claimedLength = image.layer.count }
        } _: { server, scratch in
            let received = Counter()
            let pulled = try await pull.run(server, scratch) { received.add($0) }
            #expect(pulled.isComplete)
            #expect(received.total == Int64(image.layer.count + image.configuration.count))
        }
    }

    @Test("another range than the one that was asked for is refused")
    func wrongRange() async throws {
        let why = try await pull.refused { [image] request in
            guard request.earlier == 0 else {
                return .init(206, image.layer, headers: ["Content-Range": "bytes 0-99999/100000"])
            }
            return .init(200, Array(image.layer.prefix(30_000))).with { $0.claimedLength = image.layer.count }
        }
        #expect(why.contains("from byte 30000 and answers another range"), "\(why)")
    }

    @Test("a connection that always breaks is given up with a sentence")
    func alwaysBroken() async throws {
        let why = try await pull.refused { _ in .init(200, [1]).with { $0.claimedLength = 100_000 } }
        #expect(why.contains("cannot be reached: "), "\(why)")
    }

    @Test("429 and 503 are tried again after the time that they ask for", arguments: [429, 503])
    func tooMany(status: Int) async throws {
        try await Scratch.with { scratch in
            // The page is larger than the configuration that it stands in for.
            let page = String(repeating: "x", count: 50_000)
            try await ScriptedServer.with { [image] request in
                request.earlier == 0 ? .init(status, page, headers: ["Retry-After": "1"]) : image.reply(to: request)
            } _: { server in
                let pulled = try await pull.run(server, scratch)
                #expect(pulled.isComplete)
                #expect(server.requests.count == 6)
            }
        }
    }

    @Test("a wait that is too long is refused at once, in the registry's words")
    func impatient() async throws {
        let words = #"{"errors":[{"code":"TOOMANYREQUESTS","message":"you pull too much"}]}"#
        let why = try await pull.refused(always: .init(429, words, headers: ["Retry-After": "3600"]))
        #expect(why.hasSuffix("asks to wait for 3600 s: it answers 429: 'you pull too much'"), "\(why)")
    }

    @Test(
        "senseless Retry-After values change nothing",
        arguments: ["nan", "inf", "-5", "1e300", "soon", "", "12:99", "99:99:99 Nonsense"])
    func senseless(value: String) async throws {
        try await ScriptedServer.with { [image] request in
            request.earlier == 0 ? .init(429, "", headers: ["Retry-After": value]) : .init(200, image.manifest)
        } _: { server in
            let reference = try #require(ImageReference("\(server.address)/app"))
            #expect(try await pull.client.resolve(reference).digest == image.digest)
        }
    }
}

// Pulls that were cut off and go on later, also in another process; mirrors; blobs that images share.
import Foundation
import JobModel
import OCI
import Registry
import Synchronization
import TestSupport
import Testing

@Suite struct ResumedPullTests {
    private let pull = ScriptedPull()
    private var image: SmallImage { pull.image }

    private func partial(_ scratch: Scratch) -> String { scratch.folder + "/store/partial/\(image.layerDigest.hex)" }

    /// A pull that ends in the middle of the layer: its store keeps the first half.
    private func cutOff(_ scratch: Scratch) async throws {
        try await ScriptedServer.with { [image] request in
            guard pull.isLayer(request) else { return image.reply(to: request) }
            guard request.earlier == 0 else { return .init(418) }
            return .init(200, Array(image.layer.prefix(50_000))).with { $0.claimedLength = image.layer.count }
        } _: { server in
            let why = await refusal { _ = try await pull.run(server, scratch) }
            #expect(why.contains("it answers 418"), "\(why)")
        }
    }

    @Test("a pull that another process began goes on with a range from what is on disk, and counts it as received")
    func resumed() async throws {
        try await Scratch.with { scratch in
            try await cutOff(scratch)
            try await ScriptedServer.with { [image] in
                image.reply(to: $0)
            } _: { server in
                let received = Counter()
                let pulled = try await pull.run(server, scratch) { received.add($0) }
                #expect(pulled.isComplete)
                #expect(server.requests.filter(pull.isLayer).map { $0.headers["range"] } == ["bytes=50000-"])
                #expect(received.total == Int64(image.layer.count))
                #expect(!FileManager.default.fileExists(atPath: partial(scratch)))
            }
        }
    }

    @Test("a beginning that the disk has damaged is found out, thrown away and fetched again")
    func damagedBeginning() async throws {
        try await Scratch.with { scratch in
            try await cutOff(scratch)
            var bytes = try Data(contentsOf: URL(filePath: partial(scratch)))
            #expect(bytes.count == 50_000)
            bytes[1000] ^= 1
            try bytes.write(to: URL(filePath: partial(scratch)))
            try await ScriptedServer.with { [image] in
                image.reply(to: $0)
            } _: { server in
                let received = Counter()
                let pulled = try await pull.run(server, scratch) { received.add($0) }
                #expect(pulled.isComplete)
                #expect(server.requests.filter(pull.isLayer).map { $0.headers["range"] } == ["bytes=50000-", nil])
                #expect(received.total == Int64(image.layer.count))
            }
        }
    }

    @Test("a beginning that is longer than the blob is thrown away")
    func longBeginning() async throws {
        try await Scratch.with { scratch in
            try await cutOff(scratch)
            try Data(count: image.layer.count + 1).write(to: URL(filePath: partial(scratch)))
            try await ScriptedServer.with { [image] in
                image.reply(to: $0)
            } _: { server in
                let pulled = try await pull.run(server, scratch)
                #expect(pulled.isComplete)
                #expect(server.requests.filter(pull.isLayer).map { $0.headers["range"] } == [nil])
            }
        }
    }

    @Test("old beginnings are removed, young ones stay")
    func age() async throws {
        try await Scratch.with { scratch in
            try await cutOff(scratch)
            let store = try scratch.store()
            let now = Date().timeIntervalSince1970
            try store.removePartials(untouchedSince: now - 3600)
            #expect(try store.partials() == [50_000])
            #expect(store.received(of: image.layerDigest) == 50_000)
            try store.removePartials(untouchedSince: now + 3600)
            #expect(try store.partials() == [])
        }
    }

    @Test("a layer that two images share is fetched once, though both are pulled at the same time")
    func sharedLayer() async throws {
        try await Scratch.with { scratch in
            let other = SmallImage(platform: ("linux", "386"))
            #expect(other.layerDigest == image.layerDigest && other.digest != image.digest)
            try await ScriptedServer.with { [image] request in
                let reply = image.reply(to: request)
                return reply.status == 404 ? other.reply(to: request) : reply
            } _: { server in
                let reference = try #require(ImageReference("\(server.address)/app"))
                let store = try scratch.store()
                let client = pull.client
                async let first = client.pull(reference, digest: image.digest, platform: nil, into: store)
                async let second = client.pull(reference, digest: other.digest, platform: nil, into: store)
                let both = try await [first, second]
                #expect(both.allSatisfy { $0.isComplete })
                #expect(server.requests.filter(pull.isLayer).count == 1)
            }
        }
    }

    @Test("a head that drips byte by byte ends with a sentence")
    func drippingHead() async throws {
        let why = try await pull.refused { [image] _ in .init(200, image.layer).with { $0.dripsHead = true } }
        #expect(why.contains("cannot be reached: Operation"), "\(why)")
    }

    // MARK: patience

    @Test("a wait that is too long for one call is told with its seconds, as a number or as a date of the registry's")
    func busy() async throws {
        let words = #"{"errors":[{"code":"TOOMANYREQUESTS","message":"you pull too much"}]}"#
        for (headers, seconds) in [
            (["Retry-After": "3600"], 3600), (["Retry-After": "99999999999999999999"], 21_600),
            (
                ["Retry-After": "Thu, 26 Nov 2026 15:10:00 GMT", "Date": "Thu, 26 Nov 2026 15:00:00 GMT"], 600
            ),
            (
                ["Retry-After": "Thursday, 26-Nov-26 15:10:00 GMT", "Date": "Thu Nov 26 15:09:00 2026"], 60
            ),
        ] {
            for status in [429, 503] {
                try await ScriptedServer.with { _ in
                    .init(status, words, headers: headers)
                } _: { server in
                    let reference = try #require(ImageReference("\(server.address)/app"))
                    await #expect(
                        throws: OCIError.busy(
                            registry: server.address, why: "it answers \(status): 'you pull too much'",
                            seconds: seconds)
                    ) { _ = try await pull.client.resolve(reference) }
                }
            }
        }
    }

    @Test("a date that is over is no reason to wait")
    func over() async throws {
        let dates = ["Retry-After": "Thu, 26 Nov 2026 15:00:00 GMT", "Date": "Thu, 26 Nov 2026 15:10:00 GMT"]
        try await ScriptedServer.with { [image] request in
            request.earlier == 0 ? .init(429, "", headers: dates) : .init(200, image.manifest)
        } _: { server in
            let reference = try #require(ImageReference("\(server.address)/app"))
            #expect(try await pull.client.resolve(reference).digest == image.digest)
        }
    }
}

@Suite struct MirrorTests {
    private let image = SmallImage()

    private func client(
        _ registry: ScriptedServer, _ mirrors: [String], file: RegistryCredentials? = nil, note: Counter
    )
        throws -> RegistryClient
    {
        RegistryClient(
            credentials: file ?? RegistryCredentials(file: nil), timeouts: .short,
            mirrors: [registry.address: try mirrors.map { try #require(RegistryMirror($0)) }]
        ) { _ in note.add(1) }
    }

    private func pulled(from registry: ScriptedServer, _ client: RegistryClient, _ scratch: Scratch) async throws
        -> StoredImage
    {
        let reference = try #require(ImageReference("\(registry.address)/lab/app"))
        let (digest, _) = try await client.resolve(reference)
        #expect(digest == image.digest)
        return try await client.pull(reference, digest: digest, platform: nil, into: try scratch.store())
    }

    @Test("a mirror is asked first, by its prefix, with no login of the registry's, and the registry not at all")
    func first() async throws {
        try await Scratch.with { scratch in
            let mirror = try ScriptedServer { [image] request in
                request.path.hasPrefix("/v2/hub/lab/app/") ? image.reply(to: request) : .init(404)
            }
            defer { mirror.stop() }
            try await ScriptedServer.with { _ in
                .init(500)
            } _: { registry in
                let login = #"{"auths":{"\#(registry.address)":{"username":"ada","password":"secret"}}}"#
                let client = try client(
                    registry, ["http://\(mirror.address)/hub/"], file: try scratch.credentials(login), note: Counter())
                #expect(try await pulled(from: registry, client, scratch).isComplete)
                #expect(registry.requests.isEmpty)
                #expect(mirror.requests.count == 4)
                #expect(mirror.requests.allSatisfy { $0.headers["authorization"] == nil })
            }
        }
    }

    @Test("a mirror that is down, empty, lying or breaks off is passed over with a note, and its good bytes are used")
    func passedOver() async throws {
        let layer = image.layer
        let bad: [@Sendable (ScriptedServer.Request) -> ScriptedServer.Reply] = [
            { _ in .init(404) }, { _ in .init(500) },
            { [image] request in
                request.path.hasSuffix("\(image.layerDigest)")
                    ? .init(200, [UInt8](repeating: 1, count: layer.count)) : image.reply(to: request)
            },
            { [image] request in
                guard request.path.hasSuffix("\(image.layerDigest)") else { return image.reply(to: request) }
                guard request.earlier == 0 else { return .init(418) }
                return .init(200, Array(layer.prefix(60_000))).with { $0.claimedLength = layer.count }
            },
        ]
        for (index, reply) in bad.enumerated() {
            try await Scratch.with { scratch in
                let mirror = try ScriptedServer(reply)
                defer { mirror.stop() }
                try await ScriptedServer.with { [image] in
                    image.reply(to: $0)
                } _: { registry in
                    let notes = Counter()
                    let client = try client(registry, ["127.0.0.1:1", mirror.address], note: notes)
                    #expect(try await pulled(from: registry, client, scratch).isComplete, "\(index)")
                    #expect(notes.total >= 3, "\(index): one for the tag and one for the pull, of each bad mirror")
                    let layers = registry.requests.filter { $0.path.hasSuffix("\(image.layerDigest)") }
                    #expect(layers.map { $0.headers["range"] } == [index == 3 ? "bytes=60000-" : nil], "\(index)")
                }
            }
        }
    }

    @Test("when mirror and registry fail, both are told")
    func bothFail() async throws {
        try await ScriptedServer.with { _ in
            .init(418)
        } _: { registry in
            let client = try client(registry, ["127.0.0.1:1"], note: Counter())
            let reference = try #require(ImageReference("\(registry.address)/lab/app"))
            let why = await refusal { _ = try await client.resolve(reference) }
            #expect(
                why.contains("the registry \(registry.address) cannot be reached: it answers 418; and before it: ")
                    && why.contains("127.0.0.1:1 cannot be reached"), "\(why)")
        }
    }

    @Test("what is no mirror is not taken", arguments: ["", "ftp://x", "http://", "h/a//b", "h/../x", "h/ä", "u:p@h"])
    func nonsense(text: String) { #expect(RegistryMirror(text) == nil) }
}

/// Where a registry may lead to.
@Suite struct AddressRuleTests {
    private let pull = ScriptedPull()

    @Test(
        "a redirect or a token service at a metadata service's address, or at none, is refused and not connected to",
        arguments: [
            "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/x", "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/latest", "http://0xa9fea9fe/", "http://100.100.100.200/",
        ])
    func metadata(address: String) async throws {
        for reply in [
            ScriptedServer.Reply(307, "", headers: ["Location": address]),
            .init(401, "", headers: ["WWW-Authenticate": #"Bearer realm="\#(address)""#]),
        ] {
            let why = try await pull.refused(always: reply)
            #expect(why.hasPrefix("the registry 127.0.0.1:") && why.contains("is refused: it leads to "), "\(why)")
            #expect(why.hasSuffix(", a metadata service's"), "\(why)")
        }
    }

    @Test("file:, gopher: and relative nonsense lead nowhere", arguments: ["file:///etc/passwd", "gopher://h/", "//"])
    func schemes(address: String) async throws {
        let why = try await pull.refused(always: .init(302, "", headers: ["Location": address]))
        #expect(why.contains("redirects to nowhere"), "\(why)")
    }

    @Test("this machine may be reached by registries on it, and by no others")
    func loopback() {
        let (own, foreign) = (
            AddressRule(allowsLoopback: true, isTrusted: false), AddressRule(allowsLoopback: false, isTrusted: false)
        )
        for host in ["127.0.0.1", "localhost", "[::1]", "127.8.8.8", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"] {
            #expect(own.refusal(of: host) == nil, "\(host)")
            #expect(foreign.refusal(of: host)?.contains("this machine itself") == true, "\(host)")
        }
        for host in ["10.0.0.1", "192.168.1.1", "registry.example.org", "[2001:db8::1]"] {
            #expect(foreign.refusal(of: host) == nil, "\(host)")
        }
        #expect(own.refusal(of: "169.254.1.1") != nil)
        #expect(AddressRule(allowsLoopback: false, isTrusted: true).refusal(of: "169.254.1.1") == nil)
    }

    @Test("an address that a name turned out to be is judged as well")
    func names() async throws {
        // 'localhost' is known to every machine; as a redirect from a registry elsewhere it must not be connected to.
        let rule = AddressRule(allowsLoopback: false, isTrusted: false)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        for (text, isRefused) in [("127.0.0.1", true), ("169.254.169.254", true), ("192.0.2.1", false)] {
            address.sin_addr.s_addr = inet_addr(text)
            let why = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { rule.refusal(of: $0) }
            }
            #expect((why != nil) == isRefused, "\(text)")
        }
    }

    @Test("a password that is wanted by another host is kept back, and the refusal says by which")
    func withheld() async throws {
        try await Scratch.with { scratch in
            let service = try ScriptedServer { _ in .init(200, #"{"token":"anonymous"}"#) }
            defer { service.stop() }
            try await ScriptedServer.with { _ in
                .init(
                    401, "", headers: ["WWW-Authenticate": #"Bearer realm="http://localhost:\#(service.port)/token""#])
            } _: { server in
                let login = #"{"auths":{"\#(server.address)":{"username":"ada","password":"secret"}}}"#
                let client = RegistryClient(credentials: try scratch.credentials(login), timeouts: .short)
                let reference = try #require(ImageReference("\(server.address)/app"))
                let why = await refusal { _ = try await client.resolve(reference) }
                #expect(
                    why
                        == "the registry \(server.address) is refused: it wants its password to be sent to 'localhost', "
                        + "another host; if that is its token service, start the scheduler with --token-service "
                        + "\(server.address)=localhost")
                #expect(service.requests.allSatisfy { $0.headers["authorization"] == nil && $0.body.isEmpty })
                #expect(service.requests.allSatisfy { !$0.query.contains("ada") })
            }
        }
    }

    @Test("a token service beside the registry may have its password over https; one elsewhere may not")
    func beside() {
        for (host, registry, isBeside) in [
            ("gitlab.com", "registry.gitlab.com", true), ("auth.example.org", "registry.example.org", true),
            ("evil.org", "registry.example.org", false), ("evilexample.org", "registry.example.org", false),
            ("evil.co.uk", "registry.co.uk", false), ("org", "example.org", false), ("evil.org", "example.org", false),
            ("10.0.0.2", "10.0.0.1", false), ("9.0.0.1", "10.0.0.1", false),
        ] { #expect(isBesideRegistry(host, registry) == isBeside, "\(host) for \(registry)") }
    }
}

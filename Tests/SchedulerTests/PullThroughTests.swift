// Images that jobs wait for, from registries that answer as a test tells them, over real sockets: how far they are,
// restarts in the middle, patience, what is kept how long.
import Foundation
import JobModel
import OCI
import Registry
import Scheduler
import Synchronization
import TestSupport
import Testing

/// An image that exists as bytes, and a registry for it that can be told to misbehave.
private struct ServedImage: Sendable {
    let layer: [UInt8]
    let configuration: [UInt8]
    let manifest: [UInt8]
    var digest: Digest { Digest(of: manifest) }
    var layerPath: String { "\(Digest(of: layer))" }
    var size: Int64 { Int64(layer.count + configuration.count) }

    init(_ seed: UInt8 = 0, size: Int = 100_000) {
        layer = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) ^ seed }
        configuration = Array(
            #"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#.utf8)
        manifest = Manifest.imageBytes(
            configuration: Descriptor(
                mediaType: MediaType.configuration, digest: Digest(of: configuration),
                size: Int64(configuration.count)),
            layers: [Descriptor(mediaType: MediaType.layer, digest: Digest(of: layer), size: Int64(layer.count))])
    }

    func reply(to request: ScriptedServer.Request) -> ScriptedServer.Reply {
        switch request.path.split(separator: "/").last.map(String.init) ?? "" {
        case "1", digest.description: return .init(200, manifest)
        case Digest(of: configuration).description: return .init(200, configuration)
        case layerPath:
            guard let range = request.headers["range"], let start = Int(range.dropFirst(6).dropLast()) else {
                return .init(200, layer)
            }
            let content = "bytes \(start)-\(layer.count - 1)/\(layer.count)"
            return .init(206, Array(layer[start...]), headers: ["Content-Range": content])
        default: return .init(404)
        }
    }

    func isLayer(_ request: ScriptedServer.Request) -> Bool { request.path.hasSuffix(layerPath) }
}

extension APIUnderTest {
    fileprivate func submit(
        _ image: ServedImage, at server: ScriptedServer, more: String = "", by name: String = "a"
    ) async throws -> JobDocument {
        try await submit(
            #"{"name": "\#(name)", "image": "\#(server.address)/app@\#(image.digest)", "command": ["a"]\#(more)}"#)
    }

    fileprivate func job(_ id: JobID) async throws -> JobDocument {
        try await call(.get, "/v1/jobs/\(id)").decoded(JobDocument.self)
    }

    fileprivate func pulls() async throws -> [ImagePullDocument] {
        try await call(.get, "/v1/images/pulls").decoded(ImagePullList.self).pulls
    }

    fileprivate func has(_ image: ServedImage) async throws -> Bool {
        try await call(.get, "/v1/images/show?reference=\(image.digest)").status == 200
    }

    fileprivate func collect() async throws {
        let answer = try await call(.post, "/v1/archive/gc", as: .admin)
        #expect(answer.status == 200, "\(answer.text)")
    }
}

@Suite(.serialized) struct PullThroughTests {
    private let image = ServedImage()

    @Test("how far a pull is can be seen, and after a restart of the scheduler it goes on where it was")
    func progressAndRestart() async throws {
        let directory = try temporaryFolder("pull")
        defer { removeFolder(directory) }
        let isOpen = Mutex(false)
        let server = try ScriptedServer { [image] request in
            guard image.isLayer(request), !isOpen.withLock({ $0 }) else { return image.reply(to: request) }
            return .init(200, Array(image.layer.prefix(50_000))).with {
                ($0.claimedLength, $0.end) = (image.layer.count, .silence)
            }
        }
        defer { server.stop() }
        let job = try await APIUnderTest.with(directory: directory) { [image] api in
            let job = try await api.submit(image, at: server)
            #expect(job.state == .known(.waiting) && job.pulls?.map(\.digest) == [image.digest])
            let come = 50_000 + Int64(image.configuration.count)
            try await eventually("half of it has come") {
                try await api.job(job.id).pulls?.first?.received.bytes == come
            }
            let pull = try #require(try await api.pulls().first)
            #expect(pull.state == .known(.pulling) && pull.size?.bytes == image.size && pull.received.bytes == come)
            #expect(pull.sentence == "\(pull.received) of \(ByteCount(bytes: image.size)) (50 %)")
            let show = try await api.call(.get, "/v1/images/show?reference=\(image.digest)")
            #expect(try show.problem().detail.contains("yet, it is on its way: "))
            return job.id
        }
        isOpen.withLock { $0 = true }
        try await APIUnderTest.with(directory: directory) { [image] api in
            try await eventually("the image is here") { try await api.has(image) }
            try await eventually("the job waits for it no longer") { try await api.job(job).pulls == nil }
            #expect(try await api.pulls() == [])
        }
        let ranges = server.requests.filter(image.isLayer).map { $0.headers["range"] }
        #expect(ranges.first == .some(nil) && ranges.last == "bytes=50000-" && ranges.count == 2, "\(ranges)")
    }

    @Test("one image is pulled once, however many jobs want it at the same time")
    func once() async throws {
        let server = try ScriptedServer { [image] in image.reply(to: $0) }
        defer { server.stop() }
        try await APIUnderTest.with { [image] api in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask { _ = try await api.submit(image, at: server, by: "a\(number)") }
                }
                try await group.waitForAll()
            }
            try await eventually("the image is here") { try await api.has(image) }
            _ = try await api.submit(image, at: server, by: "late")
            #expect(server.requests.count == 3, "manifest, configuration, layer")
        }
    }

    @Test("a registry that asks for patience gets it: the job waits, is not held, and says for whom and how long")
    func patience() async throws {
        let isBusy = Mutex(true)
        let words = #"{"errors":[{"code":"TOOMANYREQUESTS","message":"you pull too much"}]}"#
        let server = try ScriptedServer { [image] request in
            isBusy.withLock({ $0 })
                ? .init(429, words, headers: ["Retry-After": request.earlier == 0 ? "2" : "3600"])
                : image.reply(to: request)
        }
        defer { server.stop() }
        try await APIUnderTest.with(options: OptionChange { $0.registryTimeouts.patience = 1 }) { [image] api in
            let job = try await api.submit(image, at: server)
            try await eventually("the registry was asked again") { server.requests.count == 2 }
            try await eventually("it waits") { try await api.pulls().first?.state == .known(.waiting) }
            let pull = try #require(try await api.job(job.id).pulls?.first)
            #expect(pull.note == "it answers 429: 'you pull too much'")
            let until = try #require(pull.retryAt)
            #expect(until.millisecondsSinceEpoch > Int64(Date().timeIntervalSince1970 * 1000) + 3_000_000)
            #expect(try await api.job(job.id).state == .known(.waiting))
            // Another image of that registry does not even ask; one of another registry comes through.
            isBusy.withLock { $0 = false }
            let other = ServedImage(7)
            let friendly = try ScriptedServer { other.reply(to: $0) }
            defer { friendly.stop() }
            _ = try await api.submit(ServedImage(9), at: server, by: "b")
            _ = try await api.submit(other, at: friendly, by: "c")
            try await eventually("the other is here") { try await api.has(other) }
            #expect(server.requests.count == 2)
            try await eventually("both wait") {
                try await api.pulls().map(\.state) == [.known(.waiting), .known(.waiting)]
            }
        }
    }

    @Test(
        "a registry that lies or leads elsewhere holds the job with one sentence, and nothing of it is in the archive")
    func liar() async throws {
        let layer = image.layer
        for (reply, words) in [
            (ScriptedServer.Reply(200, [UInt8](repeating: 9, count: layer.count)), "is damaged: expected sha256:"),
            (.init(200, layer + [1]), "more than 100000 bytes"),
            (.init(307, "", headers: ["Location": "http://169.254.169.254/latest"]), "a metadata service's"),
            (.init(401, "", headers: ["WWW-Authenticate": #"Basic realm="x""#]), "wants other credentials"),
        ] {
            let server = try ScriptedServer { [image] in image.isLayer($0) ? reply : image.reply(to: $0) }
            defer { server.stop() }
            try await APIUnderTest.with { [image] api in
                let job = try await api.submit(image, at: server)
                try await eventually("the job is held") { try await api.job(job.id).state == .known(.held) }
                let reason = try await api.job(job.id).reason ?? ""
                #expect(reason.contains(words), "\(reason)")
                #expect(try await !api.has(image))
                #expect(try await api.pulls() == [])
            }
        }
    }

    @Test("a mirror of the options is asked, and what it gives is what was pinned")
    func mirror() async throws {
        let server = try ScriptedServer { [image] in image.reply(to: $0) }
        defer { server.stop() }
        let mirrors = try SchedulerOptions.mirrors(["registry.invalid=\(server.address)"])
        try await APIUnderTest.with(options: OptionChange { $0.mirrors = mirrors }) { [image] api in
            let job = try await api.submit(#"{"name": "a", "image": "registry.invalid/app:1", "command": ["a"]}"#)
            #expect(job.image.digest == image.digest)
            try await eventually("the image is here") { try await api.has(image) }
        }
    }

    // MARK: keep

    @Test("kept images stay, others go when the last job that wants them has ended; a rerun fetches them again")
    func keep() async throws {
        let images = (0..<4).map { ServedImage(UInt8($0)) }
        let server = try ScriptedServer { request in
            images.lazy.map { $0.reply(to: request) }.first { $0.status != 404 } ?? .init(404)
        }
        defer { server.stop() }
        let policies = try SchedulerOptions.keepPolicies(["scratch=never"])
        try await APIUnderTest.with(archiveGrace: .zero, options: OptionChange { $0.keep = policies }) { api in
            let queue = try await api.call(
                .put, "/v1/accounts/queue/scratch", as: .admin, json: #"{"weight": 100, "limits": {}}"#)
            try #require(queue.status == 200, "\(queue.text)")
            var jobs: [JobDocument] = []
            for (image, more) in zip(
                images,
                ["", #", "keep": "on-success""#, #", "keep": "never""#, #", "queue": "scratch""#])
            { jobs.append(try await api.submit(image, at: server, more: more, by: "a\(jobs.count)")) }
            #expect(jobs.map(\.keep) == [nil, .known(.onSuccess), .known(.never), .known(.never)])
            for image in images { try await eventually("it is here") { try await api.has(image) } }
            try await api.collect()
            for image in images { #expect(try await api.has(image), "its job has not ended") }
            // A second job on the third image, which keeps it.
            let second = try await api.submit(images[2], at: server, more: #", "keep": "always""#, by: "a2")
            #expect(second.configuration == jobs[2].configuration)
            for job in jobs { _ = try await api.call(.post, "/v1/jobs/\(job.id)/cancel") }
            try await api.collect()
            for (image, stays) in zip(images, [true, false, true, false]) {
                #expect(try await api.has(image) == stays)
            }
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "\#(jobs[3].id)"}"#)
                .decoded(JobDocument.self)
            #expect(rerun.keep == .known(.never) && rerun.image == jobs[3].image)
            try await eventually("it is here again") { try await api.has(images[3]) }
            let verify = try await api.call(.post, "/v1/archive/verify", as: .admin).decoded(ArchiveVerification.self)
            #expect(verify.damaged == [])
        }
    }

    @Test("options that make no sense are refused by name")
    func options() {
        for body: () throws -> Void in [
            { _ = try SchedulerOptions.mirrors(["docker.io"]) },
            { _ = try SchedulerOptions.mirrors(["docker.io=ftp://x"]) },
            { _ = try SchedulerOptions.tokenServices(["a.org=https://b.org"]) },
            { _ = try SchedulerOptions.keepPolicies(["forever"]) },
            { _ = try SchedulerOptions.keepPolicies(["A b=never"]) },
        ] { #expect(throws: Problem.self) { try body() } }
    }
}

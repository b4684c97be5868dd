// An index from a registry, its pull cut off by a kill of the scheduler, and run all the same: on engines that unpack
// images themselves, and on those that pull them.
import Foundation
import JobModel
import Synchronization
import TestSupport
import Testing

/// A registry with one index of two images; the other platform's image is nowhere.
private struct ServedIndex: Sendable {
    let index: [UInt8]
    let manifest: String
    let layer: String
    private let folder: String

    /// - Parameter layout: `oci:FOLDER:TAG`, of one image for this machine.
    init(of layout: String) throws {
        let folder = String(layout.dropFirst("oci:".count).prefix { $0 != ":" })
        self.folder = folder + "/blobs/sha256/"
        let top = try JSONParser.parse(Array(Data(contentsOf: URL(filePath: folder + "/index.json")))).json
        guard case .array(let entries) = top[key: "manifests"],
            case .string(let digest)? = entries.first?[key: "digest"],
            case .number(let size)? = entries.first?[key: "size"]
        else { throw ProcessFailure(description: "\(layout) is no layout") }
        manifest = digest
        let bytes = try Data(contentsOf: URL(filePath: self.folder + digest.dropFirst(7)))
        let image = try JSONParser.parse(Array(bytes)).json
        guard case .array(let layers) = image[key: "layers"], case .string(let layer)? = layers.first?[key: "digest"]
        else { throw ProcessFailure(description: "\(layout) has no layer") }
        self.layer = layer
        let other = EngineTestImage.architecture == "amd64" ? "arm64" : "amd64"
        func entry(_ digest: String, _ size: Int, _ architecture: String) -> String {
            """
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"\(digest)","size":\(size),
             "platform":{"os":"linux","architecture":"\(architecture)"}}
            """
        }
        let nowhere = "sha256:" + String(repeating: "1", count: 64)
        index = Array(
            """
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            \(entry(nowhere, 500, other)),\(entry(digest, Int(size), EngineTestImage.architecture))]}
            """.utf8)
    }

    func reply(to request: ScriptedServer.Request) -> ScriptedServer.Reply {
        let name = request.path.split(separator: "/").last.map(String.init) ?? ""
        if name == "1" || name == "\(Digest(of: index))" { return .init(200, index) }
        guard name.hasPrefix("sha256:"), let data = FileManager.default.contents(atPath: folder + name.dropFirst(7))
        else { return .init(404) }
        let bytes = Array(data)
        guard let range = request.headers["range"], let start = Int(range.dropFirst(6).dropLast()) else {
            return .init(200, bytes)
        }
        let content = "bytes \(start)-\(bytes.count - 1)/\(bytes.count)"
        return .init(206, Array(bytes[start...]), headers: ["Content-Range": content])
    }
}

extension EndToEnd {
    @Suite("pulls", .serialized, .timeLimit(.minutes(20))) struct PullTests {
        @Test(
            "a pull survives kill -9 of the scheduler in its middle; an index is pinned, and the attempt says what ran",
            arguments: [EngineUnderTest.Kind.oci, .docker])
        func killedInTheMiddle(on kind: EngineUnderTest.Kind) async throws {
            try await ClusterUnderTest.with(engine: kind) { c in
                let served = try ServedIndex(of: try await RegistryTests.image("index", c))
                let isOpen = Mutex(false)
                let server = try ScriptedServer { request in
                    let reply = served.reply(to: request)
                    guard request.path.hasSuffix(served.layer), !isOpen.withLock({ $0 }) else { return reply }
                    return reply.with {
                        $0.body = Array(reply.body.prefix(reply.body.count / 2))
                        ($0.claimedLength, $0.end) = (reply.body.count, .silence)
                    }
                }
                defer { server.stop() }
                let id = try await c.submit(
                    """
                    name: who
                    image: \(server.address)/lab/who:1
                    command: [cat, /marker]
                    resources: {cpus: 0.1, memory: 32MiB}
                    """)
                try await eventually("half of the layer has come") {
                    let (job, pulls) = (try await c.ok("show", id), try await c.ok("image", "pulls"))
                    return job.contains("(5") && pulls.contains("pulling")
                }
                try await c.kill(.scheduler)
                isOpen.withLock { $0 = true }
                try await c.up()
                _ = try await c.ok("wait", id)
                #expect(try await c.ok("logs", id) == "index")
                let ranges = server.requests.filter { $0.path.hasSuffix(served.layer) }.map { $0.headers["range"] }
                #expect(ranges.count == 2 && ranges[0] == nil && ranges[1]?.hasPrefix("bytes=") == true, "\(ranges)")
                #expect(try await c.job(id).image.digest == Digest(of: served.index))
                let shown = try JSONParser.parse(Array(try await c.ok("show", id, "-o", "json").utf8)).json
                guard case .array(let attempts) = shown[key: "attempts"] else {
                    throw ProcessFailure(description: "\(shown)")
                }
                #expect(attempts.first?[key: "image_manifest"] == .string(served.manifest), "\(attempts)")
                #expect(try await c.ok("show", id).contains("image manifest: \(served.manifest)"))
            }
        }
    }
}

// The worker's reading of the archive when the connection does not last: on behind the last byte, and an end to it.
import Foundation
import JobModel
import OCI
import Synchronization
import TestSupport
import Testing
import Worker

@Suite struct ArchiveLayerSourceTests {
    private static let blob = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    private let layer = Descriptor(
        mediaType: MediaType.layer, digest: Digest(of: Self.blob), size: Int64(Self.blob.count))

    /// What arrives of the blob, and the error that ended it.
    private func read(
        _ server: ScriptedServer, patience: TimeSpan = .seconds(30), stall: TimeSpan = .seconds(20)
    ) async throws -> (bytes: [UInt8], failure: String) {
        let source = try ArchiveLayerSource(
            url: "http://" + server.address, token: "secret", patience: patience, stall: stall)
        let received = Mutex<[UInt8]>([])
        var failure = ""
        do {
            try await source.stream(layer) { (piece) async throws(OCIError) in received.withLock { $0 += piece } }
        } catch {
            failure = "\(error)"
        }
        await source.close()
        return (received.withLock { $0 }, failure)
    }

    /// The whole, or the range that was asked for.
    private static func answer(_ request: ScriptedServer.Request) -> ScriptedServer.Reply {
        guard let range = request.headers["range"], let start = Int(range.dropFirst("bytes=".count).dropLast()) else {
            return .init(200, blob)
        }
        return .init(
            206, Array(blob[start...]), headers: ["Content-Range": "bytes \(start)-\(blob.count - 1)/\(blob.count)"])
    }

    @Test("a connection that breaks again and again is resumed behind the last byte, with the worker's token")
    func resumed() async throws {
        try await ScriptedServer.with { request in
            var reply = Self.answer(request)
            guard request.earlier < 4 else { return reply }
            reply.claimedLength = reply.body.count
            reply.body = Array(reply.body.prefix(50_000))
            reply.end = request.earlier % 2 == 0 ? .close : .reset
            return reply
        } _: { server in
            let (bytes, failure) = try await read(server)
            #expect(failure.isEmpty && bytes == Self.blob)
            #expect(server.requests.count > 1 && server.requests.last?.headers["range"]?.hasPrefix("bytes=") == true)
            #expect(server.requests.allSatisfy { $0.headers["authorization"] == "Bearer secret" })
            #expect(server.requests.allSatisfy { $0.path == "/v2/archive/blobs/\(layer.digest)" })
        }
    }

    @Test("a stalled connection is given up and resumed; one that ignores ranges is read from the start")
    func stalled() async throws {
        try await ScriptedServer.with { request in
            guard request.earlier == 0 else { return .init(200, Self.blob) }
            return ScriptedServer.Reply(200, Array(Self.blob.prefix(70_000))).with {
                $0.claimedLength = Self.blob.count
                $0.end = .silence
            }
        } _: { server in
            let (bytes, failure) = try await read(server, stall: .seconds(1))
            #expect(failure.isEmpty && bytes == Self.blob && server.requests.count > 1)
        }
    }

    @Test("an archive that is overloaded is asked again; one that stays so is given up with its answer")
    func overloaded() async throws {
        try await ScriptedServer.with {
            $0.earlier < 3 ? .init(503) : Self.answer($0)
        } _: { server in
            let (bytes, failure) = try await read(server)
            #expect(failure.isEmpty && bytes == Self.blob)
        }
        try await ScriptedServer.with { _ in
            .init(503)
        } _: { server in
            let failure = try await read(server, patience: .seconds(1)).failure
            #expect(failure.contains("the scheduler's archive cannot be reached") && failure.contains("answered 503"))
        }
    }

    @Test(
        "what will not get better is told at once",
        arguments: [
            (404, "is not in the archive"), (401, "does not know this worker's token"),
            (403, "does not let this worker read its archive"), (418, "answered 418"),
        ])
    func final(_ status: Int, _ says: String) async throws {
        try await ScriptedServer.with { _ in
            .init(status)
        } _: { server in
            let failure = try await read(server).failure
            #expect(failure.contains(says) && server.requests.count == 1, "\(failure)")
        }
    }

    @Test("a blob that ends in good order before its size is damaged, not tried again")
    func short() async throws {
        try await ScriptedServer.with { _ in
            .init(200, Array(Self.blob.dropLast(1)))
        } _: { server in
            let failure = try await read(server).failure
            #expect(failure.contains("expected 300000 bytes, found 299999 bytes"))
            #expect(server.requests.count == 1)
        }
    }
}

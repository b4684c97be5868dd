// The lists behind tree digests: kept for workers, and read by owners as what a slot held and what differs between two
// attempts. A list names files, so only those may read it who may read the job's logs.
import Hummingbird
import JobModel
import NIOCore
import OCI
import Synchronization

struct TreeRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/attempts/{attempt}/files/{slot}", .owner, files),
            Route(.get, "/v1/attempts/{attempt}/differences/{other}", .owner, differences),
            Route(.put, "/v1/trees/{digest}", .worker, keep),
            Route(.get, "/v1/trees/{digest}", .worker, read),
            Route(.put, "/v1/workers/{name}/attempts/{attempt}/comparison", .worker, compare),
        ]
    }

    // MARK: Owners

    @Sendable private func files(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor")
        let attempt = try owned("attempt", call)
        let slot = try call.name("slot", as: SlotName.self).rawValue
        let limit = try call.pageLimit()
        let start = try call.integer("cursor", in: 0...Int64.max, otherwise: 0)
        guard let tree = attempt.outputs[slot] ?? attempt.inputs[slot] else {
            throw Problem(
                .notFound, "attempt \(attempt.id) has no data of slot \(quoted(slot)) on record", field: "slot")
        }
        guard let digest = tree.treeDigest, services.trees.has(digest) else {
            let time = try tree.treeDigest.flatMap { try services.trees.removed($0) }
            let fate = time.map { "was removed on \($0.day) by the retention policy" } ?? "is not kept"
            throw Problem(.notFound, "the list of files of slot '\(slot)' \(fate)", field: "slot")
        }
        return try .json(
            try await services.files.run { [trees = services.trees] in
                try Self.readable { try trees.page(of: digest, from: start, limit: limit) }
            })
    }

    @Sendable private func differences(_ call: Call) async throws -> Response {
        try call.allowQuery("limit")
        let limit = try call.integer("limit", in: 0...Trees.mostDifferences, otherwise: 100)
        let (first, second) = (try owned("attempt", call), try owned("other", call))
        return try .json(
            try await services.files.run { [trees = services.trees] in
                try Self.readable { try trees.differences(first, second, limit: Int(limit)) }
            })
    }

    private func owned(_ parameter: String, _ call: Call) throws -> AttemptDocument {
        let id = try call.parameter(parameter, "an attempt id such as 42.7.2") { AttemptID($0) }
        guard let attempt = try services.store.attempt(id), let job = try services.store.job(id.job) else {
            throw Problem(.notFound, "there is no attempt \(id)", field: parameter)
        }
        try call.caller.mustOwn(id.job, of: job.owner)
        return attempt
    }

    // MARK: Workers

    @Sendable private func keep(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let digest = try digest(call)
        let limit = ByteCount(bytes: TreeManifestReader.sizeLimit)
        let spooled = try await services.spool.store(call, limit: limit)
        defer { spooled.remove() }
        if services.trees.has(digest) {
            services.trees.lists.touch(digest)
        } else {
            try await services.files.run { [trees = services.trees] in
                do { try trees.keep(digest, from: spooled.path) } catch let error as OCIError { throw Problem(error) }
            }
        }
        return Response(status: .noContent)
    }

    @Sendable private func read(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let digest = try digest(call)
        let reader = try Self.readable { try TreePieces(of: digest, in: services.trees.lists) }
        let files = services.files
        let body = ResponseBody { writer in
            while let piece = try await files.run({ try reader.next() }) {
                try await writer.write(ByteBuffer(bytes: piece))
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "application/octet-stream"], body: body)
    }

    @Sendable private func compare(_ call: Call) async throws -> Response {
        try call.allowQuery()
        _ = try call.name(as: WorkerName.self)
        let attempt = try call.parameter("attempt", "an attempt id such as 42.7.2") { AttemptID($0) }
        let comparison = try await call.decode(OutputComparison.self, limit: OutputComparison.sizeLimit)
        guard let record = try services.store.record(of: attempt.job),
            record.shape.indices.contains(attempt.task.index)
        else {
            throw Problem(.notFound, "there is no attempt \(attempt)", field: "attempt")
        }
        guard record.verifies == comparison.with.job else {
            throw Problem(.refused, "job \(attempt.job) does not verify job \(comparison.with.job)", field: "$.with")
        }
        try await services.files.run { [trees = services.trees] in
            try trees.comparisons.write(comparison, of: attempt)
        }
        return Response(status: .noContent)
    }

    private func digest(_ call: Call) throws(Problem) -> Digest {
        try call.parameter("digest", "a digest: sha256: and 64 lower-case hexadecimal digits") { Digest($0) }
    }

    /// A list that the disk has spoiled is nobody's mistake.
    private static func readable<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let error as OCIError {
            if case .blobMissing(let digest) = error {
                throw Problem(.notFound, "the list of the tree \(digest) is not kept", field: "digest")
            }
            throw Problem(.internal, "a list of files cannot be read: \(error)")
        } catch let mistake as TreeManifestMistake {
            throw Problem(.internal, "a list of files is damaged: \(mistake)")
        }
    }
}

/// A list on its way out: one piece after the other, each from whichever thread is free.
private final class TreePieces: Sendable {
    private let reader: Mutex<CompressedReader>

    init(of digest: Digest, in store: CompressedStore) throws(OCIError) {
        reader = Mutex(try store.reader(digest))
    }

    func next() throws -> [UInt8]? { try reader.withLock { try $0.next() } }
}

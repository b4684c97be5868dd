// The archive's registry interface (/v2), as far as a worker reads it: manifests and blobs by digest. The caller
// verifies digests and decides what to try again.
import AsyncHTTPClient
import JobModel
import NIOCore
import NIOHTTP1

extension SchedulerClient {
    /// The bytes of a manifest or index in the archive.
    /// - Throws: ``JobModel/Problem`` of kind `notFound` if the archive has none, `tooLarge` beyond `limit` bytes.
    package func archivedManifest(_ digest: Digest, limit: Int) async throws(Problem) -> [UInt8] {
        try await archived("manifests/\(digest)", limit: limit)
    }

    /// A small blob in the archive.
    package func archivedBlob(_ digest: Digest, limit: Int) async throws(Problem) -> [UInt8] {
        try await archived("blobs/\(digest)", limit: limit)
    }

    /// Other registries than the scheduler's want each kind by its name.
    private static let accepted = [
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json", "*/*",
    ].joined(separator: ", ")

    private func archived(_ name: String, limit: Int) async throws(Problem) -> [UInt8] {
        let response = try await send(
            .GET, "/v2/archive/" + name, headers: [("Accept", Self.accepted)], deadline: Self.quick)
        guard response.status.code == 200 else { throw await refusal(response, name) }
        return Array(try await collect(response, upTo: limit).readableBytesView)
    }

    /// A blob from `offset` to its end, in pieces as they come. When the connection breaks or stalls, the call fails
    /// with a ``JobModel/Problem`` that is retryable, and the next one goes on behind what was received.
    /// - Throws: ``JobModel/Problem``, and what `receive` throws, at once.
    package func streamArchivedBlob(
        _ digest: Digest, from offset: Int64, to receive: ([UInt8]) async throws -> Void
    ) async throws {
        let name = "blobs/\(digest)"
        let headers = offset > 0 ? [("Range", "bytes=\(offset)-")] : []
        let response = try await send(
            .GET, "/v2/archive/" + name, headers: headers, deadline: Self.quick)
        switch response.status.code {
        case 200: break
        case 206 where response.headers.first(name: "Content-Range")?.hasPrefix("bytes \(offset)-") ?? false: break
        default: throw await refusal(response, name)
        }
        // A server may answer with the whole in spite of the range.
        var skip = response.status.code == 200 ? offset : 0
        var pieces = response.body.makeAsyncIterator()
        while let piece = try await next(&pieces) {
            let known = Int(min(skip, Int64(piece.readableBytes)))
            skip -= Int64(known)
            if known < piece.readableBytes { try await receive(Array(piece.readableBytesView.dropFirst(known))) }
        }
    }

    private func next(_ pieces: inout HTTPClientResponse.Body.AsyncIterator) async throws(Problem) -> ByteBuffer? {
        do {
            return try await pieces.next()
        } catch {
            throw unreachable(error)
        }
    }

    /// The archive's errors have the form of the OCI distribution specification, not of our problems.
    private func refusal(_ response: HTTPClientResponse, _ name: String) async -> Problem {
        switch response.status.code {
        case 401: Problem(.unauthenticated, "the scheduler at \(url) does not know this worker's token")
        case 403: Problem(.forbidden, "the scheduler at \(url) does not let this worker read its archive")
        case 404: Problem(.notFound, "the scheduler's archive does not have \(name)", field: "digest")
        case 429, 500...: Problem(.unavailable, "the scheduler at \(url) answered \(response.status.code) for \(name)")
        default: Problem(.internal, "the scheduler at \(url) answered \(response.status.code) for \(name)")
        }
    }
}

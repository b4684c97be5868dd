// Exports and imports of the archive, as streams.
import AsyncHTTPClient
import JobModel
import NIOCore

extension SchedulerClient {
    /// Sends the export piece by piece, with the size of the whole.
    /// - Returns: the digest that names the export.
    /// - Throws: ``JobModel/Problem`` if it is refused, or breaks off before its end; and what `receive` throws.
    package func exportArchive(
        _ request: ExportRequest, to receive: ([UInt8], _ total: Int64) throws -> Void
    ) async throws -> Digest {
        // Planning hashes logs and lists; the rest comes as fast as it is taken.
        let response = try await send(
            .POST, "/v1/archive/export", body: try json(request), deadline: .hours(24))
        guard response.status.code == 200 else {
            try check(response, try await collect(response, upTo: Self.answerLimit))
            throw Problem(.internal, "the scheduler at \(url) answered \(response.status.code) to an export")
        }
        guard let total = response.headers.first(name: "Content-Length").flatMap({ Int64($0) }),
            let digest = response.headers.first(name: "Jobctl-Export-Digest").flatMap({ Digest($0) })
        else { throw Problem(.internal, "the scheduler at \(url) does not say what it exports") }
        var size: Int64 = 0
        var pieces = response.body.makeAsyncIterator()
        while true {
            let piece: ByteBuffer?
            do { piece = try await pieces.next() } catch { throw brokenOff(size, total) }
            guard let piece else { break }
            size += Int64(piece.readableBytes)
            try receive(Array(piece.readableBytesView), total)
        }
        guard size == total else { throw brokenOff(size, total) }
        return digest
    }

    private func brokenOff(_ size: Int64, _ total: Int64) -> Problem {
        Problem(
            .unavailable,
            "the export broke off after \(ByteCount(bytes: size)) of \(ByteCount(bytes: total)): try again; if it breaks off there again, run 'jobctl archive verify'"
        )
    }

    /// Sends an export. All of it is durable when this returns.
    package func importArchive<Pieces: AsyncSequence & Sendable>(
        _ pieces: Pieces, skippingConflicts: Bool
    ) async throws(Problem) -> ArchiveImport where Pieces.Element == ByteBuffer {
        try await call(
            .POST, "/v1/archive/import", query: [("skip_conflicts", skippingConflicts ? "true" : nil)],
            headers: [("Content-Type", "application/x-tar")], body: .stream(pieces, length: .unknown),
            deadline: .hours(24))
    }
}

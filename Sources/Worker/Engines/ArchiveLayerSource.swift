// The scheduler's archive as the source of layers: by digest, with the worker's token, and on behind the last byte
// when a connection breaks. What comes is verified by whoever asked.
import JobModel
import OCI
import SchedulerClient

package struct ArchiveLayerSource: LayerSource {
    private let client: SchedulerClient
    private let patience: TimeSpan
    private static let firstPause = TimeSpan(milliseconds: 100)
    private static let longestPause = TimeSpan.seconds(5)

    /// Connections of its own: those of the agent's other calls may be silent for long.
    /// - Parameters:
    ///   - patience: how long to go on trying without a single byte coming.
    ///   - stall: how long a connection may be silent before it is given up and resumed.
    /// - Throws: ``JobModel/Problem`` if `url` is no URL of a scheduler.
    package init(
        url: String, token: String, patience: TimeSpan = .minutes(5), stall: TimeSpan = .seconds(30)
    ) throws(Problem) {
        client = try SchedulerClient(url: url, token: token, stall: stall)
        self.patience = patience
    }

    /// Ends the connections.
    package func close() async { await client.close() }

    package func manifest(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8] {
        try await small("the manifest \(digest)", digest, limit) { () async throws(Problem) in
            try await client.archivedManifest(digest, limit: limit)
        }
    }

    package func blob(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8] {
        try await small("the blob \(digest)", digest, limit) { () async throws(Problem) in
            try await client.archivedBlob(digest, limit: limit)
        }
    }

    private func small(
        _ what: String, _ digest: Digest, _ limit: Int, _ call: () async throws(Problem) -> [UInt8]
    ) async throws(OCIError) -> [UInt8] {
        var patience = Patience(limit: patience)
        while true {
            do throws(Problem) {
                return try await call()
            } catch {
                if error.status == 413 { throw OCIError.tooLarge(what: what, limit: Int64(limit)) }
                try await patience.wait(after: error, digest)
            }
        }
    }

    package func stream(
        _ descriptor: OCI.Descriptor, to receive: @Sendable ([UInt8]) async throws(OCIError) -> Void
    ) async throws(OCIError) {
        var patience = Patience(limit: patience)
        var offset: Int64 = 0
        while offset < descriptor.size {
            let start = offset
            do {
                try await client.streamArchivedBlob(descriptor.digest, from: offset) { piece in
                    try await receive(piece)
                    offset += Int64(piece.count)
                }
                // Shorter than its manifest says, although the connection ended in good order.
                if offset < descriptor.size {
                    let found = "\(offset) bytes"
                    throw OCIError.mismatch(
                        what: "the layer \(descriptor.digest)", expected: "\(descriptor.size) bytes", found: found)
                }
            } catch let error as OCIError {
                throw error
            } catch let error as Problem {
                if offset > start { patience = Patience(limit: self.patience) }
                try await patience.wait(after: error, descriptor.digest)
            } catch {
                throw OCIError.archiveUnreachable(why: "\(error)")
            }
        }
    }

    /// Pauses that grow, up to a limit in all.
    private struct Patience {
        let limit: TimeSpan
        var pause = ArchiveLayerSource.firstPause
        var deadline: ContinuousClock.Instant

        init(limit: TimeSpan) {
            self.limit = limit
            deadline = .now + .milliseconds(limit.milliseconds)
        }

        mutating func wait(after problem: Problem, _ digest: Digest) async throws(OCIError) {
            if Task.isCancelled { throw OCIError.cancelled }
            switch problem.status {
            case 404: throw OCIError.blobMissing(digest)
            case 401, 403: throw OCIError.refused(what: "the worker's token", why: problem.detail)
            default: break
            }
            guard problem.retryable, ContinuousClock.now < deadline else {
                throw OCIError.archiveUnreachable(why: problem.detail)
            }
            do {
                try await Task.sleep(for: .milliseconds(pause.milliseconds))
            } catch {
                throw OCIError.cancelled
            }
            pause = min(TimeSpan(milliseconds: pause.milliseconds * 2), ArchiveLayerSource.longestPause)
        }
    }
}

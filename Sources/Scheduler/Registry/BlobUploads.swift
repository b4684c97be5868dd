// Blobs on their way in over several calls: each is a file of the content store that grows and is hashed as it grows.
// They live in memory and files: a restart forgets them, and clients then begin anew, as the specification has it.
import Foundation
import HTTPTypes
import JobModel
import NIOCore
import OCI
import ServiceLifecycle
import Synchronization

/// One blob on its way in. One call at a time writes to it.
final class BlobUpload: Sendable {
    let id: String
    let repository: RepositoryName
    let owner: UserName
    private struct Progress {
        var size: Int64 = 0
        var isBusy = false
        var lastUse = ContinuousClock.now
    }
    private let progress = Mutex(Progress())
    private let writer: Mutex<BlobWriter>

    init(repository: RepositoryName, owner: UserName, writer: sending BlobWriter) {
        id = UUID().uuidString.lowercased()
        self.repository = repository
        self.owner = owner
        self.writer = Mutex(writer)
    }

    var location: String { "/v2/\(repository.text)/blobs/uploads/\(id)" }
    /// Bytes that are written.
    var size: Int64 { progress.withLock { $0.size } }
    /// Where the upload stands, as every answer about it says.
    var headers: HTTPFields {
        [.location: location, .range: "0-\(max(0, size - 1))", .uploadID: id, .contentLength: "0"]
    }

    /// Begins a call that writes.
    func begin() throws(RegistryFailure) {
        let isFree = progress.withLock { progress in
            defer { progress.isBusy = true }
            return !progress.isBusy
        }
        guard isFree else {
            throw RegistryFailure(.uploadInvalid, "another call is writing to this upload", status: 409)
        }
    }

    func end() {
        progress.withLock { progress in
            progress.isBusy = false
            progress.lastUse = .now
        }
    }

    func isStale(after patience: Duration) -> Bool {
        progress.withLock { !$0.isBusy && $0.lastUse + patience < .now }
    }

    /// Appends. Blocks on the disk.
    func write(_ pieces: [ByteBuffer]) throws {
        try writer.withLock { writer in
            for piece in pieces {
                try piece.withUnsafeReadableBytes { bytes throws(OCIError) in try writer.write(bytes) }
            }
        }
        let count = pieces.reduce(0) { $0 + Int64($1.readableBytes) }
        progress.withLock { $0.size += count }
    }

    /// Verifies, syncs and names the blob. Blocks on the disk.
    func commit(expecting digest: Digest) throws(OCIError) {
        try writer.withLock { writer throws(OCIError) in _ = try writer.commit(expecting: digest, size: nil) }
    }

    func abandon() { writer.withLock { $0.abandon() } }
}

package final class BlobUploads: Service, Sendable {
    /// Each holds a file open.
    static let mostOfAll = 400
    static let mostOfOne = 100
    /// An upload that nobody went on with for so long is given up.
    private let patience: Duration
    private let content: ContentStore
    private let uploads = Mutex<[String: BlobUpload]>([:])

    package init(content: ContentStore, patience: Duration) {
        self.content = content
        self.patience = patience
    }

    /// Opens a file: blocks on the disk.
    func start(in repository: RepositoryName, by owner: UserName) throws -> BlobUpload {
        sweep()
        let upload = BlobUpload(repository: repository, owner: owner, writer: try content.writer())
        let isTooMuch = uploads.withLock { uploads in
            guard uploads.count < Self.mostOfAll, uploads.values.count(where: { $0.owner == owner }) < Self.mostOfOne
            else { return true }
            uploads[upload.id] = upload
            return false
        }
        guard !isTooMuch else {
            throw RegistryFailure(
                .tooManyRequests, "too many uploads are open: finish or cancel some", headers: [.retryAfter: "10"])
        }
        return upload
    }

    /// An upload that its owner goes on with.
    func upload(_ id: String, in repository: RepositoryName, by owner: UserName) throws(RegistryFailure) -> BlobUpload {
        guard let upload = uploads.withLock({ $0[id] }), upload.repository == repository, upload.owner == owner else {
            throw RegistryFailure(
                .uploadUnknown,
                "there is no such upload in \(quoted(repository.text)): it ended, or the scheduler restarted; begin anew"
            )
        }
        return upload
    }

    /// Ends an upload; what it has written and not committed goes.
    func remove(_ upload: BlobUpload) {
        _ = uploads.withLock { $0.removeValue(forKey: upload.id) }
        upload.abandon()
    }

    private func sweep() {
        let stale = uploads.withLock { $0.values.filter { $0.isStale(after: patience) } }
        for upload in stale { remove(upload) }
    }

    /// Gives up what is stale, until the scheduler stops.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await Task.sleep(for: min(.seconds(600), self.patience)) } catch { return }
                self.sweep()
            }
        }
    }
}

extension HTTPField.Name {
    static let uploadID = HTTPField.Name("Docker-Upload-UUID")!  // allowed: a constant token
}

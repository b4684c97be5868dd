// Blob uploads as the OCI distribution specification 1.1 has them: one POST, POST then PUT, chunks by PATCH, mounting
// what is here already, status, cancel. A body goes to disk as it comes: one piece is hashed and written while the next
// one arrives, so memory does not grow with the blob.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import OCI

struct UploadRoutes {
    let services: APIServices
    /// Written at once. Twice of it may be in memory for each upload that runs.
    private static let pieceSize = 1 << 20

    private var files: BlockingWork { services.files }
    private var uploads: BlobUploads { services.uploads }

    // MARK: begin

    func start(_ call: Call, _ repository: RepositoryName) async throws -> Response {
        try repository.mustAllowPush(by: call.caller)
        if let mounted = try mount(call, repository) { return mounted }
        let digest = try digest(call)
        let upload = try await files.run { [uploads, owner = try call.caller.name] in
            try uploads.start(in: repository, by: owner)
        }
        guard let digest else { return Response(status: .accepted, headers: upload.headers) }
        return try await writing(call, to: upload) { try await finish(upload, as: digest) }
    }

    /// The archive has each blob once, for all repositories: what is here is mounted, from wherever the client thinks.
    private func mount(_ call: Call, _ repository: RepositoryName) throws -> Response? {
        guard let text = try call.query("mount"), let digest = Digest(text), services.content.size(of: digest) != nil
        else { return nil }
        services.content.touch(digest)
        return created(digest, in: repository)
    }

    private func digest(_ call: Call) throws -> Digest? {
        guard let text = try call.query("digest") else { return nil }
        guard let digest = Digest(text) else { throw RegistryFailure(.digestInvalid, badDigest(text)) }
        return digest
    }

    private func created(_ digest: Digest, in repository: RepositoryName) -> Response {
        Response(
            status: .created,
            headers: [
                .location: "/v2/\(repository.text)/blobs/\(digest)", .contentDigest: digest.description,
                .contentLength: "0",
            ])
    }

    // MARK: go on

    /// `PATCH`: the next chunk.
    func append(_ call: Call, to upload: BlobUpload) async throws -> Response {
        try await writing(call, to: upload) { Response(status: .accepted, headers: upload.headers) }
    }

    /// `PUT`: the last chunk, if any is left, and the end.
    func finish(_ call: Call, _ upload: BlobUpload) async throws -> Response {
        guard let digest = try digest(call) else {
            throw RegistryFailure(.digestInvalid, "the query item 'digest' is missing: it says what the blob must be")
        }
        return try await writing(call, to: upload) { try await finish(upload, as: digest) }
    }

    func status(_ upload: BlobUpload) -> Response {
        var headers = upload.headers
        headers[.contentLength] = nil
        return Response(status: .noContent, headers: headers)
    }

    func cancel(_ upload: BlobUpload) async throws -> Response {
        try upload.begin()
        try await files.run { [uploads] in uploads.remove(upload) }
        return Response(status: .noContent)
    }

    /// Names the blob if it is what was promised; the upload has ended either way.
    private func finish(_ upload: BlobUpload, as digest: Digest) async throws -> Response {
        do {
            try await files.run { [uploads] in
                defer { uploads.remove(upload) }
                try upload.commit(expecting: digest)
            }
        } catch OCIError.mismatch(_, _, let found) {
            throw RegistryFailure(
                .digestInvalid, "the content has the digest \(found), not \(digest): begin the upload anew")
        }
        return created(digest, in: upload.repository)
    }

    // MARK: the body

    /// Takes the call's body into the upload, then does the rest while no other call may write.
    private func writing(
        _ call: Call, to upload: BlobUpload, then rest: () async throws -> Response
    ) async throws -> Response {
        try upload.begin()
        defer { upload.end() }
        try checkPlace(call, upload)
        do {
            try await receive(call, upload)
        } catch let error as OCIError {
            // What could not be written is a hole: nobody can go on from there.
            try await files.run { [uploads] in uploads.remove(upload) }
            throw error
        }
        return try await rest()
    }

    /// A chunk that says where it belongs must belong at the end of what is here.
    private func checkPlace(_ call: Call, _ upload: BlobUpload) throws(RegistryFailure) {
        let length = call.request.headers[.contentLength].flatMap { Int64($0) }
        if let length, length > services.uploadLimit.bytes - upload.size { throw tooLarge() }
        guard let text = call.request.headers[.contentRange] else { return }
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Int64($0) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first == upload.size, last >= first else {
            throw RegistryFailure(
                .uploadInvalid,
                "the chunk \(quoted(text)) is out of order: the next byte is \(upload.size), as in '\(upload.size)-<last byte>'",
                status: 416, headers: upload.headers(forRefusal: true))
        }
        if let length, length != last - first + 1 {
            throw RegistryFailure(
                .sizeInvalid,
                "Content-Length is \(length), but Content-Range \(quoted(text)) has \(last - first + 1) bytes")
        }
    }

    private func tooLarge() -> RegistryFailure {
        RegistryFailure(
            .sizeInvalid, "the blob has more than the \(services.uploadLimit) that the archive takes", status: 413)
    }

    /// What arrives before the connection breaks is kept, so that the client can ask for the status and go on.
    private func receive(_ call: Call, _ upload: BlobUpload) async throws {
        let limit = services.uploadLimit.bytes - upload.size
        try await withThrowingTaskGroup(of: Void.self) { group in
            var batch = Batch()
            var broken: (any Error)?
            do {
                for try await piece in call.request.body {
                    batch.append(piece)
                    guard batch.received <= limit else { throw tooLarge() }
                    guard batch.size >= Self.pieceSize else { continue }
                    // The batch before is on disk before this one is handed over: no more than two are in memory.
                    try await group.next()
                    let pieces = batch.take()
                    group.addTask { [files] in try await files.run { try upload.write(pieces) } }
                }
            } catch {
                broken = error
            }
            try await group.next()
            let rest = batch.take()
            if !(broken is OCIError), !rest.isEmpty { try await files.run { try upload.write(rest) } }
            if let broken { throw broken }
        }
    }

    /// What has arrived and is not handed to the disk.
    private struct Batch {
        private var pieces: [ByteBuffer] = []
        private(set) var size = 0
        private(set) var received: Int64 = 0

        mutating func append(_ piece: ByteBuffer) {
            pieces.append(piece)
            size += piece.readableBytes
            received += Int64(piece.readableBytes)
        }

        mutating func take() -> [ByteBuffer] {
            defer {
                pieces = []
                size = 0
            }
            return pieces
        }
    }
}

extension BlobUpload {
    /// The same without a length: a refusal has a body.
    func headers(forRefusal: Bool) -> HTTPFields {
        var headers = headers
        headers[.contentLength] = nil
        return headers
    }
}

// The archive as an OCI registry (distribution specification 1.1): who may call what below /v2/, and the answers to
// pulls. Pushing, deleting and listing stand in their own files. Everybody with a token pulls everything; the name
// `archive` has whatever is here by its digest, for workers.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import OCI

struct RegistryRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v2", .reader, version), Route(.head, "/v2", .reader, version),
            Route(.get, "/v2/token", .reader, RegistryTokenRoute(services: services).issue),
            Route(.get, "/v2/**", .reader, read), Route(.head, "/v2/**", .reader, read),
            Route(.post, "/v2/**", .user, start), Route(.patch, "/v2/**", .user, append),
            Route(.put, "/v2/**", .user, put), Route(.delete, "/v2/**", .user, delete),
        ]
    }

    private var uploads: UploadRoutes { UploadRoutes(services: services) }

    @Sendable private func version(_ call: Call) async throws -> Response {
        var response = Response.json(bytes: Array("{}".utf8))
        response.headers[.registryVersion] = "registry/2.0"
        return call.request.method == .head ? response.createHeadResponse() : response
    }

    @Sendable private func read(_ call: Call) async throws -> Response {
        switch try target(call) {
        case .blob(_, let digest): return try await blob(digest, call)
        case .manifest(let repository, let name): return try await manifest(try find(name, repository), call)
        case .upload(let repository, let id) where call.request.method == .get:
            return uploads.status(try upload(id, repository, call))
        case .tags(let repository) where call.request.method == .get:
            return try await RegistryListing(services: services).tags(call, repository)
        case .referrers(let repository, let subject) where call.request.method == .get:
            return try await RegistryListing(services: services).referrers(call, repository, to: subject)
        case .uploads, .upload, .tags, .referrers: throw unsupported(call)
        }
    }

    @Sendable private func start(_ call: Call) async throws -> Response {
        guard case .uploads(let repository) = try target(call) else { throw unsupported(call) }
        return try await uploads.start(call, repository)
    }

    @Sendable private func append(_ call: Call) async throws -> Response {
        guard case .upload(let repository, let id) = try target(call) else { throw unsupported(call) }
        return try await uploads.append(call, to: try upload(id, repository, call))
    }

    @Sendable private func put(_ call: Call) async throws -> Response {
        switch try target(call) {
        case .upload(let repository, let id): try await uploads.finish(call, try upload(id, repository, call))
        case .manifest(let repository, let name):
            try await ManifestPush(services: services).put(call, repository, name)
        case .blob, .uploads, .tags, .referrers: throw unsupported(call)
        }
    }

    @Sendable private func delete(_ call: Call) async throws -> Response {
        switch try target(call) {
        case .upload(let repository, let id): try await uploads.cancel(try upload(id, repository, call))
        case .manifest(let repository, let name):
            try await RegistryDeletion(services: services).delete(call, repository, name)
        case .blob(let repository, let digest):
            try await RegistryDeletion(services: services).delete(call, repository, blob: digest)
        case .uploads, .tags, .referrers: throw unsupported(call)
        }
    }

    private func target(_ call: Call) throws(RegistryFailure) -> RegistryTarget {
        try RegistryTarget(path: call.request.uri.path)
    }

    private func upload(_ id: String, _ repository: RepositoryName, _ call: Call) throws -> BlobUpload {
        try services.uploads.upload(id, in: repository, by: try call.caller.name)
    }

    private func unsupported(_ call: Call) -> RegistryFailure {
        RegistryFailure(.unsupported, "\(quoted(call.request.uri.path)) does not take \(call.request.method.rawValue)")
    }

    // MARK: pulls

    /// The archive has each blob once, and every repository has them all.
    private func blob(_ digest: Digest, _ call: Call) async throws -> Response {
        // Whoever asks whether it is here is about to push an image that needs it.
        if call.request.method == .head, try call.caller.role != .worker { services.content.touch(digest) }
        return try await BlobResponse(content: services.content, files: services.files).answer(digest, to: call)
    }

    private func find(_ name: ManifestName, _ repository: RepositoryName) throws -> Digest {
        switch name {
        case .digest(let digest):
            guard try repository.isEverything || services.store.repository(repository.full, has: digest) else {
                throw missing(digest)
            }
            return digest
        case .tag(let tag):
            guard let reference = ImageReference(repository.name(tag)),
                let digest = try services.archive.digest(imported: reference)
            else {
                throw RegistryFailure(
                    .manifestUnknown, "the archive has no image \(quoted("\(repository.text):\(tag)"))")
            }
            return digest
        }
    }

    private func missing(_ digest: Digest) -> RegistryFailure {
        RegistryFailure(.manifestUnknown, "the repository has no manifest \(digest)")
    }

    private func manifest(_ digest: Digest, _ call: Call) async throws -> Response {
        let missing = missing(digest)
        let (bytes, mediaType) = try await services.files.run { [content = services.content] in
            guard let size = content.size(of: digest), size <= Manifest.sizeLimit else { throw missing }
            let bytes = try content.read(digest, limit: Manifest.sizeLimit)
            // A blob that is no manifest is not served as one.
            do { return (bytes, try Manifest(bytes, named: "\(digest)").mediaType) } catch { throw missing }
        }
        let headers: HTTPFields = [
            .contentType: mediaType, .contentDigest: digest.description, .eTag: "\"\(digest)\"",
            .contentLength: String(bytes.count),
        ]
        if call.request.method == .head { return Response(status: .ok, headers: headers) }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}

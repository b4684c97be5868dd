// The pull side of the OCI distribution specification: manifests by digest or tag, blobs with ranges. The name
// `archive` (and any other) serves everything by digest; a tag is looked up among imported names. Pushing is not
// offered here.
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
            Route(.get, "/v2/**", .reader, content), Route(.head, "/v2/**", .reader, content),
        ]
    }

    @Sendable private func version(_ call: Call) async throws -> Response {
        var response = Response.json(bytes: Array("{}".utf8))
        response.headers[.registryVersion] = "registry/2.0"
        return call.request.method == .head ? response.createHeadResponse() : response
    }

    @Sendable private func content(_ call: Call) async throws -> Response {
        let target = try RegistryTarget(path: call.request.uri.path)
        switch target.kind {
        case .blob(let digest): return try await BlobResponse(content: services.content).answer(digest, to: call)
        case .manifest(let digest): return try await manifest(digest, call)
        case .tag(let tag):
            return try await manifest(try services.archive.digest(repository: target.repository, tag: tag), call)
        }
    }

    private func manifest(_ digest: Digest, _ call: Call) async throws -> Response {
        let missing = Problem(.notFound, "the archive has no manifest \(digest)", field: "manifest")
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

/// What a path below /v2/ asks for.
struct RegistryTarget {
    enum Kind: Equatable {
        case manifest(Digest)
        case tag(String)
        case blob(Digest)
    }

    let repository: String
    let kind: Kind

    /// Parses `/v2/<name>/manifests/<digest or tag>` and `/v2/<name>/blobs/<digest>`.
    init(path: String) throws(Problem) {
        let parts = (path.removingPercentEncoding ?? path).split(separator: "/").map(String.init)
        guard parts.count >= 4, let last = parts.last else {
            throw Problem(.notFound, "there is nothing at \(quoted(path))", field: "name")
        }
        repository = parts[1..<(parts.count - 2)].joined(separator: "/")
        switch (parts[parts.count - 2], Digest(last)) {
        case ("manifests", let digest?): kind = .manifest(digest)
        case ("manifests", nil) where !last.contains(":"): kind = .tag(last)
        case ("blobs", let digest?): kind = .blob(digest)
        case ("blobs", nil), ("manifests", nil):
            throw Problem(
                .badRequest, "\(quoted(last)) is not a digest: write sha256: and 64 hexadecimal digits", field: "digest"
            )
        default: throw Problem(.notFound, "there is nothing at \(quoted(path))", field: "name")
        }
    }
}

/// A problem in the form that registry clients read (OCI distribution specification, "Error Codes").
enum RegistryErrors {
    private struct Document: Encodable {
        struct Entry: Encodable {
            let code: String
            let message: String
        }
        let errors: [Entry]
    }

    static func document(_ problem: Problem) -> [UInt8] {
        let entry = Document.Entry(code: code(of: problem), message: problem.detail)
        do {
            return try WireJSON.encode(Document(errors: [entry]))
        } catch {
            return Array(#"{"errors":[{"code":"UNKNOWN"}]}"#.utf8)
        }
    }

    private static func code(of problem: Problem) -> String {
        switch problem.status {
        case 401: "UNAUTHORIZED"
        case 403: "DENIED"
        case 404:
            problem.field == "manifest"
                ? "MANIFEST_UNKNOWN" : problem.field == "digest" ? "BLOB_UNKNOWN" : "NAME_UNKNOWN"
        case 400: problem.field == "digest" ? "DIGEST_INVALID" : "NAME_INVALID"
        case 405: "UNSUPPORTED"
        case 429, 503: "TOOMANYREQUESTS"
        default: "UNKNOWN"
        }
    }
}

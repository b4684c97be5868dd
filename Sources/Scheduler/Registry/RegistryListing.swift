// Content discovery of the OCI distribution specification 1.1: the tags of a repository and who refers to a manifest,
// in pages.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import OCI

struct RegistryListing {
    let services: APIServices
    /// Tags, or referrers, of one page.
    private static let pageSize = 1_000
    /// Of annotations in one page of referrers: an index has 4 MiB at most.
    private static let pageBytes = 3 << 20

    func tags(_ call: Call, _ repository: RepositoryName) async throws -> Response {
        guard try services.store.repositoryExists(repository.full) else {
            throw RegistryFailure(.nameUnknown, "there is no repository \(quoted(repository.text))")
        }
        let wanted = try call.query("n", "a number of tags") { text in Int(text).flatMap { $0 >= 0 ? $0 : nil } }
        let last = try call.query("last")
        let limit = min(wanted ?? Self.pageSize, Self.pageSize)
        let page =
            limit == 0
            ? RegistryPage(elements: [], hasMore: false)
            : try services.store.tags(of: repository.full, after: last, limit: limit)
        let document = JSONValue.object([
            ("name", .string(repository.text)), ("tags", .array(page.elements.map { .string($0) })),
        ])
        var response = Response.json(bytes: document.written)
        if page.hasMore, let last = page.elements.last {
            response.headers[.link] = Self.next("/v2/\(repository.text)/tags/list?n=\(limit)&last=\(last)")
        }
        return response
    }

    func referrers(_ call: Call, _ repository: RepositoryName, to subject: Digest) async throws -> Response {
        let type = try call.query("artifactType")
        let last = try call.query("last", "a digest") { Digest($0) }
        let page = try services.store.referrers(
            to: subject, in: repository.full, artifactType: type, after: last, limit: Self.pageSize,
            bytes: Self.pageBytes)
        let document = JSONValue.object([
            ("schemaVersion", .number(2)), ("mediaType", .string(MediaType.index)),
            ("manifests", .array(try page.elements.map(Self.descriptor))),
        ])
        var headers: HTTPFields = [.contentType: MediaType.index]
        if type != nil { headers[.ociFilters] = "artifactType" }
        if page.hasMore, let last = page.elements.last?.digest {
            let filter = type.map { "&artifactType=" + Self.encoded($0) } ?? ""
            headers[.link] = Self.next("/v2/\(repository.text)/referrers/\(subject)?last=\(last)\(filter)")
        }
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: document.written)))
    }

    private static func descriptor(_ row: RegistryManifestRow) throws -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("mediaType", .string(row.mediaType)), ("digest", .string(row.digest.description)),
            ("size", .number(Double(row.size))),
        ]
        if let type = row.artifactType { members.append(("artifactType", .string(type))) }
        if let annotations = row.annotations {
            let bytes = Array(annotations.utf8)
            members.append(("annotations", try parseJSON(bytes, limit: Manifest.sizeLimit, named: "the annotations")))
        }
        return .object(members)
    }

    /// RFC 8288; tags and digests need no encoding.
    private static func next(_ path: String) -> String { "<\(path)>; rel=\"next\"" }

    private static func encoded(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? text
    }
}

extension HTTPField.Name {
    static let link = HTTPField.Name("Link")!  // allowed: a constant token
}

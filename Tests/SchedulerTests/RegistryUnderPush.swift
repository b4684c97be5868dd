// What a registry client says, byte by byte, for the tests of the OCI distribution specification: blobs, manifests,
// uploads. No client library stands between, so each test says exactly what crosses the wire. The suites that use it
// are serialized: every test has a scheduler of its own, with twenty open files, and all tests begin at once.
import Foundation
import HTTPTypes
import JobModel
import OCI
import Testing

struct RegistryErrorDocument: Decodable {
    struct Entry: Decodable {
        let code: String
        let message: String
    }
    let errors: [Entry]
}

/// Bytes with their digest.
struct Content: Sendable {
    let bytes: [UInt8]
    var digest: String { Digest(of: bytes).description }
    var size: Int { bytes.count }

    init(_ text: String) { bytes = Array(text.utf8) }
    init(bytes: [UInt8]) { self.bytes = bytes }

    func descriptor(_ mediaType: String, more: String = "") -> String {
        #"{"mediaType":"\#(mediaType)","digest":"\#(digest)","size":\#(size)\#(more)}"#
    }
}

/// An image of one layer as a client would build it. Equal seeds give equal images.
struct PushedImage: Sendable {
    let configuration: Content
    let layer: Content
    let manifest: Content
    let mediaType = MediaType.manifest

    init(_ seed: String, more: String = "", layerType: String = MediaType.layer) {
        layer = Content("layer \(seed)")
        configuration = Content(
            #"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["\#(layer.digest)"]}}"#
        )
        manifest = Content(
            #"{"schemaVersion":2,"mediaType":"\#(MediaType.manifest)","config":\#(configuration.descriptor(MediaType.configuration)),"layers":[\#(layer.descriptor(layerType))]\#(more)}"#
        )
    }
}

/// The content of an artifact's configuration that says nothing.
let emptyConfiguration = Content("{}")
let emptyType = "application/vnd.oci.empty.v1+json"
let octets: HTTPFields = [.contentType: "application/octet-stream"]

/// An artifact about another manifest.
func artifact(
    _ type: String?, about subject: Content, annotation: String, configurationType: String = emptyType
) -> Content {
    let type = type.map { #""artifactType":"\#($0)","# } ?? ""
    return Content(
        #"{"schemaVersion":2,"mediaType":"\#(MediaType.manifest)",\#(type)"config":\#(emptyConfiguration.descriptor(configurationType)),"layers":[],"subject":\#(subject.descriptor(MediaType.manifest)),"annotations":{"org.example.test":"\#(annotation)"}}"#
    )
}

extension APIUnderTest {
    /// `POST` then `PUT`, the whole blob at once.
    @discardableResult
    func push(_ content: Content, to repository: String, as who: Who = .ada) async throws -> Answer {
        let start = try await call(.post, "/v2/\(repository)/blobs/uploads/", as: who)
        guard start.status == 202, let location = start.headers[.location] else {
            throw APIFailure(description: "\(start.status) \(start.text)")
        }
        let end = try await call(
            .put, "\(location)?digest=\(content.digest)", as: who, headers: octets, body: content.bytes)
        guard end.status == 201 else { throw APIFailure(description: "\(end.status) \(end.text)") }
        return end
    }

    func put(
        _ manifest: Content, at repository: String, _ reference: String? = nil, type: String? = MediaType.manifest,
        as who: Who = .ada
    ) async throws -> Answer {
        var headers: HTTPFields = [:]
        headers[.contentType] = type
        return try await call(
            .put, "/v2/\(repository)/manifests/\(reference ?? manifest.digest)", as: who, headers: headers,
            body: manifest.bytes)
    }

    /// Blobs, then the manifest under a tag.
    @discardableResult
    func push(_ image: PushedImage, as name: String, by who: Who = .ada) async throws -> Answer {
        let parts = name.split(separator: ":").map(String.init)
        try await push(image.configuration, to: parts[0], as: who)
        try await push(image.layer, to: parts[0], as: who)
        let answer = try await put(image.manifest, at: parts[0], parts[1], as: who)
        guard answer.status == 201 else { throw APIFailure(description: "\(answer.status) \(answer.text)") }
        return answer
    }

    /// An upload that was begun: where it goes on.
    func startUpload(_ repository: String = "ada/stack", as who: Who = .ada) async throws -> String {
        let answer = try await call(.post, "/v2/\(repository)/blobs/uploads/", as: who, headers: [.contentLength: "0"])
        return try #require(answer.headers[.location], "\(answer.status) \(answer.text)")
    }

    func chunk(_ location: String, _ bytes: [UInt8], at range: String?, as who: Who = .ada) async throws -> Answer {
        var headers = octets
        headers[.contentRange] = range
        return try await call(.patch, location, as: who, headers: headers, body: bytes)
    }

    func head(_ path: String, as who: Who = .ada) async throws -> Answer { try await call(.head, path, as: who) }
}

extension APIUnderTest.Answer {
    /// The first code of an OCI error document.
    var code: String? { try? decoded(RegistryErrorDocument.self).errors.first?.code }
    var messages: String {
        ((try? decoded(RegistryErrorDocument.self).errors) ?? []).map(\.message).joined(separator: "; ")
    }
    var location: String { headers[.location] ?? "" }
    var range: String? { headers[.range] }
    var contentDigest: String? { headers[.init("Docker-Content-Digest")!] }
    var json: JSONValue? { try? JSONParser.parse(bytes).json }
}

extension HTTPField.Name {
    static let link = HTTPField.Name("Link")!
    static let subject = HTTPField.Name("OCI-Subject")!
    static let filters = HTTPField.Name("OCI-Filters-Applied")!
}

// A blob of the archive as an HTTP answer: whole, a range of it, or its head alone. Streamed from disk in pieces, never
// loaded.
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import OCI

struct BlobResponse {
    let content: ContentStore
    private let files = FileIO()

    init(content: ContentStore) { self.content = content }

    /// - Throws: ``Problem`` of kind `notFound` if the archive does not have it.
    func answer(_ digest: Digest, to call: Call) async throws -> Response {
        guard let size = content.size(of: digest) else {
            throw Problem(.notFound, "the archive does not have \(digest)", field: "digest")
        }
        var headers: HTTPFields = [
            .contentType: "application/octet-stream", .acceptRanges: "bytes", .eTag: "\"\(digest)\"",
            .contentDigest: digest.description,
        ]
        switch ByteRange(header: call.request.headers[.range], size: size) {
        case .whole:
            headers[.contentLength] = String(size)
            return try await answer(.ok, headers, digest, size > 0 ? 0...(size - 1) : nil, call)
        case .part(let range):
            headers[.contentLength] = String(range.upperBound - range.lowerBound + 1)
            headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound)/\(size)"
            return try await answer(.partialContent, headers, digest, range, call)
        case .unsatisfiable:
            return Response(status: .rangeNotSatisfiable, headers: [.contentRange: "bytes */\(size)"])
        }
    }

    private func answer(
        _ status: HTTPResponse.Status, _ headers: HTTPFields, _ digest: Digest, _ range: ClosedRange<Int64>?,
        _ call: Call
    ) async throws -> Response {
        guard call.request.method != .head, let range else { return Response(status: status, headers: headers) }
        let body = try await files.loadFile(
            path: content.path(of: digest), range: Int(range.lowerBound)...Int(range.upperBound), context: call.context)
        return Response(status: status, headers: headers, body: body)
    }
}

/// One range of a `Range` header (RFC 9110, section 14). Several ranges, other units and malformed values mean the
/// whole.
enum ByteRange: Equatable {
    case whole
    case part(ClosedRange<Int64>)
    case unsatisfiable

    init(header: String?, size: Int64) {
        self = .whole
        guard let header, header.hasPrefix("bytes="), header.utf8.count <= 64 else { return }
        let ends = header.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2,
            ends.allSatisfy({ $0.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } })
        else {
            return
        }
        switch (Int64(ends[0]), Int64(ends[1])) {
        case (let first?, let last):
            guard ends[1].isEmpty || last != nil else { return }
            if let last, last < first { return }
            self = first < size ? .part(first...min(last ?? size - 1, size - 1)) : .unsatisfiable
        case (nil, let count?):
            guard ends[0].isEmpty else { return }
            self = count > 0 && size > 0 ? .part(max(0, size - count)...(size - 1)) : .unsatisfiable
        case (nil, nil): return
        }
    }
}

extension HTTPField.Name {
    static let contentDigest = HTTPField.Name("Docker-Content-Digest")!  // allowed: a constant token
    static let registryVersion = HTTPField.Name("Docker-Distribution-Api-Version")!  // allowed: as above
}

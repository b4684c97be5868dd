// A blob of the archive as an HTTP answer: whole, a range of it, or its head alone. Streamed from disk in pieces, never
// loaded. The file is open before the answer begins, so what is deleted meanwhile still arrives whole.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import OCI

struct BlobResponse {
    let content: ContentStore
    let files: BlockingWork
    /// Read at once. Twice of it may be in memory for each answer.
    private static let pieceSize: Int64 = 256 << 10

    /// - Throws: ``Problem`` of kind `notFound` if the archive does not have it.
    func answer(_ digest: Digest, to call: Call) async throws -> Response {
        guard let size = content.size(of: digest) else { throw missing(digest) }
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
        let path = content.path(of: digest)
        guard let blob = try await files.run({ OpenBlob(path) }) else { throw missing(digest) }
        return Response(status: status, headers: headers, body: body(blob, range))
    }

    private func missing(_ digest: Digest) -> Problem {
        Problem(.notFound, "the archive does not have \(digest)", field: "digest")
    }

    /// One piece is read while the one before is sent.
    private func body(_ blob: OpenBlob, _ range: ClosedRange<Int64>) -> ResponseBody {
        let end = range.upperBound + 1
        let read = { @Sendable [files] (offset: Int64) in
            try await files.run { try blob.read(at: offset, count: Int(min(Self.pieceSize, end - offset))) }
        }
        return ResponseBody(contentLength: Int(end - range.lowerBound)) { writer in
            var offset = range.lowerBound
            var piece = try await read(offset)
            while true {
                offset += Int64(piece.readableBytes)
                guard offset < end else { break }
                let start = offset
                async let next = read(start)
                try await writer.write(piece)
                piece = try await next
            }
            try await writer.write(piece)
            try await writer.finish(nil)
        }
    }
}

/// A file that stays open as long as somebody reads it.
private final class OpenBlob: Sendable {
    private let file: Int32

    /// Nil if it cannot be opened.
    init?(_ path: String) {
        file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
    }

    deinit { if file >= 0 { close(file) } }

    /// At least one byte.
    func read(at offset: Int64, count: Int) throws -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        var code: Int32 = 0
        let got = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            var got = -1
            repeat { got = pread(file, bytes.baseAddress, count, off_t(offset)) } while got < 0 && errno == EINTR
            if got <= 0 { code = got < 0 ? errno : EIO }
            return max(0, got)
        }
        guard got > 0 else { throw OCIError.storage(operation: "read a blob", errno: code) }
        return buffer
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

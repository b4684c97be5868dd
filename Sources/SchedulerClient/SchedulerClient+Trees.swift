// The lists behind tree digests, and what differs between two attempts.
import AsyncHTTPClient
import Glibc
import JobModel
import NIOCore
import NIOHTTP1

extension SchedulerClient {
    /// Sends the list that `digest` is of, from a file. Durable when it returns.
    package func keepTree(_ digest: Digest, list: String) async throws(Problem) {
        var information = stat()
        guard stat(list, &information) == 0 else {
            throw Problem(.internal, "the list of \(digest) cannot be read: \(String(cString: strerror(errno)))")
        }
        let size = Int64(information.st_size)
        let body: HTTPClientRequest.Body =
            size == 0 ? .bytes(ByteBuffer()) : .stream(ListPieces(path: list), length: .known(size))
        _ = try await exchange(
            .PUT, "/v1/trees/\(digest)", headers: [("Content-Type", "application/octet-stream")], body: body,
            deadline: .minutes(10), limit: 1 << 20)
    }

    /// The list that a tree digest is of. The caller verifies it.
    /// - Throws: ``JobModel/Problem`` of kind `notFound` if the scheduler does not keep it.
    package func tree(_ digest: Digest) async throws(Problem) -> [UInt8] {
        let limit = Int(TreeManifestReader.sizeLimit)
        let (_, bytes) = try await exchange(.GET, "/v1/trees/\(digest)", deadline: .minutes(10), limit: limit)
        return Array(bytes.readableBytesView)
    }

    /// Sends what a verification saw. A second one replaces the first.
    package func keepComparison(worker: WorkerName, attempt: AttemptID, _ comparison: OutputComparison)
        async throws(Problem)
    {
        _ = try await exchange(
            .PUT, "/v1/workers/\(worker)/attempts/\(attempt)/comparison", body: try json(comparison), limit: 1 << 20)
    }

    /// What differs between two attempts, file by file.
    package func differences(_ first: AttemptID, _ second: AttemptID, limit: Int? = nil) async throws(Problem)
        -> AttemptDifferences
    {
        try await call(
            .GET, "/v1/attempts/\(first)/differences/\(second)", query: [("limit", limit.map(String.init))],
            deadline: .minutes(2))
    }

    /// One page of what a slot held, by path.
    package func files(of attempt: AttemptID, _ slot: String, limit: Int? = nil, cursor: String? = nil)
        async throws(Problem) -> FileList
    {
        try await call(
            .GET, "/v1/attempts/\(attempt)/files/\(Self.percentEncoded(slot))",
            query: [("limit", limit.map(String.init)), ("cursor", cursor)], deadline: .minutes(2))
    }
}

/// A file in pieces.
private struct ListPieces: AsyncSequence, Sendable {
    let path: String

    struct Iterator: AsyncIteratorProtocol {
        let path: String
        var offset: Int64 = 0

        mutating func next() async throws -> ByteBuffer? {
            let file = open(path, O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { throw Problem(.internal, "\(path) cannot be opened any more") }
            defer { close(file) }
            var count = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 18) { buffer, initialized in
                count = pread(file, buffer.baseAddress, buffer.count, off_t(offset))
                initialized = Swift.max(0, count)
            }
            guard count >= 0 else { throw Problem(.internal, "\(path) cannot be read") }
            offset += Int64(count)
            return count == 0 ? nil : ByteBuffer(bytes: bytes)
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(path: path) }
}

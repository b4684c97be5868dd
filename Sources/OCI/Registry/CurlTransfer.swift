// One HTTP exchange by libcurl on a thread of its own: proxies, certificates and stalls are its business. Bodies go to a callback in
// pieces, never whole into memory. What the pieces mean stands in RegistryClient.swift.
import CCurl
import Foundation
import JobModel
import Synchronization

/// A request to the outside world.
struct CurlRequest: Sendable {
    var method = "GET"
    var url: String
    /// `Name: value`.
    var headers: [String] = []
    /// Give up after this many seconds without a byte.
    var stallSeconds = 30
    /// Give up connecting after this many seconds.
    var connectSeconds = 15
    /// The most bytes that are taken of the body.
    var bodyLimit: Int64
}

/// The head of an answer. Header names are in lower case; of equal names the last counts.
struct CurlResponse: Sendable {
    var status: Int
    var headers: [String: String]
}

enum CurlFailure: Error, Sendable {
    /// libcurl's own words.
    case transport(String)
    case bodyTooLarge
    case cancelled
    /// The sink refused a piece.
    case sink(OCIError)
}

enum CurlTransfer {
    /// Sends the request; gives each piece of the body of an answer with a status below 300 to `sink`, on the transfer's thread.
    static func run(_ request: CurlRequest, sink: @escaping @Sendable (UnsafeRawBufferPointer) throws(OCIError) -> Void) async throws(CurlFailure) -> CurlResponse {
        let state = TransferState(limit: request.bodyLimit, sink: sink)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<CurlResponse, CurlFailure>, Never>) in
                transfers.async { continuation.resume(returning: perform(request, state)) }
            }
        } onCancel: {
            state.isCancelled.store(true, ordering: .relaxed)
        }
        return try result.get()
    }

    private static let transfers: DispatchQueue = {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        return DispatchQueue(label: "jobctl.registry", attributes: .concurrent)
    }()

    private static func perform(_ request: CurlRequest, _ state: TransferState) -> Result<CurlResponse, CurlFailure> {
        guard let handle = curl_easy_init() else { return .failure(.transport("libcurl could not be set up")) }
        defer { curl_easy_cleanup(handle) }
        let context = Unmanaged.passUnretained(state).toOpaque()
        var list: UnsafeMutablePointer<curl_slist>?
        defer { curl_slist_free_all(list) }
        for header in request.headers { list = curl_slist_append(list, header) }
        _ = jc_curl_setopt_string(handle, CURLOPT_URL, request.url)
        _ = jc_curl_setopt_string(handle, CURLOPT_USERAGENT, "jobctl")
        _ = jc_curl_setopt_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        _ = jc_curl_setopt_list(handle, CURLOPT_HTTPHEADER, list)
        _ = jc_curl_setopt_long(handle, CURLOPT_NOSIGNAL, 1)
        // Redirects are followed by the client, which knows which credentials may go where.
        _ = jc_curl_setopt_long(handle, CURLOPT_FOLLOWLOCATION, 0)
        _ = jc_curl_setopt_long(handle, CURLOPT_CONNECTTIMEOUT, request.connectSeconds)
        _ = jc_curl_setopt_long(handle, CURLOPT_LOW_SPEED_LIMIT, 1)
        _ = jc_curl_setopt_long(handle, CURLOPT_LOW_SPEED_TIME, request.stallSeconds)
        if request.method == "HEAD" {
            _ = jc_curl_setopt_long(handle, CURLOPT_NOBODY, 1)
        } else if request.method != "GET" {
            _ = jc_curl_setopt_string(handle, CURLOPT_CUSTOMREQUEST, request.method)
        }
        _ = jc_curl_setopt_data(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            TransferState.of(context)?.body(bytes, size * count) ?? 0
        }
        _ = jc_curl_setopt_pointer(handle, CURLOPT_WRITEDATA, context)
        _ = jc_curl_setopt_data(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            TransferState.of(context)?.header(bytes, size * count) ?? 0
        }
        _ = jc_curl_setopt_pointer(handle, CURLOPT_HEADERDATA, context)
        _ = jc_curl_setopt_long(handle, CURLOPT_NOPROGRESS, 0)
        _ = jc_curl_setopt_progress(handle) { context, _, _, _, _ in
            TransferState.of(context)?.isCancelled.load(ordering: .relaxed) == false ? 0 : 1
        }
        _ = jc_curl_setopt_pointer(handle, CURLOPT_XFERINFODATA, context)
        let code = withExtendedLifetime(state) { curl_easy_perform(handle) }
        return state.result(code)
    }
}

/// What the C callbacks of one transfer write to. Only the transfer's thread touches it, but for the flag.
private final class TransferState: Sendable {
    private struct Progress {
        var status = 0
        var headers: [String: String] = [:]
        var received: Int64 = 0
        var failure: CurlFailure?
    }

    let isCancelled = Atomic(false)
    private let limit: Int64
    private let sink: @Sendable (UnsafeRawBufferPointer) throws(OCIError) -> Void
    private let progress = Mutex(Progress())

    init(limit: Int64, sink: @escaping @Sendable (UnsafeRawBufferPointer) throws(OCIError) -> Void) {
        self.limit = limit
        self.sink = sink
    }

    static func of(_ context: UnsafeMutableRawPointer?) -> TransferState? {
        context.map { Unmanaged<TransferState>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Returns how many bytes were taken; fewer than offered end the transfer.
    func body(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        let buffer = UnsafeRawBufferPointer(start: bytes, count: count)
        return progress.withLock { progress in
            progress.received += Int64(count)
            guard progress.received <= limit else {
                progress.failure = .bodyTooLarge
                return 0
            }
            guard progress.status < 300 else { return count }
            do throws(OCIError) {
                try sink(buffer)
                return count
            } catch {
                progress.failure = .sink(error)
                return 0
            }
        }
    }

    func header(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        progress.withLock { progress in
            if line.hasPrefix("HTTP/") {
                progress.status = line.split(separator: " ").dropFirst().first.flatMap { Int($0.prefix(3)) } ?? 0
                progress.headers = [:]
            } else if let colon = line.firstIndex(of: ":"), progress.headers.count < 200, line.utf8.count < 16_384 {
                progress.headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespacesAndNewlines)
            }
        }
        return count
    }

    func result(_ code: CURLcode) -> Result<CurlResponse, CurlFailure> {
        progress.withLock { progress in
            if let failure = progress.failure { return .failure(failure) }
            if isCancelled.load(ordering: .relaxed) { return .failure(.cancelled) }
            guard code == CURLE_OK else { return .failure(.transport(String(cString: curl_easy_strerror(code)))) }
            return .success(CurlResponse(status: progress.status, headers: progress.headers))
        }
    }
}

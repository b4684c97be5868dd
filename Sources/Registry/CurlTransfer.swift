// One HTTP exchange by libcurl on a thread of its own: proxies, certificates, stalls and cancellation are its
// business. Bodies go out in pieces, never whole into memory. Redirects, logins and retries stand in
// RegistrySession.swift.
import CCurl
import Dispatch
import Foundation
import Glibc
import JobModel
import OCI
import Synchronization

/// A request to the outside world.
struct CurlRequest: Sendable {
    let address: WebAddress
    let rule: AddressRule
    /// `Name: value`.
    var headers: [String] = []
    /// A file with a certificate authority that counts besides the system's.
    var authority: String?
    /// A form to be posted; nil for a GET.
    var form: String?
    /// The most bytes that are taken of the body.
    let bodyLimit: Int64
    let timeouts: RegistryTimeouts
    /// Whether ``RegistryTimeouts/small`` applies.
    let isSmall: Bool
}

/// The head of an answer. Header names are in lower case; of equal names the last counts.
struct CurlResponse: Sendable {
    var status = 0
    var headers: [String: String] = [:]
    /// Every `WWW-Authenticate`.
    var challenges: [String] = []
    /// The begin of the body if the status is 300 or more.
    var errorBody: [UInt8] = []
}

enum CurlFailure: Error, Sendable {
    /// libcurl's own words. `isBroken`: there was a connection, and it broke. `isTimeout`: it was too slow.
    case transport(String, isBroken: Bool, isTimeout: Bool)
    case bodyTooLarge
    case cancelled
    /// The name turned out to be an address that the request's rule forbids.
    case address(String)
    /// The receiver refused the body.
    case refused(OCIError)
}

/// Takes the body of an answer with a status of 200 to 299, on the transfer's thread.
protocol BodyReceiver: AnyObject, Sendable {
    /// Bytes that are here already; the next request asks for the rest.
    var offset: Int64 { get }
    /// False if the answer ended too early.
    var isComplete: Bool { get }
    func begin(_ head: CurlResponse) throws(OCIError)
    func take(_ piece: UnsafeRawBufferPointer) throws(OCIError)
}

enum CurlTransfer {
    static func run(_ request: CurlRequest, into receiver: any BodyReceiver) async throws(CurlFailure) -> CurlResponse {
        let state = TransferState(request, receiver: receiver)
        let result = await withTaskCancellationHandler {
            await onOwnThread { perform(request, state) }
        } onCancel: {
            state.isCancelled.store(true, ordering: .relaxed)
        }
        return try result.get()
    }

    /// Runs what blocks away from Swift's own threads, which are as few as the processors.
    static func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in threads.async { continuation.resume(returning: body()) } }
    }

    private static let threads: DispatchQueue = {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        return DispatchQueue(label: "jobctl.registry", attributes: .concurrent)
    }()

    private static func perform(_ request: CurlRequest, _ state: TransferState) -> Result<CurlResponse, CurlFailure> {
        if state.isCancelled.load(ordering: .relaxed) { return .failure(.cancelled) }
        guard let handle = curl_easy_init() else {
            return .failure(.transport("libcurl could not be set up", isBroken: false, isTimeout: false))
        }
        defer { curl_easy_cleanup(handle) }
        var list: UnsafeMutablePointer<curl_slist>?
        defer { curl_slist_free_all(list) }
        for header in request.headers { list = curl_slist_append(list, header) }
        _ = jc_curl_setopt_list(handle, CURLOPT_HTTPHEADER, list)
        let words = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
        defer { words.deallocate() }
        words.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        _ = jc_curl_setopt_pointer(handle, CURLOPT_ERRORBUFFER, words)
        setOptions(handle, request)
        setCallbacks(handle, Unmanaged.passUnretained(state).toOpaque())
        let code = withExtendedLifetime(state) { curl_easy_perform(handle) }
        let detail = String(cString: words)
        // Of a failed connection the details hold the milliseconds that it took: no two sentences would be equal.
        let isPlain = detail.isEmpty || code == CURLE_COULDNT_CONNECT
        return state.result(code, isPlain ? String(cString: curl_easy_strerror(code)) : detail)
    }

    private static func setOptions(_ handle: UnsafeMutableRawPointer, _ request: CurlRequest) {
        _ = jc_curl_setopt_string(handle, CURLOPT_URL, request.address.description)
        _ = jc_curl_setopt_string(handle, CURLOPT_USERAGENT, "jobctl")
        _ = jc_curl_setopt_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        _ = jc_curl_setopt_long(handle, CURLOPT_NOSIGNAL, 1)
        // Redirects are followed by the session, which knows which credentials may go where.
        _ = jc_curl_setopt_long(handle, CURLOPT_FOLLOWLOCATION, 0)
        _ = jc_curl_setopt_long(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        _ = jc_curl_setopt_long(handle, CURLOPT_CONNECTTIMEOUT, request.timeouts.connect)
        _ = jc_curl_setopt_long(handle, CURLOPT_LOW_SPEED_LIMIT, request.timeouts.slowest)
        _ = jc_curl_setopt_long(handle, CURLOPT_LOW_SPEED_TIME, request.timeouts.stall)
        if request.isSmall { _ = jc_curl_setopt_long(handle, CURLOPT_TIMEOUT, request.timeouts.small) }
        _ = jc_curl_setopt_long(handle, CURLOPT_BUFFERSIZE, 1 << 18)
        // No proxy can reach what listens on this machine alone.
        if request.address.isLoopback { _ = jc_curl_setopt_string(handle, CURLOPT_PROXY, "") }
        if let authority = request.authority { _ = jc_curl_setopt_string(handle, CURLOPT_CAINFO, authority) }
        if let form = request.form { _ = jc_curl_setopt_string(handle, CURLOPT_COPYPOSTFIELDS, form) }
    }

    private static func setCallbacks(_ handle: UnsafeMutableRawPointer, _ context: UnsafeMutableRawPointer) {
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
        _ = jc_curl_setopt_socket(handle) { context, _, address in
            guard let address, let state = TransferState.of(context) else { return -1 }
            return state.socket(for: &address.pointee)
        }
        _ = jc_curl_setopt_pointer(handle, CURLOPT_OPENSOCKETDATA, context)
    }

    /// Behind a proxy the address that is connected to is the proxy's, and the proxy's operator judges the rest.
    fileprivate static let hasProxy: Bool = {
        let environment = ProcessInfo.processInfo.environment
        return ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
            .contains { environment[$0]?.isEmpty == false }
    }()
}

/// What the C callbacks of one transfer write to. Only the transfer's thread touches it, but for the flag.
private final class TransferState: Sendable {
    private struct Progress {
        var head = CurlResponse()
        var received: Int64 = 0
        var failure: CurlFailure?
    }

    let isCancelled = Atomic(false)
    private let limit: Int64
    private let rule: AddressRule?
    private let receiver: any BodyReceiver
    private let progress = Mutex(Progress())
    private static let mostHeaders = 200
    private static let longestErrorBody = 4096

    init(_ request: CurlRequest, receiver: any BodyReceiver) {
        limit = request.bodyLimit
        rule = CurlTransfer.hasProxy && !request.address.isLoopback ? nil : request.rule
        self.receiver = receiver
    }

    static func of(_ context: UnsafeMutableRawPointer?) -> TransferState? {
        context.map { Unmanaged<TransferState>.fromOpaque($0).takeUnretainedValue() }
    }

    /// A socket for an address that may be connected to, -1 for any other.
    func socket(for address: inout curl_sockaddr) -> Int32 {
        let why = withUnsafePointer(to: &address.addr) { rule?.refusal(of: $0) }
        guard let why else {
            return Glibc.socket(address.family, address.socktype | Int32(SOCK_CLOEXEC.rawValue), address.protocol)
        }
        progress.withLock { $0.failure = $0.failure ?? .address(why) }
        return -1
    }

    /// Returns how many bytes were taken; fewer than offered end the transfer.
    func body(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        let buffer = UnsafeRawBufferPointer(start: bytes, count: count)
        return progress.withLock { progress in
            guard progress.head.status < 300 else {
                // The rest of an error page is worth nothing: ending the transfer here is no failure.
                let room = Self.longestErrorBody - progress.head.errorBody.count
                progress.head.errorBody.append(contentsOf: buffer.prefix(max(0, room)))
                return room > 0 ? count : 0
            }
            progress.received += Int64(count)
            guard progress.received <= limit else {
                progress.failure = .bodyTooLarge
                return 0
            }
            do throws(OCIError) {
                try receiver.take(buffer)
                return count
            } catch {
                progress.failure = .refused(error)
                return 0
            }
        }
    }

    func header(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        return progress.withLock { progress in
            if line.hasPrefix("HTTP/") {
                progress.head = CurlResponse()
                progress.head.status = line.split(separator: " ").dropFirst().first.flatMap { Int($0.prefix(3)) } ?? 0
            } else if let colon = line.firstIndex(of: ":") {
                guard progress.head.headers.count < Self.mostHeaders, line.utf8.count < 16_384 else { return count }
                let name = line[..<colon].lowercased()
                let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespacesAndNewlines)
                progress.head.headers[name] = value
                if name == "www-authenticate", progress.head.challenges.count < 10 {
                    progress.head.challenges.append(value)
                }
            } else if line.allSatisfy(\.isNewline), (200..<300).contains(progress.head.status), progress.received == 0 {
                do throws(OCIError) {
                    try receiver.begin(progress.head)
                } catch {
                    progress.failure = .refused(error)
                    return 0
                }
            }
            return count
        }
    }

    func result(_ code: CURLcode, _ words: String) -> Result<CurlResponse, CurlFailure> {
        progress.withLock { progress in
            // One forbidden address among several of a name is passed over, if another answered.
            if let failure = progress.failure, code != CURLE_OK { return .failure(failure) }
            if isCancelled.load(ordering: .relaxed) { return .failure(.cancelled) }
            if code == CURLE_OK || (code == CURLE_WRITE_ERROR && progress.head.status >= 300) {
                return .success(progress.head)
            }
            let broken = [
                CURLE_PARTIAL_FILE, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_GOT_NOTHING, CURLE_HTTP2,
                CURLE_HTTP2_STREAM,
            ]
            return .failure(
                .transport(words, isBroken: broken.contains(code), isTimeout: code == CURLE_OPERATION_TIMEDOUT))
        }
    }
}

// A web address, taken apart by libcurl's own parser, so that what is compared is what is connected to: two parsers
// that disagree about a crafted address would send credentials to whoever crafted it.
import CCurl
import Glibc

struct WebAddress: Hashable, Sendable, CustomStringConvertible {
    /// `http` or `https`.
    let scheme: String
    /// In lower case.
    let host: String
    let port: Int
    let description: String

    static let longest = 8192

    /// - Parameter base: what a relative address starts from.
    /// - Returns: nil for anything but http and https, for addresses with credentials, and for what libcurl refuses.
    init?(_ text: String, relativeTo base: WebAddress? = nil) {
        guard text.utf8.count <= Self.longest, !text.utf8.contains(0), let handle = curl_url() else { return nil }
        defer { curl_url_cleanup(handle) }
        let flags = UInt32(CURLU_DISALLOW_USER)
        for part in [base?.description, text].compactMap(\.self) {
            guard curl_url_set(handle, CURLUPART_URL, part, flags) == CURLUE_OK else { return nil }
        }
        guard curl_url_set(handle, CURLUPART_FRAGMENT, nil, 0) == CURLUE_OK else { return nil }
        func part(_ which: CURLUPart) -> String? {
            var value: UnsafeMutablePointer<CChar>?
            guard curl_url_get(handle, which, &value, UInt32(CURLU_DEFAULT_PORT)) == CURLUE_OK, let value else {
                return nil
            }
            defer { curl_free(value) }
            return String(cString: value)
        }
        guard let scheme = part(CURLUPART_SCHEME), scheme == "http" || scheme == "https",
            let host = part(CURLUPART_HOST)?.lowercased(), !host.isEmpty,
            let port = part(CURLUPART_PORT).flatMap({ Int($0) }), let whole = part(CURLUPART_URL)
        else { return nil }
        self.scheme = scheme
        self.host = host
        self.port = port
        description = whole
    }

    /// Whether both are the same server, as far as an address tells.
    func hasOrigin(of other: WebAddress) -> Bool { scheme == other.scheme && host == other.host && port == other.port }

    var isLoopback: Bool { isLoopbackHost(host) }
}

/// This machine by an address that no name service is asked for: `127.evil.example` is not.
func isLoopbackHost(_ host: String) -> Bool {
    if host == "localhost" || host == "[::1]" { return true }
    var address = in_addr()
    return inet_pton(AF_INET, host, &address) == 1 && UInt32(bigEndian: address.s_addr) >> 24 == 127
}

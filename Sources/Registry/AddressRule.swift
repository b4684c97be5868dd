// Which addresses a registry may lead to. A registry is somebody else's program, and the scheduler stands inside a
// site: what a redirect, a token service or a name server says must not make it talk to this machine's own services or
// to a cloud's metadata service.
import Glibc

/// What a connection may not be made to. Checked twice: by the address as it is written, and by the one that a name
/// turned out to be.
package struct AddressRule: Hashable, Sendable {
    /// This machine may be reached, because the registry itself is on it.
    let allowsLoopback: Bool
    /// The operator named this very host.
    let isTrusted: Bool

    package init(allowsLoopback: Bool, isTrusted: Bool) {
        self.allowsLoopback = allowsLoopback
        self.isTrusted = isTrusted
    }

    /// Addresses at which clouds tell a machine its secrets, besides the link-local ones: Alibaba, Azure, Oracle, AWS.
    private static let metadata = ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"]
        .compactMap(bytes(of:))

    /// What is wrong with a host as it is written; nil for names, which are judged when they are known.
    package func refusal(of host: String) -> String? {
        let plain = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        if plain == "localhost" { return allowsLoopback ? nil : Self.sentence(host, "this machine itself") }
        return Self.bytes(of: plain).flatMap { refusal(of: $0, shown: host) }
    }

    /// The same for an address that is about to be connected to.
    package func refusal(of address: UnsafePointer<sockaddr>) -> String? {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            let bytes = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                withUnsafeBytes(of: address.pointee.sin_addr) { Array($0) }
            }
            return refusal(of: bytes, shown: bytes.map(String.init).joined(separator: "."))
        case AF_INET6:
            let bytes = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                withUnsafeBytes(of: address.pointee.sin6_addr) { Array($0) }
            }
            return refusal(of: bytes, shown: "an IPv6 address")
        default: return nil
        }
    }

    private func refusal(of bytes: [UInt8], shown: String) -> String? {
        guard !isTrusted else { return nil }
        // An IPv4 address in IPv6 clothes.
        if bytes.count == 16, bytes.prefix(12).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]) {
            return refusal(of: Array(bytes.suffix(4)), shown: shown)
        }
        let isLinkLocal =
            bytes.count == 4 ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80
        if isLinkLocal || Self.metadata.contains(bytes) { return Self.sentence(shown, "a metadata service's") }
        let isOwn = bytes.count == 4 ? bytes[0] == 127 || bytes[0] == 0 : bytes.dropLast().allSatisfy { $0 == 0 }
        return isOwn && !allowsLoopback ? Self.sentence(shown, "this machine itself") : nil
    }

    private static func sentence(_ address: String, _ what: String) -> String { "it leads to \(address), \(what)" }

    private static func bytes(of text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
        var six = in6_addr()
        return inet_pton(AF_INET6, text, &six) == 1 ? withUnsafeBytes(of: six) { Array($0) } : nil
    }
}

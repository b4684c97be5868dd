// The network of an attempt with services: who has which address in it. One block of sixteen addresses out of those
// that RFC 2544 keeps for measurements, which no network between hosts uses.

package struct PrivateNetwork: Hashable, Sendable {
    /// The block's first address, in the host's byte order.
    package let base: UInt32
    package static let prefix = 28
    /// 198.18.0.0/15 in blocks.
    package static let blocks = 1 << 13

    /// Where nobody else can see it, any block will do.
    package static let hidden = PrivateNetwork(block: 0)

    /// - Parameter block: taken modulo ``blocks``.
    package init(block: Int) {
        base = 0xc612_0000 + UInt32(truncatingIfNeeded: block & (Self.blocks - 1)) * 16
    }

    /// Parses ``subnet``; nil for anything else.
    package init?(subnet: String) {
        let parts = subnet.split(separator: "/")
        let numbers = (parts.first ?? "").split(separator: ".").compactMap { UInt32($0) }
        guard parts.count == 2, parts[1] == "\(Self.prefix)", numbers.count == 4, numbers.allSatisfy({ $0 < 256 })
        else { return nil }
        let address = numbers.reduce(0) { $0 << 8 | $1 }
        self.init(block: Int(address & 0x1_ffff) / 16)
        guard base == address else { return nil }
    }

    /// The first address is the gateway's, which there is none of.
    package var task: UInt32 { base + 2 }
    /// - Parameter place: from 0, in order of the services' names.
    package func service(_ place: Int) -> UInt32 { task + 1 + UInt32(truncatingIfNeeded: place) }

    /// `198.18.0.0/28`.
    package var subnet: String { Self.text(base) + "/\(Self.prefix)" }

    package static func text(_ address: UInt32) -> String {
        [24, 16, 8, 0].map { String(address >> UInt32($0) & 0xff) }.joined(separator: ".")
    }
}

// Platforms: their names, what this machine is, and which manifest of an index is meant.
import JobModel

/// Names of platforms as containerd normalises them: what everybody has is not spelled out.
package enum Platform {
    static func name(os: String, architecture: String, variant: String?) -> String? {
        guard isWord(os), isWord(architecture), variant.map(isWord) ?? true else { return nil }
        let plain = os + "/" + architecture
        switch (architecture, variant) {
        case (_, nil), ("arm64", "v8"), ("amd64", "v1"): return plain
        case (_, let variant?): return plain + "/" + variant
        }
    }

    private static func isWord(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: ".")
                    || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
            }
    }

    /// The platform of this machine as the OCI image specification names it.
    package static var host: String {
        #if arch(arm64)
            "linux/arm64"
        #else
            "linux/amd64"
        #endif
    }

    /// `linux/arm` takes any variant; a variant takes what names none.
    package static func fits(_ offered: String, _ wanted: String) -> Bool {
        offered == wanted || offered.hasPrefix(wanted + "/") || wanted.hasPrefix(offered + "/")
    }

    /// The manifest of an index for a platform, that of this machine unless another is wanted.
    /// - Throws: ``OCIError/malformed(what:why:)`` that says what is offered.
    package static func choose(
        from manifests: [Descriptor], for platform: String?, named what: String
    ) throws(OCIError) -> Descriptor {
        let wanted = platform ?? host
        let candidates = manifests.filter { MediaType.accepted.contains($0.mediaType) }
        if let exact = candidates.first(where: { $0.platform == wanted }) { return exact }
        if let close = candidates.first(where: { $0.platform.map { fits($0, wanted) } ?? false }) { return close }
        if candidates.count == 1, candidates[0].platform == nil { return candidates[0] }
        let offered = candidates.compactMap(\.platform).prefix(20).joined(separator: ", ")
        let why = "it has nothing for \(wanted), only for \(offered.isEmpty ? "unnamed platforms" : offered)"
        throw OCIError.malformed(what: what, why: why)
    }
}

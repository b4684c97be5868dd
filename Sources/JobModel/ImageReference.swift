// Image references as Docker writes them: `python:3.12`, `ghcr.io/lab/stack:1`, `127.0.0.1:5000/a/b@sha256:…`.
// Grammar: github.com/distribution/reference. Here, not in OCI, because the spec parser must refuse a bad one with its
// line.

package struct ImageReference: Hashable, Sendable, CustomStringConvertible {
    /// `docker.io` where none was written.
    package let registry: String
    /// `library/python`, without the registry.
    package let repository: String
    package let tag: String?
    package let digest: Digest?
    /// Whether the text named the registry itself.
    package let namesRegistry: Bool

    package static let rule =
        "write [REGISTRY/]NAME[:TAG][@sha256:…], in lower case, for example python:3.12 or ghcr.io/lab/stack:1"

    /// Parses a reference of at most 512 bytes; nil for anything that the grammar does not allow.
    package init?(_ text: String) {
        guard text.utf8.count <= 512 else { return nil }
        var rest = Substring(text)
        if let at = rest.firstIndex(of: "@") {
            guard let digest = Digest(rest[rest.index(after: at)...]) else { return nil }
            self.digest = digest
            rest = rest[..<at]
        } else {
            digest = nil
        }
        let lastSlash = rest.lastIndex(of: "/") ?? rest.startIndex
        if let colon = rest[lastSlash...].firstIndex(of: ":") {
            let tag = String(rest[rest.index(after: colon)...])
            guard Self.isTag(tag) else { return nil }
            self.tag = tag
            rest = rest[..<colon]
        } else {
            tag = nil
        }
        let parts = rest.split(separator: "/", omittingEmptySubsequences: false)
        let first = parts.first ?? ""
        let hasHost = parts.count > 1 && (first.contains(".") || first.contains(":") || first == "localhost")
        if hasHost { guard Self.isHost(first) else { return nil } }
        let path = hasHost ? parts.dropFirst() : parts[...]
        guard !path.isEmpty, path.allSatisfy(Self.isPathPart) else { return nil }
        namesRegistry = hasHost
        registry = hasHost ? String(first) : "docker.io"
        let name = path.joined(separator: "/")
        repository = registry == "docker.io" && !name.contains("/") ? "library/" + name : name
    }

    /// The tag, `latest` where neither tag nor digest was written.
    package var tagOrLatest: String? { tag ?? (digest == nil ? "latest" : nil) }

    /// The whole reference: `docker.io/library/python:3.12`.
    package var description: String {
        registry + "/" + repository + (tagOrLatest.map { ":" + $0 } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    /// Without a digest, the name under which an imported image is kept.
    package var name: String { registry + "/" + repository + ":" + (tag ?? "latest") }

    private static func isTag(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 128, isWord(first) else { return false }
        return text.utf8.allSatisfy { isWord($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        isLowerOrDigit(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || byte == UInt8(ascii: "_")
    }

    private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isHost(_ text: Substring) -> Bool {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 { guard let port = UInt16(parts[1]), port > 0 else { return false } }
        return !parts[0].isEmpty && parts[0].utf8.count <= 253
            && parts[0].split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
                guard let first = label.utf8.first, let last = label.utf8.last else { return false }
                let isAlphanumeric = { (byte: UInt8) in isWord(byte) && byte != UInt8(ascii: "_") }
                return label.utf8.count <= 63 && isAlphanumeric(first) && isAlphanumeric(last)
                    && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
            }
    }

    /// Lower-case words, separated by `.`, `_`, `__` or dashes.
    private static func isPathPart(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last, isLowerOrDigit(first), isLowerOrDigit(last) else {
            return false
        }
        var separator: [UInt8] = []
        for byte in text.utf8 {
            if isLowerOrDigit(byte) {
                separator = []
                continue
            }
            guard byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-") else {
                return false
            }
            separator.append(byte)
            let allowed =
                separator.count == 1 || separator == Array("__".utf8)
                || separator.allSatisfy { $0 == UInt8(ascii: "-") }
            guard allowed else { return false }
        }
        return true
    }
}

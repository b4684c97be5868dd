// Where a slot's data lies: `volume/path` below a volume that workers offer, or an absolute host path that a worker
// allows.

/// The data that a slot is bound to at submission. May hold `${job.id}`, `${job.name}`, `${task.index}` and
/// `${params.…}`.
package struct Binding: Hashable, Sendable, CustomStringConvertible {
    package enum Root: Hashable, Sendable {
        case volume(VolumeName)
        /// An absolute path, which the worker must allow.
        case host
    }

    package let root: Root
    /// Below the volume (empty: the volume itself), or absolute for `.host`.
    package let path: String

    package init(root: Root, path: String) {
        self.root = root
        self.path = path
    }

    /// Parses `weather/2014`, `weather` or `/data/x`. Refuses empty parts, `.`, `..`, control characters and more than
    /// 4,096 bytes.
    package init?(_ text: String) {
        guard !text.isEmpty, text.utf8.count <= 4096, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
            return nil
        }
        let isHost = text.hasPrefix("/")
        var parts = text.dropFirst(isHost ? 1 : 0).split(separator: "/", omittingEmptySubsequences: false)
        if parts.count > 1, parts.last == "" { parts.removeLast() }
        guard parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else { return nil }
        if isHost {
            self.init(root: .host, path: "/" + parts.joined(separator: "/"))
        } else {
            guard let volume = VolumeName(rawValue: String(parts[0])) else { return nil }
            self.init(root: .volume(volume), path: parts.dropFirst().joined(separator: "/"))
        }
    }

    package static let rule = "write VOLUME, VOLUME/PATH or an absolute path, without '.' and '..'"

    package var description: String {
        switch root {
        case .volume(let volume): path.isEmpty ? volume.rawValue : "\(volume)/\(path)"
        case .host: path
        }
    }
}

extension Binding: Codable {
    package init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "a binding: \(Self.rule)") { Binding($0) }
    }
    package func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

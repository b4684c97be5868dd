// One walk through an image's layers, bottom up, for what its rules ask: set-user-ID files, locales, os-release, and
// how many files lie below each volume. Streams; nothing is unpacked. Bounded in bytes and entries.
import Foundation
import JobModel

package struct LayerSurvey: Sendable {
    /// Bytes of compressed layers that are read.
    package static let largest: Int64 = 8 << 30
    private static let mostEntries = 3_000_000
    private static let mostNamed = 10_000

    package var setuid: Set<String> = []
    /// `en_GB` of `usr/lib/locale/en_GB.utf8`.
    package var locales: Set<String> = []
    package var hasLocaleArchive = false
    package var release: Release?
    /// Why it is not whole.
    package var note: String?
    private let volumes: [String]
    private var counts: [String: Int] = [:]
    private var entries = 0

    /// - Parameter volumes: folders whose files are counted, as the configuration has them.
    package init(volumes: [String]) { self.volumes = volumes }

    package func files(below volume: String) -> Int { counts[volume] ?? 0 }

    /// What the distribution says of itself.
    package struct Release: Sendable {
        package var id: String
        package var version: String
        package var name: String

        package init(id: String, version: String, name: String) {
            self.id = id
            self.version = version
            self.name = name
        }

        init(_ text: String) {
            var values: [String: String] = [:]
            for line in text.split(separator: "\n").prefix(100) {
                let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2 else { continue }
                values[parts[0]] = parts[1].trimmingCharacters(in: CharacterSet(charactersIn: "\"' \r"))
            }
            self.init(
                id: values["ID"] ?? "", version: values["VERSION_ID"] ?? "",
                name: values["PRETTY_NAME"] ?? "\(values["ID"] ?? "") \(values["VERSION_ID"] ?? "")")
        }

        /// When its security updates end, where that is known: each distribution's own announcement, the long-term
        /// support of all included that costs nothing.
        package var end: Timestamp? {
            let parts = version.split(separator: ".")
            let name =
                ["alpine", "ubuntu"].contains(id) ? parts.prefix(2).joined(separator: ".") : String(parts.first ?? "")
            return Self.ends["\(id) \(name)"].flatMap { Timestamp($0 + "-01T00:00:00Z") }
        }

        private static let ends: [String: String] = [
            "debian 7": "2018-06", "debian 8": "2020-07", "debian 9": "2022-07", "debian 10": "2024-07",
            "debian 11": "2026-09", "debian 12": "2028-07", "debian 13": "2030-07", "ubuntu 14.04": "2019-05",
            "ubuntu 16.04": "2021-05", "ubuntu 18.04": "2023-06", "ubuntu 20.04": "2025-06", "ubuntu 22.04": "2027-05",
            "ubuntu 24.04": "2029-05", "centos 6": "2020-12", "centos 7": "2024-07", "centos 8": "2022-01",
            "rocky 8": "2029-06", "rocky 9": "2032-06", "almalinux 8": "2029-06", "almalinux 9": "2032-06",
            "alpine 3.15": "2023-11", "alpine 3.16": "2024-06", "alpine 3.17": "2024-12", "alpine 3.18": "2025-06",
            "alpine 3.19": "2025-12", "alpine 3.20": "2026-05", "alpine 3.21": "2026-12", "alpine 3.22": "2027-06",
        ]
    }

    // MARK: Reading

    /// Reads the layers, bottom first.
    /// - Throws: ``OCIError`` if one is missing or cannot be understood.
    package mutating func read(_ layers: [Descriptor], in store: ContentStore) throws(OCIError) {
        var size: Int64 = 0
        for layer in layers {
            size += layer.size
            guard size <= Self.largest else {
                note = "only the first \(ByteCount(bytes: Self.largest)) of its layers were looked at"
                return
            }
            guard store.size(of: layer.digest) != nil else { throw OCIError.blobMissing(layer.digest) }
            let reader = try ArchiveReader(
                path: store.path(of: layer.digest), named: "the layer \(layer.digest)", format: .tar)
            while let entry = try reader.next() {
                entries += 1
                guard entries <= Self.mostEntries else {
                    note = "only its first \(Self.mostEntries) files were looked at"
                    return
                }
                try take(entry, reader)
            }
        }
    }

    private mutating func take(_ entry: ArchiveReader.Entry, _ reader: ArchiveReader) throws(OCIError) {
        var path = entry.name
        while path.hasPrefix("/") { path.removeFirst() }
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        if name.hasPrefix(".wh.") { return hide(path, name) }
        setuid.remove(path)
        guard entry.isFile else { return }
        if entry.mode & 0o6000 != 0, setuid.count < Self.mostNamed { setuid.insert(path) }
        for volume in volumes where path.hasPrefix(volume.trimmingCharacters(in: ["/"]) + "/") {
            counts[volume, default: 0] += 1
        }
        if path == "usr/lib/locale/locale-archive" { hasLocaleArchive = true }
        if let found = path.firstMatch(of: #/^usr\/(lib|share)\/locale\/([A-Za-z_]{1,20})\.[A-Za-z0-9-]+\//#),
            locales.count < Self.mostNamed
        {
            locales.insert(String(found.2))
        }
        guard path == "etc/os-release" || path == "usr/lib/os-release", entry.size <= 1 << 16 else { return }
        var bytes: [UInt8] = []
        try reader.forEachPiece { (piece) throws(OCIError) in bytes += piece }
        release = Release(String(decoding: bytes, as: UTF8.self))
    }

    /// A whiteout: what lies there in the layers below is gone.
    private mutating func hide(_ path: String, _ name: String) {
        let folder = path.dropLast(name.count)
        let hidden = name == ".wh..wh..opq" ? String(folder) : String(folder + name.dropFirst(4))
        setuid = setuid.filter { $0 != hidden && !$0.hasPrefix(hidden.hasSuffix("/") ? hidden : hidden + "/") }
    }
}

/// The configuration and layers of an image, or of one platform of an index.
package struct LintedImage {
    package let configuration: LintedConfiguration
    package let layers: [Descriptor]
    package let platform: String?

    /// - Parameter platform: the wanted one; nil for this machine's, or else the first that is here.
    package init(_ digest: Digest, platform: String?, in store: ContentStore) throws(OCIError) {
        var (digest, platform, depth) = (digest, platform, 0)
        while true {
            let bytes = try store.read(digest, limit: Manifest.sizeLimit)
            switch try Manifest(bytes, named: "\(digest)") {
            case .image(_, let blob, let layers):
                let what = "the configuration \(blob.digest)"
                let json = try parseJSON(
                    try store.read(blob.digest, limit: ContentStore.configurationLimit),
                    limit: ContentStore.configurationLimit, named: what)
                configuration = LintedConfiguration(json)
                self.layers = layers
                self.platform = platform
                return
            case .index(_, let parts):
                let here = parts.filter { store.size(of: $0.digest) != nil }
                let wanted = platform ?? Platform.host
                guard depth < deepestIndex, let part = here.first(where: { $0.platform == wanted }) ?? here.first else {
                    throw OCIError.malformed(what: "the index \(digest)", why: "none of its images is in the archive")
                }
                (digest, platform, depth) = (part.digest, part.platform ?? platform, depth + 1)
            }
        }
    }
}

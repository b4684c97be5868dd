// `docker save` of one image: manifest.json names a configuration and layers, in order. The layers' digests are not
// those of the registry it came from, but the configuration pins their content by its diff ids, and each is checked.
import JobModel

extension ImageArchiveFile {
    private static let mostLayers = 1_000

    func importDockerArchive() throws(OCIError) -> Digest {
        let (configurationName, layerNames) = try dockerManifest()
        let configuration = try content(of: configurationName)
        let diffIDs = try diffIDs(in: configuration, configurationName)
        guard diffIDs.count == layerNames.count else {
            let why = "it names \(diffIDs.count) layers, manifest.json names \(layerNames.count)"
            throw OCIError.malformed(what: configurationName, why: why)
        }
        let stored = try storeMembers(try targets(of: Set(layerNames)))
        var layers: [Descriptor] = []
        for (name, diffID) in zip(layerNames, diffIDs) {
            guard let layer = stored[name] else { throw missing(name) }
            guard layer.content.diffID == diffID else {
                throw OCIError.mismatch(
                    what: "the layer \(name)", expected: "\(diffID)", found: "\(layer.content.diffID)")
            }
            layers.append(layer.descriptor)
        }
        return try putManifest(configuration: try store.put(configuration), layers: layers)
    }

    private func dockerManifest() throws(OCIError) -> (configuration: String, layers: [String]) {
        let bytes = try content(of: "manifest.json")
        let json = try parseJSON(bytes, limit: Manifest.sizeLimit, named: "manifest.json")
        func malformed(_ why: String) -> OCIError { .malformed(what: "manifest.json", why: why) }
        guard case .array(let images) = json else { throw malformed("it must be a list of images") }
        guard images.count == 1 else { throw malformed("it describes \(images.count) images: save one at a time") }
        guard case .string(let configuration) = images[0][key: "Config"] else {
            throw malformed("$[0].Config must be a string")
        }
        guard case .array(let values) = images[0][key: "Layers"], values.count <= Self.mostLayers else {
            throw malformed("$[0].Layers must be a list of at most \(Self.mostLayers) names")
        }
        var layers: [String] = []
        for (index, value) in values.enumerated() {
            guard case .string(let name) = value else { throw malformed("$[0].Layers[\(index)] must be a string") }
            layers.append(name)
        }
        return (configuration, layers)
    }

    private func diffIDs(in bytes: [UInt8], _ name: String) throws(OCIError) -> [Digest] {
        let json = try parseJSON(bytes, limit: ContentStore.configurationLimit, named: name)
        guard case .array(let values) = json[key: "rootfs"]?[key: "diff_ids"] else {
            throw OCIError.malformed(what: name, why: "$.rootfs.diff_ids must be a list")
        }
        var digests: [Digest] = []
        for (index, value) in values.enumerated() {
            guard case .string(let text) = value, let digest = Digest(text) else {
                throw OCIError.malformed(what: name, why: "$.rootfs.diff_ids[\(index)] must be a sha256 digest")
            }
            digests.append(digest)
        }
        return digests
    }

    /// Which member holds the content of each name: older versions link equal layers to one another.
    private func targets(of names: Set<String>) throws(OCIError) -> [String: String] {
        var targets: [String: String] = [:]
        let archive = try reader()
        while let entry = try archive.next() {
            guard names.contains(entry.name) else { continue }
            guard let link = entry.link else {
                targets[entry.name] = entry.name
                continue
            }
            // `../<id>/layer.tar` for symbolic links, a name from the top for hard ones.
            targets[entry.name] = link.hasPrefix("../") ? String(link.dropFirst(3)) : link
        }
        return targets
    }

    private struct StoredLayer {
        let descriptor: Descriptor
        let content: UncompressedLayer
    }

    /// Stores members whole, as they are.
    /// - Parameter targets: the member with the content, by name.
    private func storeMembers(_ targets: [String: String]) throws(OCIError) -> [String: StoredLayer] {
        let wanted = Set(targets.values)
        var stored: [String: StoredLayer] = [:]
        let archive = try reader()
        while let entry = try archive.next() {
            guard wanted.contains(entry.name), entry.isFile, entry.link == nil, stored[entry.name] == nil else {
                continue
            }
            let writer = try store.writer()
            try archive.forEachPiece { (piece) throws(OCIError) in try writer.write(piece) }
            let size = writer.size
            let digest = try writer.commit(expecting: nil, size: entry.size)
            let what = "the layer \(entry.name)"
            let content = try UncompressedLayer(path: store.path(of: digest), named: what)
            guard let type = content.compression.layerType else {
                throw OCIError.malformed(what: what, why: "its compression cannot be used: only gzip, zstd or none can")
            }
            stored[entry.name] = StoredLayer(
                descriptor: Descriptor(mediaType: type, digest: digest, size: size), content: content)
        }
        return targets.compactMapValues { stored[$0] }
    }
}

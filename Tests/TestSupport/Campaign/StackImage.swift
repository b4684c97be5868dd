// An image of a campaign: Debian's static busybox below, and layers of bytes that nobody else has, each in a file. What
// a job prints of those files shows that every byte arrived.
import Foundation
import JobModel

/// An image as an OCI layout, and what the archive must have of it.
package struct StackImage: Sendable {
    package struct Blob: Hashable, Sendable {
        package let digest: Digest
        package let size: Int
    }

    package let name: String
    /// As skopeo names it.
    package let source: String
    package let manifest: Blob
    package let configuration: Blob
    package let layers: [Blob]
    /// What its job prints: the digest and the name of each of its files.
    package let output: String
    package let command: [String]
    private let folder: String

    package var blobs: [Blob] { [manifest, configuration] + layers }

    /// - Parameters:
    ///   - sizes: bytes of the layers above busybox.
    ///   - base: a tar file of a root file system.
    package init(
        _ name: String, sizes: [Int], base: String, in folder: String, _ numbers: inout SeededNumbers
    ) async throws {
        self.name = name
        self.folder = "\(folder)/\(name)"
        source = "oci:\(self.folder):image"
        let layout = self.folder
        try FileManager.default.createDirectory(atPath: layout + "/blobs/sha256", withIntermediateDirectories: true)
        func put(_ bytes: Data) throws -> Blob {
            let digest = Digest(of: [UInt8](bytes))
            try bytes.write(to: URL(filePath: "\(layout)/blobs/sha256/\(digest.hex)"))
            return Blob(digest: digest, size: bytes.count)
        }
        var layers = [try put(try Data(contentsOf: URL(filePath: base)))]
        var lines: [String] = []
        var command = ["/bin/busybox", "sha256sum"]
        for (index, size) in sizes.enumerated() {
            let file = "data-\(index)"
            let content = Self.noise(size, &numbers)
            try Data(content).write(to: URL(filePath: "\(layout)/\(file)"))
            let packed = try await runProcess(
                "tar", ["--owner=0", "--group=0", "--mtime=@0", "-C", layout, "-cf", layout + "/layer.tar", file])
            guard packed.exitCode == 0 else { throw ProcessFailure(description: "tar: \(packed)") }
            layers.append(try put(try Data(contentsOf: URL(filePath: layout + "/layer.tar"))))
            lines.append("\(Digest(of: content).hex)  /\(file)")
            command.append("/" + file)
            for used in [file, "layer.tar"] { try FileManager.default.removeItem(atPath: "\(layout)/\(used)") }
        }
        let ids = layers.map { "\"\($0.digest)\"" }.joined(separator: ",")
        let architecture = EngineTestImage.architecture
        configuration = try put(
            Data(
                #"{"architecture":"\#(architecture)","os":"linux","rootfs":{"type":"layers","diff_ids":[\#(ids)]}}"#
                    .utf8))
        let type = "application/vnd.oci.image"
        let parts = layers.map { Self.descriptor("\(type).layer.v1.tar", $0) }.joined(separator: ",")
        manifest = try put(
            Data(
                #"{"schemaVersion":2,"mediaType":"\#(type).manifest.v1+json","config":\#(Self.descriptor("\(type).config.v1+json", configuration)),"layers":[\#(parts)]}"#
                    .utf8))
        let index = Self.descriptor(
            "\(type).manifest.v1+json", manifest,
            more: #","annotations":{"org.opencontainers.image.ref.name":"image"}"#)
        try Data(#"{"schemaVersion":2,"manifests":[\#(index)]}"#.utf8).write(to: URL(filePath: layout + "/index.json"))
        try Data(#"{"imageLayoutVersion":"1.0.0"}"#.utf8).write(to: URL(filePath: layout + "/oci-layout"))
        self.layers = layers
        self.command = command
        output = lines.joined(separator: "\n")
    }

    private static func descriptor(_ type: String, _ blob: Blob, more: String = "") -> String {
        #"{"mediaType":"\#(type)","digest":"\#(blob.digest)","size":\#(blob.size)\#(more)}"#
    }

    /// Bytes that do not compress.
    private static func noise(_ size: Int, _ numbers: inout SeededNumbers) -> [UInt8] {
        let words = (0..<(size + 7) / 8).map { _ in numbers.next() }
        return words.withUnsafeBytes { Array($0.prefix(size)) }
    }

    package func remove() { removeFolder(folder) }
}

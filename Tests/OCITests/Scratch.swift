// What the tests of this folder share: a folder that goes away, a content store in it, small images as values.
import Foundation
import JobModel
import OCI
import Registry
import Synchronization
import TestSupport
import Testing

struct Scratch: Sendable {
    let folder: String

    static func with(_ body: (Scratch) async throws -> Void) async throws {
        let folder = try temporaryFolder("oci")
        defer { removeFolder(folder) }
        try await body(Scratch(folder: folder))
    }

    /// The store in the folder; opened anew, it finds what was left.
    func store(_ name: String = "store") throws -> ContentStore { try ContentStore(directory: folder + "/" + name) }

    func shell(_ script: String) async throws {
        let result = try await runProcess("sh", ["-ec", script], folder: folder)
        guard result.exitCode == 0 else { throw Unexpected(description: "\(script): \(result)") }
    }

    func write(_ text: String, to name: String) throws {
        try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8)
    }

    func credentials(_ text: String) throws -> RegistryCredentials {
        try write(text, to: "config.json")
        return RegistryCredentials(file: folder + "/config.json")
    }

    /// A root file system with Debian's busybox, as `rootfs.tar`.
    func makeRootFileSystem() async throws {
        try await shell(
            """
            mkdir -p rootfs/bin rootfs/etc; cp /bin/busybox rootfs/bin/busybox; ln -sf busybox rootfs/bin/sh
            echo one > rootfs/etc/marker; echo x > 'rootfs/etc/Főtanúsítvány.crt'
            tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=pax -C rootfs -cf rootfs.tar .
            """)
    }

    /// The image of `rootfs.tar`, also as the OCI layout `layout` with the tag `test`, for skopeo to read.
    func imported() async throws -> (StoredImage, ContentStore) {
        try await makeRootFileSystem()
        let store = try store("imported")
        let image = try importImage(archive: folder + "/rootfs.tar", into: store)
        let manifest = try store.read(image.digest, limit: Manifest.sizeLimit)
        guard case .image(_, let configuration, _) = try Manifest(manifest, named: "layout") else {
            throw Unexpected(description: "not one image")
        }
        var blobs: [[UInt8]] = []
        for digest in [image.digest, configuration.digest] + image.layers {
            blobs.append(try store.read(digest, limit: 1 << 30))
        }
        try writeLayout("layout", blobs: blobs, images: [(image.mediaType, manifest)])
        return (image, store)
    }

    /// An OCI layout; the tag `test` points to its first image.
    func writeLayout(_ name: String, blobs: [[UInt8]], images: [(type: String, bytes: [UInt8])]) throws {
        let folder = "\(name)/blobs/sha256"
        try FileManager.default.createDirectory(atPath: self.folder + "/" + folder, withIntermediateDirectories: true)
        for bytes in blobs {
            try Data(bytes).write(to: URL(filePath: "\(self.folder)/\(folder)/\(Digest(of: bytes).hex)"))
        }
        let entries = images.enumerated().map { index, image in
            let tag = index == 0 ? #","annotations":{"org.opencontainers.image.ref.name":"test"}"# : ""
            return
                #"{"mediaType":"\#(image.type)","digest":"\#(Digest(of: image.bytes))","size":\#(image.bytes.count)\#(tag)}"#
        }
        try write(#"{"schemaVersion":2,"manifests":[\#(entries.joined(separator: ","))]}"#, to: name + "/index.json")
        try write(#"{"imageLayoutVersion":"1.0.0"}"#, to: name + "/oci-layout")
    }

    /// An OCI layout of images that are not for running, one for each platform.
    func writeLayout(_ name: String, of images: [SmallImage]) throws {
        try writeLayout(
            name, blobs: images.flatMap { [$0.manifest, $0.configuration, $0.layer] },
            images: images.map { (MediaType.manifest, $0.manifest) })
    }
}

struct Unexpected: Error, CustomStringConvertible {
    let description: String
}

/// An image that exists only as bytes, for servers that serve it badly.
struct SmallImage: Sendable {
    let layer: [UInt8]
    let configuration: [UInt8]
    let manifest: [UInt8]
    var layerDigest: Digest { Digest(of: layer) }
    var digest: Digest { Digest(of: manifest) }

    /// - Parameter size: of its layer, which is no tar: nobody unpacks it here.
    init(layerSize size: Int = 100_000, platform: (String, String) = ("linux", "amd64")) {
        layer = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        configuration = Array(
            #"{"os":"\#(platform.0)","architecture":"\#(platform.1)","rootfs":{"type":"layers","diff_ids":[]}}"#.utf8)
        manifest = Manifest.imageBytes(
            configuration: Descriptor(
                mediaType: MediaType.configuration, digest: Digest(of: configuration),
                size: Int64(configuration.count)),
            layers: [Descriptor(mediaType: MediaType.layer, digest: Digest(of: layer), size: Int64(layer.count))])
    }

    /// What an honest registry answers.
    func reply(to request: ScriptedServer.Request) -> ScriptedServer.Reply {
        let name = request.path.split(separator: "/").last.map(String.init) ?? ""
        switch name {
        case "latest", digest.description: return .init(200, manifest, headers: ["Content-Type": MediaType.manifest])
        case Digest(of: configuration).description: return .init(200, configuration)
        case layerDigest.description: return layer(from: request)
        default: return .init(404, #"{"errors":[{"code":"UNKNOWN","message":"no such thing"}]}"#)
        }
    }

    /// The layer, or the range of it that was asked for.
    func layer(from request: ScriptedServer.Request) -> ScriptedServer.Reply {
        guard let range = request.headers["range"], let start = Int(range.dropFirst("bytes=".count).dropLast()) else {
            return .init(200, layer)
        }
        return .init(
            206, Array(layer[start...]), headers: ["Content-Range": "bytes \(start)-\(layer.count - 1)/\(layer.count)"])
    }
}

extension RegistryTimeouts {
    /// For servers that are slow on purpose.
    static var short: RegistryTimeouts {
        var timeouts = RegistryTimeouts()
        timeouts.stall = 1
        timeouts.small = 2
        timeouts.patience = 3
        return timeouts
    }
}

/// Adds up what is reported from any thread.
final class Counter: Sendable {
    private let value = Mutex<Int64>(0)
    var total: Int64 { value.withLock { $0 } }
    func add(_ more: Int64) { value.withLock { $0 += more } }
}

/// The sentence of the error that `body` ends with.
func refusal(_ body: () async throws -> Void) async -> String {
    do {
        try await body()
        return "(it was accepted)"
    } catch {
        return "\(error)"
    }
}

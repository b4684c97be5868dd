// Images of any layers, and a source that serves them from memory and can be told to misbehave.
import Foundation
import JobModel
import OCI
import Synchronization
import TestSupport

/// An image whose blobs are in memory.
struct LayerImage: Sendable {
    var blobs: [Digest: [UInt8]] = [:]
    var digest: Digest
    var layers: [Descriptor] = []
    var pinned: PinnedImage { PinnedImage(digest: digest, platform: nil) }

    /// - Parameters:
    ///   - layers: the blob, and the content if the blob is compressed; the lowest first.
    ///   - diffIDs: to claim others than the true ones.
    init(
        _ layers: [(blob: [UInt8], content: [UInt8]?)], diffIDs: [Digest]? = nil,
        platform: (String, String) = ("linux", "amd64"), config: String = #"{"Env":["PATH=/bin"],"WorkingDir":"/w"}"#
    ) {
        let ids = diffIDs ?? layers.map { Digest(of: $0.content ?? $0.blob) }
        let list = ids.map { #""\#($0)""# }.joined(separator: ",")
        let configuration =
            Array(
                #"{"os":"\#(platform.0)","architecture":"\#(platform.1)","config":\#(config),"#.utf8)
            + Array(#""rootfs":{"type":"layers","diff_ids":[\#(list)]}}"#.utf8)
        for layer in layers {
            let digest = Digest(of: layer.blob)
            blobs[digest] = layer.blob
            self.layers.append(
                Descriptor(mediaType: MediaType.layer, digest: digest, size: Int64(layer.blob.count)))
        }
        let manifest = Manifest.imageBytes(
            configuration: Descriptor(
                mediaType: MediaType.configuration, digest: Digest(of: configuration),
                size: Int64(configuration.count)),
            layers: self.layers)
        digest = Digest(of: manifest)
        blobs[Digest(of: configuration)] = configuration
        blobs[digest] = manifest
    }

    init(_ tars: TarFile...) { self.init(tars.map { ($0.closed, nil) }) }

    /// An index of images for several platforms.
    init(index images: [(LayerImage, platform: String)]) {
        let entries = images.map { image, platform in
            let parts = platform.split(separator: "/")
            return #"{"mediaType":"\#(MediaType.manifest)","digest":"\#(image.digest)","#
                + #""size":\#(image.blobs[image.digest]?.count ?? 0),"#
                + #""platform":{"os":"\#(parts[0])","architecture":"\#(parts[1])"}}"#
        }
        let bytes = Array(
            #"{"schemaVersion":2,"mediaType":"\#(MediaType.index)","manifests":[\#(entries.joined(separator: ","))]}"#
                .utf8)
        digest = Digest(of: bytes)
        blobs[digest] = bytes
        for (image, _) in images { blobs.merge(image.blobs) { $1 } }
    }

    /// One layer with one file of `size` bytes, different for each `seed`.
    static func small(_ seed: Int, size: Int = 1000) -> LayerImage {
        var tar = TarFile()
        tar.add("file\(seed)", "0", String(repeating: "\(seed % 10)", count: size))
        return LayerImage(tar)
    }
}

/// Serves blobs; counts what is streamed.
final class MemorySource: LayerSource {
    private let blobs: [Digest: [UInt8]]
    private let counts = Mutex<[Digest: Int]>([:])
    private let piece: Int
    /// Called before each piece with the bytes sent so far.
    private let before: @Sendable (Digest, Int) async throws(OCIError) -> Void

    init(
        _ images: LayerImage..., piece: Int = 1 << 16,
        before: @escaping @Sendable (Digest, Int) async throws(OCIError) -> Void = { (_, _) async throws(OCIError) in }
    ) {
        blobs = images.reduce(into: [:]) { $0.merge($1.blobs) { $1 } }
        self.piece = piece
        self.before = before
    }

    /// How often each blob was streamed.
    func streams(of digest: Digest) -> Int { counts.withLock { $0[digest] ?? 0 } }

    func manifest(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8] {
        try await blob(digest, limit: limit)
    }

    func blob(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8] {
        guard let bytes = blobs[digest] else { throw OCIError.blobMissing(digest) }
        return bytes
    }

    func stream(
        _ descriptor: Descriptor, to receive: @Sendable ([UInt8]) async throws(OCIError) -> Void
    ) async throws(OCIError) {
        guard let bytes = blobs[descriptor.digest] else { throw OCIError.blobMissing(descriptor.digest) }
        counts.withLock { $0[descriptor.digest, default: 0] += 1 }
        var done = 0
        repeat {
            if Task.isCancelled { throw OCIError.cancelled }
            try await before(descriptor.digest, done)
            let next = Array(bytes[done..<min(done + piece, bytes.count)])
            try await receive(next)
            done += next.count
        } while done < bytes.count
    }
}

extension Scratch {
    /// A layer store in the folder.
    func layers(
        _ name: String = "layers", budget: Int64 = 1 << 40, limits: LayerLimits = LayerLimits()
    ) throws -> LayerStore {
        try LayerStore(directory: folder + "/" + name, budget: ByteCount(bytes: budget), limits: limits)
    }

    /// The same store once the one before has let go of it.
    func reopened(budget: Int64) async throws -> LayerStore {
        var store: LayerStore?
        try await eventually("the store is free") {
            do {
                store = try layers(budget: budget)
                return true
            } catch OCIError.refused {
                return false
            }
        }
        guard let store else { throw Unexpected(description: "no store") }
        return store
    }

    /// What `script` prints inside the mounted image, in a mount namespace of its own.
    func inside(_ root: RootFilesystem, _ script: String) async throws -> String {
        let options = root.form == .user ? ",userxattr" : ""
        let mount = """
            mkdir -p \(folder)/merged
            mount -t overlay overlay -o ro\(options),lowerdir=\(root.layers.joined(separator: ":")) \(folder)/merged
            cd \(folder)/merged; \(script)
            """
        let result = try await runProcess("unshare", ["-m", "--propagation", "private", "sh", "-ec", mount])
        guard result.exitCode == 0 else { throw Unexpected(description: "\(result)") }
        return result.line
    }

    /// Every file of a tree with all that a container could see of it.
    static let listing = """
        find . -mindepth 1 \\( -type d -printf '%P %y %m %U:%G %T@\\n' \\) -o \
        -printf '%P %y %m %U:%G %T@ %n %s %l\\n' | sort; find . -type f | sort | xargs -r sha256sum
        """

    func names(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: self.folder + "/" + folder).sorted()
    }

    func compressed(_ bytes: [UInt8], with program: String) async throws -> [UInt8] {
        let name = folder + "/plain-\(UInt32.random(in: 0 ... .max))"
        try Data(bytes).write(to: URL(filePath: name))
        try await shell("\(program) < \(name) > \(name).out")
        return Array(try Data(contentsOf: URL(filePath: name + ".out")))
    }
}

// An image layer of about 300 MB, unpacked into the worker's layer store: both digests verified and everything on disk,
// beside tar, which verifies nothing, and sync.
import Foundation
import JobModel
import OCI

struct LayerBenchmark {
    let settings: Settings
    /// Folders of this machine that look like an image's.
    private static let content = [
        "usr/share/perl", "usr/share/zoneinfo", "usr/sbin", "usr/include", "usr/share/locale", "usr/lib/python3",
    ]

    func run() async throws -> [Figure] {
        let folder = try settings.scratch.folder("layers")
        let tar = folder + "/plain.tar"
        let present = Self.content.filter { FileManager.default.fileExists(atPath: "/" + $0) }
        try shell("tar -C / --numeric-owner -cf \(tar) \(present.joined(separator: " "))")
        let diffID = try digest(of: tar)
        var figures: [Figure] = []
        for (name, program) in [("none", "cat"), ("gzip", "gzip -n1"), ("zstd", "zstd -q")] {
            let blob = folder + "/layer." + name
            try shell("\(program) < \(tar) > \(blob)")
            let unpacked = try await unpack(blob, diffID, into: folder + "/store")
            let start = ContinuousClock.now
            try shell("mkdir \(folder)/tar; tar -C \(folder)/tar --numeric-owner -xf \(blob); sync -f \(folder)")
            let baseline = (ContinuousClock.now - start) / .milliseconds(1)
            try shell("rm -r \(folder)/tar \(folder)/store")
            figures.append(
                Figure(
                    name: "unpack \(try size(of: tar) / 1_000_000) MB, \(name)", value: unpacked, unit: "ms",
                    baseline: .init(name: "tar -xf, sync", value: baseline)))
        }
        return figures
    }

    private func unpack(_ blob: String, _ diffID: Digest, into directory: String) async throws -> Double {
        let source = FileSource(path: blob, digest: try digest(of: blob), size: try size(of: blob), diffID: diffID)
        let store = try LayerStore(directory: directory, budget: ByteCount(bytes: 1 << 40))
        try shell("sync")
        let start = ContinuousClock.now
        let (_, lease) = try await store.prepare(source.image, from: source)
        defer { lease.release() }
        return (ContinuousClock.now - start) / .milliseconds(1)
    }

    private func size(of path: String) throws -> Int64 {
        try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int64 ?? 0
    }

    private func digest(of path: String) throws -> Digest {
        var builder = DigestBuilder()
        let file = try FileHandle(forReadingFrom: URL(filePath: path))
        while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty { builder.update(Array(piece)) }
        return builder.finish()
    }

    private func shell(_ script: String) throws {
        let id = try spawn("/bin/sh", ["-ec", script], environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"])
        var status: Int32 = 0
        guard waitpid(id, &status, 0) == id, status == 0 else { throw BenchFailure("\(script) ended with \(status)") }
    }
}

/// An image of one layer that is a file.
private struct FileSource: LayerSource {
    let path: String
    let small: [Digest: [UInt8]]
    let image: PinnedImage

    init(path: String, digest: Digest, size: Int64, diffID: Digest) {
        self.path = path
        let configuration = Array(#"{"rootfs":{"type":"layers","diff_ids":["\#(diffID)"]}}"#.utf8)
        let manifest = Manifest.imageBytes(
            configuration: OCI.Descriptor(
                mediaType: MediaType.configuration, digest: Digest(of: configuration),
                size: Int64(configuration.count)),
            layers: [OCI.Descriptor(mediaType: MediaType.layer, digest: digest, size: size)])
        small = [Digest(of: configuration): configuration, Digest(of: manifest): manifest]
        image = PinnedImage(digest: Digest(of: manifest), platform: nil)
    }

    func manifest(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8] {
        try await blob(digest, limit: limit)
    }

    func blob(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8] {
        guard let bytes = small[digest] else { throw OCIError.blobMissing(digest) }
        return bytes
    }

    func stream(
        _ descriptor: OCI.Descriptor, to receive: @Sendable ([UInt8]) async throws(OCIError) -> Void
    ) async throws(OCIError) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
        defer { close(file) }
        while true {
            let piece = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
                count = max(0, read(file, buffer.baseAddress, buffer.count))
            }
            if piece.isEmpty { return }
            try await receive(piece)
        }
    }
}

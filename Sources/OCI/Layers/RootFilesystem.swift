// What an image is to whoever runs a container of it: unpacked layers to lay over one another, and what its
// configuration says. Values only; the store that makes them is LayerStore.swift.
import JobModel

/// An unpacked image. Mount it with overlayfs, read-only or with a writable folder above:
///
///     mount -t overlay overlay -o ro,lowerdir=A:B:C    layers joined with colons; userxattr for OverlayForm.user
///
/// The root folder of the mount looks as the topmost folder does. Options must fit into a page: beyond 70 layers or so
/// mount from within the store's folder by relative paths, or add each with fsconfig's `lowerdir+` (Linux 6.5).
package struct RootFilesystem: Codable, Hashable, Sendable {
    /// Absolute folders, the top one first, as overlayfs wants `lowerdir`; at least two, as it wants as well. Paths are
    /// short and hold no character that `lowerdir` would need escaped. Fewer than `diffIDs` where a layer hides all
    /// below it or stands twice.
    package var layers: [String]
    /// What to hold for as long as the layers are in use (``LayerStore/hold(_:)``): all layers, the lowest first.
    package var diffIDs: [Digest]
    /// The image manifest of the platform that was chosen; that of the image itself unless it is an index.
    package var manifest: Digest
    /// `linux/amd64`; nil where the image does not say.
    package var platform: String?
    /// How whiteouts are written down: ``OverlayForm/user`` needs the mount option `userxattr`.
    package var form: OverlayForm
    package var configuration: ImageConfiguration
}

/// How overlayfs finds what a layer hides.
package enum OverlayForm: String, Codable, Hashable, Sendable {
    /// `trusted.overlay.opaque`; for an agent that is root of the machine.
    case trusted
    /// `user.overlay.opaque`; for any other (Linux 5.11, mount option `userxattr`; fuse-overlayfs reads it too).
    case user
}

/// What of an image's configuration a container may use. `USER`, `VOLUME`, `HEALTHCHECK`, `STOPSIGNAL` and
/// `ENTRYPOINT` are not here: no container of ours obeys them (DESIGN section 5).
package struct ImageConfiguration: Codable, Hashable, Sendable {
    /// `NAME=value`, in the image's order.
    package var environment: [String]
    /// Nil or empty where the image has none.
    package var workingDirectory: String?

    package init(environment: [String], workingDirectory: String?) {
        self.environment = environment
        self.workingDirectory = workingDirectory
    }

    /// The value of a variable; the last wins, as with execve.
    package subscript(variable name: String) -> String? {
        environment.last { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.utf8.count + 1)) }
    }
}

/// Where the blobs of an image come from. Everything is asked by digest, and what comes is verified by the caller.
package protocol LayerSource: Sendable {
    /// The whole manifest or index.
    /// - Throws: ``OCIError/blobMissing(_:)`` if there is none, ``OCIError/tooLarge(what:limit:)``,
    ///   ``OCIError/archiveUnreachable(why:)`` after its own patience.
    func manifest(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8]
    /// The whole of a small blob.
    func blob(_ digest: Digest, limit: Int) async throws(OCIError) -> [UInt8]
    /// The bytes of a blob in order, to their end, each piece once `receive` has taken the one before. A broken
    /// connection is resumed here, not by the caller.
    /// - Throws: also what `receive` throws, at once.
    func stream(
        _ descriptor: Descriptor, to receive: @Sendable ([UInt8]) async throws(OCIError) -> Void
    ) async throws(OCIError)
}

/// What a layer may be at most. Beyond it, it is refused: a small blob must not fill the disk.
package struct LayerLimits: Hashable, Sendable {
    package var entries = 4_000_000
    /// The sizes of all files, also of those that are mostly holes.
    package var bytes = ByteCount(bytes: 128 << 30)
    /// How many times its own size a layer may unpack to. gzip reaches 1,000 on nothing but zeros.
    package var ratio: Int64 = 200
    /// What any layer may unpack to, however small it is.
    package var ratioFloor = ByteCount(bytes: 1 << 30)
    package init() {}
}

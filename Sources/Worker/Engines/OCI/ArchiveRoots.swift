// The engine's root file systems from the worker's layer store, filled from the scheduler's archive.
import JobModel
import OCI

/// Images by digest, unpacked once for all attempts.
package struct ArchiveRoots: RootSource {
    private let store: LayerStore
    private let source: any LayerSource

    package init(store: LayerStore, source: any LayerSource) {
        self.store = store
        self.source = source
    }

    package func root(of image: PinnedImage) async throws(EngineError) -> (root: RootFilesystem, lease: LayerLease) {
        do throws(OCIError) {
            return try await store.prepare(image, from: source)
        } catch {
            // What may pass by itself is no verdict on the image.
            guard !error.isTransient else { throw EngineError.unavailable("\(error)") }
            throw EngineError.image("the image \(image.digest) cannot be unpacked: \(error)")
        }
    }

    package func hold(_ diffIDs: [Digest]) -> LayerLease { store.hold(diffIDs) }
}

extension RootSource {
    /// The manifest of the image for this host, after making sure that all of it is unpacked.
    func manifest(of image: PinnedImage) async throws(EngineError) -> Digest {
        let (root, lease) = try await root(of: image)
        lease.release()
        return root.manifest
    }
}

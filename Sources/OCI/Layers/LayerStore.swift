// The worker's unpacked layers.
import JobModel

package final class LayerStore: Sendable {
    package init(
        directory: String, budget: ByteCount, limits: LayerLimits = LayerLimits(), form: OverlayForm? = nil
    ) throws(OCIError) {}

    /// Makes sure that every layer of the image is unpacked, and holds them.
    package func prepare(
        _ image: PinnedImage, from source: any LayerSource
    ) async throws(OCIError) -> (root: RootFilesystem, lease: LayerLease) { throw OCIError.cancelled }

    /// Holds layers that attempts of an earlier life of the agent use.
    package func hold(_ diffIDs: [Digest]) -> LayerLease { LayerLease {} }

    /// Removes the least recently used layers until the budget is met; never one in use.
    package func trim() async {}
}

/// Keeps layers from being removed, until it is released or dropped.
package final class LayerLease: Sendable {
    private let end: @Sendable () -> Void
    init(_ end: @escaping @Sendable () -> Void) { self.end = end }
    package func release() { end() }
    deinit { end() }
}

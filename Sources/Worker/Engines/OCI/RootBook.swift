// The unpacked images that the engine has used last, each held so that the next container of it starts at once.
import JobModel
import OCI

actor RootBook {
    private let source: any RootSource
    private var known: [PinnedImage: (root: RootFilesystem, lease: LayerLease)] = [:]
    /// The least recently used first.
    private var order: [PinnedImage] = []
    private static let limit = 16

    init(source: any RootSource) { self.source = source }

    func root(of image: PinnedImage) async throws(EngineError) -> RootFilesystem {
        if let found = known[image] {
            if order.last != image {
                order.removeAll { $0 == image }
                order.append(image)
            }
            return found.root
        }
        let found = try await source.root(of: image)
        if known.updateValue(found, forKey: image) == nil { order.append(image) }
        while order.count > Self.limit { known.removeValue(forKey: order.removeFirst())?.lease.release() }
        return found.root
    }
}

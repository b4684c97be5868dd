// Which images this worker has prepared of late: the scheduler prefers a worker that need not fetch one. A hint that
// outlives the agent; whether an image is really there shows when it is needed.
import Foundation
import JobModel
import Synchronization

package final class PreparedImages: Sendable {
    private struct Pages {
        /// The one used last stands last.
        var images: [Digest]
        var changes = 0
    }

    private let file: String
    private let pages: Mutex<Pages>

    /// A file that cannot be read counts as empty.
    package init(file: String) {
        self.file = file
        let text = FileManager.default.contents(atPath: file).map {
            String(decoding: $0.prefix(1 << 20), as: UTF8.self)
        }
        let images = (text ?? "").split(separator: "\n").compactMap { Digest(String($0)) }
        pages = Mutex(Pages(images: images.suffix(SyncRequest.mostImages)))
    }

    /// The images, and a number that rises when they change.
    var entries: (images: [Digest], changes: Int) { pages.withLock { ($0.images, $0.changes) } }

    func prepared(_ image: Digest) {
        pages.withLock { pages in
            guard pages.images.last != image else { return }
            let isNew = !pages.images.contains(image)
            pages.images.removeAll { $0 == image }
            pages.images = (pages.images + [image]).suffix(SyncRequest.mostImages)
            guard isNew else { return }
            pages.changes += 1
            let text = pages.images.map { "\($0)\n" }.joined()
            // allowed: without the file the next life of the agent knows of no image
            try? text.write(toFile: file, atomically: true, encoding: .utf8)
        }
    }
}

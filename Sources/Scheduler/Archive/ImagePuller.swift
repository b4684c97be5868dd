// Fetches the images that accepted jobs wait for: each digest once for the whole cluster, two at a time, again after a
// failure with a longer pause, and anew after a restart. When it gives up, the jobs that wait are held with the reason.
import JobModel
import Logging
import OCI
import Registry
import SchedulingCore
import ServiceLifecycle
import Synchronization

package final class ImagePuller: Service, Sendable {
    package struct Wanted: Hashable, Sendable {
        let reference: ImageReference
        let image: PinnedImage
    }

    /// Pulls at the same time.
    private static let parallelism = 2
    /// Pauses between attempts; after the last one the image has failed.
    private static let pauses: [Duration] = [.seconds(1), .seconds(5), .seconds(20), .seconds(60)]

    private let store: Store
    private let loop: SchedulerLoop
    private let archive: ImageArchive
    private let content: ContentStore
    private let registry: RegistryClient
    private let logger: Logger
    private let underway = Mutex<Set<PinnedImage>>([])
    private let queue: AsyncStream<Wanted>
    private let enqueue: AsyncStream<Wanted>.Continuation

    package init(
        store: Store, loop: SchedulerLoop, archive: ImageArchive, content: ContentStore, registry: RegistryClient,
        logger: Logger
    ) {
        self.store = store
        self.loop = loop
        self.archive = archive
        self.content = content
        self.registry = registry
        self.logger = logger
        (queue, enqueue) = AsyncStream.makeStream()
    }

    /// Asks for an image, after the job that needs it was accepted. Asking twice changes nothing.
    func want(_ wanted: Wanted) {
        guard underway.withLock({ $0.insert(wanted.image).inserted }) else { return }
        enqueue.yield(wanted)
    }

    /// Asks for every image that jobs wait for.
    func resume() async throws {
        var missing = Set(try await loop.query { $0.imagesWaitedFor })
        var cursor: String?
        repeat {
            guard !missing.isEmpty else { return }
            let page = try store.jobs(JobQuery(limit: 1000, cursor: cursor, state: .waiting))
            for job in page.jobs where !missing.isDisjoint(with: job.imageDigests) {
                guard let record = try store.record(of: job.id) else { continue }
                for (text, image) in record.images {
                    guard let reference = ImageReference(text), missing.remove(image.digest) != nil else { continue }
                    want(Wanted(reference: reference, image: image))
                }
            }
            cursor = page.next
        } while cursor != nil
    }

    package func run() async throws {
        try await resume()
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<Self.parallelism {
                    group.addTask { for await wanted in self.queue { await self.fetch(wanted) } }
                }
                group.addTask { await self.lookAgain() }
            }
        }
    }

    /// What was forgotten because its outcome could not be written down, while the disk was full, is asked for again.
    private func lookAgain() async {
        while !Task.isCancelled {
            do {
                try await Task.sleep(for: .seconds(60))
                try await resume()
            } catch is CancellationError {
                return
            } catch {
                logger.warning("The images that jobs wait for are unknown", metadata: ["error": "\(error)"])
            }
        }
    }

    private func fetch(_ wanted: Wanted) async {
        defer { underway.withLock { _ = $0.remove(wanted.image) } }
        var attempt = 0
        while !Task.isCancelled {
            do {
                try await pull(wanted)
                return
            } catch {
                guard !Task.isCancelled else { return }
                logger.warning("An image could not be pulled", metadata: metadata(wanted, error))
                guard attempt < Self.pauses.count, Problem.isTemporary(error) else {
                    return await giveUp(wanted, error)
                }
                do { try await Task.sleep(for: Self.pauses[attempt]) } catch { return }
                attempt += 1
            }
        }
    }

    private func pull(_ wanted: Wanted) async throws {
        if try archive.isStored(wanted.image) {
            try await loop.send(.imageStored(wanted.image.digest))
            return
        }
        let image = try await registry.pull(
            wanted.reference, digest: wanted.image.digest, platform: wanted.image.platform, into: content)
        try await archive.keep(image, pulled: wanted.reference)
        logger.notice(
            "An image is in the archive", metadata: ["image": "\(wanted.reference)", "digest": "\(image.digest)"])
    }

    private func giveUp(_ wanted: Wanted, _ error: any Error) async {
        let sentence = Problem.upstream(wanted.reference, error).detail
        do {
            try await loop.send(.imageFailed(wanted.image.digest, message: sentence))
        } catch {
            logger.error("The failure of an image could not be written down", metadata: metadata(wanted, error))
        }
    }

    private func metadata(_ wanted: Wanted, _ error: any Error) -> Logger.Metadata {
        ["image": "\(wanted.reference)", "digest": "\(wanted.image.digest)", "error": "\(error)"]
    }
}

extension JobDocument {
    fileprivate var imageDigests: [Digest] { [image.digest] + (services ?? [:]).values.map(\.digest) }
}

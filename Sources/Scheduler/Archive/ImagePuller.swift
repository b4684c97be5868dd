// Fetches the images that accepted jobs wait for: each digest once for the whole cluster, a few at a time, again after
// a failure with a longer pause, and anew after a restart, where it broke off. A registry that asks for patience gets
// it, without counting as a failure. When it gives up, the jobs that wait are held with the reason.
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

    /// Pulls at the same time, in all and from one registry: one that is slow must not be all that happens.
    private static let parallelism = 6
    private static let parallelismPerRegistry = 2
    /// Pauses between attempts; after the last one the image has failed.
    private static let pauses: [TimeSpan] = [.seconds(1), .seconds(5), .seconds(20), .seconds(60)]
    /// How often in a row a registry may ask for patience.
    private static let mostDelays = 50
    /// The beginning of a blob that nobody went on with for this long is thrown away, in seconds.
    static let partialAge = 7 * 86_400.0

    private let store: Store
    private let loop: SchedulerLoop
    private let archive: ImageArchive
    private let content: ContentStore
    private let registry: RegistryClient
    private let clock: any SchedulerClock
    private let logger: Logger
    let book: PullBook
    private let queue: AsyncStream<Wanted>
    private let enqueue: AsyncStream<Wanted>.Continuation
    private let gate = Gate(width: parallelism)
    private let gates = Mutex<[String: Gate]>([:])

    package init(
        store: Store, loop: SchedulerLoop, archive: ImageArchive, content: ContentStore, registry: RegistryClient,
        clock: any SchedulerClock, logger: Logger
    ) {
        self.store = store
        self.loop = loop
        self.archive = archive
        self.content = content
        self.registry = registry
        self.clock = clock
        self.logger = logger
        book = PullBook(content: content)
        (queue, enqueue) = AsyncStream.makeStream()
    }

    /// Asks for an image, after the job that needs it was accepted. Asking twice changes nothing.
    func want(_ wanted: Wanted) {
        if book.add(wanted) { enqueue.yield(wanted) }
    }

    /// Those that a job waits for; nil if there are none.
    func pulls(for job: JobDocument) -> [ImagePullDocument]? {
        guard job.state.value?.isTerminal == false else { return nil }
        let pulls = book.documents(of: Set(job.imageDigests))
        return pulls.isEmpty ? nil : pulls
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
            await withDiscardingTaskGroup { group in
                group.addTask { await self.lookAgain() }
                // As many tasks as images are waited for; only those that the gates let through do anything.
                for await wanted in self.queue { group.addTask { await self.fetch(wanted) } }
            }
        }
    }

    /// What was forgotten because its outcome could not be written down, while the disk was full, is asked for again.
    private func lookAgain() async {
        while !Task.isCancelled {
            do {
                try content.removePartials(
                    untouchedSince: Double(clock.now().wall.millisecondsSinceEpoch) / 1000 - Self.partialAge)
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
        defer { book.remove(wanted.image) }
        var (failures, delays) = (0, 0)
        while !Task.isCancelled {
            do {
                if let until = book.quietUntil(wanted.reference.registry, now: clock.now().wall) {
                    let why = "the registry \(wanted.reference.registry) asked for patience"
                    try await wait(wanted, why, for: until - clock.now().wall)
                }
                return try await inTurn(wanted) { try await pull(wanted) }
            } catch let OCIError.busy(registry, why, seconds) where delays < Self.mostDelays {
                delays += 1
                logger.notice("A registry asks for patience", metadata: metadata(wanted, why))
                let pause = TimeSpan.seconds(Int64(max(1, seconds)))
                if registry == wanted.reference.registry {
                    book.leaveAlone(registry, until: clock.now().wall.after(pause))
                }
                do { try await wait(wanted, why, for: pause) } catch { return }
            } catch {
                guard !Task.isCancelled else { return }
                logger.warning("An image could not be pulled", metadata: metadata(wanted, error))
                guard failures < Self.pauses.count, Problem.isTemporary(error) else {
                    return await giveUp(wanted, error)
                }
                let pause = Self.pauses[failures]
                failures += 1
                do { try await wait(wanted, "\(error)", for: pause) } catch { return }
            }
        }
    }

    /// Outside the gates: who waits is in nobody's way.
    private func wait(_ wanted: Wanted, _ why: String, for pause: TimeSpan) async throws {
        book.waits(wanted.image, why, until: clock.now().wall.after(pause))
        try await Task.sleep(for: .milliseconds(pause.milliseconds))
    }

    private func inTurn(_ wanted: Wanted, _ body: () async throws -> Void) async throws {
        let name = wanted.reference.registry
        let own = gates.withLock { gates in
            if let gate = gates[name] { return gate }
            let gate = Gate(width: Self.parallelismPerRegistry)
            gates[name] = gate
            return gate
        }
        await own.enter()
        await gate.enter()
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        await gate.leave()
        await own.leave()
        try result.get()
    }

    private func pull(_ wanted: Wanted) async throws {
        if try archive.isStored(wanted.image) {
            try await loop.send(.imageStored(wanted.image.digest))
            return
        }
        book.began(wanted.image)
        let image = try await registry.pull(
            wanted.reference, digest: wanted.image.digest, platform: wanted.image.platform, into: content,
            plan: { [book] in book.planned(wanted.image, $0) })
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

    private func metadata(_ wanted: Wanted, _ error: Any) -> Logger.Metadata {
        ["image": "\(wanted.reference)", "digest": "\(wanted.image.digest)", "error": "\(error)"]
    }
}

extension JobDocument {
    fileprivate var imageDigests: [Digest] { [image.digest] + (services ?? [:]).values.map(\.digest) }
}

// kill -9 of the scheduler at random moments of what its archive does: an image is pushed, one is pulled through from a
// registry, garbage is collected while an image is pushed. Then everything is looked at (ArchiveCampaign+Judge.swift):
// nothing pinned is lost, no blob is ever served that is not whole, and what was interrupted succeeds when repeated.
import Foundation
import JobModel
import SchedulerClient
import Synchronization

package struct ArchiveCampaign: Sendable {
    package enum Work: String, Sendable, CaseIterable { case push, pull, gc }

    package var work: Work
    package var kills: Int
    package var seed: UInt64
    /// The folder of the programs.
    package var programs: String
    /// Told what goes on.
    package var progress: @Sendable (String) -> Void = { _ in }

    package init(work: Work, kills: Int, seed: UInt64, programs: String) {
        self.work = work
        self.kills = kills
        self.seed = seed
        self.programs = programs
    }

    package struct Report: Sendable {
        package var kills = 0
        /// Kills that came before what they interrupt had an answer.
        package var interrupted = 0
        /// Kills after which only a part of it was on disk.
        package var halfway = 0
        /// Answers with a whole blob, each hashed.
        package var served = 0
        package var reruns = 0
        package var seconds = 0.0
        /// What must never be, a sentence each.
        package var violations: [String] = []
        package var leftovers: [String] = []
        package var before = HostCensus.take()
        package var after = HostCensus.take()
        package var isClean: Bool { violations.isEmpty && leftovers.isEmpty }
    }

    /// Bytes of the layers of an image: it takes as long to push as it takes to be killed at different places.
    private static let layerSizes: ClosedRange<Int64> = 200_000...5_000_000
    /// Blobs that nobody needs, for one collection.
    static let strays = 200

    /// - Throws: if the campaign itself could not be carried out. What the product did wrong is in the report.
    package func run() async throws -> Report {
        let (start, before) = (ContinuousClock.now, HostCensus.take())
        let registry = try await PlainRegistryUnderTest.start()
        let result: Result<Report, any Error>
        do {
            result = .success(
                try await CampaignCluster.with(programs: programs, runtime: "crun") { cluster in
                    let client = try cluster.client()
                    var scene = Scene(
                        cluster: cluster, client: client, token: cluster.adminToken, registry: registry.port,
                        base: try await busyboxArchive(in: cluster.folder))
                    do { try await killing(&scene) } catch {
                        await client.close()
                        throw error
                    }
                    await client.close()
                    scene.report.leftovers = try await cluster.settled(limit: 60)
                    scene.report.violations += cluster.crashes
                    try await cluster.down()
                    scene.report.leftovers += try await cluster.settled(limit: 30).map { "after down: \($0)" }
                    return scene.report
                })
        } catch {
            result = .failure(error)
        }
        await registry.stop()
        var report = try result.get()
        report.before = before
        report.after = HostCensus.take()
        report.seconds = (ContinuousClock.now - start) / .seconds(1)
        return report
    }

    /// What a campaign works on.
    struct Scene {
        let cluster: CampaignCluster
        let client: SchedulerClient
        let token: String
        let registry: Int
        /// A file with the root file system below every image.
        let base: String
        var report = Report()
        /// Images that a configuration pins, with the job that did.
        var pinned: [(image: StackImage, job: JobID)] = []
        /// One that was pushed and deleted: garbage, but for what it shares with the others.
        var dropped: StackImage?

        var address: String { String(client.url.dropFirst("http://".count)) }
    }

    // MARK: Rounds

    private func killing(_ scene: inout Scene) async throws {
        var numbers = SeededNumbers(seed: seed)
        var length = Duration.zero
        for round in 0...kills {
            let sizes = (0..<2).map { _ in Int(numbers.next(in: Self.layerSizes)) }
            let image = try await StackImage(
                "\(work)-\(round)", sizes: sizes, base: scene.base, in: scene.cluster.folder + "/images", &numbers)
            try await prepare(image, &scene, &numbers)
            // The first round is not interrupted: it tells how long the work takes.
            let share = Double(numbers.next(in: 0...1_100)) / 1_000
            let start = ContinuousClock.now
            try await interrupt(image, after: round == 0 ? nil : length * share, &scene)
            if round == 0 { length = ContinuousClock.now - start }
            try await judge(image, &scene)
            image.remove()
            if round > 0, round % 10 == 0 { progress("\(round) of \(kills)") }
        }
        try await rerunAll(&scene)
    }

    /// Does the work, kills the scheduler meanwhile, and starts it again. A client that hashes what it is served reads
    /// all the time.
    /// - Parameter delay: nil to let it end.
    private func interrupt(_ image: StackImage, after delay: Duration?, _ scene: inout Scene) async throws {
        let reader = HashingReader(scene.client, of: image.blobs.map(\.digest))
        let reading = Task { await reader.run() }
        let result: Result<Void, any Error>
        do {
            let hasAnswer = Switch()
            async let working: Void = self.working(image, scene, hasAnswer)
            if let delay {
                try await Task.sleep(for: delay)
                let hadAnswer = hasAnswer.isSet
                try await scene.cluster.end(.scheduler)
                scene.report.kills += 1
                if !hadAnswer { scene.report.interrupted += 1 }
                if isHalfway(image, scene) { scene.report.halfway += 1 }
                try await scene.cluster.up()
                scene.report.violations += try scene.cluster.strayFiles()
            }
            result = .success(try await working)
        } catch {
            result = .failure(error)
        }
        reading.cancel()
        await reading.value
        scene.report.served += reader.served
        scene.report.violations += reader.violations
        try result.get()
    }

    // MARK: Work

    private func prepare(_ image: StackImage, _ scene: inout Scene, _ numbers: inout SeededNumbers) async throws {
        switch work {
        case .push: break
        case .pull: try await push(image, to: "127.0.0.1:\(scene.registry)/lab/\(image.name):1", mustSucceed: true)
        case .gc:
            let dropped = try await StackImage(
                "dropped-" + image.name, sizes: [100_000], base: scene.base, in: scene.cluster.folder + "/images",
                &numbers)
            try await push(dropped, to: target(dropped, scene), scene.token, mustSucceed: true)
            try await delete(dropped, scene)
            dropped.remove()
            scene.dropped = dropped
            try scene.cluster.addStrays(Self.strays, named: image.name)
            try scene.cluster.ageBlobs()
        }
    }

    private func delete(_ image: StackImage, _ scene: Scene) async throws {
        let url = "http://\(scene.address)/v2/shared/\(image.name)/manifests/\(image.manifest.digest)"
        let result = try await runProcess(
            "curl", ["-sSf", "-X", "DELETE", "-u", "admin:\(scene.token)", "--max-time", "30", url])
        guard result.exitCode == 0 else { throw ProcessFailure(description: "DELETE \(url): \(result)") }
    }

    /// Never fails because the scheduler was killed.
    private func working(_ image: StackImage, _ scene: Scene, _ hasAnswer: Switch) async throws {
        switch work {
        case .push:
            if try await push(image, to: target(image, scene), scene.token) { hasAnswer.set() }
        case .pull:
            let job = try await submit(image, reference(image, scene), scene.client)
            while try await answered({ () async throws(Problem) in try await scene.client.job(job) }).state
                == .known(.waiting)
            {
                try await Task.sleep(for: .milliseconds(5))
            }
            hasAnswer.set()
        case .gc:
            // A push is underway, which collection must not break.
            async let pushing = push(image, to: target(image, scene), scene.token)
            do throws(Problem) {
                _ = try await scene.client.collectArchive(dryRun: false)
                hasAnswer.set()
            } catch {
                guard error.kind == .unavailable else { throw error }
            }
            _ = try await pushing
        }
    }

    func target(_ image: StackImage, _ scene: Scene) -> String { "\(scene.address)/shared/\(image.name):1" }

    /// What a spec calls it.
    func reference(_ image: StackImage, _ scene: Scene) -> String {
        work == .pull ? "127.0.0.1:\(scene.registry)/lab/\(image.name):1" : "shared/\(image.name):1"
    }

    /// - Returns: whether the client says that it is there.
    @discardableResult
    func push(
        _ image: StackImage, to target: String, _ token: String? = nil, mustSucceed: Bool = false
    ) async throws -> Bool {
        let login = token.map { ["--dest-creds", "admin:\($0)"] } ?? []
        let result = try await runProcess(
            "skopeo",
            ["copy", "-q", "--preserve-digests", "--dest-tls-verify=false"] + login
                + [image.source, "docker://" + target])
        if mustSucceed, result.exitCode != 0 { throw ProcessFailure(description: "skopeo to \(target): \(result)") }
        return result.exitCode == 0
    }

    /// Submits a job that shows what is in the image. The same image gives the same job.
    func submit(_ image: StackImage, _ reference: String, _ client: SchedulerClient) async throws -> JobID {
        let spec = JSONValue.object([
            ("name", .string(image.name)), ("image", .string(reference)),
            ("command", .array(image.command.map { .string($0) })),
            ("resources", .object([("cpus", .number(0.25)), ("memory", .string("32MiB"))])),
        ])
        let key = "archive-\(seed)-\(image.name)"
        return try await answered { () async throws(Problem) in
            try await client.submit(SubmitRequest(spec: spec), idempotencyKey: key)
        }.id
    }

    /// Asks until the scheduler answers.
    func answered<Value>(_ call: () async throws(Problem) -> Value) async throws -> Value {
        for _ in 0..<2_000 {
            do throws(Problem) {
                return try await call()
            } catch {
                guard error.kind == .unavailable else { throw error }
            }
            try await Task.sleep(for: .milliseconds(30))
        }
        throw ProcessFailure(description: "the scheduler did not come back")
    }

    /// Some of its blobs are on disk, not all; for garbage, some of what nobody needs.
    private func isHalfway(_ image: StackImage, _ scene: Scene) -> Bool {
        if work == .gc { return (1..<Self.strays).contains(scene.cluster.strays(named: image.name)) }
        let there = image.blobs.count { scene.cluster.hasBlob($0.digest) }
        return there < image.blobs.count && (there > 1 || scene.cluster.isReceiving)
    }
}

/// A client that asks for blobs again and again, and hashes whatever it is given.
private final class HashingReader: Sendable {
    private let client: SchedulerClient
    private let digests: [Digest]
    private let state = Mutex((served: 0, violations: [String]()))

    var served: Int { state.withLock { $0.served } }
    var violations: [String] { state.withLock { $0.violations } }

    init(_ client: SchedulerClient, of digests: [Digest]) {
        self.client = client
        self.digests = digests
    }

    func run() async {
        while !Task.isCancelled {
            for digest in digests {
                // Not there, or nobody answers: neither is a blob that is served.
                guard let bytes = try? await client.archivedBlob(digest, limit: 64 << 20) else { continue }
                let isWhole = Digest(of: bytes) == digest
                state.withLock { state in
                    state.served += 1
                    if !isWhole { state.violations.append("\(bytes.count) bytes were served as \(digest)") }
                }
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}

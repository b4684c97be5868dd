// Dispatch: tasks a second from pending to succeeded, each transition on disk before anybody hears of it. Once over the
// real worker protocol, with the scheduler's process and its workers on this machine; once in this process, with the
// stepper and its store alone.
import Foundation
import JobModel
import Scheduler
import SchedulingCore

struct DispatchBenchmark {
    let settings: Settings

    static let workers = 4
    static let slots = 1_000

    func run() async throws -> [Figure] {
        [try await overHTTP(), try await inProcess()]
    }

    // MARK: over HTTP

    private func overHTTP() async throws -> Figure {
        let folder = try settings.scratch.folder("dispatch")
        return try await SchedulerUnderBench.with(on: folder) { scheduler in
            try await scheduler.importBusybox(settings.scratch)
            let bare = try BareSQLite(folder: folder)
            let request = SubmitRequest(spec: SubmitBenchmark.spec(array: "1-\(SubmitBenchmark.arraySize)"))
            let job = try await scheduler.client.submit(request, idempotencyKey: UUID().uuidString)
            var rows: [Double] = []
            rows.append(try bare.rowsPerSecond(seconds: settings.seconds / 4, batch: 1_000))
            let usedBefore = scheduler.processorSeconds
            let (done, seconds) = try await timed {
                try await LeanWorker.serve(
                    scheduler, workers: Self.workers, slots: Self.slots, seconds: settings.seconds * 3)
            }
            rows.append(try bare.rowsPerSecond(seconds: settings.seconds / 4, batch: 1_000))
            let used = (scheduler.processorSeconds - usedBefore) / Double(done) * 1e6
            let stored = try await scheduler.client.job(job.id).tasks.succeeded
            guard stored == done else { throw BenchFailure("\(done) tasks ended and \(stored) are counted") }
            return Figure(
                name: "tasks dispatched over HTTP, \(Self.workers) workers", value: Double(done) / seconds, unit: "/s",
                baseline: .init(name: "bare SQLite rows, 1,000 a commit", value: rows.median),
                goal: .init(direction: .atLeast, value: 25_000),
                note: String(
                    format:
                        "%d tasks; assigned, running and succeeded each committed; %.0f µs of the scheduler's processor a "
                        + "task; %.0f MB resident", done, used, scheduler.residentMegabytes))
        }
    }

    // MARK: in this process

    private func inProcess() async throws -> Figure {
        let folder = try settings.scratch.folder("stepper")
        let bare = try BareSQLite(folder: folder)
        var stepped = try SteppedCluster(folder: folder, workers: Self.workers, slots: Self.slots)
        try stepped.submit(tasks: SubmitBenchmark.arraySize * 4)
        var rows = [try bare.rowsPerSecond(seconds: settings.seconds / 4, batch: 1_000)]
        let end = ContinuousClock.now + .seconds(settings.seconds)
        let start = ContinuousClock.now
        while ContinuousClock.now < end { try stepped.round() }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        rows.append(try bare.rowsPerSecond(seconds: settings.seconds / 4, batch: 1_000))
        return Figure(
            name: "tasks dispatched in process", value: Double(stepped.succeeded) / seconds, unit: "/s",
            baseline: .init(name: "bare SQLite rows, 1,000 a commit", value: rows.median),
            goal: .init(direction: .atLeast, value: 100_000),
            note: "stepper and store without HTTP; each task is five writes of rows")
    }
}

/// The stepper with its store and lean workers, without a thread or a socket between them.
struct SteppedCluster {
    private var stepper: Stepper
    private var workers: [LeanWorker]
    private var milliseconds: Int64 = 1_000_000

    init(folder: String, workers count: Int, slots: Int) throws {
        let store = try Store.open(directory: folder)
        stepper = try Stepper(store: store, policy: Policy(), at: Self.instant(milliseconds))
        workers = (1...count).map { LeanWorker(name: "bench-\($0)", slots: slots, incarnation: "life") }
    }

    var succeeded: Int { workers.reduce(0) { $0 + $1.succeeded } }

    private static func instant(_ milliseconds: Int64) -> Instant {
        Instant(
            uptime: milliseconds, wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000 + milliseconds))
    }

    mutating func submit(tasks: Int64) throws { try submit([Self.submission(tasks: tasks)]) }

    mutating func submit(_ submissions: [AcceptedSubmission]) throws {
        _ = try stepper.step(submissions.map { .submission($0) }, at: Self.instant(milliseconds))
    }

    mutating func holdFirstJob() throws { try send(.holdRequested(JobID(rawValue: 1))) }

    private mutating func send(_ event: Event) throws {
        _ = try stepper.step([.event(event)], at: Self.instant(milliseconds))
    }

    /// A call of each worker, in one batch.
    mutating func round() throws {
        milliseconds += 1
        let batch = workers.indices.map { place in
            let request = workers[place].request(wait: .zero)
            return Envelope.event(.workerSynced(workers[place].name, request))
        }
        let result = try stepper.step(batch, at: Self.instant(milliseconds))
        for effect in result.effects {
            guard case .answerSync(let name, _, _, let orders) = effect,
                let place = workers.firstIndex(where: { $0.name == name })
            else { continue }
            workers[place].take(
                start: orders.start.map(\.attempt), forget: orders.forget, registrationWanted: orders.registrationWanted
            )
        }
    }

    static let oneCPU = Resources(cpus: CPUAmount(cpus: 1), memory: ByteCount(bytes: 512 << 20), gpus: 0)

    static func submission(
        tasks: Int64, resources: Resources = oneCPU, owner: String = "bench"
    ) -> AcceptedSubmission {
        let image = PinnedImage(digest: Digest(of: "image"), platform: nil)
        let configuration = Configuration(
            image: image, command: ["/bin/true"], environment: [:], workingDirectory: nil, files: [:], slots: [:],
            network: .none, resources: resources)
        let json = configuration.canonicalJSON
        let record = JobRecord(
            name: "bench", owner: Identity(name: UserName(unchecked: owner), uid: 1000, gid: 1000),
            queue: QueueName(unchecked: "default"), priority: 0, configuration: Digest(of: json),
            configurationVersion: nil, imageReference: "docker.io/library/busybox:bench", image: image,
            resources: resources, slots: [:], bindings: [:], parameters: [:],
            shape: tasks == 1 ? .single : .array(first: 1, last: tasks), labels: [:], constraints: [], retries: 0,
            timeLimit: nil, grace: .seconds(10), fingerprint: .content, rerunOf: nil)
        return AcceptedSubmission(
            record: record, configuration: configuration, configurationJSON: json,
            name: ConfigurationName(unchecked: "bench"), imageIsStored: true, hold: false, idempotency: nil)
    }
}

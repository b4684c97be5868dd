// The core alone at the size of a large institute: what a start costs, what each placement costs when the cluster is
// full and one task ends at a time, and how much memory it all takes. Beside it stands the same cluster with a tenth of
// the workers and of the waiting tasks: the cost of a placement should hardly depend on them.
import Foundation
import JobModel
import SchedulingCore

struct PlacementBenchmark {
    static let workers = 5_000
    static let jobs = 10_000
    static let tasksPerJob: Int64 = 100
    static let shapes = 1_000
    static let users = 100
    static let placements = 20_000

    let settings: Settings

    func run() throws -> [Figure] {
        let small = try measure(workers: Self.workers / 10, jobs: Self.jobs / 10)
        let large = try measure(workers: Self.workers, jobs: Self.jobs)
        let what = "\(Self.workers) workers, \(Int64(Self.jobs) * Self.tasksPerJob) tasks"
        return [
            Figure(
                name: "placement, \(what)", value: large.placement, unit: "µs",
                baseline: .init(name: "a tenth of workers and tasks", value: small.placement),
                goal: .init(direction: .below, value: 50),
                note: "\(large.classes) classes of \(Self.shapes) shapes; one report and one pass for each, "
                    + String(format: "99%% below %.0f µs", large.slowest)),
            Figure(
                name: "first pass after a start", value: large.firstPass, unit: "ms",
                baseline: .init(name: "a tenth of workers and tasks", value: small.firstPass),
                goal: .init(direction: .below, value: 1000), note: "\(large.started) tasks started"),
            Figure(
                name: "memory of the benchmark", value: large.megabytes, unit: "MB",
                goal: .init(direction: .below, value: 1024)),
            Figure(
                name: "array of 10,000,000 tasks, submitted", value: large.submission, unit: "ms",
                baseline: .init(name: "array of 10 tasks", value: large.smallSubmission),
                goal: .init(direction: .below, value: 20)),
        ]
    }

    private struct Measured {
        var firstPass = 0.0
        var started = 0
        var placement = 0.0
        var slowest = 0.0
        var classes = 0
        var megabytes = 0.0
        var submission = 0.0
        var smallSubmission = 0.0
    }

    private func measure(workers: Int, jobs: Int) throws -> Measured {
        var result = Measured()
        var bench = CoreUnderBench(workers: workers, jobs: jobs)
        result.firstPass = bench.registerAndPlace()
        result.started = bench.startedCount
        var times: [Double] = []
        for _ in 0..<Self.placements { times.append(bench.finishOne()) }
        guard bench.startedCount >= result.started + Self.placements / 2 else {
            throw BenchFailure("only \(bench.startedCount - result.started) tasks took the place of those that ended")
        }
        result.placement = times.reduce(0, +) / Double(bench.startedCount - result.started)
        result.slowest = times.quantile(0.99)
        result.classes = min(jobs, Self.jobs)
        result.megabytes = CoreUnderBench.residentMegabytes
        result.submission = try bench.submit(tasks: 10_000_000)
        result.smallSubmission = try bench.submit(tasks: 10)
        return result
    }
}

/// The core with workers that are only names and numbers.
struct CoreUnderBench {
    var cluster: Cluster
    var now = Instant(uptime: 1_000_000, wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000))
    let names: [WorkerName]
    private var sequences: [Int64]
    private var live: [[AttemptID]]
    private var places: [WorkerName: Int] = [:]
    private var next = 0
    private(set) var startedCount = 0
    /// Jobs of which tasks run after the first pass, and the others.
    private(set) var running: [JobID] = []
    private(set) var waiting: [JobID] = []
    var lastJob: Int64

    /// As a restart finds it: everything waits, and no worker has called.
    init(workers: Int, jobs: Int) {
        names = (0..<workers).map { WorkerName(unchecked: "node\($0)") }
        sequences = Array(repeating: 0, count: workers)
        live = Array(repeating: [], count: workers)
        lastJob = Int64(jobs)
        var image = ClusterImage()
        image.workers = names.sorted().map {
            WorkerRow(name: $0, registration: Self.offer, isDraining: false)
        }
        image.jobs = (1...jobs).map { number in
            let record = Self.record(number)
            let counts = TaskCounts(total: record.shape.count, pending: record.shape.count)
            return ClusterImage.StoredJob(
                id: JobID(rawValue: Int64(number)), record: record,
                progress: JobProgress(
                    state: .pending, reason: nil, counts: counts, unstarted: [record.shape.indices], isHeld: false,
                    cancelRequested: false, imageIsStored: true,
                    submittedAt: Timestamp(millisecondsSinceEpoch: 1_763_000_000_000 + Int64(number)), startedAt: nil,
                    finishedAt: nil, revision: 1))
        }
        cluster = Cluster(policy: Policy(), restoring: image, at: now)
        for (place, name) in names.enumerated() { places[name] = place }
    }

    static let offer = WorkerRegistration(
        cpus: CPUAmount(cpus: 32), memory: ByteCount(bytes: 128 << 30), gpus: [], labels: [:], volumes: [:],
        allowedPaths: [], engines: ["bench"], version: "bench")

    private static let digest = Digest(of: "bench")

    /// Shapes of 1 to 8 cpus in any order of priorities, so that rooms of all sizes come free and are filled.
    static func record(
        _ number: Int, tasks: Int64 = PlacementBenchmark.tasksPerJob, of user: Int? = nil
    ) -> JobRecord {
        let shape = number % PlacementBenchmark.shapes
        let user = user ?? (number + number / PlacementBenchmark.shapes) % PlacementBenchmark.users
        let resources = Resources(
            cpus: CPUAmount(cpus: 1 + shape % 8), memory: ByteCount(bytes: Int64(1024 + shape * 8) << 20), gpus: 0)
        return JobRecord(
            name: "bench", owner: Identity(name: UserName(unchecked: "user\(user)"), uid: 1000, gid: 1000),
            queue: .standard, priority: number * 7919 % 201 - 100, configuration: Self.digest,
            configurationVersion: nil,
            imageReference: "bench", image: PinnedImage(digest: Self.digest, platform: nil),
            resources: resources, slots: [:], bindings: [:], parameters: [:], shape: .array(first: 1, last: tasks),
            labels: [:], constraints: [], retries: 0, timeLimit: .minutes(60), grace: .seconds(10),
            fingerprint: .none, rerunOf: nil)
    }

    /// Every worker registers, and one pass fills them. The time of the pass in milliseconds.
    mutating func registerAndPlace() -> Double {
        for place in names.indices { take(cluster.apply(call(place, [], registration: Self.offer), at: now)) }
        let start = ContinuousClock.now
        let outcome = cluster.schedule(at: now)
        let time = (ContinuousClock.now - start) / .milliseconds(1)
        take(outcome)
        let started = Set(live.joined().map(\.job))
        running = started.sorted()
        waiting = (1...lastJob).map { JobID(rawValue: $0) }.filter { !started.contains($0) }
        return time
    }

    /// One task ends on the next worker, and one pass gives its place away. The time in microseconds.
    mutating func finishOne() -> Double {
        let place = next
        next = (next + 1) % names.count
        now.uptime += 1
        guard let ended = live[place].first else { return 0 }
        live[place].removeFirst()
        let report = AttemptReport(
            attempt: ended, sequence: 1, state: .succeeded, reason: .exitCode, exitCode: 0)
        let event = call(place, [report], registration: nil)
        let start = ContinuousClock.now
        let first = cluster.apply(event, at: now)
        let second = cluster.schedule(at: now)
        let time = (ContinuousClock.now - start) / .microseconds(1)
        take(first)
        take(second)
        return time
    }

    /// The time in milliseconds that an array takes.
    mutating func submit(tasks: Int64) throws -> Double { try time([submission(tasks: tasks)]) / 1000 }

    private mutating func call(_ place: Int, _ reports: [AttemptReport], registration: WorkerRegistration?) -> Event {
        sequences[place] += 1
        return .workerSynced(
            names[place],
            SyncRequest(
                incarnation: "life-1", sequence: sequences[place], registration: registration, live: live[place],
                reports: reports, wait: .minutes(10)))
    }

    mutating func take(_ outcome: Outcome) {
        for case .attempt(let row) in outcome.changes where row.state == .assigned && !row.isAcknowledged {
            guard let place = places[row.worker] else { continue }
            live[place].append(row.id)
            startedCount += 1
        }
    }

    static var residentMegabytes: Double {
        let status = FileManager.default.contents(atPath: "/proc/self/status").map {
            String(decoding: $0, as: UTF8.self)
        }
        let line = status?.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return (line?.split(separator: " ").dropFirst().first).flatMap { Double($0) }.map { $0 / 1024 } ?? 0
    }
}

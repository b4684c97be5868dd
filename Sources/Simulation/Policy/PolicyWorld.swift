// The core alone with workers that do what they are told at once: for what policy promises, which shows over days of
// work and not in races. Fair shares, reserved starts and waits are measured, from a seed. Scenarios stand in
// PolicyScenario.swift.
import JobModel
import SchedulingCore

/// One submission of a scenario.
struct PlannedJob {
    var owner: String
    var at: Int64
    var cpus: Int64
    var tasks: Int64
    /// How long each task truly runs.
    var duration: Int64
    /// What its submitter says at most; nil: nothing.
    var timeLimit: Int64?
}

/// What is measured of one job.
struct MeasuredJob {
    var plan: PlannedJob
    var started: Int64 = 0
    var firstStart: Int64?
    var lastStart: Int64 = 0
}

struct PolicyWorld {
    private struct End {
        let time: Int64
        let worker: Int
        let attempt: AttemptID
    }

    private(set) var cluster: Cluster
    private var workers: [SimulatedWorker] = []
    private(set) var now: Int64 = 0
    private(set) var jobs: [JobID: MeasuredJob] = [:]
    /// Cpu-milliseconds of each user in each hour, as they were truly used.
    private(set) var used: [String: [Int64: Int64]] = [:]
    private var ends: [End] = []
    private var promised: (promise: Promise, started: Int64)?
    private(set) var promises = 0
    private(set) var backfilled = 0
    private(set) var hash = Digest(of: "")

    init(policy: Policy, workers count: Int, cpus: Int) throws {
        // Hours pass at once: nobody is lost because of it.
        var policy = policy
        policy.syncInterval = .minutes(60 * 24 * 30)
        policy.unreachableAfter = .minutes(60 * 24 * 90)
        policy.lease = .minutes(60 * 24 * 90)
        cluster = Cluster(policy: policy)
        for number in 1...count {
            workers.append(SimulatedWorker(name: "w\(number)", cpus: cpus, endsAtOnce: false))
            try step([call(number - 1)])
        }
    }

    private var instant: Instant {
        Instant(uptime: now + 1_000_000, wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000 + now))
    }

    /// Lets the plan happen until `until`, and on until everything has ended if `isDrained`.
    mutating func run(_ plan: [PlannedJob], until: Int64, isDrained: Bool) throws {
        var plan = plan.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }
            .map(\.element)[...]
        while true {
            let next = [plan.first?.at, ends.last?.time].compactMap { $0 }.min()
            guard let next, isDrained || next <= until else { return }
            now = max(now, next)
            var events: [Event] = []
            while let job = plan.first, job.at <= now {
                events.append(submission(of: job))
                plan.removeFirst()
            }
            var callers: [Int] = []
            while let end = ends.last, end.time <= now {
                ends.removeLast()
                workers[end.worker].exit(end.attempt, code: 0)
                if !callers.contains(end.worker) { callers.append(end.worker) }
            }
            try step(events + callers.map { call($0) })
        }
    }

    private mutating func submission(of job: PlannedJob) -> Event {
        let id = JobID(rawValue: Int64(jobs.count) + 1)
        jobs[id] = MeasuredJob(plan: job)
        let record = JobRecord(
            name: "job", owner: Identity(name: UserName(unchecked: job.owner), uid: 1000, gid: 1000),
            queue: .standard, priority: 0, configuration: Digest(of: "c"), configurationVersion: nil,
            imageReference: "lab/stack:1", image: PinnedImage(digest: Digest(of: "i"), platform: nil),
            resources: Resources(
                cpus: CPUAmount(thousandths: job.cpus * 1000), memory: ByteCount(bytes: 1 << 20), gpus: 0),
            slots: [:], bindings: [:], parameters: [:], shape: .array(first: 1, last: job.tasks), labels: [:],
            constraints: [], retries: 0, timeLimit: job.timeLimit.map { TimeSpan(milliseconds: $0) },
            grace: .zero, fingerprint: .none, rerunOf: nil)
        return .jobSubmitted(id, record, imageIsStored: true, hold: false)
    }

    private mutating func call(_ worker: Int) -> Event {
        .workerSynced(workers[worker].name, workers[worker].request(wait: .minutes(60 * 24 * 60)))
    }

    /// Applies events and carries out the answers, until nobody has anything more to say.
    private mutating func step(_ first: [Event]) throws {
        var events = first
        while !events.isEmpty {
            var effects: [Effect] = []
            for event in events + [.timeAdvanced] { effects += try take(cluster.apply(event, at: instant)) }
            effects += try take(cluster.schedule(at: instant))
            try checkPromise()
            events = []
            for effect in effects {
                guard case .answerSync(let name, _, _, let orders) = effect,
                    let worker = workers.firstIndex(where: { $0.name == name })
                else { continue }
                for id in workers[worker].take(orders) { start(id, on: worker) }
                events.append(call(worker))
            }
        }
    }

    private mutating func take(_ outcome: Outcome) throws -> [Effect] {
        if case .refused(let refusal) = outcome.reply { throw Violation("refused: \(refusal)") }
        for case .attempt(let row) in outcome.changes where row.state == .assigned && !row.isAcknowledged {
            jobs[row.id.job]?.started += 1
            jobs[row.id.job]?.lastStart = now
            if jobs[row.id.job]?.firstStart == nil { jobs[row.id.job]?.firstStart = now }
            if let promised, promised.promise.job != row.id.job, promised.promise.worker == row.worker {
                backfilled += 1
            }
            hash = Digest(of: hash.hex + "\(row.id) \(row.worker) \(now)")
        }
        return outcome.effects
    }

    private mutating func start(_ id: AttemptID, on worker: Int) {
        workers[worker].report(id, .running)
        guard let plan = jobs[id.job]?.plan else { return }
        for hour in (now / 3_600_000)...((now + plan.duration) / 3_600_000) {
            let from = max(now, hour * 3_600_000)
            let to = min(now + plan.duration, (hour + 1) * 3_600_000)
            used[plan.owner, default: [:]][hour, default: 0] += max(0, to - from) * plan.cpus
        }
        let end = End(time: now + plan.duration, worker: worker, attempt: id)
        // The next one stands last.
        let place = ends.firstIndex { ($0.time, $0.attempt) < (end.time, end.attempt) } ?? ends.count
        ends.insert(end, at: place)
    }

    /// A promised start is kept: the job starts by then, and the promise does not pass to another job before.
    private mutating func checkPromise() throws {
        let promise = cluster.promise
        if let kept = promised {
            let hasStarted = (jobs[kept.promise.job]?.started ?? 0) > kept.started
            if !hasStarted, promise?.job != kept.promise.job || promise?.madeAt != kept.promise.madeAt {
                throw Violation("the promise to job \(kept.promise.job) was forgotten before it started")
            }
            if !hasStarted, let start = kept.promise.start, instant.uptime > start {
                throw Violation("job \(kept.promise.job) was promised a start \(instant.uptime - start) ms ago")
            }
        }
        guard let promise else {
            promised = nil
            return
        }
        if promised?.promise != promise {
            promises += 1
            promised = (promise, jobs[promise.job]?.started ?? 0)
        }
    }

    /// The part of all cpu time that a user had between two hours, in thousandths.
    func share(of owner: String, from: Int64, to: Int64) -> Int64 {
        func sum(_ hours: [Int64: Int64]) -> Int64 { (from..<to).reduce(0) { $0 + hours[$1, default: 0] } }
        let all = used.values.reduce(0) { $0 + sum($1) }
        return all == 0 ? 0 : sum(used[owner, default: [:]]) * 1000 / all
    }
}

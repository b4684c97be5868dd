// A seeded walk through everything that can happen to a cluster: the generator and the steps. The rules that must hold
// stand in RandomWalkTests.swift, ClusterFixture (all books) and StrictWorld (no illegal order).
import JobModel
import SchedulingCore
import TestSupport

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same numbers on every machine.
struct SeededGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }
}

struct RandomWalk {
    var c: ClusterFixture
    var dice: SeededGenerator
    /// What RandomWalk+Placement draws from, if it has a part in this walk.
    var wishes: SeededGenerator
    let reckons: Bool
    let owners = ["ada", "ben", "cleo"]
    var workers: [String] = []
    var jobs: [JobID] = []
    /// Jobs whose cancel was acknowledged, with the attempts that had been ordered to start by then.
    var cancelled: [JobID: Set<AttemptID>] = [:]
    let restartsScheduler: Bool
    var hasRestarted = false
    var silent: Set<String> = []

    init(seed: UInt64, recordsHistory: Bool = false) throws {
        dice = SeededGenerator(seed: seed)
        wishes = SeededGenerator(seed: ~seed)
        reckons = wishes.chance(50)
        var policy = Policy()
        // Swarm: some seeds have short leases, small answers, few retries.
        if dice.chance(30) { policy.startsPerAnswer = 1 + dice.below(3) }
        if dice.chance(50) { policy.lease = .seconds(60) }
        if dice.chance(30) { policy.infrastructureRetries = 2 }
        restartsScheduler = dice.chance(60)
        c = ClusterFixture(policy: policy)
        c.recordsHistory = recordsHistory
        for number in 1...(2 + dice.below(4)) { try addWorker(number) }
        try setUpPlacement()
    }

    private mutating func addWorker(_ number: Int) throws {
        let name = "w\(number)"
        let gpus = dice.chance(40) ? (0..<(1 + dice.below(4))).map { "\($0 + 8)" } : []
        try c.worker(
            name, cpus: 1 + dice.below(6), memory: Int64(1 + dice.below(8)) << 30, gpus: gpus,
            labels: dice.chance(50) ? ["stack": "r"] : [:], volumes: dice.chance(60) ? ["data": dice.chance(50)] : [:],
            allowedPaths: dice.chance(30) ? ["/scratch"] : [], disk: reckons ? 100 : nil,
            custom: reckons ? Self.custom : [:])
        workers.append(name)
    }

    mutating func run(steps: Int) throws {
        for _ in 0..<steps {
            try step()
            try checkCancelled()
        }
    }

    private mutating func step() throws {
        try administrate()
        switch dice.below(100) {
        case 0..<14: try submit()
        case 14..<46: try call(dice.pick(workers))
        case 46..<70: progressSomething()
        case 70..<80: try advance()
        case 80..<84: try onJob { try $0.cancel($1) }
        case 84..<86: try onJob { try $0.hold($1) }
        case 86..<90: try onJob { try $0.release($1) }
        case 90..<91: try c.drain(dice.pick(workers))
        case 91..<93: try c.resume(dice.pick(workers))
        case 93..<95: try restartAgent()
        case 95..<96: try changeRegistration()
        case 96..<98: toggleSilence()
        case 98..<99: try dice.chance(50) ? images() : limit()
        default: try restartScheduler()
        }
    }

    private mutating func restartScheduler() throws {
        guard restartsScheduler, dice.chance(50) else { return }
        hasRestarted = true
        try c.restartScheduler()
    }

    private mutating func submit() throws {
        let constraint = Constraint(label: "stack", comparison: dice.chance(50) ? .equal : .notEqual, value: "r")
        let modes: [SlotMode] = [.ro, .rw, .out]
        let tasks = dice.chance(50) ? Int64(1 + dice.below(9)) : nil
        let dependencies = dependencies(tasks)
        let wish = drawWishes()
        let gang = tasks == nil ? drawGang() : nil
        do {
            jobs.append(
                try c.submit(
                    cpus: Int64(dice.below(4)), memory: Int64(dice.below(3)) << 30,
                    gpus: dice.chance(20) ? 1 + dice.below(2) : 0,
                    tasks: tasks, priority: dice.below(3) - 1,
                    retries: dice.below(3),
                    constraints: dice.chance(20) && gang == nil ? [constraint] : [],
                    slots: dice.chance(40) ? ["data": dice.pick(modes)] : [:],
                    image: dice.chance(80) ? "busybox" : "other",
                    services: dice.chance(20) ? ["other", "busybox"] : [],
                    imageIsStored: dice.chance(85), hold: dice.chance(5), owner: dice.pick(owners),
                    queue: wish.queue, timeLimit: dice.chance(40) ? .minutes(Int64(1 + dice.below(30))) : nil,
                    disk: wish.disk, custom: wish.custom, placement: wish.placement, after: dependencies, gang: gang))
        } catch let refusal as Refusal {
            if case .tooFewLicenses = refusal { return }
            // Only what could never start is refused, and what waits for another user's job.
            guard case .dependency(let dependency, let fault) = refusal else { throw refusal }
            let theirs = c.rows.records[dependency.job]?.owner.name
            guard
                fault == .noTaskMet || fault == .neverMet(c.state(dependency.job))
                    || fault == .isGang && gang != nil
                    || theirs.map({ fault == .belongsTo($0) }) == true
            else { throw refusal }
        }
    }

    private mutating func dependencies(_ tasks: Int64?) -> [Dependency] {
        guard !jobs.isEmpty, dice.chance(30) else { return [] }
        let job = dice.pick(jobs)
        let kind = dice.pick(DependencyKind.allCases)
        guard !kind.isEach || c.rows.records[job]?.shape.count == tasks ?? 1 else { return [] }
        return [Dependency(job: job, kind: kind)]
    }

    /// A limit on what runs of somebody; lifted again as often as not.
    private mutating func limit() throws {
        let limits = dice.chance(50) ? Limits.none : Limits(running: Int64(dice.below(3)))
        try limit(dice.pick(owners), limits)
    }

    private mutating func limit(_ owner: String, _ limits: Limits) throws {
        let id = AccountID.user(UserName(rawValue: owner)!)
        try c.accept(.accountSaved(AccountRow(id: id, settings: AccountSettings(limits: limits))))
    }

    private mutating func call(_ name: String) throws {
        guard !silent.contains(name) else { return }
        let isLost = dice.chance(10)
        let worker = WorkerName(rawValue: name)!
        if isLost { c.deaf.insert(worker) }
        if dice.chance(10) { c.world.hangUp(worker) }
        try c.sync(name, wait: dice.chance(50) ? .zero : .seconds(Int64(dice.below(40))))
        c.deaf.remove(worker)
    }

    /// One container goes one step on: well, badly, or as it was told.
    private mutating func progressSomething() {
        for _ in 0..<3 {
            let worker = WorkerName(rawValue: dice.pick(workers))!
            let live = c.world.agents[worker]!.live
            guard !live.isEmpty else { continue }
            let id = dice.pick(live)
            progress(id, c.world.agents[worker]!.containers[id]!, on: worker)
        }
    }

    private mutating func progress(_ id: AttemptID, _ container: StrictWorld.Container, on worker: WorkerName) {
        if container.stopOrdered, dice.chance(70) {
            return c.world.progress(id, on: worker, to: .cancelled, reason: .cancelled)
        }
        if container.publishOrdered {
            let isGood = dice.chance(90)
            return c.world.progress(
                id, on: worker, to: isGood ? .succeeded : .failed, reason: isGood ? .exitCode : .outputError,
                exitCode: 0)
        }
        switch (container.state, dice.below(20)) {
        case (.ending, 0...16): break
        case (_, 0): c.world.progress(id, on: worker, to: .failed, reason: .imageError)
        case (_, 1): c.world.progress(id, on: worker, to: .lost, reason: .engineError)
        case (_, 2): c.world.progress(id, on: worker, to: .cancelled, reason: .cancelled)
        case (_, 3): c.world.progress(id, on: worker, to: .failed, reason: .oomKilled, exitCode: 137)
        case (_, 4): c.world.progress(id, on: worker, to: .succeeded, reason: .exitCode, exitCode: 1)
        case (_, 5...6): c.world.progress(id, on: worker, to: .failed, reason: .exitCode, exitCode: 3)
        case (.assigned, _): c.world.progress(id, on: worker, to: .preparing)
        case (.preparing, _): c.world.progress(id, on: worker, to: .running)
        case (.running, _) where container.hasOutput: c.world.progress(id, on: worker, to: .ending, exitCode: 0)
        case (.running, _): c.world.progress(id, on: worker, to: .succeeded, reason: .exitCode, exitCode: 0)
        default: break
        }
    }

    private mutating func advance() throws {
        let spans: [TimeSpan] = [
            TimeSpan(milliseconds: 200), .seconds(2), .seconds(7), .seconds(15), .seconds(45), .minutes(3),
        ]
        try c.advance(dice.chance(2) ? .minutes(13) : dice.pick(spans))
    }

    private mutating func onJob(_ action: (inout ClusterFixture, JobID) throws -> Void) throws {
        guard !jobs.isEmpty else { return }
        let job = dice.pick(jobs)
        do {
            try action(&c, job)
        } catch let refusal as Refusal {
            // After a restart the core no longer knows the jobs that had finished.
            let isRight =
                switch refusal {
                case .jobIsFinished(_, let state): c.state(job) == state
                case .unknownJob: c.state(job).isTerminal && hasRestarted
                default: false
                }
            if !isRight { throw refusal }
        }
        if c.progress(job).cancelRequested, cancelled[job] == nil {
            cancelled[job] = Set(c.rows.attempts.keys.filter { $0.job == job })
        }
    }

    private mutating func restartAgent() throws {
        let name = dice.pick(workers)
        c.world.restart(WorkerName(rawValue: name)!, losingContainers: dice.chance(30))
        try call(name)
    }

    private mutating func changeRegistration() throws {
        let name = WorkerName(rawValue: dice.pick(workers))!
        let (cpus, writable, gpu) = (dice.below(6), dice.chance(50), "\(dice.below(4) + 8)")
        c.world.hangUp(name)
        c.world.change(name) {
            $0.cpus = CPUAmount(cpus: cpus)
            $0.volumes = [VolumeName(rawValue: "data")!: VolumeOffer(writable: writable)]
            $0.gpus = $0.gpus.contains(gpu) ? $0.gpus.filter { $0 != gpu } : $0.gpus + [gpu]
        }
    }

    private mutating func toggleSilence() {
        let name = dice.pick(workers)
        if silent.remove(name) == nil { silent.insert(name) }
    }

    private mutating func images() throws {
        let image = Digest(of: dice.chance(50) ? "busybox" : "other")
        try c.step(
            dice.chance(70) ? .imageStored(image) : .imageFailed(image, message: "the registry does not have it"))
    }

    /// After an acknowledged cancel no new attempt of the job begins.
    private func checkCancelled() throws {
        for job in cancelled.keys.sorted() where !c.state(job).isTerminal {
            for id in c.rows.attempts.keys where id.job == job && cancelled[job]?.contains(id) == false {
                throw ClusterFixture.BrokenRule(description: "attempt \(id) began after its job was cancelled")
            }
        }
    }

    /// Faults stop: everybody calls, every image comes, every job is released, every program ends well. Nothing may be
    /// left.
    mutating func heal() throws {
        silent = []
        try healPlacement()
        for owner in owners { try limit(owner, .none) }
        for image in ["busybox", "other"] { try c.step(.imageStored(Digest(of: image))) }
        for (place, name) in workers.enumerated() {
            try c.resume(name)
            c.world.hangUp(WorkerName(rawValue: name)!)
            c.world.change(WorkerName(rawValue: name)!) {
                $0.cpus = CPUAmount(cpus: 8)
                $0.memory = ByteCount(bytes: 64 << 30)
                $0.gpus = ["0", "1", "2"]
                $0.labels = place == 0 ? ["stack": "r"] : [:]
                $0.volumes = [VolumeName(rawValue: "data")!: VolumeOffer(writable: true)]
            }
        }
        for round in 0..<400 {
            try c.advance(.seconds(9))
            for name in workers {
                finishAll(on: WorkerName(rawValue: name)!)
                try c.sync(name)
            }
            if round % 20 == 0 { for job in jobs where c.state(job) == .held { try c.release(job) } }
            if c.cluster.image().jobs.isEmpty,
                workers.allSatisfy({ c.world.agents[WorkerName(rawValue: $0)!]!.containers.isEmpty })
            {
                return
            }
        }
    }

    private mutating func finishAll(on worker: WorkerName) {
        for id in c.world.agents[worker]!.live {
            let container = c.world.agents[worker]!.containers[id]!
            if container.stopOrdered {
                c.world.progress(id, on: worker, to: .cancelled, reason: .cancelled)
            } else if !container.hasOutput || container.publishOrdered {
                c.world.progress(id, on: worker, to: .succeeded, reason: .exitCode, exitCode: 0)
            } else if container.state != .ending {
                c.world.progress(id, on: worker, to: .ending, exitCode: 0)
            }
        }
    }
}

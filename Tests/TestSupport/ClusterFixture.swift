// A cluster in three lines:
//
//     var c = ClusterFixture()
//     try c.worker("w1", cpus: 4)
//     let job = try c.submit(cpus: 2)
//
// Every step applies events, runs one pass, writes the changes into ClusterRows, carries the effects out in
// StrictWorld, and checks all invariants. A state is reached through events only; there is no back door into the core.
import JobModel
import SchedulingCore

package struct ClusterFixture: Sendable {
    package struct BrokenRule: Error, CustomStringConvertible {
        package let description: String
        package init(description: String) { self.description = description }
    }

    package private(set) var cluster: Cluster
    package var world: StrictWorld
    package private(set) var rows = ClusterRows()
    package private(set) var now: Instant
    /// Every outcome so far if `recordsHistory`, for comparing histories.
    package private(set) var history: [Outcome] = []
    /// Effects of the last step.
    package private(set) var effects: [Effect] = []
    /// What the core said to the events of the last step.
    package private(set) var replies: [Reply] = []
    package var recordsHistory = false
    /// Answers to these workers are sent and never arrive.
    package var deaf: Set<WorkerName> = []
    private var lastJob: Int64 = 0

    package init(policy: Policy = Policy()) {
        cluster = Cluster(policy: policy)
        world = StrictWorld(policy: policy)
        now = Instant(uptime: 1_000_000, wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000))
    }

    // MARK: steps

    /// Applies the events and runs one pass, as the scheduler's loop does with a batch.
    package mutating func step(_ events: [Event]) throws {
        effects = []
        replies = []
        for event in events {
            let outcome = cluster.apply(event, at: now)
            replies.append(outcome.reply)
            if outcome.reply != .done, !outcome.changes.isEmpty || !outcome.effects.isEmpty {
                throw BrokenRule(description: "a refused event changed something: \(event)")
            }
            try digest(outcome)
        }
        try digest(cluster.schedule(at: now))
        try checkBooks()
    }

    package mutating func step(_ event: Event) throws { try step([event]) }

    /// As ``step(_:)``, for an event that must not be refused.
    package mutating func accept(_ event: Event) throws {
        try step(event)
        if case .refused(let refusal) = replies[0] { throw refusal }
    }

    private mutating func digest(_ outcome: Outcome) throws {
        if recordsHistory { history.append(outcome) }
        for change in outcome.changes { try rows.write(change) }
        for effect in outcome.effects {
            effects.append(effect)
            try world.take(effect, isLost: isDeaf(effect), at: now.uptime)
        }
    }

    private func isDeaf(_ effect: Effect) -> Bool {
        switch effect {
        case .answerSync(let name, _, _, _), .dropSync(let name, _, _): deaf.contains(name)
        case .workerTurned, .timeLimitChanged: false
        }
    }

    /// Every book against every other, and the core's against the rows.
    package func checkBooks() throws {
        let broken = Invariants.check(cluster)
        if let first = broken.first {
            throw BrokenRule(description: "\(broken.count) invariants broken, first: \(first)")
        }
        let (memory, disk) = (cluster.image(), rows.image())
        guard memory != disk else { return }
        for (a, b) in zip(memory.jobs, disk.jobs) where a != b {
            throw BrokenRule(description: "job in memory \(a.progress), on disk \(b.progress)")
        }
        for (a, b) in zip(memory.tasks, disk.tasks) where a != b {
            throw BrokenRule(description: "in memory \(a), on disk \(b)")
        }
        for (a, b) in zip(memory.attempts, disk.attempts) where a != b {
            throw BrokenRule(description: "in memory \(a), on disk \(b)")
        }
        throw BrokenRule(
            description: "memory and disk differ: \(memory.totals) and \(disk.totals), \(memory.workers.count) workers")
    }

    /// Lets time pass at once, then looks at leases, retries and parked calls.
    package mutating func advance(_ span: TimeSpan) throws {
        now = Instant(
            uptime: now.uptime + span.milliseconds,
            wall: Timestamp(millisecondsSinceEpoch: now.wall.millisecondsSinceEpoch + span.milliseconds))
        world.enforceLeases(at: now.uptime)
        try step(.timeAdvanced)
    }

    /// Lets time pass in small steps, in which the given workers go on calling.
    package mutating func advance(_ span: TimeSpan, calling names: [String]) throws {
        var rest = span.milliseconds
        while rest > 0 {
            let part = min(rest, 5_000)
            try advance(TimeSpan(milliseconds: part))
            for name in names { try sync(name) }
            rest -= part
        }
    }

    /// The scheduler's process ends and starts again from the rows. Open calls break.
    package mutating func restartScheduler() throws {
        cluster = Cluster(policy: cluster.policy, restoring: rows.image(), at: now)
        for name in world.names { world.hangUp(name) }
        try checkBooks()
        try step([])
    }

    // MARK: workers

    /// A worker that registers with its first call.
    package mutating func worker(
        _ name: String, cpus: Int = 4, memory: Int64 = 64 << 30, gpus: [String] = [], labels: [String: String] = [:],
        volumes: [String: Bool] = [:], allowedPaths: [String] = [], disk: Int64? = nil, custom: [String: Int64] = [:]
    ) throws {
        let offers = volumes.map { (VolumeName(rawValue: $0.key)!, VolumeOffer(writable: $0.value)) }
        world.add(
            WorkerName(rawValue: name)!,
            WorkerRegistration(
                cpus: CPUAmount(cpus: cpus), memory: ByteCount(bytes: memory), gpus: gpus, labels: labels,
                volumes: Dictionary(uniqueKeysWithValues: offers), allowedPaths: allowedPaths, engines: ["simulated"],
                version: "1", disk: disk.map { ByteCount(bytes: $0) }, custom: custom.isEmpty ? nil : counts(custom)))
        try sync(name)
    }

    /// The worker calls and is answered as soon as there is something to say, or after `wait`.
    package mutating func sync(_ name: String, wait: TimeSpan = .zero) throws {
        try accept(world.call(WorkerName(rawValue: name)!, wait: wait, at: now.uptime))
    }

    /// The agent starts again and calls.
    package mutating func restartAgent(_ name: String, losingContainers: Bool = false) throws {
        world.restart(WorkerName(rawValue: name)!, losingContainers: losingContainers)
        try sync(name)
    }

    package mutating func drain(_ name: String, _ order: DrainOrder = .standard) throws {
        try accept(.drainRequested(WorkerName(rawValue: name)!, order))
    }

    package mutating func license(_ name: String, _ total: Int64) throws {
        let name = ResourceName(rawValue: name)!
        world.licenses[name] = max(total, world.licenses[name] ?? 0)
        try accept(.licenseSaved(LicenseRow(name: name, total: total)))
    }

    package mutating func resume(_ name: String) throws { try accept(.resumeRequested(WorkerName(rawValue: name)!)) }

    package func view(_ name: String) -> WorkerView { cluster.workerViews().first { $0.name.rawValue == name }! }

    /// What the agent has and has not ended, as `1.1.1`.
    package func running(on name: String) -> [String] {
        world.agents[WorkerName(rawValue: name)!]!.live.map(\.description)
    }

    // MARK: jobs

    /// Submits a job of one task, or of `tasks`.
    @discardableResult
    package mutating func submit(
        cpus: Int64 = 1, memory: Int64 = 1 << 20, gpus: Int = 0, tasks: Int64? = nil, priority: Int = 0,
        retries: Int = 0,
        constraints: [Constraint] = [], slots: [String: SlotMode] = [:], bindings: [String: String] = [:],
        image: String = "busybox", services: [String] = [],
        imageIsStored: Bool = true, hold: Bool = false,
        owner: String = "ada", queue: String = "default", timeLimit: TimeSpan? = nil, disk: Int64 = 0,
        custom: [String: Int64] = [:], placement: PlacementRequest = .standard,
        after dependencies: [Dependency] = [], rules: RunRules = .none, gang: Int? = nil
    ) throws -> JobID {
        let id = JobID(rawValue: lastJob + 1)
        var record = jobRecord(
            resources: Resources(
                cpus: CPUAmount(thousandths: cpus * 1000), memory: ByteCount(bytes: memory), gpus: gpus,
                disk: ByteCount(bytes: disk), custom: counts(custom)),
            shape: gang.map { .gang($0) } ?? tasks.map { .array(first: 1, last: $0) } ?? .single, priority: priority,
            retries: retries,
            constraints: constraints, slots: slots, bindings: bindings, image: image, services: services,
            owner: owner, queue: queue, timeLimit: timeLimit, placement: placement)
        record.dependencies = dependencies
        record.rules = rules
        try accept(
            .jobSubmitted(id, record, imageIsStored: imageIsStored, hold: hold, known: known(dependencies)))
        lastJob += 1
        return id
    }

    /// What the store would say of jobs that the core asks about.
    private func known(_ dependencies: [Dependency]) -> [EndedJob] {
        dependencies.compactMap { dependency in
            let needed = cluster.mustBeKnown(dependency)
            guard needed.job, let record = rows.records[dependency.job], let row = rows.jobs[dependency.job] else {
                return nil
            }
            let succeeded = rows.tasks.values.filter { $0.id.job == dependency.job && $0.state == .succeeded }
            return EndedJob(
                id: dependency.job, owner: record.owner.name, indices: record.shape.indices, state: row.state,
                succeeded: needed.tasks ? succeeded.map(\.id.index).sorted().map { $0...$0 } : nil)
        }
    }

    package mutating func cancel(_ job: JobID) throws { try accept(.cancelRequested(job)) }
    package mutating func hold(_ job: JobID) throws { try accept(.holdRequested(job)) }
    package mutating func release(_ job: JobID) throws { try accept(.releaseRequested(job)) }

    package func progress(_ job: JobID) -> JobProgress { rows.jobs[job]! }
    package func state(_ job: JobID) -> JobState { rows.jobs[job]!.state }
    package func reason(_ job: JobID) -> String? { rows.jobs[job]!.reason }
    package func task(_ id: String) -> TaskRow { rows.tasks[TaskID(id)!]! }
    package func attempt(_ id: String) -> AttemptRow { rows.attempts[AttemptID(id)!]! }

    // MARK: attempts

    /// The container goes on in the world; its agent has not called yet.
    package mutating func progress(
        _ attempt: String, to state: AttemptState, reason: EndReason? = nil, exitCode: Int? = nil,
        message: String? = nil
    ) throws {
        let id = AttemptID(attempt)!
        guard let owner = world.owner(of: id) else { throw BrokenRule(description: "no agent has \(attempt)") }
        world.progress(id, on: owner, to: state, reason: reason, exitCode: exitCode, message: message)
    }

    /// The container goes on and its agent calls.
    package mutating func report(
        _ attempt: String, _ state: AttemptState, reason: EndReason? = nil, exitCode: Int? = nil, message: String? = nil
    ) throws {
        let owner = world.owner(of: AttemptID(attempt)!)
        try progress(attempt, to: state, reason: reason, exitCode: exitCode, message: message)
        if let owner { try sync(owner.rawValue) }
    }

    /// The program ends and its agent calls.
    package mutating func exit(_ attempt: String, _ code: Int = 0) throws {
        try report(attempt, code == 0 ? .succeeded : .failed, reason: .exitCode, exitCode: code)
    }
}

/// A job's fixed part for tests.
package func jobRecord(
    resources: Resources = .standard, shape: TaskShape = .single, priority: Int = 0, retries: Int = 0,
    constraints: [Constraint] = [], slots: [String: SlotMode] = [:], bindings: [String: String] = [:],
    image: String = "busybox", services: [String] = [], owner: String = "ada", queue: String = "default",
    timeLimit: TimeSpan? = nil, placement: PlacementRequest = .standard
) -> JobRecord {
    let slotList = slots.map { (SlotName(rawValue: $0.key)!, Slot(path: "/" + $0.key, mode: $0.value)) }
    let bindingList = bindings.map { (SlotName(rawValue: $0.key)!, Binding($0.value)!) }
    return JobRecord(
        name: "test", owner: Identity(name: UserName(rawValue: owner)!, uid: 1000, gid: 1000),
        queue: QueueName(rawValue: queue)!,
        priority: priority,
        configuration: Digest(of: "configuration"), configurationVersion: nil, imageReference: image,
        image: PinnedImage(digest: Digest(of: image), platform: nil), resources: resources,
        slots: Dictionary(uniqueKeysWithValues: slotList), bindings: Dictionary(uniqueKeysWithValues: bindingList),
        parameters: [:],
        shape: shape, labels: [:], constraints: constraints, retries: retries, timeLimit: timeLimit,
        grace: .seconds(10),
        fingerprint: .none, rerunOf: nil,
        services: services.enumerated().map {
            ServiceImage(
                name: ServiceName(unchecked: "s\($0.offset)"), reference: $0.element,
                image: PinnedImage(digest: Digest(of: $0.element), platform: nil))
        }, placement: placement)
}

/// Custom resources or licenses for tests.
package func counts(_ counts: [String: Int64]) -> ResourceCounts {
    ResourceCounts(Dictionary(uniqueKeysWithValues: counts.map { (ResourceName(rawValue: $0.key)!, $0.value) }))
}

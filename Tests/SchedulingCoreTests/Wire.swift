// A bare cluster that is spoken to in raw protocol messages, for what no honest agent would say. Rows and invariants
// are checked after each call; there is no world that could object.
import JobModel
import SchedulingCore
import TestSupport

struct Wire {
    var cluster: Cluster
    var rows = ClusterRows()
    var now = Instant(uptime: 5_000, wall: Timestamp(millisecondsSinceEpoch: 1_000_000))
    var effects: [Effect] = []

    init(policy: Policy = Policy()) { cluster = Cluster(policy: policy) }

    @discardableResult
    mutating func step(_ event: Event) throws -> Reply {
        effects = []
        let applied = cluster.apply(event, at: now)
        let scheduled = cluster.schedule(at: now)
        for change in applied.changes + scheduled.changes { try rows.write(change) }
        effects = applied.effects + scheduled.effects
        if let broken = Invariants.check(cluster).first { throw ClusterFixture.BrokenRule(description: broken) }
        if cluster.image() != rows.image() { throw ClusterFixture.BrokenRule(description: "memory and disk differ") }
        return applied.reply
    }

    /// What the scheduler writes down is all that it knows from here on.
    mutating func restart() {
        now = Instant(uptime: now.uptime + 1, wall: now.wall)
        cluster = Cluster(policy: cluster.policy, restoring: rows.image(), at: now)
    }

    /// Calls and returns the answer, if one came at once.
    @discardableResult
    mutating func call(
        _ sequence: Int64, on name: String = "w1", life: String = "a", registration: WorkerRegistration? = nil,
        live: [String] = [],
        reports: [AttemptReport] = [], wait: TimeSpan = .zero, proof: String? = nil
    ) throws -> SyncOrders? {
        let request = SyncRequest(
            incarnation: life, sequence: sequence, registration: registration, live: live.map { AttemptID($0)! },
            reports: reports, wait: wait, proof: proof)
        let reply = try step(.workerSynced(WorkerName(rawValue: name)!, request))
        if case .refused(let refusal) = reply { throw refusal }
        return answer(to: name)
    }

    /// The answer among the effects of the last step.
    func answer(to name: String = "w1") -> SyncOrders? {
        for case .answerSync(let worker, _, _, let orders) in effects where worker.rawValue == name { return orders }
        return nil
    }

    mutating func submit(_ id: Int64, _ record: JobRecord = jobRecord()) throws {
        try step(.jobSubmitted(JobID(rawValue: id), record, imageIsStored: true, hold: false))
    }

    mutating func advance(_ span: TimeSpan) throws {
        now = Instant(uptime: now.uptime + span.milliseconds, wall: now.wall)
        try step(.timeAdvanced)
    }

    func attempt(_ id: String) -> AttemptRow { rows.attempts[AttemptID(id)!]! }
    func task(_ id: String) -> TaskRow { rows.tasks[TaskID(id)!]! }

    /// A worker whose attempt 1.1.1 was started and acknowledged; the next sequence is 3.
    static func running(_ record: JobRecord = jobRecord()) throws -> Wire {
        var wire = Wire()
        try wire.submit(1, record)
        try wire.call(1, registration: offer())
        try wire.call(2, live: ["1.1.1"])
        return wire
    }
}

func offer(cpus: Int = 8, gpus: [String] = [], volumes: [String] = ["out", "data"]) -> WorkerRegistration {
    let offers = volumes.map { (VolumeName(rawValue: $0)!, VolumeOffer(writable: true)) }
    return WorkerRegistration(
        cpus: CPUAmount(cpus: cpus), memory: ByteCount(bytes: 64 << 30), gpus: gpus, labels: [:],
        volumes: Dictionary(uniqueKeysWithValues: offers), allowedPaths: [], engines: ["docker"], version: "1")
}

func report(
    _ attempt: String, _ sequence: Int64, _ state: AttemptState, _ reason: EndReason? = nil, exitCode: Int? = nil,
    signal: Int? = nil
) -> AttemptReport {
    AttemptReport(
        attempt: AttemptID(attempt)!, sequence: sequence, state: state, reason: reason, exitCode: exitCode,
        signal: signal)
}

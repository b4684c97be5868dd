// An agent without containers: it speaks the worker protocol, keeps the journal that an agent keeps, and ends attempts
// when it is told to, or at once. For the simulated world and for benchmarks. No clock, no network, no randomness.
import JobModel
import SchedulingCore

package struct SimulatedWorker: Sendable {
    /// One attempt in the agent's journal.
    package struct Kept: Sendable {
        package var state = AttemptState.assigned
        package let cpus: CPUAmount
        let holding: Holding
        package let hasOutput: Bool
        /// The scheduler wants it to end, for this reason.
        package var stopReason: EndReason?
        package var mayPublish = false
        /// The newest report; sent again until an answer acknowledges it.
        package var report: AttemptReport?
        package var isReported = true
        /// A call has told the scheduler of it.
        package var wasListed = false
    }

    package let name: WorkerName
    package var registration: WorkerRegistration
    package private(set) var attempts: [AttemptID: Kept] = [:]
    package private(set) var incarnation = "life-1"
    package private(set) var sequence: Int64 = 0
    /// Attempts succeed as soon as they are started.
    package var endsAtOnce: Bool
    private var life = 1
    private var mustRegister = true
    private var proof = ""
    private var registrationInCall = false
    private var reportsInCall: [AttemptReport] = []

    /// A worker whose attempts succeed as soon as they are started.
    package init(name: String, cpus: Int, endsAtOnce: Bool = true) {
        self.name = WorkerName(unchecked: name)
        self.endsAtOnce = endsAtOnce
        registration = WorkerRegistration(
            cpus: CPUAmount(cpus: cpus), memory: ByteCount(bytes: Int64(cpus) << 32), gpus: [], labels: [:],
            volumes: [VolumeName(unchecked: "results"): VolumeOffer(writable: true)], allowedPaths: [],
            engines: ["simulated"],
            version: "simulated")
    }

    /// Attempts that have not ended, in order.
    package var live: [AttemptID] { attempts.filter { !$0.value.state.isTerminal }.keys.sorted() }

    /// What its containers hold. An attempt that is ending has none any more: it waits to publish.
    package var usedCPUs: CPUAmount {
        let running = attempts.values.filter { !$0.state.isTerminal && $0.state != .ending }
        return CPUAmount(thousandths: running.reduce(0) { $0 + $1.cpus.thousandths })
    }

    /// Whether a call would tell the scheduler something new.
    package var hasNews: Bool { mustRegister || attempts.values.contains { !$0.isReported || !$0.wasListed } }

    // MARK: calls

    /// The next call: all that the worker has, and what the scheduler has not acknowledged. The call before is given
    /// up.
    package mutating func request(wait: TimeSpan) -> SyncRequest {
        sequence += 1
        registrationInCall = mustRegister
        let listed = attempts.keys.sorted()
        reportsInCall = []
        for id in listed {
            if let kept = attempts[id], !kept.isReported, let report = kept.report { reportsInCall.append(report) }
            attempts[id]?.wasListed = true
        }
        return SyncRequest(
            incarnation: incarnation, sequence: sequence, registration: mustRegister ? registration : nil, live: listed,
            reports: reportsInCall, wait: wait, proof: proof)
    }

    /// Carries out the answer to the newest call. Answers to older ones must not be given.
    /// - Returns: the attempts that it started.
    @discardableResult
    package mutating func take(_ orders: SyncOrders) -> [AttemptID] {
        take(
            start: orders.start, stop: orders.stop, publish: orders.publish, forget: orders.forget, jobs: orders.jobs,
            registrationWanted: orders.registrationWanted, challenge: orders.challenge)
    }

    /// As ``take(_:)-(SyncOrders)``, from the wire.
    @discardableResult
    package mutating func take(_ response: SyncResponse) -> [AttemptID] {
        take(
            start: response.start, stop: response.stop, publish: response.publish, forget: response.forget,
            jobs: response.jobs,
            registrationWanted: response.registrationWanted, challenge: response.challenge)
    }

    private mutating func take(
        start: [StartOrder], stop: [StopOrder], publish: [AttemptID], forget: [AttemptID], jobs: [JobBrief],
        registrationWanted: Bool, challenge: String?
    ) -> [AttemptID] {
        if let challenge {
            proof = challenge
            mustRegister = true
            return []
        }
        if registrationInCall { mustRegister = false }
        if registrationWanted { mustRegister = true }
        for report in reportsInCall where attempts[report.attempt]?.report?.sequence == report.sequence {
            attempts[report.attempt]?.isReported = true
        }
        reportsInCall = []
        for id in forget { attempts[id] = nil }
        for order in stop { self.stop(order) }
        for id in publish where attempts[id] != nil {
            attempts[id]?.mayPublish = true
            if endsAtOnce { report(id, .succeeded, reason: .exitCode, exitCode: 0) }
        }
        return self.start(start, jobs)
    }

    private mutating func stop(_ order: StopOrder) {
        guard attempts[order.attempt]?.state.isTerminal == false else { return }
        attempts[order.attempt]?.stopReason = order.reason
        if endsAtOnce { report(order.attempt, .cancelled, reason: order.reason) }
    }

    private mutating func start(_ orders: [StartOrder], _ jobs: [JobBrief]) -> [AttemptID] {
        let briefs = Dictionary(jobs.map { ($0.id, $0.record) }, uniquingKeysWith: { first, _ in first })
        var started: [AttemptID] = []
        for order in orders where attempts[order.attempt] == nil {
            guard let record = briefs[order.attempt.job] else { continue }
            attempts[order.attempt] = Kept(
                cpus: record.resources.cpus,
                holding: Holding(resources: record.resources, placement: record.placement),
                hasOutput: record.slots.values.contains { $0.mode == .out })
            started.append(order.attempt)
            if endsAtOnce { exit(order.attempt, code: 0) }
        }
        return started
    }

    // MARK: what happens to containers and agents

    /// Notes what became of an attempt, to be reported with the next call. What has ended does not change.
    package mutating func report(_ id: AttemptID, _ state: AttemptState, reason: EndReason? = nil, exitCode: Int? = nil)
    {
        guard let kept = attempts[id], !kept.state.isTerminal else { return }
        attempts[id]?.state = state
        attempts[id]?.report = AttemptReport(
            attempt: id, sequence: (kept.report?.sequence ?? 0) + 1, state: state, reason: reason, exitCode: exitCode,
            engine: "simulated")
        attempts[id]?.isReported = false
    }

    /// The container has ended by itself with this exit code. With output to publish, the scheduler has to accept it
    /// first.
    package mutating func exit(_ id: AttemptID, code: Int) {
        guard let kept = attempts[id] else { return }
        if code == 0, kept.hasOutput {
            report(id, .ending, exitCode: 0)
        } else {
            report(id, code == 0 ? .succeeded : .failed, reason: .exitCode, exitCode: code)
        }
    }

    /// The agent's process starts again: a new life that keeps its journal and its containers. What it may publish it
    /// asks again.
    package mutating func restart() {
        for id in live {
            attempts[id]?.mayPublish = false
            if attempts[id]?.state == .ending { attempts[id]?.isReported = false }
        }
        life += 1
        incarnation = "life-\(life)"
        sequence = 0
        mustRegister = true
        proof = ""
        reportsInCall = []
    }

    /// The journal is gone as well: a new machine under the old name.
    package mutating func forgetEverything() { attempts = [:] }
}

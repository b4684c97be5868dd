// Workers and their containers as a small model of its own, which shares no code with the scheduler's core.
// It carries out orders, and throws a named error on one that no correct scheduler gives. It is a second opinion, not
// an echo: it knows only what agents are told and what they have. Time comes in; nothing here is random.
import JobModel
import SchedulingCore

package struct StrictWorld: Sendable {
    package enum IllegalOrder: Error, Hashable, Sendable {
        case answerToNoCall(WorkerName, sequence: Int64)
        case dropOfNoCall(WorkerName, sequence: Int64)
        case startBeforeRegistration(AttemptID)
        case startedTwice(AttemptID)
        case startOfEnded(AttemptID)
        case startWithoutBrief(AttemptID)
        case attemptNumberDidNotRise(AttemptID)
        case taskRunsTwice(AttemptID, and: AttemptID)
        case overCapacity(AttemptID, what: String)
        case wrongGPUs(AttemptID, [String])
        case constraintBroken(AttemptID, Constraint)
        case volumeMissing(AttemptID, String)
        case stopOfUnknown(AttemptID)
        case stopOfEnded(AttemptID)
        case publishOfUnknown(AttemptID)
        case publishWithoutProof(AttemptID)
        case forgetOfUnknown(AttemptID)
        case forgetOfLive(AttemptID)
        case forgetOfUnreported(AttemptID)
        case ordersOutOfOrder(WorkerName)
    }

    package struct Container: Hashable, Sendable {
        package var state = AttemptState.assigned
        package var record: JobRecord
        package var gpus: [String]
        package var stopOrdered = false
        package var publishOrdered = false
        /// The newest report, sent until an answer acknowledges it.
        package var report: AttemptReport?
        package var isAcknowledged = true
        /// A call has told the scheduler of it.
        fileprivate var wasListed = false
        fileprivate var reportedEnd = false

        package var hasOutput: Bool { record.slots.values.contains { $0.mode == .out } }
    }

    package struct Agent: Sendable {
        package var registration: WorkerRegistration
        package var incarnation = "life-1"
        package var sequence: Int64 = 0
        package var mustRegister = true
        package var containers: [AttemptID: Container] = [:]
        /// The sequence of the call that waits for its answer.
        package var openCall: Int64?
        /// Uptime at which the agent stops everything by itself, unless it is answered.
        package var leaseEnds: Int64?
        fileprivate var callSentAt: Int64 = 0
        fileprivate var registrationInCall = false
        fileprivate var reportsInCall: [AttemptReport] = []

        package var live: [AttemptID] { containers.filter { !$0.value.state.isTerminal }.keys.sorted() }
    }

    package private(set) var agents: [WorkerName: Agent] = [:]
    /// Attempts that some agent was told to start, ever.
    package private(set) var started: Set<AttemptID> = []
    package let lease: TimeSpan
    /// The most that the cluster ever had.
    package var licenses: [ResourceName: Int64] = [:]

    package init(policy: Policy) { lease = policy.lease }

    package var names: [WorkerName] { agents.keys.sorted() }

    /// Which agent has a container of this attempt.
    package func owner(of attempt: AttemptID) -> WorkerName? { names.first { agents[$0]!.containers[attempt] != nil } }

    // MARK: what happens to agents

    package mutating func add(_ name: WorkerName, _ registration: WorkerRegistration) {
        agents[name] = Agent(registration: registration)
    }

    package mutating func change(_ name: WorkerName, _ body: (inout WorkerRegistration) -> Void) {
        body(&agents[name]!.registration)
        agents[name]!.mustRegister = true
    }

    /// The agent's process starts again. Containers and the journal stay, unless the whole host is new.
    package mutating func restart(_ name: WorkerName, losingContainers: Bool = false) {
        let number = Int(agents[name]!.incarnation.split(separator: "-")[1])! + 1
        agents[name]!.incarnation = "life-\(number)"
        agents[name]!.sequence = 0
        agents[name]!.mustRegister = true
        agents[name]!.openCall = nil
        guard losingContainers else { return }
        // What nobody heard of may be started again under its own number.
        for (id, container) in agents[name]!.containers where !container.wasListed { started.remove(id) }
        agents[name]!.containers = [:]
    }

    /// The connection of the open call breaks: no answer will be read.
    package mutating func hangUp(_ name: WorkerName) { agents[name]!.openCall = nil }

    /// Agents whose lease is over stop what they run.
    package mutating func enforceLeases(at uptime: Int64) {
        for name in names {
            guard let end = agents[name]!.leaseEnds, end <= uptime else { continue }
            for id in agents[name]!.live { progress(id, on: name, to: .lost, reason: .workerLost) }
        }
    }

    /// A container goes on; its agent has something to report.
    package mutating func progress(
        _ id: AttemptID, on name: WorkerName, to state: AttemptState, reason: EndReason? = nil, exitCode: Int? = nil,
        message: String? = nil
    ) {
        guard var container = agents[name]!.containers[id], !container.state.isTerminal else { return }
        container.state = state
        container.report = AttemptReport(
            attempt: id, sequence: (container.report?.sequence ?? 0) + 1, state: state, reason: reason,
            exitCode: exitCode,
            message: message)
        container.isAcknowledged = false
        agents[name]!.containers[id] = container
    }

    // MARK: calls

    /// The agent calls. An older open call is given up.
    package mutating func call(_ name: WorkerName, wait: TimeSpan = .zero, at uptime: Int64) -> Event {
        var agent = agents[name]!
        agent.sequence += 1
        agent.openCall = agent.sequence
        agent.callSentAt = uptime
        agent.registrationInCall = agent.mustRegister
        agent.reportsInCall = agent.containers.keys.sorted().compactMap {
            agent.containers[$0]!.isAcknowledged ? nil : agent.containers[$0]!.report
        }
        for id in agent.containers.keys { agent.containers[id]!.wasListed = true }
        agents[name] = agent
        return .workerSynced(
            name,
            SyncRequest(
                incarnation: agent.incarnation, sequence: agent.sequence,
                registration: agent.mustRegister ? agent.registration : nil, live: agent.containers.keys.sorted(),
                reports: agent.reportsInCall, wait: wait))
    }

    /// Carries out an effect. `isLost`: the answer is sent but never arrives.
    package mutating func take(_ effect: Effect, isLost: Bool = false, at uptime: Int64) throws(IllegalOrder) {
        switch effect {
        case .workerTurned, .timeLimitChanged: break
        case .dropSync(let name, let incarnation, let sequence):
            // The agent has made a newer call or is a newer life by now; dropping the newest call would strand it.
            if agents[name]!.incarnation == incarnation, agents[name]!.openCall == sequence {
                throw .dropOfNoCall(name, sequence: sequence)
            }
        case .answerSync(let name, let incarnation, let sequence, let orders):
            guard agents[name]!.incarnation == incarnation, agents[name]!.openCall == sequence else {
                // An answer to a call that the agent hung up is allowed, one to a call that it never made is not.
                if agents[name]!.incarnation == incarnation, sequence > agents[name]!.sequence {
                    throw .answerToNoCall(name, sequence: sequence)
                }
                return
            }
            agents[name]!.openCall = nil
            if !isLost { try carryOut(orders, on: name, at: uptime) }
        }
    }

    private mutating func carryOut(_ orders: SyncOrders, on name: WorkerName, at uptime: Int64) throws(IllegalOrder) {
        var agent = agents[name]!
        if agent.registrationInCall { agent.mustRegister = false }
        if orders.registrationWanted { agent.mustRegister = true }
        agent.leaseEnds = agent.callSentAt + lease.milliseconds
        for report in agent.reportsInCall {
            if agent.containers[report.attempt]?.report == report {
                agent.containers[report.attempt]?.isAcknowledged = true
                if report.state.isTerminal { agent.containers[report.attempt]?.reportedEnd = true }
            }
        }
        agents[name] = agent
        let starts = orders.start.map(\.attempt)
        let briefs = orders.jobs.map(\.id)
        guard starts == starts.sorted(), briefs == Array(Set(starts.map(\.job))).sorted() else {
            throw .ordersOutOfOrder(name)
        }
        for id in orders.forget { try forget(id, on: name) }
        for order in orders.stop { try stop(order.attempt, on: name) }
        for id in orders.publish { try publish(id, on: name) }
        for start in orders.start { try self.start(start, orders.jobs, on: name, at: uptime) }
    }

    private mutating func forget(_ id: AttemptID, on name: WorkerName) throws(IllegalOrder) {
        guard let container = agents[name]!.containers[id] else { throw .forgetOfUnknown(id) }
        guard container.state.isTerminal else { throw .forgetOfLive(id) }
        guard container.reportedEnd else { throw .forgetOfUnreported(id) }
        agents[name]!.containers[id] = nil
    }

    private mutating func stop(_ id: AttemptID, on name: WorkerName) throws(IllegalOrder) {
        guard let container = agents[name]!.containers[id] else { throw .stopOfUnknown(id) }
        guard !container.state.isTerminal || !container.reportedEnd else { throw .stopOfEnded(id) }
        agents[name]!.containers[id]!.stopOrdered = true
    }

    private mutating func publish(_ id: AttemptID, on name: WorkerName) throws(IllegalOrder) {
        guard let container = agents[name]!.containers[id] else { throw .publishOfUnknown(id) }
        guard container.state == .ending || container.state.isTerminal, container.hasOutput, container.report != nil,
            container.state.isTerminal || container.report?.exitCode == 0, !container.stopOrdered
        else { throw .publishWithoutProof(id) }
        agents[name]!.containers[id]!.publishOrdered = true
    }

    private mutating func start(
        _ order: StartOrder, _ briefs: [JobBrief], on name: WorkerName, at uptime: Int64
    ) throws(IllegalOrder) {
        let id = order.attempt
        let agent = agents[name]!
        guard !agent.mustRegister else { throw .startBeforeRegistration(id) }
        guard agent.containers[id] == nil else { throw .startedTwice(id) }
        if started.contains(id) { throw .startOfEnded(id) }
        guard let record = briefs.first(where: { $0.id == id.job })?.record else { throw .startWithoutBrief(id) }
        if started.contains(where: { $0.task == id.task && $0.number >= id.number }) {
            throw .attemptNumberDidNotRise(id)
        }
        for other in names {
            // Beyond its lease an agent has stopped everything, whether or not the scheduler heard of it.
            guard agents[other]!.leaseEnds.map({ $0 > uptime }) ?? true else { continue }
            if let twin = agents[other]!.live.first(where: { $0.task == id.task }) {
                throw .taskRunsTwice(id, and: twin)
            }
        }
        try checkRoom(order, record, agent)
        try checkLicenses(id, record, at: uptime)
        try checkPlace(id, record, agent.registration)
        agents[name]!.containers[id] = Container(record: record, gpus: order.gpus)
        started.insert(id)
    }

    /// What all agents run together.
    private func checkLicenses(_ id: AttemptID, _ record: JobRecord, at uptime: Int64) throws(IllegalOrder) {
        for entry in record.placement.licenses.entries {
            guard let total = licenses[entry.name] else { continue }
            let live = names.filter { agents[$0]!.leaseEnds.map { $0 > uptime } ?? true }.flatMap {
                agents[$0]!.containers.values.filter { !$0.state.isTerminal }
            }
            let used = live.reduce(entry.count) { $0 + $1.record.placement.licenses[entry.name] }
            if used > total { throw .overCapacity(id, what: "license \(entry.name)") }
        }
    }

    private func checkRoom(_ order: StartOrder, _ record: JobRecord, _ agent: Agent) throws(IllegalOrder) {
        let id = order.attempt
        let running = agent.containers.values.filter { !$0.state.isTerminal }
        let cpus = running.reduce(record.resources.cpus.thousandths) { $0 + $1.record.resources.cpus.thousandths }
        let memory = running.reduce(record.resources.memory.bytes) { $0 + $1.record.resources.memory.bytes }
        if cpus > agent.registration.cpus.thousandths { throw .overCapacity(id, what: "cpus") }
        if memory > agent.registration.memory.bytes { throw .overCapacity(id, what: "memory") }
        let disk = running.reduce(record.resources.disk.bytes) { $0 + $1.record.resources.disk.bytes }
        if disk > agent.registration.disk?.bytes ?? 0, record.resources.disk.bytes > 0 {
            throw .overCapacity(id, what: "disk")
        }
        for entry in record.resources.custom.entries {
            let used = running.reduce(entry.count) { $0 + $1.record.resources.custom[entry.name] }
            if used > agent.registration.custom?[entry.name] ?? 0 { throw .overCapacity(id, what: "\(entry.name)") }
        }
        if record.placement.isExclusive && !running.isEmpty
            || running.contains(where: { $0.record.placement.isExclusive })
        {
            throw .overCapacity(id, what: "company")
        }
        let held = running.flatMap(\.gpus)
        let isFree = order.gpus.allSatisfy { agent.registration.gpus.contains($0) && !held.contains($0) }
        // Who has a worker alone has all of its GPUs.
        guard record.placement.isExclusive || order.gpus.count == record.resources.gpus,
            Set(order.gpus).count == order.gpus.count, isFree
        else {
            throw .wrongGPUs(id, order.gpus)
        }
    }

    private func checkPlace(_ id: AttemptID, _ record: JobRecord, _ worker: WorkerRegistration) throws(IllegalOrder) {
        for constraint in record.constraints {
            let isEqual = worker.labels[constraint.label] == constraint.value
            if isEqual != (constraint.comparison == .equal) { throw .constraintBroken(id, constraint) }
        }
        for (slot, definition) in record.slots {
            let binding = record.bindings[slot] ?? Binding(slot.rawValue)!
            switch binding.root {
            case .volume(let volume):
                let offer = worker.volumes[volume]
                if offer == nil || definition.mode != .ro && offer?.writable == false {
                    throw .volumeMissing(id, volume.rawValue)
                }
            case .host:
                let path = binding.path.split(separator: "/")
                let isAllowed = worker.allowedPaths.contains { path.starts(with: $0.split(separator: "/")) }
                if !isAllowed { throw .volumeMissing(id, binding.path) }
            }
        }
    }
}

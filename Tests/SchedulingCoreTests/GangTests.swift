// Goal: the members of a gang start together on different workers or not at all, fail together, and are not overtaken
// for ever. Method: three workers, and what their agents are told. Each step checks all invariants.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

@Suite struct GangTests {
    private static let names = ["w1", "w2", "w3"]

    private func three(cpus: Int = 2) throws -> ClusterFixture {
        var c = ClusterFixture()
        for name in Self.names { try c.worker(name, cpus: cpus) }
        return c
    }

    /// A gang that runs: member 1 on w1, and so on.
    private func running(retries: Int = 0, slots: [String: SlotMode] = [:]) throws -> (ClusterFixture, JobID) {
        var c = try three()
        let gang = try c.submit(cpus: 2, retries: retries, slots: slots, gang: 3)
        // The second call shows that the members have begun.
        for _ in 0..<2 { try call(&c) }
        return (c, gang)
    }

    private func call(_ c: inout ClusterFixture) throws { for name in Self.names { try c.sync(name) } }

    private func states(_ c: ClusterFixture, _ gang: JobID) -> [TaskState] {
        (1...3).map { c.task("\(gang).\($0)").state }
    }

    /// The agents of these members see the order to stop, and obey.
    private func obey(_ c: inout ClusterFixture, _ attempts: [String]) throws {
        try call(&c)
        for attempt in attempts { try c.report(attempt, .cancelled, reason: .preempted) }
    }

    @Test("with two of three workers free nothing of it starts; with all free, everything in one step")
    func allOrNothing() throws {
        var c = try three()
        try c.submit(cpus: 2)
        let gang = try c.submit(cpus: 2, gang: 3)
        try call(&c)
        #expect(c.state(gang) == .pending && c.rows.attempts.count == 1)
        let why = try #require(c.cluster.why(gang, at: c.now)).sentence
        #expect(why.hasPrefix("it needs 3 workers at once with 2 cpus, "), "\(why)")
        #expect(why.contains(" each; 2 have room; w1, w2, w3 are reserved for it"), "\(why)")
        try c.exit("1.1.1")
        #expect(c.state(gang) == .running)
        #expect((1...3).map { c.attempt("\(gang).\($0).1").worker.rawValue } == Self.names)
        try call(&c)
        for name in Self.names { #expect(c.running(on: name).count == 1) }
        for member in 1...3 { try c.exit("\(gang).\(member).1") }
        #expect(c.state(gang) == .succeeded && c.progress(gang).counts.succeeded == 3)
    }

    @Test("members never share a worker, and a cluster with too few workers is told so")
    func tooFew() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 64)
        try c.worker("w2", cpus: 64)
        let gang = try c.submit(gang: 3)
        let other = try c.submit()
        #expect(c.state(gang) == .pending && c.state(other) == .running)
        let why = try #require(c.cluster.why(gang, at: c.now)).sentence
        #expect(why.contains("and the cluster has 2 such"), "\(why)")
        try c.worker("w3")
        #expect(c.state(gang) == .running)
    }

    @Test("each member is told the addresses of all, by its rank")
    func hosts() throws {
        var c = try three()
        var request = c.world.call(WorkerName(rawValue: "w2")!, wait: .zero, at: c.now.uptime)
        guard case .workerSynced(let name, var call) = request else { return }
        call.registration = c.world.agents[name]!.registration
        call.registration?.address = "10.0.0.2"
        request = .workerSynced(name, call)
        try c.accept(request)
        let gang = try c.submit(gang: 3)
        try c.sync("w3")
        let orders = c.effects.compactMap { effect -> SyncOrders? in
            if case .answerSync(_, _, _, let orders) = effect { orders } else { nil }
        }
        let start = try #require(orders.last?.start.first)
        #expect(start.gangHosts == ["w1", "10.0.0.2", "w3"])
        #expect(
            start.gangEnvironment == [
                "JOBCTL_GANG_SIZE": "3", "JOBCTL_GANG_RANK": "2", "JOBCTL_GANG_HOSTS": "w1,10.0.0.2,w3",
                "JOBCTL_GANG_MASTER": "w1",
            ])
        #expect(start.attempt == AttemptID("\(gang).3.1")!)
        #expect(StartOrder(attempt: start.attempt, gpus: []).gangEnvironment.isEmpty)
    }

    @Test("when a member fails the others are stopped, and all are tried again together; then the job fails")
    func failTogether() throws {
        var (c, gang) = try running(retries: 1)
        try c.exit("\(gang).2.1", 1)
        #expect(c.attempt("\(gang).1.1").stopReason == .preempted && c.attempt("\(gang).3.1").stopReason == .preempted)
        try obey(&c, ["\(gang).1.1"])
        try c.advance(.minutes(2), calling: Self.names)
        #expect(states(c, gang) == [.pending, .pending, .running])
        // It failed because its peer had gone: no retry is counted for that.
        try c.exit("\(gang).3.1", 3)
        try call(&c)
        #expect(states(c, gang) == [.running, .running, .running])
        #expect((1...3).map { c.task("\(gang).\($0)").programFailures } == [0, 1, 0])
        try c.exit("\(gang).3.2", 1)
        try obey(&c, ["\(gang).1.2", "\(gang).2.2"])
        #expect(c.state(gang) == .failed && states(c, gang) == [.cancelled, .cancelled, .failed])
    }

    @Test("a member that has succeeded begins anew with the others when one of them fails")
    func arrived() throws {
        var (c, gang) = try running(retries: 1)
        try c.exit("\(gang).1.1")
        #expect(c.state(gang) == .running && states(c, gang) == [.running, .running, .running])
        // What it held is free, and the gang is not placed into it.
        let small = try c.submit(cpus: 2, timeLimit: .minutes(1))
        try call(&c)
        #expect(c.attempt("\(small).1.1").worker.rawValue == "w1")
        try c.exit("\(gang).2.1", 1)
        try obey(&c, ["\(gang).3.1"])
        #expect(states(c, gang) == [.pending, .pending, .pending])
        try c.advance(.minutes(2), calling: Self.names)
        #expect(states(c, gang) == [.pending, .pending, .pending])
        try c.exit("\(small).1.1")
        try call(&c)
        #expect(states(c, gang) == [.running, .running, .running] && c.task("\(gang).1").attempts == 2)
        for member in 1...3 { try c.exit("\(gang).\(member).2") }
        #expect(c.state(gang) == .succeeded)
    }

    @Test("a gang that is lost with a worker, or taken back from one, begins anew as a whole")
    func lostWorker() throws {
        var (c, gang) = try running()
        try c.restartAgent("w2", losingContainers: true)
        #expect(c.attempt("\(gang).2.1").state == .lost)
        try obey(&c, ["\(gang).1.1", "\(gang).3.1"])
        try c.advance(.minutes(2), calling: Self.names)
        #expect(states(c, gang) == [.running, .running, .running] && c.task("\(gang).3").attempts == 2)
        try c.accept(.requeueRequested(gang, task: 1))
        #expect(c.attempt("\(gang).3.2").stopReason == nil)
        try obey(&c, ["\(gang).1.2"])
        try obey(&c, ["\(gang).2.2", "\(gang).3.2"])
        #expect(states(c, gang) == [.running, .running, .running] && c.task("\(gang).3").attempts == 3)
        #expect((1...3).allSatisfy { c.task("\(gang).\($0)").programFailures == 0 })
    }

    @Test("small tasks without a time limit do not keep a gang waiting for ever")
    func noStarvation() throws {
        var c = try three()
        var small: [JobID] = []
        for _ in 0..<6 { small.append(try c.submit()) }
        try call(&c)
        let gang = try c.submit(cpus: 2, gang: 3)
        #expect(c.cluster.promise?.job == gang)
        try c.advance(.minutes(11), calling: Self.names)
        // One ends at a time, and another comes at once.
        for job in small {
            let later = try c.submit()
            try c.exit("\(job).1.1")
            #expect(c.state(later) == .pending || c.state(gang) == .running)
        }
        #expect(c.state(gang) == .running && states(c, gang) == [.running, .running, .running])
    }

    @Test("tasks that end in time use the workers that are kept for a gang")
    func backfill() throws {
        var c = try three()
        try c.submit(cpus: 2, timeLimit: .minutes(60))
        let gang = try c.submit(cpus: 2, gang: 3)
        let long = try c.submit(timeLimit: .minutes(90))
        let short = try c.submit(timeLimit: .minutes(30))
        #expect(c.state(gang) == .pending && c.state(long) == .pending && c.state(short) == .running)
        try c.drain("w2")
        #expect(c.state(long) == .running, "a promise without its workers is none")
    }

    @Test("a restart of the scheduler finds the gang as it was", arguments: [0, 1, 2])
    func restart(arrived: Int) throws {
        var (c, gang) = try running(retries: 1)
        for member in 0..<arrived { try c.exit("\(gang).\(member + 1).1") }
        try c.restartScheduler()
        try call(&c)
        #expect(states(c, gang) == [.running, .running, .running])
        if arrived == 2 {
            try c.exit("\(gang).3.1")
            #expect(c.state(gang) == .succeeded)
        } else {
            try c.exit("\(gang).2.1", 1)
            try c.restartScheduler()
            try obey(&c, (arrived == 0 ? ["\(gang).1.1"] : []) + ["\(gang).3.1"])
            try c.restartScheduler()
            try c.advance(.minutes(2), calling: Self.names)
            #expect(states(c, gang) == [.running, .running, .running] && c.task("\(gang).1").attempts == 2)
        }
    }

    @Test("output is published when the programs of all members have exited with 0")
    func outputs() throws {
        var c = ClusterFixture()
        for name in Self.names { try c.worker(name, cpus: 2, volumes: ["results": true]) }
        let gang = try c.submit(cpus: 2, slots: ["results": .out], gang: 3)
        try call(&c)
        for member in 1...2 { try c.report("\(gang).\(member).1", .ending, exitCode: 0) }
        #expect(!c.attempt("\(gang).1.1").isAccepted && !c.attempt("\(gang).2.1").isAccepted)
        try c.report("\(gang).3.1", .ending, exitCode: 0)
        #expect((1...3).allSatisfy { c.attempt("\(gang).\($0).1").isAccepted })
        try call(&c)
        // It is too late for a cancel.
        try c.cancel(gang)
        for member in 1...3 { try c.exit("\(gang).\(member).1") }
        #expect(c.state(gang) == .succeeded)
    }

    @Test("a gang is cancelled, held and released as a whole")
    func cancelAndHold() throws {
        var (c, gang) = try running()
        try c.exit("\(gang).1.1")
        try c.hold(gang)
        #expect(states(c, gang) == [.running, .running, .running])
        try c.cancel(gang)
        #expect(states(c, gang) == [.succeeded, .running, .running])
        try call(&c)
        for member in 2...3 { try c.report("\(gang).\(member).1", .cancelled, reason: .cancelled) }
        #expect(c.state(gang) == .cancelled)
        // Nobody was told of this one yet.
        let next = try c.submit(cpus: 2, gang: 3)
        try c.hold(next)
        #expect(states(c, next) == [.pending, .pending, .pending])
        try c.release(next)
        #expect(states(c, next) == [.running, .running, .running])
    }

    @Test("limits and licenses count all members at once")
    func limits() throws {
        var c = try three()
        var limits = Limits()
        limits.running = 2
        let ada = AccountID.user(UserName(rawValue: "ada")!)
        try c.accept(.accountSaved(AccountRow(id: ada, settings: AccountSettings(limits: limits))))
        let gang = try c.submit(gang: 3)
        #expect(c.state(gang) == .pending)
        #expect(try #require(c.cluster.why(gang, at: c.now)).sentence.contains("may use 2 running tasks"))
        limits.running = 3
        try c.accept(.accountSaved(AccountRow(id: ada, settings: AccountSettings(limits: limits))))
        #expect(c.state(gang) == .running)
        try c.license("matlab", 2)
        #expect(throws: Refusal.tooFewLicenses(ResourceName(rawValue: "matlab")!, total: 2, wanted: 3)) {
            try c.submit(placement: PlacementRequest(licenses: counts(["matlab": 1])), gang: 3)
        }
    }

    @Test("a gang waits for whole jobs, not task by task")
    func dependencies() throws {
        var c = try three()
        let first = try c.submit(tasks: 3)
        let each = Dependency(job: first, kind: .afterOKEach)
        #expect(throws: Refusal.dependency(each, .isGang)) { try c.submit(after: [each], gang: 3) }
        let gang = try c.submit(after: [Dependency(job: first, kind: .afterOK)], gang: 3)
        try call(&c)
        for task in 1...3 { try c.exit("\(first).\(task).1") }
        #expect(c.state(gang) == .running)
    }
}

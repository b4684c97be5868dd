// Goal: a queue that may preempt gets room, from the fewest and youngest tasks, only if it helps, and these run again
// at nobody's cost.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

private func queue(_ name: String) -> QueueName { QueueName(rawValue: name)! }

extension ClusterFixture {
    fileprivate mutating func queue(_ name: String, preempts: [String] = []) throws {
        let settings = AccountSettings(preempts: preempts.map { QueueName(rawValue: $0)! })
        try accept(.accountSaved(AccountRow(id: .queue(QueueName(rawValue: name)!), settings: settings)))
    }

    fileprivate static func withQueues() throws -> ClusterFixture {
        var c = ClusterFixture()
        try c.queue("low")
        try c.queue("high", preempts: ["low"])
        return c
    }

    /// A worker that a job of the queue "low" fills.
    fileprivate static func filled() throws -> (ClusterFixture, low: JobID) {
        var c = try withQueues()
        try c.worker("w1", cpus: 1)
        let low = try c.submit(queue: "low")
        try c.sync("w1")
        return (c, low)
    }
}

@Suite struct PreemptionTests {
    @Test("the youngest task that makes room is stopped, runs again, and pays nothing")
    func youngest() throws {
        var c = try ClusterFixture.withQueues()
        try c.worker("w1", cpus: 2)
        let old = try c.submit(queue: "low")
        try c.sync("w1")
        try c.advance(.minutes(1), calling: ["w1"])
        let young = try c.submit(queue: "low")
        try c.sync("w1")
        let high = try c.submit(queue: "high")
        #expect(c.attempt("\(young).1.1").stopReason == .preempted && c.attempt("\(old).1.1").stopReason == nil)
        let why = try #require(c.cluster.why(high, at: c.now)).sentence
        #expect(why.hasPrefix("tasks of other queues are being stopped on w1 to make room"))
        // What is made room for nobody else takes.
        let thief = try c.submit(priority: 100)
        try c.report("\(young).1.1", .cancelled, reason: .preempted)
        #expect(c.state(high) == .running && c.state(thief) == .pending)
        let task = c.task("\(young).1")
        #expect(task.state == .pending && task.reason == .preempted)
        #expect(task.programFailures == 0 && task.infrastructureFailures == 0)
        try c.cancel(thief)
        try c.sync("w1")
        try c.exit("\(high).1.1")
        #expect(c.attempt("\(young).1.2").state == .assigned)
    }

    @Test("the worker where the fewest must go is taken, and nothing is stopped that would not help")
    func fewest() throws {
        var c = try ClusterFixture.withQueues()
        try c.worker("w1", cpus: 4)
        try c.submit(cpus: 2, queue: "low")
        try c.submit(cpus: 2, queue: "low")
        try c.worker("w2", cpus: 4)
        let whole = try c.submit(cpus: 4, queue: "low")
        for worker in ["w1", "w2"] { try c.sync(worker) }
        let impossible = try c.submit(cpus: 4, queue: "high", custom: ["fpga": 1])
        #expect(c.state(impossible) == .waiting)
        try c.submit(cpus: 4, queue: "high")
        #expect(c.attempt("\(whole).1.1").stopReason == .preempted)
        #expect(c.attempt("1.1.1").stopReason == nil && c.attempt("2.1.1").stopReason == nil)
    }

    @Test("what another queue runs stays, and a task that would not fit even so stops nothing")
    func others() throws {
        var c = try ClusterFixture.withQueues()
        try c.worker("w1", cpus: 4)
        try c.submit(cpus: 2)
        try c.submit(cpus: 2, queue: "low")
        try c.sync("w1")
        try c.submit(cpus: 3, queue: "high")
        #expect(c.attempt("2.1.1").stopReason == nil)
    }

    @Test("what was not sent yet makes room at once; several tasks of an array get room together")
    func array() throws {
        var c = try ClusterFixture.withQueues()
        try c.worker("w1", cpus: 4)
        let low = try c.submit(tasks: 4, queue: "low")
        let high = try c.submit(tasks: 3, queue: "high")
        #expect(c.progress(high).counts.running == 3 && c.progress(low).counts.running == 1)
        try c.sync("w1")
        let second = try c.submit(tasks: 3, queue: "high")
        let stopped = (1...4).count { c.rows.attempts[AttemptID("\(low).\($0).1")!]?.stopReason == .preempted }
        #expect(stopped == 1 && c.state(second) == .pending)
    }

    @Test("a claim goes with its job, and room that was made is used by the next")
    func forgotten() throws {
        var (c, low) = try ClusterFixture.filled()
        let high = try c.submit(queue: "high")
        try c.cancel(high)
        try c.report("\(low).1.1", .cancelled, reason: .preempted)
        #expect(c.attempt("\(low).1.2").state == .assigned)
    }

    @Test("a job that is given another time limit still gets the room, which is its new class's")
    func limited() throws {
        var (c, low) = try ClusterFixture.filled()
        let high = try c.submit(queue: "high", timeLimit: .minutes(10))
        try c.accept(.timeLimitRequested(high, .minutes(20), from: nil))
        #expect(c.cluster.claims[0]?.place == c.cluster.jobs[high]?.classSlot)
        let thief = try c.submit(priority: 100)
        try c.report("\(low).1.1", .cancelled, reason: .preempted)
        #expect(c.state(high) == .running && c.state(thief) == .pending)
    }

    @Test("room is claimed no longer when a reservation comes too near for the job")
    func reserved() throws {
        var (c, _) = try ClusterFixture.filled()
        let high = try c.submit(queue: "high", timeLimit: .minutes(60))
        #expect(c.cluster.claims[0]?.job == high)
        let start = c.now.wall.after(.minutes(30))
        try c.accept(
            .reservationSaved(
                AdvanceReservation(
                    name: ReservationName(rawValue: "upkeep")!, start: start, end: start.after(.minutes(60)),
                    workers: [WorkerName(rawValue: "w1")!])))
        #expect(c.cluster.claims.isEmpty && c.state(high) == .pending)
    }

    @Test("a job of the class that goes before the claiming one takes the room, and the next is made for the other")
    func classmate() throws {
        var c = try ClusterFixture.withQueues()
        try c.worker("w1", cpus: 2)
        var oneAtATime = RunRules()
        oneAtATime.mostRunning = 1
        let first = try c.submit(tasks: 2, priority: 10, queue: "high", rules: oneAtATime)
        let low = try c.submit(queue: "low")
        try c.sync("w1")
        let second = try c.submit(queue: "high")
        #expect(c.attempt("\(low).1.1").stopReason == .preempted && c.state(second) == .pending)
        try c.exit("\(first).1.1")
        #expect(c.task("\(first).2").state == .running && c.state(second) == .pending)
        let thief = try c.submit(priority: 100)
        try c.report("\(low).1.1", .cancelled, reason: .preempted)
        #expect(c.state(second) == .running && c.state(thief) == .pending)
    }

    @Test("no queue comes to preempt itself, directly or by way of others")
    func cycles() throws {
        var c = try ClusterFixture.withQueues()
        #expect(throws: Refusal.preemptionCycle(queue("low"))) { try c.queue("low", preempts: ["high"]) }
        #expect(throws: Refusal.preemptionCycle(queue("low"))) { try c.queue("low", preempts: ["low"]) }
        #expect(throws: Refusal.unknownQueue(queue("none"))) { try c.queue("low", preempts: ["none"]) }
        try c.queue("urgent", preempts: ["high"])
        #expect(throws: Refusal.preemptionCycle(queue("low"))) { try c.queue("low", preempts: ["urgent"]) }
        try c.queue("low", preempts: ["default"])
    }
}

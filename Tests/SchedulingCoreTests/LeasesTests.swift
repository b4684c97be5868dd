// Goal: silence has two steps, at the right times, and nothing runs twice in between. Method: time in exact
// milliseconds.
import JobModel
import SchedulingCore
import TestSupport
import Testing

private let w1 = WorkerName(rawValue: "w1")!

@Suite struct LeasesTests {
    /// A worker with a running attempt, answered last at the fixture's time.
    private func running(retries: Int = 0) throws -> ClusterFixture {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.submit(retries: retries)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        return c
    }

    @Test("after 40 seconds without a call a worker is unreachable and gets no new work, but keeps what it has")
    func unreachable() throws {
        var c = try running()
        try c.advance(TimeSpan(milliseconds: 39_999))
        #expect(c.view("w1").state == .ready)
        try c.advance(TimeSpan(milliseconds: 1))
        #expect(c.view("w1").state == .unreachable)
        let job = try c.submit()
        #expect(c.state(job) == .pending)
        #expect(c.attempt("1.1.1").state == .running)
        try c.sync("w1")
        #expect(c.view("w1").state == .ready)
        #expect(c.state(job) == .running)
    }

    @Test("a call that waits for its answer is contact")
    func parkedIsContact() throws {
        var policy = Policy()
        policy.syncInterval = .seconds(30)
        var c = ClusterFixture(policy: policy)
        try c.worker("w1")
        try c.sync("w1", wait: .seconds(90))
        try c.advance(.seconds(60))
        #expect(c.view("w1").state == .ready)
        let job = try c.submit()
        #expect(c.state(job) == .running)
    }

    @Test("what was placed on a worker and never sent is taken back when it is unreachable")
    func unsentIsTakenBack() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        try c.submit()
        try c.worker("w2", cpus: 2)
        #expect(c.attempt("1.1.1").worker == w1)
        try c.advance(.seconds(30), calling: ["w2"])
        try c.advance(.seconds(10), calling: ["w2"])
        #expect(c.attempt("1.1.1").reason == .preempted)
        #expect(c.running(on: "w2") == ["1.1.2"])
    }

    @Test("attempts are given up when lease, margin and drift are over after the answer, and not a millisecond earlier")
    func leaseEnds() throws {
        var c = try running()
        let policy = c.cluster.policy
        let span = policy.lease + policy.leaseMargin + policy.clockDrift
        #expect(span == .seconds(666))
        try c.advance(TimeSpan(milliseconds: span.milliseconds - 1))
        #expect(c.attempt("1.1.1").state == .running)
        #expect(c.view("w1").state == .unreachable)
        try c.advance(TimeSpan(milliseconds: 1))
        #expect(c.attempt("1.1.1").state == .lost)
        #expect(c.attempt("1.1.1").reason == .workerLost)
        #expect(c.view("w1").state == .lost)
        #expect(c.view("w1").live.isEmpty)
        #expect(c.view("w1").free.cpus == CPUAmount(cpus: 4))
    }

    @Test("the lease counts from the answer: a call that was parked did not renew it before")
    func parkedDoesNotRenew() throws {
        var c = try running()
        let answered = c.now.uptime
        try c.advance(.seconds(20))
        try c.sync("w1", wait: .seconds(30))
        #expect(c.effects.isEmpty)
        let span = c.cluster.policy.lease + c.cluster.policy.leaseMargin + c.cluster.policy.clockDrift
        var cluster = c.cluster
        let late = Instant(uptime: answered + span.milliseconds, wall: c.now.wall)
        let outcome = cluster.apply(.timeAdvanced, at: late)
        #expect(outcome.changes.contains { if case .attempt(let row) = $0 { row.state == .lost } else { false } })
    }

    @Test("a lost worker's tasks run elsewhere, and its zombie changes nothing when it comes back")
    func zombie() throws {
        var c = try running()
        try c.worker("w2")
        try c.advance(.minutes(12), calling: ["w2"])
        #expect(c.running(on: "w2") == ["1.1.2"])
        try c.report("1.1.2", .running)
        let lost = c.attempt("1.1.1")
        try c.sync("w1")
        #expect(c.attempt("1.1.1") == lost)
        #expect(c.attempt("1.1.2").state == .running)
        #expect(c.world.agents[w1]!.containers.isEmpty)
        try c.exit("1.1.2")
        #expect(c.task("1.1").state == .succeeded)
        #expect(c.task("1.1").attempts == 2)
    }

    @Test("a zombie that still runs is ordered to stop, and its success does not count")
    func runningZombie() throws {
        // The agent's clock stood still, so it did not stop by itself; only the fence is left.
        var wire = try Wire.running()
        try wire.advance(.minutes(12))
        #expect(wire.attempt("1.1.1").state == .lost)
        try wire.advance(.seconds(2))
        try wire.call(1, on: "w2", registration: offer())
        let orders = try #require(try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .running)]))
        #expect(orders.stop.map(\.attempt.description) == ["1.1.1"])
        let end = report("1.1.1", 2, .succeeded, .exitCode, exitCode: 0)
        #expect(try wire.call(4, live: ["1.1.1"], reports: [end])?.forget.count == 1)
        #expect(wire.attempt("1.1.1").state == .lost)
        #expect(wire.task("1.1").state == .running)
        #expect(wire.task("1.1").attempts == 2)
    }

    @Test("a worker that calls just in time keeps its attempts for a whole lease more")
    func renewed() throws {
        var c = try running()
        try c.advance(.minutes(9))
        try c.sync("w1")
        try c.advance(.minutes(9))
        #expect(c.attempt("1.1.1").state == .running)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.1"])
    }

    @Test("an answer that never arrives still holds the scheduler to the longer deadline")
    func lostAnswer() throws {
        var c = try running()
        try c.advance(.minutes(5))
        c.deaf = [w1]
        try c.sync("w1")
        c.deaf = []
        try c.advance(.minutes(7))
        // The agent stopped by itself at minute 10; the scheduler has not given the attempt to another.
        #expect(c.attempt("1.1.1").state == .running)
        #expect(c.running(on: "w1").isEmpty)
        try c.sync("w1")
        #expect(c.attempt("1.1.1").state == .lost)
    }
}

// Goal: a restart continues from the rows and loses nothing that was acknowledged. Method: the fixture's restart, which
// loads what its rows hold; `checkBooks` compares memory with the rows before and after.
import JobModel
import SchedulingCore
import TestSupport
import Testing

private let w1 = WorkerName(rawValue: "w1")!

@Suite struct RestoreTests {
    @Test("a restart gives back the same image, row for row")
    func sameImage() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2, gpus: ["0", "1"], volumes: ["out": true])
        try c.submit(tasks: 5, retries: 1)
        try c.submit(gpus: 1, slots: ["out": .out])
        try c.submit(image: "python", imageIsStored: false)
        try c.submit(hold: true)
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        let before = c.cluster.image()
        #expect(before.jobs.count == 4 && before.tasks.count == 3 && before.attempts.count == 2)
        let restored = Cluster(policy: c.cluster.policy, restoring: before, at: c.now)
        #expect(restored.image() == before)
        #expect(restored.imagesWaitedFor == c.cluster.imagesWaitedFor)
        #expect(restored.totals == c.cluster.totals)
        #expect(Invariants.check(restored) == [])
    }

    @Test("running attempts go on, and their workers get a full fresh lease")
    func freshLease() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.advance(.minutes(9))
        try c.restartScheduler()
        #expect(c.view("w1").state == .unreachable)
        try c.advance(.seconds(665))
        #expect(c.attempt("1.1.1").state == .running)
        try c.advance(.seconds(1))
        #expect(c.attempt("1.1.1").state == .lost)
        #expect(c.state(job) == .running)
    }

    @Test(
        "after a restart workers are asked for their registration, keep what they run, and report as if nothing had been"
    )
    func continues() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        let job = try c.submit(tasks: 2)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.progress("1.1.1", to: .succeeded, reason: .exitCode, exitCode: 0)
        try c.restartScheduler()
        try c.sync("w1")
        #expect(c.attempt("1.1.1").state == .succeeded)
        #expect(c.world.agents[w1]!.mustRegister)
        #expect(c.running(on: "w1").isEmpty)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.2.1"])
        try c.exit("1.2.1")
        #expect(c.state(job) == .succeeded)
    }

    @Test("a start that was on its way at the crash is sent again if it was not taken", arguments: [true, false])
    func startInFlight(arrived: Bool) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.submit()
        if !arrived { c.deaf = [w1] }
        try c.sync("w1")
        c.deaf = []
        try c.restartScheduler()
        try c.sync("w1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.1"])
        #expect(c.rows.attempts.count == 1)
    }

    @Test("a cancel that was acknowledged before the crash holds: the start that was on its way is not repeated")
    func cancelSurvives() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        c.deaf = [w1]
        try c.sync("w1")
        c.deaf = []
        try c.cancel(job)
        try c.restartScheduler()
        try c.sync("w1")
        #expect(c.state(job) == .cancelled)
        #expect(c.running(on: "w1").isEmpty)
    }

    @Test("a pause before a retry is not kept: the task is due at once")
    func retryAfterRestart() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.submit(retries: 1)
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        try c.restartScheduler()
        try c.sync("w1")
        #expect(c.task("1.1").attempts == 1)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.2"])
    }

    @Test("an accepted attempt is told to publish after the restart as well")
    func acceptanceSurvives() throws {
        var c = ClusterFixture()
        try c.worker("w1", volumes: ["out": true])
        let job = try c.submit(slots: ["out": .out])
        try c.sync("w1")
        c.deaf = [w1]
        try c.report("1.1.1", .ending, exitCode: 0)
        c.deaf = []
        #expect(c.attempt("1.1.1").isAccepted)
        try c.restartScheduler()
        try c.sync("w1")
        #expect(c.world.agents[w1]!.containers[AttemptID("1.1.1")!]!.publishOrdered)
        try c.exit("1.1.1")
        #expect(c.state(job) == .succeeded)
    }

    @Test("a lost worker that counted for nothing before the crash counts until its new lease ends")
    func verdictAfterRestart() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.advance(.minutes(20))
        let job = try c.submit()
        #expect(c.state(job) == .waiting)
        try c.restartScheduler()
        #expect(c.state(job) == .pending)
        try c.advance(.minutes(20))
        #expect(c.state(job) == .waiting)
    }

    @Test("an attempt whose worker has no row is given up with a lease, and its task runs elsewhere")
    func workerWithoutRow() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.submit()
        try c.sync("w1")
        var image = c.cluster.image()
        image.workers = []
        var cluster = Cluster(policy: c.cluster.policy, restoring: image, at: c.now)
        let late = Instant(uptime: c.now.uptime + 700_000, wall: c.now.wall)
        let outcome = cluster.schedule(at: late)
        #expect(outcome.changes.contains { if case .attempt(let row) = $0 { row.state == .lost } else { false } })
        #expect(cluster.image().attempts.isEmpty)
    }

    @Test("an empty image is an empty cluster")
    func empty() {
        let now = Instant(uptime: 0, wall: Timestamp(millisecondsSinceEpoch: 0))
        var cluster = Cluster(policy: Policy(), restoring: ClusterImage(), at: now)
        #expect(cluster.schedule(at: now) == Outcome())
        #expect(cluster.image() == ClusterImage())
        #expect(cluster.nextDeadline == nil)
    }
}

// Goal: the straight line from a submission to its end. Method: events through the fixture, rows and world compared
// after each.
import JobModel
import SchedulingCore
import TestSupport
import Testing

@Suite struct MainPathTests {
    @Test("a task is placed, started, reported and forgotten")
    func wholeLife() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        let job = try c.submit(cpus: 2)
        #expect(c.state(job) == .running)
        #expect(c.attempt("1.1.1").state == .assigned)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.1"])
        #expect(!c.attempt("1.1.1").isAcknowledged)
        try c.report("1.1.1", .preparing)
        #expect(c.attempt("1.1.1").isAcknowledged)
        #expect(c.attempt("1.1.1").state == .preparing)
        try c.report("1.1.1", .running)
        #expect(c.view("w1").free.cpus == CPUAmount(cpus: 2))
        try c.exit("1.1.1")
        #expect(c.state(job) == .succeeded)
        #expect(c.progress(job).finishedAt != nil)
        #expect(c.task("1.1").state == .succeeded)
        #expect(c.attempt("1.1.1").reason == .exitCode)
        #expect(c.view("w1").free.cpus == CPUAmount(cpus: 4))
        #expect(c.world.agents[WorkerName(rawValue: "w1")!]!.containers.isEmpty)
        #expect(c.cluster.image().jobs.isEmpty)
        #expect(c.cluster.totals.jobs[JobState.allCases.firstIndex(of: .succeeded)!] == 1)
    }
}

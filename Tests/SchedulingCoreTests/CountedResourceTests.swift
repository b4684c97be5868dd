// Goal: what is counted, on workers and in the cluster, is never given twice and always given back. Few workers,
// and what may and may not start beside what.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

private let matlab = ResourceName(rawValue: "matlab")!

@Suite struct CountedResourceTests {
    @Test("custom resources and disk bound what runs beside each other, and are given back once")
    func custom() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8, disk: 100, custom: ["fpga": 2])
        let first = try c.submit(custom: ["fpga": 2])
        let second = try c.submit(custom: ["fpga": 1])
        #expect(c.state(first) == .running && c.state(second) == .pending)
        let why = try #require(c.cluster.why(second, at: c.now)).sentence
        #expect(why.hasPrefix("w1 is reserved for it, where 1 fpga is not free yet"))
        #expect(why.contains("job \(first) of ada holds 2 fpga"))
        let third = try c.submit(priority: -100, custom: ["fpga": 1])
        let other = try #require(c.cluster.why(third, at: c.now)).sentence
        #expect(
            other.hasPrefix("no worker has 1 fpga free (the most is 0), and job \(second) of the same user goes first"))
        try c.cancel(third)
        try c.sync("w1")
        try c.exit("1.1.1")
        #expect(c.state(second) == .running)
        let large = try c.submit(disk: 80)
        let more = try c.submit(disk: 30)
        #expect(c.state(large) == .running && c.state(more) == .pending)
        #expect(c.view("w1").free.custom?[ResourceName(rawValue: "fpga")!] == 1)
        #expect(c.view("w1").free.disk == ByteCount(bytes: 20))
    }

    @Test("what no worker has is said with the most that one has")
    func shortfall() throws {
        var c = ClusterFixture()
        try c.worker("w1", custom: ["fpga": 2])
        let job = try c.submit(custom: ["fpga": 3])
        #expect(c.state(job) == .waiting)
        #expect(c.reason(job) == "no worker fits: none has 3 fpga (the most is 2)")
    }

    @Test("licenses bound the whole cluster, survive a restart, and are given back once")
    func licenses() throws {
        var c = ClusterFixture()
        try c.license("matlab", 3)
        try c.worker("w1", cpus: 8)
        try c.worker("w2", cpus: 8)
        let wish = PlacementRequest(licenses: counts(["matlab": 1]))
        let job = try c.submit(tasks: 5, placement: wish)
        #expect(c.progress(job).counts.running == 3)
        #expect(c.cluster.licenseViews().map(\.used) == [3])
        try c.sync("w1")
        try c.restartScheduler()
        #expect(c.cluster.licenseViews().map(\.used) == [3] && c.progress(job).counts.running == 3)
        let why = try #require(c.cluster.why(job, at: c.now)).sentence
        #expect(why.contains("1 of the license matlab and 3 of 3 are in use (job \(job) of ada holds 3)"))
        try c.worker("w3", cpus: 1)
        for worker in ["w1", "w2"] { try c.sync(worker) }
        let started = c.running(on: "w1")
        try c.exit(started[0])
        #expect(c.progress(job).counts.running == 3 && c.cluster.licenseViews().map(\.used) == [3])
        try c.cancel(job)
        for worker in ["w1", "w2"] {
            for attempt in c.running(on: worker) { try c.report(attempt, .cancelled, reason: .cancelled) }
        }
        #expect(c.cluster.licenseViews().map(\.used) == [0])
    }

    @Test("a task that needs many licenses is not overtaken for ever by those that need one")
    func claims() throws {
        var c = ClusterFixture()
        try c.license("matlab", 2)
        try c.worker("w1", cpus: 8)
        let small = PlacementRequest(licenses: counts(["matlab": 1]))
        try c.submit(placement: small)
        try c.sync("w1")
        let large = try c.submit(placement: PlacementRequest(licenses: counts(["matlab": 2])))
        let late = try c.submit(priority: -10, placement: small)
        #expect(c.state(large) == .pending && c.state(late) == .pending)
        let why = try #require(c.cluster.why(late, at: c.now)).sentence
        #expect(why.hasPrefix("the license matlab is kept for job \(large)"))
        // Nobody stands back for a job that is gone.
        try c.cancel(large)
        #expect(c.state(late) == .running)
    }

    @Test("an unknown license, more than there are, and the removal of one that is needed are refused")
    func refusals() throws {
        var c = ClusterFixture()
        let wish = PlacementRequest(licenses: counts(["matlab": 2]))
        #expect(throws: Refusal.unknownLicense(matlab)) { try c.submit(placement: wish) }
        try c.license("matlab", 1)
        #expect(throws: Refusal.tooFewLicenses(matlab, total: 1, wanted: 2)) { try c.submit(placement: wish) }
        try c.license("matlab", 2)
        let job = try c.submit(placement: wish)
        #expect(throws: Refusal.licenseIsUsed(matlab, jobs: 1)) { try c.accept(.licenseRemoved(matlab)) }
        try c.cancel(job)
        try c.accept(.licenseRemoved(matlab))
        #expect(throws: Refusal.unknownLicense(matlab)) { try c.accept(.licenseRemoved(matlab)) }
    }

    @Test("a lowered number stops nothing; the next task waits until enough are given back")
    func lowered() throws {
        var c = ClusterFixture()
        try c.license("matlab", 2)
        try c.worker("w1", cpus: 8)
        let job = try c.submit(tasks: 3, placement: PlacementRequest(licenses: counts(["matlab": 1])))
        try c.license("matlab", 1)
        try c.sync("w1")
        #expect(c.progress(job).counts.running == 2)
        try c.exit("1.1.1")
        #expect(c.progress(job).counts.running == 1)
        try c.exit("1.2.1")
        #expect(c.attempt("1.3.1").state == .assigned)
    }
}

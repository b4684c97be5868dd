// Goal: the first blocked job is promised a start that nothing delays, and small work goes on beside it. Method: one
// worker, time limits, and what may and may not start.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

@Suite struct BackfillTests {
    /// w1 with 4 cpus: 3 are taken for an hour, and a job of 4 cpus is blocked.
    private func blocked() throws -> (ClusterFixture, JobID) {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        try c.submit(cpus: 3, timeLimit: .minutes(60))
        let large = try c.submit(cpus: 4, timeLimit: .minutes(60))
        try c.sync("w1")
        return (c, large)
    }

    @Test("a task that ends before the promised start may run; one that would not, may not")
    func backfill() throws {
        var (c, large) = try blocked()
        let promise = try #require(c.cluster.promise)
        #expect(promise.job == large && promise.start == c.now.uptime + 62 * 60_000 + 10_000)
        let long = try c.submit(cpus: 1, timeLimit: .minutes(90))
        let endless = try c.submit(cpus: 1)
        #expect(c.state(long) == .pending && c.state(endless) == .pending)
        let short = try c.submit(cpus: 1, timeLimit: .minutes(30))
        #expect(c.state(short) == .running)
        try c.sync("w1")
        try c.exit("5.1.1")
        try c.exit("1.1.1")
        #expect(c.state(large) == .running && c.state(long) == .pending)
    }

    @Test("a run that ends early moves the promised start up: nothing uses the time that was gained")
    func movesUp() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        let first = try c.submit(cpus: 2, timeLimit: .minutes(60))
        try c.submit(cpus: 1, timeLimit: .minutes(30))
        try c.submit(cpus: 4, timeLimit: .minutes(60))
        try c.sync("w1")
        let start = try #require(c.cluster.promise?.start)
        try c.exit("\(first).1.1")
        #expect(c.cluster.promise?.start == start - 30 * 60_000)
        let long = try c.submit(cpus: 1, timeLimit: .minutes(50))
        let short = try c.submit(cpus: 1, timeLimit: .minutes(20))
        #expect(c.state(long) == .pending && c.state(short) == .running)
    }

    @Test("what fits beside the promised task may run for as long as it likes")
    func beside() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8)
        try c.submit(cpus: 6, timeLimit: .minutes(60))
        let large = try c.submit(cpus: 5, timeLimit: .minutes(60))
        let first = try c.submit(cpus: 1)
        let second = try c.submit(cpus: 1)
        #expect(c.cluster.promise?.job == large)
        #expect(c.state(first) == .running && c.state(second) == .running)
        let third = try c.submit(cpus: 1)
        #expect(c.state(third) == .pending)
    }

    @Test("other workers are not reserved")
    func otherWorkers() throws {
        var (c, _) = try blocked()
        try c.worker("w2", cpus: 2)
        let other = try c.submit(cpus: 2)
        #expect(c.attempt("\(other).1.1").worker.rawValue == "w2")
    }

    @Test("where nobody said how long it runs, others share the room for a while, and then it is kept")
    func patience() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        try c.submit(cpus: 1)
        let large = try c.submit(cpus: 2)
        let early = try c.submit(cpus: 1)
        #expect(c.state(early) == .running && c.cluster.promise?.start == nil)
        try c.advance(.minutes(11), calling: ["w1"])
        try c.exit("\(early).1.1")
        let late = try c.submit(cpus: 1)
        #expect(c.state(late) == .pending)
        try c.exit("1.1.1")
        #expect(c.state(large) == .running)
    }

    @Test("a queue's expected time stands in for a limit that a job does not have")
    func expectedTime() throws {
        var (c, _) = try blocked()
        let job = try c.submit(cpus: 1)
        #expect(c.state(job) == .pending)
        try c.accept(
            .accountSaved(
                AccountRow(id: .queue(.standard), settings: AccountSettings(expectedTime: .minutes(20)))))
        #expect(c.state(job) == .running)
    }

    enum End: CaseIterable { case cancelled, held, drained, lost }

    @Test("a promise ends with its job or worker, and the room is free for others", arguments: End.allCases)
    func ends(how: End) throws {
        var (c, large) = try blocked()
        let job = try c.submit(cpus: 1, timeLimit: .minutes(90))
        #expect(c.state(job) == .pending)
        switch how {
        case .cancelled: try c.cancel(large)
        case .held: try c.hold(large)
        case .drained:
            try c.drain("w1")
            try c.worker("w2", cpus: 1)
        case .lost:
            try c.advance(.minutes(20))
            try c.worker("w2", cpus: 1)
        }
        #expect(c.state(job) == .running)
    }

    @Test("a job of the promised class that goes before the promised one takes its start, and hands it on")
    func classmate() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        var oneAtATime = RunRules()
        oneAtATime.mostRunning = 1
        let first = try c.submit(cpus: 2, tasks: 2, priority: 10, rules: oneAtATime)
        let second = try c.submit(cpus: 2)
        #expect(c.task("\(first).1").state == .running && c.cluster.promise?.job == second)
        try c.advance(.minutes(11), calling: ["w1"])
        try c.exit("\(first).1.1")
        #expect(c.task("\(first).2").state == .running && c.cluster.promise?.job == second)
        try c.exit("\(first).2.1")
        #expect(c.state(second) == .running)
    }

    @Test("why: reserved for it, behind a promise, and what would let it start now")
    func why() throws {
        var (c, large) = try blocked()
        let small = try c.submit(cpus: 1, timeLimit: .minutes(90))
        let own = try #require(c.cluster.why(large, at: c.now))
        #expect(own.sentence.hasPrefix("w1 is reserved for it: it starts there by 2025-11-24T"))
        #expect(own.sentence.hasSuffix("at the latest (job 1 of ada holds 3 cpus)"))
        let behind = try #require(c.cluster.why(small, at: c.now))
        #expect(behind.sentence.hasPrefix("w1 has room and is reserved for job 2, which starts by 2025-11-24T"))
        #expect(behind.sentence.hasSuffix("; with a time limit of at most 1h it would start now"))
    }

    @Test("why: short of what, held by whom, and who goes first")
    func shortage() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        try c.submit(cpus: 4, timeLimit: .minutes(5))
        try c.submit(cpus: 2, owner: "ben", timeLimit: .minutes(5))
        let job = try c.submit(cpus: 3, timeLimit: .minutes(5))
        let why = try #require(c.cluster.why(job, at: c.now))
        #expect(
            why.sentence
                == "no worker has 3 cpus free (the most is 0), and job 2 of ben goes first: ben has used less of its share"
                + ": it starts when enough of what runs ends (job 1 of ada holds 4 cpus)")
        #expect(why.priority == why.factors.priority(why.weights))
    }

    @Test("why: held, waiting for an image, no worker fits, no worker takes work, and nothing to say of what is gone")
    func otherReasons() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        let held = try c.submit(hold: true)
        let image = try c.submit(image: "r", imageIsStored: false)
        let huge = try c.submit(cpus: 64)
        #expect(
            c.cluster.why(held, at: c.now)?.sentence
                == "it is held (held at submission): nothing of it starts until 'jobctl release 1'")
        #expect(
            c.cluster.why(image, at: c.now)?.sentence
                == "waiting for image r: it starts when the image is in the archive")
        #expect(
            c.cluster.why(huge, at: c.now)?.sentence
                == "no worker fits: none has 64 cpus (the most is 4): it starts when such a worker registers")
        try c.drain("w1")
        let job = try c.submit()
        #expect(
            c.cluster.why(job, at: c.now)?.sentence
                == "no worker that fits takes work (w1 is drained): it starts when one does")
        #expect(c.cluster.why(JobID(rawValue: 99), at: c.now) == nil)
    }
}

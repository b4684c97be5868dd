// Goal: a job that waits or runs is given another time limit: promises, classes and workers follow, a restart forgets
// nothing. Method: one worker, and what it is told.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

@Suite struct TimeLimitTests {
    private let minute: Int64 = 60_000

    /// w1 with 4 cpus: job 1 takes 3 for an hour, and job 2 needs 4.
    private func blocked() throws -> (ClusterFixture, JobID, JobID) {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        let first = try c.submit(cpus: 3, timeLimit: .minutes(60))
        let large = try c.submit(cpus: 4, timeLimit: .minutes(60))
        try c.sync("w1")
        return (c, first, large)
    }

    @Test(
        "the promised start follows the limit of what runs, and work beside it may use the time", arguments: [120, 30])
    func promise(minutes: Int64) throws {
        var (c, first, large) = try blocked()
        let before = try #require(c.cluster.promise?.start)
        try c.accept(.timeLimitRequested(first, .minutes(minutes), from: .minutes(60)))
        let promise = try #require(c.cluster.promise)
        #expect(promise.job == large && promise.start == before + (minutes - 60) * minute)
        let beside = try c.submit(cpus: 1, timeLimit: .minutes(40))
        #expect(c.state(beside) == (minutes == 120 ? .running : .pending))
        try c.restartScheduler()
        #expect(c.progress(first).timeLimit == .minutes(minutes))
    }

    @Test("a job that waits goes into the class of its new limit, and may start beside the promise")
    func waiting() throws {
        var (c, _, large) = try blocked()
        let twins = try [c.submit(cpus: 1, timeLimit: .minutes(90)), c.submit(cpus: 1, timeLimit: .minutes(90))]
        #expect(twins.map { c.state($0) } == [.pending, .pending])
        try c.accept(.timeLimitRequested(twins[1], .minutes(10), from: nil))
        #expect(twins.map { c.state($0) } == [.pending, .running])
        try c.accept(.timeLimitRequested(large, .minutes(5), from: nil))
        #expect(c.cluster.promise?.job == large)
        try c.cancel(twins[0])
        #expect(c.state(twins[0]) == .cancelled)
    }

    @Test("a worker is told at once, in each answer, and of what it starts; a restart goes on with that")
    func told() throws {
        var wire = try Wire.running()
        #expect(try wire.call(3, live: ["1.1.1"])?.limits == [])
        try wire.call(4, live: ["1.1.1"], wait: .seconds(30))
        try wire.step(.timeLimitRequested(JobID(rawValue: 1), .seconds(90), from: nil))
        let order = LimitOrder(job: JobID(rawValue: 1), timeLimit: .seconds(90))
        #expect(wire.answer()?.limits == [order])
        #expect(
            wire.effects.contains(.timeLimitChanged(JobID(rawValue: 1), from: nil, to: .seconds(90))))
        #expect(try wire.call(5, live: ["1.1.1"])?.limits == [order])
        // It is no news any more: the call waits.
        #expect(try wire.call(6, live: ["1.1.1"], wait: .seconds(30)) == nil)
        try wire.step(.timeLimitRequested(JobID(rawValue: 1), .seconds(90), from: nil))
        #expect(wire.answer() == nil)
    }

    @Test("of two who add to a limit at once the second is refused, and a repeated request changes nothing")
    func conflict() throws {
        var (c, first, _) = try blocked()
        try c.accept(.timeLimitRequested(first, .minutes(90), from: .minutes(60)))
        try c.accept(.timeLimitRequested(first, .minutes(90), from: .minutes(60)))
        try c.step(.timeLimitRequested(first, .minutes(80), from: .minutes(60)))
        #expect(c.replies == [.refused(.timeLimitChanged(first, .minutes(90)))])
        try c.exit("1.1.1")
        try c.step(.timeLimitRequested(first, .minutes(80), from: nil))
        #expect(c.replies == [.refused(.jobIsFinished(first, .succeeded))])
    }
}

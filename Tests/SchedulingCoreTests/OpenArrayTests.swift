// Goal: an open array does not end while it is open, grows at its end and nowhere else, and ends as any other once it
// is closed. Method: short histories in ClusterFixture, which checks all books at each step.
import JobModel
import SchedulingCore
import TestSupport
import Testing

@Suite struct OpenArrayTests {
    private func submit(_ c: inout ClusterFixture, last: Int64 = 2) throws -> JobID {
        var rules = RunRules()
        rules.open = true
        return try c.submit(tasks: last, rules: rules)
    }

    @Test("it waits for more when all its tasks have ended, also over a restart, and ends when it is closed")
    func lives() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try submit(&c)
        try c.sync("w1")
        try c.exit("1.1.1")
        try c.exit("1.2.1")
        #expect(c.state(job) == .running)
        #expect(c.reason(job) == "open: all tasks have ended, and more may come: 'jobctl close 1' lets it end")
        try c.restartScheduler()
        try c.sync("w1")
        #expect(c.state(job) == .running)
        try c.accept(.extendRequested(job, .range(3...3)))
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.3.1"] && c.progress(job).counts.total == 3)
        try c.accept(.closeRequested(job))
        #expect(c.state(job) == .running && c.reason(job) == nil)
        try c.accept(.closeRequested(job))
        try c.exit("1.3.1")
        #expect(c.state(job) == .succeeded)
    }

    @Test("it ends at once when it is closed after its last task, and what waits for it goes on then")
    func closeEnds() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try submit(&c, last: 1)
        try c.sync("w1")
        try c.exit("1.1.1")
        let next = try c.submit(after: [Dependency(job: job, kind: .afterOK)])
        #expect(c.state(next) == .waiting)
        try c.accept(.closeRequested(job))
        #expect(c.state(job) == .succeeded && c.state(next) != .waiting)
    }

    @Test("a cancel ends it: with tasks that waited as cancelled, without any as what its tasks came to")
    func cancel() throws {
        var c = ClusterFixture()
        let waiting = try submit(&c)
        try c.accept(.cancelRequested(waiting))
        #expect(c.state(waiting) == .cancelled)
        try c.worker("w1")
        let idle = try submit(&c, last: 1)
        try c.sync("w1")
        try c.exit("2.1.1")
        try c.accept(.cancelRequested(idle))
        #expect(c.state(idle) == .succeeded)
    }

    @Test("what cannot be added is refused, and changes nothing")
    func refusals() throws {
        var c = ClusterFixture()
        let job = try submit(&c)
        let plain = try c.submit(tasks: 2)
        func refusal(_ event: Event) throws -> Refusal? {
            try c.step(event)
            if case .refused(let refusal) = c.replies[0] { return refusal }
            return nil
        }
        #expect(try refusal(.extendRequested(plain, .tasks(1))) == .cannotGrow(plain, .neverOpen))
        #expect(try refusal(.closeRequested(plain)) == .cannotGrow(plain, .neverOpen))
        #expect(try refusal(.extendRequested(job, .range(2...4))) == .cannotGrow(job, .notNext(3)))
        #expect(try refusal(.extendRequested(job, .range(4...4))) == .cannotGrow(job, .notNext(3)))
        #expect(try refusal(.extendRequested(job, .tasks(.max))) == .cannotGrow(job, .tooMany))
        #expect(try refusal(.extendRequested(job, .tasks(0))) == .cannotGrow(job, .tooMany))
        #expect(try refusal(.extendRequested(job, .tasks(TaskShape.largestCount - 1))) == .cannotGrow(job, .tooMany))
        try c.accept(.extendRequested(job, .tasks(TaskShape.largestCount - 2)))
        #expect(c.progress(job).counts.total == TaskShape.largestCount)
        #expect(c.progress(job).unstarted == [1...TaskShape.largestCount])
        try c.accept(.closeRequested(job))
        #expect(try refusal(.extendRequested(job, .tasks(1))) == .cannotGrow(job, .closed))
    }

    @Test("task by task nobody waits for an open array until it is closed")
    func dependencies() throws {
        var c = ClusterFixture()
        let job = try submit(&c)
        let each = Dependency(job: job, kind: .afterOKEach)
        #expect(throws: (any Error).self) {
            _ = try c.submit(tasks: 2, after: [each])
        }
        try c.accept(.closeRequested(job))
        _ = try c.submit(tasks: 2, after: [each])
    }
}

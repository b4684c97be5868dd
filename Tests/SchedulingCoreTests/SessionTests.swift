// Goal: a session may begin beside a running attempt and nowhere else, and its worker learns of it.
import JobModel
import SchedulingCore
import TestSupport
import Testing

private let w1 = WorkerName(rawValue: "w1")!
private let attempt = AttemptID("1.1.1")!

@Suite struct SessionTests {
    /// The attempt 1.1.1 runs; the next sequence is 4.
    private func running() throws -> Wire {
        var wire = try Wire.running()
        try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .running)])
        return wire
    }

    @Test("a session that was asked for answers the parked call, once, and is repeated until it is taken")
    func told() throws {
        var wire = try running()
        #expect(try wire.call(4, live: ["1.1.1"], wait: .seconds(10)) == nil)
        #expect(try wire.step(.sessionRequested(attempt)) == .done)
        #expect(wire.answer()?.sessions == true)
        // Told already: no reason to answer early, but said again with the next answer.
        #expect(try wire.call(5, live: ["1.1.1"], wait: .seconds(10)) == nil)
        try wire.advance(.seconds(11))
        #expect(wire.answer()?.sessions == true)
        try wire.step(.sessionsTaken(w1))
        #expect(try wire.call(6, live: ["1.1.1"]) == SyncOrders())
    }

    @Test("a session that is asked for while no call is parked is told with the next")
    func later() throws {
        var wire = try running()
        try wire.step(.sessionRequested(attempt))
        #expect(try wire.call(4, live: ["1.1.1"], wait: .seconds(10))?.sessions == true)
    }

    @Test("a new life of the agent is told what the old one was told")
    func newLife() throws {
        var wire = try running()
        try wire.step(.sessionRequested(attempt))
        try wire.call(4, live: ["1.1.1"], wait: .seconds(10))
        let orders = try wire.call(1, life: "b", registration: offer(), live: ["1.1.1"], wait: .seconds(10))
        #expect(orders?.sessions == true)
    }

    @Test("a session beside what does not run is refused, and its worker hears nothing")
    func refused() throws {
        var wire = try Wire.running()
        #expect(try wire.step(.sessionRequested(attempt)) == .refused(.attemptIsNotRunning(attempt, .assigned)))
        let others = ["1.1.2", "1.2.1", "2.1.1"].map { AttemptID($0)! }
        for other in others {
            #expect(try wire.step(.sessionRequested(other)) == .refused(.attemptIsNotRunning(other, nil)))
        }
        try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .running)])
        try wire.step(.cancelRequested(JobID(rawValue: 1)))
        #expect(try wire.step(.sessionRequested(attempt)) == .refused(.attemptIsNotRunning(attempt, .ending)))
        #expect(try wire.call(4, live: ["1.1.1"])?.sessions == false)
        let end = report("1.1.1", 2, .cancelled, .cancelled)
        try wire.call(5, live: ["1.1.1"], reports: [end])
        #expect(try wire.step(.sessionRequested(attempt)) == .refused(.attemptIsNotRunning(attempt, nil)))
        let nobody = WorkerName(rawValue: "nobody")!
        #expect(try wire.step(.sessionsTaken(nobody)) == .refused(.unknownWorker(nobody)))
    }
}

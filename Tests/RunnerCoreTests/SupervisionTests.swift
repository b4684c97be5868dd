// When a runner asks its program to end and when it kills it, as sequences of events in pure time.
import RunnerCore
import Testing

@Suite("a runner's supervision of its program")
struct SupervisionTests {
    @Test("without a limit, a lease or an order nothing happens, ever")
    func nothing() {
        var supervision = Supervision(timeLimit: nil, grace: 10, leaseEnd: nil)
        supervision.started(at: 100)
        #expect(supervision.nextMoment == nil)
        #expect(supervision.advanced(to: .max, lease: nil) == [])
    }

    @Test("the time limit counts from the start, and the grace from there")
    func limit() {
        var supervision = Supervision(timeLimit: 50, grace: 10, leaseEnd: nil)
        #expect(supervision.nextMoment == nil)
        supervision.started(at: 100)
        #expect(supervision.nextMoment == 150)
        #expect(supervision.advanced(to: 149, lease: nil) == [])
        #expect(supervision.advanced(to: 150, lease: nil) == [.terminate])
        #expect(supervision.nextMoment == 160)
        #expect(supervision.advanced(to: 159, lease: nil) == [])
        #expect(supervision.advanced(to: 160, lease: nil) == [.kill])
        #expect(supervision.advanced(to: 170, lease: nil) == [] && supervision.nextMoment == nil)
        #expect(supervision.cause == .timeLimit)
    }

    @Test("a limit that is changed counts from the same start, also if it has passed")
    func changedLimit() {
        var supervision = Supervision(timeLimit: nil, grace: 10, leaseEnd: nil)
        supervision.limited(to: 50)
        #expect(supervision.nextMoment == nil)
        supervision.started(at: 100)
        #expect(supervision.nextMoment == 150)
        supervision.limited(to: 80)
        #expect(supervision.advanced(to: 150, lease: nil) == [] && supervision.nextMoment == 180)
        supervision.limited(to: 20)
        #expect(supervision.nextMoment == 120)
        #expect(supervision.advanced(to: 150, lease: nil) == [.terminate] && supervision.cause == .timeLimit)
        supervision.limited(to: 1000)
        #expect(supervision.advanced(to: 160, lease: nil) == [.kill])
    }

    @Test("a lease that is extended in time stops nothing")
    func extendedLease() {
        var supervision = Supervision(timeLimit: nil, grace: 10, leaseEnd: 100)
        supervision.started(at: 0)
        #expect(supervision.nextMoment == 100)
        #expect(supervision.advanced(to: 100, lease: 200) == [] && supervision.nextMoment == 200)
        #expect(supervision.advanced(to: 200, lease: 200) == [.terminate])
        #expect(supervision.advanced(to: 205, lease: 900) == [] && supervision.cause == .lease)
        #expect(supervision.advanced(to: 210, lease: 900) == [.kill])
    }

    @Test("an order without grace kills at once, and only once")
    func noGrace() {
        var supervision = Supervision(timeLimit: nil, grace: 10, leaseEnd: nil)
        #expect(supervision.ordered(grace: 0, at: 5) == [.kill])
        #expect(supervision.ordered(grace: 0, at: 6) == [])
    }

    @Test("a second order can hurry the end and never delays it, and the first reason counts")
    func hurry() {
        var supervision = Supervision(timeLimit: 10, grace: 100, leaseEnd: nil)
        supervision.started(at: 0)
        #expect(supervision.advanced(to: 10, lease: nil) == [.terminate])
        #expect(supervision.ordered(grace: 500, at: 20) == [] && supervision.nextMoment == 110)
        #expect(supervision.ordered(grace: 30, at: 20) == [] && supervision.nextMoment == 50)
        #expect(supervision.ordered(grace: nil, at: 20) == [] && supervision.nextMoment == 50)
        #expect(supervision.advanced(to: 50, lease: nil) == [.kill] && supervision.cause == .timeLimit)
    }

    @Test("a limit beyond every clock is no trap")
    func overflow() {
        var supervision = Supervision(timeLimit: .max, grace: .max, leaseEnd: nil)
        supervision.started(at: .max - 1)
        #expect(supervision.ordered(grace: .max, at: 5) == [.terminate])
        #expect(supervision.advanced(to: .max - 1, lease: nil) == [])
    }
}

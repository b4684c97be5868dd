// Goal: what administrators keep workers for is kept, nothing that could run stands still for it, and what is stopped
// for it pays no retry.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

extension ClusterFixture {
    fileprivate mutating func reserve(
        _ name: String, in start: TimeSpan, for duration: TimeSpan, workers: [String] = [],
        labels: [String: String] = [:],
        users: [String] = [], groups: [String] = [], reason: String? = nil
    ) throws {
        let begin = now.wall.after(start)
        try accept(
            .reservationSaved(
                AdvanceReservation(
                    name: ReservationName(rawValue: name)!, start: begin, end: begin.after(duration),
                    workers: workers.map { WorkerName(rawValue: $0)! }, labels: labels,
                    users: users.map { UserName(rawValue: $0)! }, groups: groups.map { GroupName(rawValue: $0)! },
                    reason: reason)))
    }
}

@Suite struct ReservationTests {
    @Test("before a window only what ends in time starts, in it nothing, after it everything")
    func window() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8)
        try c.reserve("firmware", in: .minutes(60), for: .minutes(30), workers: ["w1"], reason: "new firmware")
        let short = try c.submit(timeLimit: .minutes(30))
        let long = try c.submit(timeLimit: .minutes(60))
        let endless = try c.submit()
        #expect(c.state(short) == .running && c.state(long) == .pending && c.state(endless) == .pending)
        let why = try #require(c.cluster.why(long, at: c.now)).sentence
        #expect(why.hasPrefix("w1 has room and is closed for 'firmware', new firmware from "))
        #expect(why.hasSuffix("with a time limit of at most 57m it would start now"))
        try c.restartScheduler()
        try c.sync("w1")
        #expect(c.state(long) == .pending)
        try c.advance(.minutes(61), calling: ["w1"])
        let inside = try c.submit(timeLimit: .minutes(1))
        #expect(c.state(inside) == .pending)
        try c.advance(.minutes(30), calling: ["w1"])
        #expect(c.state(long) == .running && c.state(endless) == .running && c.state(inside) == .running)
        #expect(c.cluster.reservationViews().isEmpty)
    }

    @Test("who a reservation is for starts at any time, also on workers that come later")
    func users() throws {
        var c = ClusterFixture()
        try c.reserve(
            "course", in: .zero, for: .minutes(60), labels: ["room": "a"], users: ["ada"], groups: ["students"])
        try c.worker("w1", cpus: 8, labels: ["room": "a"])
        let ada = try c.submit()
        let ben = try c.submit(owner: "ben", timeLimit: .minutes(1))
        #expect(c.state(ada) == .running && c.state(ben) == .pending)
        try c.accept(
            .accountSaved(
                AccountRow(
                    id: .user(UserName(rawValue: "ben")!),
                    settings: AccountSettings(group: GroupName(rawValue: "students")!))))
        #expect(c.state(ben) == .running)
        let eve = try c.submit(owner: "eve")
        #expect(c.state(eve) == .pending)
        try c.accept(.reservationRemoved(ReservationName(rawValue: "course")!))
        #expect(c.state(eve) == .running)
    }

    @Test("a job that waits for a window's end takes nobody's promise")
    func promise() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        try c.reserve("firmware", in: .minutes(600), for: .minutes(60), workers: ["w1"])
        try c.submit(cpus: 3, timeLimit: .minutes(60))
        let endless = try c.submit(cpus: 4, priority: 100)
        let large = try c.submit(cpus: 4, timeLimit: .minutes(60))
        #expect(c.state(endless) == .pending && c.cluster.promise?.job == large)
    }

    @Test("at the deadline of a drain what still runs is stopped and runs elsewhere, at nobody's cost")
    func deadline() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        let job = try c.submit(tasks: 2)
        try c.sync("w1")
        try c.worker("w2", cpus: 4)
        try c.drain("w1", DrainOrder(reason: "new disk", deadline: c.now.wall.after(.minutes(10))))
        #expect(c.view("w1").state == .draining && c.view("w1").drain.reason == "new disk")
        try c.exit("1.1.1")
        try c.advance(.minutes(9), calling: ["w1", "w2"])
        #expect(c.attempt("1.2.1").stopReason == nil)
        try c.restartScheduler()
        for worker in ["w1", "w2"] { try c.sync(worker) }
        try c.advance(.minutes(2), calling: ["w1", "w2"])
        #expect(c.attempt("1.2.1").stopReason == .preempted)
        try c.report("1.2.1", .cancelled, reason: .preempted)
        let task = c.task("1.2")
        #expect(task.programFailures == 0 && task.infrastructureFailures == 0 && task.reason == .preempted)
        #expect(c.attempt("1.2.2").worker.rawValue == "w2" && c.view("w1").state == .drained)
        try c.resume("w1")
        #expect(c.view("w1").drain == .standard && c.progress(job).counts.running == 1)
    }

    @Test("a worker that is resumed before the deadline goes on with all that runs there")
    func resumed() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        try c.submit()
        try c.sync("w1")
        try c.drain("w1", DrainOrder(deadline: c.now.wall.after(.minutes(1))))
        let waiting = try c.submit()
        let why = try #require(c.cluster.why(waiting, at: c.now)).sentence
        #expect(why.hasPrefix("no worker that fits takes work (w1 is draining)"))
        try c.resume("w1")
        try c.advance(.minutes(2), calling: ["w1"])
        #expect(c.attempt("1.1.1").stopReason == nil && c.state(waiting) == .running)
    }
}

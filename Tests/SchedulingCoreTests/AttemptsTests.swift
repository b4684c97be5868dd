// Goal: what a report may change, what counts as a success, and what failures cost. Method: raw protocol messages
// (Wire), because most of these say what no honest agent would.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

@Suite struct AttemptReportTests {
    /// From the row's state to the column's, as the design's line says; everything else is forbidden.
    @Test("the transition table, walked exhaustively")
    func transitionTable() {
        let picture = """
            assigned  > preparing running ending succeeded failed cancelled lost
            preparing > running ending succeeded failed cancelled lost
            running   > ending succeeded failed cancelled lost
            ending    > succeeded failed cancelled lost
            succeeded >
            failed    >
            cancelled >
            lost      >
            """
        for line in picture.split(separator: "\n") {
            let words = line.split(separator: " ").filter { $0 != ">" }.map { AttemptState(rawValue: String($0))! }
            for next in AttemptState.allCases {
                #expect(words[0].mayBecome(next) == words.dropFirst().contains(next), "\(words[0]) to \(next)")
            }
        }
    }

    @Test(
        "a report takes an attempt from each state to each other, or changes nothing",
        arguments: AttemptState.allCases, AttemptState.allCases)
    func everyReport(from: AttemptState, to: AttemptState) throws {
        var wire = try Wire.running()
        func made(_ state: AttemptState, _ sequence: Int64) -> AttemptReport {
            switch state {
            case .succeeded: report("1.1.1", sequence, state, .exitCode, exitCode: 0)
            case .failed: report("1.1.1", sequence, state, .exitCode, exitCode: 1)
            case .cancelled, .lost: report("1.1.1", sequence, state, .engineError)
            case .assigned, .preparing, .running, .ending: report("1.1.1", sequence, state)
            }
        }
        try wire.call(3, live: ["1.1.1"], reports: [made(from, 1)])
        let before = wire.attempt("1.1.1")
        #expect(before.state == (from == .cancelled ? .lost : from))
        try wire.call(4, live: ["1.1.1"], reports: [made(to, 2)])
        let after = wire.attempt("1.1.1")
        if before.state.isTerminal {
            #expect(after == before)
        } else {
            #expect(after.state == (to.rank < from.rank ? from : to == .cancelled ? .lost : to))
        }
    }

    @Test("a report whose sequence was taken already changes nothing, whatever it says")
    func idempotent() throws {
        var wire = try Wire.running()
        try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 4, .running)])
        let before = wire.attempt("1.1.1")
        try wire.call(4, live: ["1.1.1"], reports: [report("1.1.1", 4, .succeeded, .exitCode, exitCode: 0)])
        try wire.call(5, live: ["1.1.1"], reports: [report("1.1.1", 3, .failed, .exitCode, exitCode: 1)])
        #expect(wire.attempt("1.1.1") == before)
        try wire.call(6, live: ["1.1.1"], reports: [report("1.1.1", 5, .succeeded, .exitCode, exitCode: 0)])
        #expect(wire.attempt("1.1.1").state == .succeeded)
    }

    @Test("the same terminal report twice in one call ends the attempt once")
    func twiceInOneCall() throws {
        var wire = try Wire.running()
        let end = report("1.1.1", 1, .failed, .exitCode, exitCode: 1)
        let orders = try #require(try wire.call(3, live: ["1.1.1"], reports: [end, end]))
        #expect(orders.forget.map(\.description) == ["1.1.1"])
        #expect(wire.task("1.1").programFailures == 1)
    }

    @Test(
        "a success needs exit code 0 as its proof",
        arguments: [
            report("1.1.1", 1, .succeeded, .exitCode, exitCode: nil),
            report("1.1.1", 1, .succeeded, .exitCode, exitCode: 1),
            report("1.1.1", 1, .succeeded, nil, exitCode: 0), report("1.1.1", 1, .succeeded, .oomKilled, exitCode: 0),
            report("1.1.1", 1, .succeeded, .exitCode, exitCode: 0, signal: 9),
        ])
    func proof(claim: AttemptReport) throws {
        var wire = try Wire.running()
        try wire.call(3, live: ["1.1.1"], reports: [claim])
        #expect(wire.attempt("1.1.1").state == .lost)
        #expect(wire.attempt("1.1.1").reason == .engineError)
        #expect(wire.attempt("1.1.1").report == claim)
        #expect(wire.task("1.1").state != .succeeded)
        #expect(wire.task("1.1").infrastructureFailures == 1)
    }

    @Test(
        "a failure without a reason, or a stop that nobody ordered, is the cluster's fault and not the user's wish",
        arguments: [
            report("1.1.1", 1, .failed), report("1.1.1", 1, .failed, .cancelled),
            report("1.1.1", 1, .cancelled, .cancelled),
            report("1.1.1", 1, .lost), report("1.1.1", 1, .lost, .exitCode),
        ])
    func contradictions(claim: AttemptReport) throws {
        var wire = try Wire.running()
        try wire.call(3, live: ["1.1.1"], reports: [claim])
        #expect(wire.attempt("1.1.1").state == .lost)
        #expect(wire.attempt("1.1.1").reason == .engineError)
        #expect(wire.task("1.1").state == .pending)
        #expect(wire.task("1.1").programFailures == 0)
    }

    @Test("a report about another worker's attempt changes nothing, and that worker is told to stop it")
    func foreignReport() throws {
        var wire = try Wire.running()
        try wire.call(1, on: "w2", registration: offer())
        let before = wire.attempt("1.1.1")
        let orders = try #require(try wire.call(2, on: "w2", live: ["1.1.1"], reports: [report("1.1.1", 7, .running)]))
        #expect(wire.attempt("1.1.1") == before)
        #expect(orders.stop == [StopOrder(attempt: AttemptID("1.1.1")!, reason: .cancelled)])
        let next = try #require(
            try wire.call(
                3, on: "w2", live: ["1.1.1"], reports: [report("1.1.1", 8, .succeeded, .exitCode, exitCode: 0)]))
        #expect(wire.attempt("1.1.1") == before)
        #expect(next.forget.count == 1)
    }

    // MARK: outputs

    private static let withOutput = jobRecord(slots: ["out": .out])

    @Test("an attempt with output is accepted at exit code 0, told to publish in each answer, and succeeds when it did")
    func acceptance() throws {
        var wire = try Wire.running(Self.withOutput)
        try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .ending)])
        #expect(!wire.attempt("1.1.1").isAccepted)
        let first = try #require(try wire.call(4, live: ["1.1.1"], reports: [report("1.1.1", 2, .ending, exitCode: 0)]))
        #expect(wire.attempt("1.1.1").isAccepted)
        #expect(first.publish.map(\.description) == ["1.1.1"])
        let again = try #require(try wire.call(5, live: ["1.1.1"]))
        #expect(again.publish.map(\.description) == ["1.1.1"])
        let last = try #require(
            try wire.call(6, live: ["1.1.1"], reports: [report("1.1.1", 3, .succeeded, .exitCode, exitCode: 0)]))
        #expect(last.publish.isEmpty)
        #expect(wire.attempt("1.1.1").state == .succeeded)
    }

    @Test("an order to publish that is under way does not make the next call return early")
    func publishDoesNotSpin() throws {
        var wire = try Wire.running(Self.withOutput)
        try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .ending, exitCode: 0)])
        #expect(try wire.call(4, live: ["1.1.1"], wait: .seconds(10)) == nil)
        try wire.advance(.seconds(10))
        #expect(wire.answer()?.publish.count == 1)
    }

    @Test("a success with output that was never accepted is no success")
    func unaccepted() throws {
        var wire = try Wire.running(Self.withOutput)
        try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .succeeded, .exitCode, exitCode: 0)])
        #expect(wire.attempt("1.1.1").state == .lost)
        #expect(wire.attempt("1.1.1").reason == .engineError)
    }

    @Test("an exit code other than 0 is not accepted", arguments: [nil, 1] as [Int?])
    func noAcceptance(code: Int?) throws {
        var wire = try Wire.running(Self.withOutput)
        let orders = try #require(
            try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .ending, exitCode: code)]))
        #expect(!wire.attempt("1.1.1").isAccepted)
        #expect(orders.publish.isEmpty)
    }

    @Test("an attempt without output is not asked to publish")
    func nothingToPublish() throws {
        var wire = try Wire.running()
        let orders = try #require(
            try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .ending, exitCode: 0)]))
        #expect(!wire.attempt("1.1.1").isAccepted)
        #expect(orders.publish.isEmpty)
    }

    @Test("a cancel before the acceptance stops the attempt; one after it lets it publish and succeed")
    func cancelAgainstAcceptance() throws {
        var stopped = try Wire.running(Self.withOutput)
        try stopped.step(.cancelRequested(JobID(rawValue: 1)))
        let orders = try #require(
            try stopped.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .ending, exitCode: 0)]))
        #expect(orders.publish.isEmpty && orders.stop.count == 1)
        try stopped.call(4, live: ["1.1.1"], reports: [report("1.1.1", 2, .cancelled, .cancelled)])
        #expect(stopped.rows.jobs[JobID(rawValue: 1)]?.state == .cancelled)

        var accepted = try Wire.running(Self.withOutput)
        try accepted.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .ending, exitCode: 0)])
        try accepted.step(.cancelRequested(JobID(rawValue: 1)))
        let next = try #require(try accepted.call(4, live: ["1.1.1"]))
        #expect(next.stop.isEmpty && next.publish.count == 1)
        try accepted.call(5, live: ["1.1.1"], reports: [report("1.1.1", 2, .succeeded, .exitCode, exitCode: 0)])
        #expect(accepted.rows.jobs[JobID(rawValue: 1)]?.state == .succeeded)
    }
}

@Suite struct RetryTests {
    @Test("a program failure uses the job's retries, then the task has failed")
    func programRetries() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(retries: 2)
        for number in 1...3 {
            try c.advance(.minutes(1), calling: ["w1"])
            #expect(c.running(on: "w1") == ["1.1.\(number)"])
            try c.exit("1.1.\(number)", 1)
        }
        #expect(c.state(job) == .failed)
        #expect(c.task("1.1").programFailures == 3)
        #expect(c.task("1.1").attempts == 3)
        #expect(c.task("1.1").reason == .exitCode)
    }

    @Test("without retries the first failure is the last")
    func noRetries() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        #expect(c.state(job) == .failed)
    }

    @Test("the pause before a retry doubles with each attempt, up to the longest")
    func backoff() throws {
        let policy = Policy()
        #expect((1...4).map { policy.pause(afterAttempt: $0).milliseconds } == [2_000, 4_000, 8_000, 16_000])
        #expect(policy.pause(afterAttempt: 9) == .minutes(5))
        #expect(policy.pause(afterAttempt: .max) == .minutes(5))
        #expect(policy.pause(afterAttempt: 0) == .seconds(2))
        var c = ClusterFixture()
        try c.worker("w1")
        try c.submit(retries: 2)
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        try c.advance(TimeSpan(milliseconds: 1_999))
        #expect(c.task("1.1").attempts == 1)
        #expect(c.cluster.nextDeadline == c.now.uptime + 1)
        try c.advance(TimeSpan(milliseconds: 1))
        #expect(c.task("1.1").attempts == 2)
    }

    @Test(
        "failures of the cluster do not use the program's retries; at their own limit the job is held, a release gives a new budget"
    )
    func infrastructure() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        for number in 1...5 {
            try c.advance(.minutes(3), calling: ["w1"])
            try c.report("1.1.\(number)", .failed, reason: .imageError, message: "no such blob")
        }
        #expect(c.state(job) == .held)
        #expect(
            c.reason(job) == "held because task 1.1 failed 5 times for reasons outside its program, "
                + "the last time with image-error: no such blob on w1; release it to try again")
        #expect(c.task("1.1").programFailures == 0)
        #expect(c.task("1.1").infrastructureFailures == 5)
        try c.advance(.minutes(10), calling: ["w1"])
        #expect(c.task("1.1").attempts == 5)
        try c.release(job)
        #expect(c.task("1.1").infrastructureFailures == 0)
        try c.sync("w1")
        try c.exit("1.1.6")
        #expect(c.state(job) == .succeeded)
    }

    @Test("a job that crashed five distinct workers is held; the same worker five times counts once")
    func poison() throws {
        var policy = Policy()
        policy.infrastructureRetries = 100
        var c = ClusterFixture(policy: policy)
        let job = try c.submit()
        for number in 1...5 {
            try c.worker("w\(number)")
            try c.advance(.minutes(6), calling: ["w\(number)"])
            #expect(c.running(on: "w\(number)") == ["1.1.\(number)"])
            try c.report("1.1.\(number)", .running)
            try c.drain("w\(number)")
            try c.restartAgent("w\(number)", losingContainers: true)
        }
        #expect(c.state(job) == .held)
        #expect(
            c.reason(job)?.hasPrefix("held because 5 workers were lost while they ran it (w1, w2, w3, w4, w5)") == true)

        var same = ClusterFixture(policy: policy)
        let other = try same.submit()
        try same.worker("w1")
        for number in 1...6 {
            try same.advance(.minutes(6), calling: ["w1"])
            try same.report("1.1.\(number)", .running)
            try same.restartAgent("w1", losingContainers: true)
        }
        #expect(same.state(other) == .running)
    }
}

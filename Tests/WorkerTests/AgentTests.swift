// The agent's side of the protocol: orders that come twice, early, late or incomplete; reports that get lost; leases;
// the end.
import CLinux
import Foundation
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("the agent and its orders", .timeLimit(.minutes(20)))
struct AgentTests {
    @Test("an attempt is prepared, runs, ends, is reported and forgotten")
    func life() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:hello\n", "sleep:300", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .succeeded && report.exitCode == 0 && report.engine == "simulated")
            #expect(report.usage?.wallSeconds ?? 0 > 0)
            let history = await test.scheduler.history[record.attempt] ?? []
            #expect(history.map(\.state).last == .succeeded && history.contains { $0.state == .running })
            #expect(history.map(\.sequence) == history.map(\.sequence).sorted())
            #expect(await test.scheduler.log(record.attempt) == "hello\n")
            #expect(await test.scheduler.isComplete(record.attempt))
            #expect(await test.scheduler.logCalls <= 3)
            try await test.eventuallyGone(record)
            try await eventually("it is not listed any more") { await test.scheduler.requests.last?.live == [] }
        }
    }

    @Test("a stream without output costs no call")
    func noOutput() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("exit:0")
            await test.scheduler.order(record)
            try await test.start()
            #expect(try await test.end(of: record).state == .succeeded)
            #expect(await test.scheduler.logCalls == 0)
        }
    }

    @Test("a start that is repeated changes nothing")
    func startRepeated() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:once", "sleep:300", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            await test.scheduler.repeatStarts()
            #expect(try await test.end(of: record).state == .succeeded)
            #expect(await test.engine.made.count == 1)
            #expect(await test.scheduler.log(record.attempt) == "once")
        }
    }

    @Test(
        "an attempt that is stopped before its start never starts",
        arguments: [GatedEngine.Place.image, .createBefore, .createAfter])
    func stopBeforeStart(place: GatedEngine.Place) async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:never", "exit:0")
            await test.scheduler.order(record)
            await test.engine.close(place)
            try await test.start()
            try await test.eventuallyReaches(place)
            await test.scheduler.stop(record.attempt)
            let journal = try test.journal()
            // A pull that hangs is not waited for; a container that is being made is.
            if place != .image {
                try await eventually("the stop is written down") {
                    try journal.load().records.first?.progress.stopReason == .cancelled
                }
                await test.engine.release()
            }
            let report = try await test.end(of: record)
            #expect(report.state == .cancelled && report.reason == .cancelled && report.exitCode == nil)
            #expect(await !test.engine.reached.contains(.startBefore))
            try await test.eventuallyGone(record)
        }
    }

    @Test("a stop that comes while the engine is starting the container is not lost")
    func stopDuringStart() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000")
            await test.scheduler.order(record)
            await test.engine.close(.startBefore)
            try await test.start()
            try await test.eventuallyReaches(.startBefore)
            await test.scheduler.stop(record.attempt)
            let journal = try test.journal()
            try await eventually("the stop is written down") {
                try journal.load().records.first?.progress.stopReason == .cancelled
            }
            await test.engine.release()
            let report = try await test.end(of: record)
            #expect(report.state == .cancelled && report.reason == .cancelled)
        }
    }

    @Test("a program that ignores SIGTERM is killed after the grace")
    func kill() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("ignore-term", "sleep:600000", grace: TimeSpan(milliseconds: 50))
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            await test.scheduler.stop(record.attempt, .preempted)
            let report = try await test.end(of: record)
            #expect(report.state == .cancelled && report.reason == .preempted && report.exitCode == 137)
        }
    }

    @Test("the time limit stops a program, and its end counts as a failure even if it then exits with 0")
    func timeLimit() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000", timeLimit: TimeSpan(milliseconds: 100))
            await test.scheduler.order(record)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .failed && report.reason == .timeLimit)
            #expect(report.message == "the time limit was reached")
        }
    }

    @Test("a time limit that is shortened ends the program, one that is extended lets it live, also by the next agent")
    func changedTimeLimit() async throws {
        try await AgentUnderTest.with { test in
            let short = try test.attempt("sleep:600000", job: 1, timeLimit: .minutes(10))
            let long = try test.attempt("sleep:5000", "exit:0", job: 2, timeLimit: .seconds(4))
            await test.scheduler.order(short)
            await test.scheduler.order(long)
            try await test.start()
            for record in [short, long] { try await test.eventuallyReports(.running, record) }
            await test.scheduler.limit(2, to: .minutes(10))
            let journal = try test.journal()
            try await eventually("the limit is written down") {
                try journal.load().records.contains { $0.progress.timeLimit == .minutes(10) }
            }
            await test.kill()
            try await test.start()
            #expect(try await test.end(of: long).state == .succeeded)
            await test.scheduler.limit(1, to: TimeSpan(milliseconds: 50))
            let report = try await test.end(of: short)
            #expect(report.state == .failed && report.reason == .timeLimit)
        }
    }

    @Test("each way to end has its reason")
    func reasons() async throws {
        try await AgentUnderTest.with { test in
            let nobody = PinnedImage(digest: Digest(of: "nobody has it"), platform: nil)
            let cases: [(JournalRecord, AttemptState, EndReason)] = [
                (try test.attempt("exit:3", job: 1), .failed, .exitCode),
                (try test.attempt("kill:9", job: 2), .failed, .signal),
                (try test.attempt("hog", job: 3), .failed, .oomKilled),
                (try test.attempt("exit:0", job: 4, image: nobody), .failed, .imageError),
                (
                    try test.attempt("exit:0", job: 5, slots: [("input", .ro, "data/missing")]), .failed,
                    .volumeError
                ),
                (try test.attempt("exit:0", job: 6, slots: [("input", .ro, "nowhere/x")]), .failed, .volumeError),
                (
                    try test.attempt(
                        "exit:0", job: 7,
                        files: ["/x": ConfigurationFile(digest: Digest(of: "no such file"), executable: false)]),
                    .lost, .engineError
                ),
                (try test.attempt("exit:0", job: 8), .succeeded, .exitCode),
            ]
            for (record, _, _) in cases { await test.scheduler.order(record) }
            try await test.start()
            for (record, state, reason) in cases {
                let report = try await test.end(of: record)
                #expect(report.state == state && report.reason == reason, "\(record.attempt): \(report)")
                #expect(state == .succeeded || reason == .exitCode || reason == .signal || report.message != nil)
            }
        }
    }

    @Test("a report that nobody acknowledged is sent until somebody does, and again by the next agent")
    func reportRetried() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:200", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            await test.scheduler.set { $0.isAway = true }
            let id = try #require(await test.engine.made.first)
            _ = try await test.engine.inner.wait(id)
            #expect(await test.scheduler.end(of: record.attempt) == nil)
            await test.kill()
            try await test.start()
            await test.scheduler.set { $0.isAway = false }
            #expect(try await test.end(of: record).state == .succeeded)
            try await test.eventuallyGone(record)
        }
    }

    @Test("an attempt that the scheduler does not want any more is stopped, reported and forgotten")
    func stranger() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000")
            try test.journal().begin(record)
            try test.journal().write(leaseEnd: jc_boot_milliseconds() + 600_000)
            try await test.start()
            #expect(try await test.end(of: record).state == .cancelled)
            try await test.eventuallyGone(record)
        }
    }

    @Test("an order that cannot be begun is reported as lost instead of being repeated for ever")
    func cannotBegin() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("exit:0")
            try await test.start()
            try await eventually("the agent calls") { await !test.scheduler.requests.isEmpty }
            // A file in the folder's place: what a disk that is broken looks like.
            try FileManager.default.removeItem(atPath: test.journalFolder)
            try Data().write(to: URL(filePath: test.journalFolder))
            await test.scheduler.order(record)
            let report = try await test.end(of: record)
            #expect(report.state == .lost && report.reason == .engineError)
            #expect(report.message?.contains("journal") == true)
            #expect(await test.engine.made.isEmpty)
        }
    }

    @Test("a message that is longer than a scheduler takes is shortened")
    func longMessage() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("exit:0")
            await test.engine.fail(.image, with: .image(String(repeating: "ä", count: 100_000)))
            await test.scheduler.order(record)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.reason == .imageError && (1...1_000).contains(report.message?.utf8.count ?? 0))
        }
    }

    @Test("an engine that is away for a moment costs no attempt")
    func engineAway() async throws {
        try await AgentUnderTest.with { test in
            let away = EngineError.unavailable("the engine restarts")
            await test.engine.fail(.image, with: away)
            await test.engine.fail(.createBefore, with: away)
            await test.engine.fail(.startBefore, with: away)
            await test.engine.fail(.waitBefore, with: away, away)
            let record = try test.attempt("out:x", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            #expect(try await test.end(of: record).state == .succeeded)
            #expect(await test.engine.made.count == 1)
        }
    }

    @Test("without proof of its end an attempt is lost, and its container is gone before that is said")
    func noProof() async throws {
        try await AgentUnderTest.with { test in
            await test.engine.fail(.waitBefore, with: .noProof("the engine has forgotten it"))
            let record = try test.attempt("sleep:600000")
            await test.scheduler.set { $0.forgets = false }
            await test.scheduler.order(record)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .lost && report.reason == .engineError)
            #expect(report.message == "the engine has forgotten it")
            #expect(try await test.engine.list().isEmpty)
        }
    }
}

@Suite("the agent, its lease and its name", .timeLimit(.minutes(20)))
struct AgentLeaseTests {
    @Test("at the end of its lease the agent stops what it runs and says that the worker was lost")
    func leaseEnds() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            let id = try #require(await test.engine.made.first)
            // The last answer brings another attempt and a short lease.
            await test.scheduler.set { $0.lease = TimeSpan(milliseconds: 100) }
            await test.scheduler.order(try test.attempt("sleep:600000", task: 2))
            try await eventually("it is answered") { await test.scheduler.requests.last?.live.count == 2 }
            await test.scheduler.set { $0.isAway = true }
            #expect(try await test.engine.inner.wait(id).exitCode == 143)
            await test.scheduler.set { $0.isAway = false }
            let report = try await test.end(of: record)
            #expect(report.state == .lost && report.reason == .workerLost)
        }
    }

    @Test("what comes to its start after the lease, because the agent stood still, is not started")
    func lateStart() async throws {
        try await AgentUnderTest.with { test in
            // Over before the answer that brings it is there.
            await test.scheduler.set { $0.lease = .zero }
            let record = try test.attempt("exit:0")
            await test.scheduler.order(record)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .lost && report.reason == .workerLost)
        }
    }

    @Test("a lease goes on over a restart: an agent that finds it ended stops what runs")
    func leaseAdopted() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            let promised = try #require(try test.journal().leaseEnd)
            #expect(promised <= jc_boot_milliseconds() + 600_000)
            await test.scheduler.set { $0.isAway = true }
            await test.kill()
            try test.journal().write(leaseEnd: jc_boot_milliseconds() - 1)
            try await test.start()
            let id = try #require(await test.engine.made.first)
            #expect(try await test.engine.inner.wait(id).exitCode == 143)
        }
    }

    @Test("an agent shows what it is challenged with, registers again, and loses no report over it")
    func challenged() async throws {
        try await AgentUnderTest.with { test in
            await test.scheduler.set { $0.challenge = "first" }
            let record = try test.attempt("sleep:600000")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            let first = try #require(await test.scheduler.challenged.first)
            #expect(first.proof == "" && first.registration != nil)
            let taken = try #require(await test.scheduler.requests.first)
            #expect(taken.proof == "first" && taken.registration != nil)
            // As after a restart of the scheduler: what ends meanwhile is said in a call that is not taken.
            await test.scheduler.set { $0.challenge = "second" }
            await test.scheduler.stop(record.attempt)
            #expect(try await test.end(of: record).state == .cancelled)
            let shown = try #require(await test.scheduler.requests.first { $0.proof == "second" })
            #expect(shown.registration != nil && shown.live == [record.attempt])
        }
    }

    @Test("what was not started is not started without a lease, but after the first answer")
    func notStartedWithoutLease() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:x", "exit:0")
            try test.journal().begin(record)
            await test.scheduler.order(record)
            await test.scheduler.set { $0.refusal = Problem(.unavailable, "not yet") }
            try await test.start()
            let calls = Date()
            try await eventually("the agent has tried for a while") { Date().timeIntervalSince(calls) > 0.5 }
            #expect(await test.engine.reached.isEmpty)
            await test.scheduler.set { $0.refusal = nil }
            #expect(try await test.end(of: record).state == .succeeded)
        }
    }

    @Test("an agent whose name was taken stops what it runs, then ends with the reason")
    func nameTaken() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            let problem = Problem(.conflict, "another agent has the name node1", field: "incarnation")
            await test.scheduler.set { $0.refusal = problem }
            await test.scheduler.stop(record.attempt)
            // The parked call ends with the order; the next one is refused.
            #expect(await test.end() as? Problem == problem)
            let id = try #require(await test.engine.made.first)
            #expect(try await test.engine.inner.wait(id).exitCode == 143)
        }
    }

    @Test("a scheduler of another protocol is asked again; nothing is stopped meanwhile")
    func otherProtocol() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:500", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            await test.scheduler.set {
                $0.refusal = Problem(.refused, "1 is not a protocol that this scheduler speaks", field: "$.protocol")
            }
            let id = try #require(await test.engine.made.first)
            #expect(try await test.engine.inner.wait(id).exitCode == 0)
            await test.scheduler.set { $0.refusal = nil }
            #expect(try await test.end(of: record).state == .succeeded)
        }
    }

    @Test("many short attempts at once share their calls, and each ends once")
    func burst() async throws {
        try await AgentUnderTest.with { test in
            let records = try (1...100).map { try test.attempt("out:${task.index}", "exit:0", task: $0) }
            for record in records { await test.scheduler.order(record) }
            try await test.start()
            for record in records { #expect(try await test.end(of: record).state == .succeeded) }
            for record in records {
                #expect(await test.scheduler.log(record.attempt) == "\(record.attempt.task.index)")
                #expect(await test.scheduler.history[record.attempt]?.filter { $0.state.isTerminal }.count == 1)
            }
            #expect(await test.engine.made.count == 100)
            for record in records { try await test.eventuallyGone(record) }
            #expect(await test.scheduler.requests.count < 200)
        }
    }
}

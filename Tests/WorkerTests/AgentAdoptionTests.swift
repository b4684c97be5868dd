// Agents come and go, containers stay: an agent is killed at each step of an attempt, and the next one over the same
// journal brings it
// to its end, with one container, with every byte of output once, and with one publication.
import Foundation
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("a killed agent's attempts are adopted", .timeLimit(.minutes(20)))
struct AgentAdoptionTests {
    /// Where the agent is when it is killed.
    enum Moment: String, CaseIterable, CustomTestStringConvertible {
        case pullingTheImage, fetchingAFile, beforeCreate, afterCreate, beforeStart, afterStart, running, beforeWait
        case afterTheEnd, shippingLogs, waitingToPublish, published, reported

        var testDescription: String { rawValue }

        /// Makes the agent stop there.
        func prepare(_ test: AgentUnderTest) async {
            switch self {
            case .pullingTheImage: await test.engine.close(.image)
            case .fetchingAFile: await test.scheduler.set { $0.holdsBlobs = true }
            case .beforeCreate: await test.engine.close(.createBefore)
            case .afterCreate: await test.engine.close(.createAfter)
            case .beforeStart: await test.engine.close(.startBefore)
            case .afterStart: await test.engine.close(.startAfter)
            case .beforeWait: await test.engine.close(.waitBefore)
            case .afterTheEnd: await test.engine.close(.waitAfter)
            case .shippingLogs: await test.scheduler.set { $0.holdsLogs = true }
            case .waitingToPublish: await test.scheduler.set { $0.accepts = false }
            case .running, .published: break
            case .reported: await test.scheduler.set { $0.forgets = false }
            }
        }

        /// Returns once the agent is there.
        func reach(_ test: AgentUnderTest, _ record: JournalRecord) async throws {
            switch self {
            case .pullingTheImage: try await test.eventuallyReaches(.image)
            case .fetchingAFile:
                try await eventually("a file is fetched") { await test.scheduler.blobCalls > 0 }
            case .beforeCreate: try await test.eventuallyReaches(.createBefore)
            case .afterCreate: try await test.eventuallyReaches(.createAfter)
            case .beforeStart: try await test.eventuallyReaches(.startBefore)
            case .afterStart: try await test.eventuallyReaches(.startAfter)
            case .running: try await test.eventuallyReports(.running, record)
            case .beforeWait: try await test.eventuallyReaches(.waitBefore)
            case .afterTheEnd: try await test.eventuallyReaches(.waitAfter)
            case .shippingLogs: try await eventually("logs are shipped") { await test.scheduler.logCalls > 0 }
            case .waitingToPublish: try await test.eventuallyReports(.ending, record)
            case .published:
                let result = test.folder + "/data/results/42/1/result"
                try await eventually("it is published") { FileManager.default.fileExists(atPath: result) }
            case .reported: _ = try await test.end(of: record)
            }
        }
    }

    @Test("wherever the agent is killed, the attempt succeeds once", arguments: Moment.allCases)
    func adoption(_ moment: Moment) async throws {
        try await AgentUnderTest.with { test in
            let script = Array("#!/bin/sh\n".utf8)
            await test.scheduler.keep(script)
            let record = try test.attempt(
                "out:first\n", "err:a warning\n", "sleep:300", "out:second\n", "exit:0",
                slots: [("output", .out, "data/results")],
                files: ["/job/run.sh": ConfigurationFile(digest: Digest(of: script), executable: true)])
            await moment.prepare(test)
            await test.scheduler.order(record)
            try await test.start()
            try await moment.reach(test, record)
            if moment == .published { await test.scheduler.set { $0.isAway = true } }
            await test.kill()
            await test.engine.openAll()
            await test.scheduler.set {
                $0.isAway = false
                $0.holdsBlobs = false
                $0.holdsLogs = false
                $0.accepts = true
            }
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .succeeded && report.reason == .exitCode && report.exitCode == 0)
            #expect(report.startedAt != nil && report.finishedAt != nil && report.usage != nil)
            #expect(report.outputs?.values.first?.files == 1)
            #expect(await test.scheduler.log(record.attempt) == "first\nsecond\n")
            #expect(await test.scheduler.log(record.attempt, .stderr) == "a warning\n")
            #expect(await test.scheduler.isComplete(record.attempt))
            #expect(await test.engine.made.count == 1)
            let published = test.folder + "/data/results/42/1/result"
            #expect(FileManager.default.contents(atPath: published) == Data("result".utf8))
            await test.scheduler.set { $0.forgets = true }
            try await test.eventuallyGone(record)
        }
    }

    @Test("a program that ends while no agent is there is reported as it ended", arguments: [0, 3])
    func endsAlone(code: Int) async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:x", "sleep:100", "exit:\(code)")
            await test.scheduler.order(record)
            await test.engine.close(.waitBefore)
            try await test.start()
            try await test.eventuallyReaches(.waitBefore)
            await test.kill()
            await test.engine.openAll()
            let id = try #require(await test.engine.made.first)
            _ = try await test.engine.inner.wait(id)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == (code == 0 ? .succeeded : .failed) && report.exitCode == code)
            #expect(await test.scheduler.log(record.attempt) == "x")
        }
    }

    @Test("an engine that is away when the agent comes back is waited for: what may run is not given up")
    func engineAway() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:x", "sleep:100", "exit:0")
            await test.scheduler.order(record)
            await test.engine.close(.waitBefore)
            try await test.start()
            try await test.eventuallyReaches(.waitBefore)
            await test.kill()
            await test.engine.openAll()
            let away = EngineError.unavailable("the engine restarts")
            await test.engine.fail(.startBefore, with: away, away)
            await test.scheduler.stop(record.attempt)
            try await test.start()
            let report = try await test.end(of: record)
            // It had ended before the stop reached it, or the stop ended it: never lost.
            #expect(report.state == .succeeded || report.state == .cancelled)
            #expect(report.exitCode != nil)
        }
    }

    @Test("an order to stop that was written down is carried out by the next agent")
    func stopAdopted() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000")
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            await test.engine.close(.stop)
            await test.scheduler.stop(record.attempt)
            try await test.eventuallyReaches(.stop)
            await test.kill()
            await test.engine.openAll()
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .cancelled && report.reason == .cancelled)
        }
    }

    @Test("a time limit goes on from the first start, whoever watches")
    func timeLimitAdopted() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000", timeLimit: TimeSpan(milliseconds: 1_000))
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            await test.kill()
            let (records, _) = try test.journal().load()
            #expect(records.count == 1 && records[0].progress.startedAt != nil)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .failed && report.reason == .timeLimit)
        }
    }

    @Test("a container that was to be started before a reboot is not started after it")
    func reboot() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:never", "exit:0")
            await test.scheduler.order(record)
            await test.engine.close(.startBefore)
            try await test.start()
            try await test.eventuallyReaches(.startBefore)
            await test.kill()
            await test.engine.openAll()
            var (records, _) = try test.journal().load()
            records[0].progress.boot = "another boot"
            try test.journal().write(records[0])
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .lost && report.reason == .engineError)
            #expect(await test.scheduler.log(record.attempt) == "")
        }
    }

    @Test(
        "a journal record that cannot be read is set aside: the attempt is no longer listed, and its container is removed",
        arguments: [0, -1])
    func unreadable(line: Int) async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("sleep:600000")
            let other = try test.attempt("sleep:600000", task: 2)
            await test.scheduler.order(record)
            await test.scheduler.order(other)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            try await test.eventuallyReports(.running, other)
            await test.kill()
            let path = "\(test.journalFolder)/\(record.attempt)"
            var lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            #expect(lines.count > 1)
            let damaged = line == 0 ? 0 : lines.count - 1
            lines[damaged] = lines[damaged].dropLast(7)
            try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: false, encoding: .utf8)
            let bytes = FileManager.default.contents(atPath: path)
            let before = await test.scheduler.requests.count
            await test.engine.close(.image)
            try await test.start()
            try await eventually("the agent calls") { await test.scheduler.requests.count > before }
            let first = await test.scheduler.requests[before]
            #expect(first.live == [other.attempt] && first.reports.allSatisfy { !$0.state.isTerminal })
            #expect(try await test.engine.list().map(\.attempt) == [other.attempt])
            let aside = "\(test.journalFolder)/unreadable/\(record.attempt)"
            #expect(FileManager.default.contents(atPath: aside) == bytes)
        }
    }

    @Test("containers and mounts of no attempt are removed before the first call")
    func leftovers() async throws {
        try await AgentUnderTest.with { test in
            let stranger = try test.attempt("sleep:600000", task: 9, slots: [("output", .out, "data/results")])
            _ = try await test.engine.begin(test.specification(of: stranger))
            let table = try VolumeTable(
                volumes: [Volume("data=\(test.folder)/data:rw")], allowedPaths: [])
            let access = VolumeAccess(table: table, mountFolder: test.folder + "/w/mounts")
            try FileManager.default.createDirectory(
                atPath: test.folder + "/w", withIntermediateDirectories: true)
            _ = try access.mount(
                try #require(SlotName(rawValue: "output")), .out, at: try #require(Binding("data/results/42/9")),
                for: stranger.attempt, as: stranger.job.record.owner)
            await test.engine.fail(.remove, with: .unavailable("the engine restarts"))
            try await test.start()
            try await eventually("the agent calls") { await !test.scheduler.requests.isEmpty }
            #expect(await test.scheduler.requests[0].live.isEmpty)
            #expect(try await test.engine.list().isEmpty)
            #expect(!FileManager.default.fileExists(atPath: "\(test.folder)/w/mounts/\(stranger.attempt)"))
        }
    }
}

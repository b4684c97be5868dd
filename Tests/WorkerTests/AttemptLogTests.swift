// Output on its way: bounded files, and pieces by offset that may be repeated, cut or lost on the way without a byte
// lost or doubled.
import Foundation
import Glibc
import JobModel
import SchedulerClient
import TestSupport
import Testing

@testable import Worker

@Suite("an attempt's output in the worker's files")
struct LogFilesTests {
    private func withFiles(limit: Int64, _ body: (LogFiles) throws -> Void) throws {
        let folder = try temporaryFolder("logs")
        defer { removeFolder(folder) }
        try body(LogFiles(folder: folder, limit: limit))
    }

    private func text(_ files: LogFiles) -> String { String(decoding: files.read(.stdout, from: 0), as: UTF8.self) }
    private func piece(_ text: String) -> LogPiece { LogPiece(stream: .stdout, bytes: Array(text.utf8)) }

    @Test(
        "what is beyond the limit is dropped, and the log says so once",
        arguments: [["0123456789ab"], ["0123456789", "ab"], ["01234", "567", "89a", "b", "c"]])
    func limit(pieces: [String]) throws {
        try withFiles(limit: 10) { files in
            var size: Int64 = 0
            for piece in pieces { size = try files.write(self.piece(piece), at: size) }
            let expected = "0123456789\n[jobctl: the output is longer than 10 bytes: the rest is not kept]\n"
            #expect(text(files) == expected)
            size = try files.write(piece("more"), at: size)
            #expect(size == files.size(.stdout))
            #expect(text(files) == expected)
        }
    }

    @Test("a log of exactly the limit is whole")
    func exact() throws {
        try withFiles(limit: 10) { files in
            let size = try files.write(piece("0123456789"), at: 0)
            #expect(size == 10)
            let same = try files.write(piece(""), at: size)
            #expect(same == 10)
            #expect(text(files) == "0123456789")
        }
    }

    @Test("a stream without output makes no file")
    func empty() throws {
        try withFiles(limit: 10) { files in
            #expect(files.size(.stderr) == 0 && files.read(.stderr, from: 0).isEmpty)
            #expect(!FileManager.default.fileExists(atPath: files.path(.stderr)))
        }
    }

    @Test("reading gives at most a piece, from any place")
    func reading() throws {
        try withFiles(limit: 8 << 20) { files in
            let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            _ = try files.write(LogPiece(stream: .stdout, bytes: bytes), at: 0)
            #expect(files.read(.stdout, from: 0) == Array(bytes[..<SchedulerClient.logPieceLimit]))
            #expect(files.read(.stdout, from: 2_999_990) == Array(bytes[2_999_990...]))
            #expect(files.read(.stdout, from: 3_000_000).isEmpty && files.read(.stdout, from: 9_000_000).isEmpty)
        }
    }
}

@Suite("an attempt's output on its way to the scheduler", .timeLimit(.minutes(20)))
struct LogShippingTests {
    @Test("output longer than several pieces arrives whole, and its end is told")
    func long() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("lines:400000", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            #expect(try await test.end(of: record).state == .succeeded)
            let log = await test.scheduler.log(record.attempt)
            #expect(log.utf8.count == 2_688_895 && log.hasSuffix("\n399999\n400000\n"))
            #expect(await test.scheduler.isComplete(record.attempt))
        }
    }

    @Test("output is followed while the program runs")
    func followed() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:first\n", "sleep:600000")
            await test.scheduler.order(record)
            try await test.start()
            try await eventually("the first line arrives") { await test.scheduler.log(record.attempt) == "first\n" }
            #expect(await !test.scheduler.isComplete(record.attempt))
            await test.scheduler.stop(record.attempt)
            _ = try await test.end(of: record)
            #expect(await test.scheduler.isComplete(record.attempt))
        }
    }

    @Test("a scheduler that is away in the middle, before or after it took a piece, loses and doubles nothing")
    func outage() async throws {
        try await AgentUnderTest.with { test in
            var steps: [String] = []
            for index in 0..<20 { steps += ["out:line \(index)\n", "err:warning \(index)\n", "sleep:40"] }
            let record = try test.attempt(steps: steps)
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            for _ in 0..<3 {
                let calls = await test.scheduler.logCalls
                await test.scheduler.set { $0.isAway.toggle() }
                try await eventually("another piece is sent") { await test.scheduler.logCalls > calls }
                await test.scheduler.set { $0.isAway.toggle() }
            }
            #expect(try await test.end(of: record).state == .succeeded)
            #expect(await test.scheduler.log(record.attempt) == (0..<20).map { "line \($0)\n" }.joined())
            #expect(await test.scheduler.log(record.attempt, .stderr) == (0..<20).map { "warning \($0)\n" }.joined())
        }
    }

    @Test("agents that are killed again and again while a program writes lose and double nothing")
    func kills() async throws {
        try await AgentUnderTest.with { test in
            let steps = (0..<40).flatMap { ["out:line \($0)\n", "sleep:25"] }
            let record = try test.attempt(steps: steps)
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.running, record)
            for _ in 0..<4 {
                let calls = await test.scheduler.logCalls
                try await eventually("another piece is sent") {
                    let hasEnded = await test.scheduler.end(of: record.attempt) != nil
                    return await test.scheduler.logCalls > calls || hasEnded
                }
                await test.kill()
                try await test.start()
            }
            #expect(try await test.end(of: record).state == .succeeded)
            let log = await test.scheduler.log(record.attempt)
            #expect(log == (0..<40).map { "line \($0)\n" }.joined())
        }
    }

    /// An agent that ends may still be about to write a piece that the next one has written.
    @Test("two collectors of one container double nothing")
    func twoCollectors() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt(steps: (0..<40).flatMap { ["out:line \($0)\n", "sleep:5"] })
            let container = try await test.engine.begin(test.specification(of: record))
            let files = LogFiles(folder: test.folder + "/logs")
            let collector = LogCollector(files: files, engine: test.engine)
            async let first = collector.collect(container) { true }
            async let second = collector.collect(container) { true }
            #expect(await [first, second] == [nil, nil])
            let log = String(decoding: files.read(.stdout, from: 0), as: UTF8.self)
            #expect(log == (0..<40).map { "line \($0)\n" }.joined())
        }
    }

    @Test("a scheduler that keeps less than the worker ends the stream, and the attempt ends")
    func schedulerLimit() async throws {
        try await AgentUnderTest.with { test in
            await test.scheduler.set { $0.logLimit = 10 }
            let record = try test.attempt("out:0123456789abc", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            #expect(try await test.end(of: record).state == .succeeded)
            #expect(await test.scheduler.log(record.attempt) == "0123456789")
        }
    }

    @Test("the worker's limit is told in the log that the scheduler has")
    func workerLimit() async throws {
        try await AgentUnderTest.with { test in
            await test.set(logLimit: 10)
            let record = try test.attempt("out:0123456789abc", "sleep:10", "out:more", "exit:0")
            await test.scheduler.order(record)
            try await test.start()
            #expect(try await test.end(of: record).state == .succeeded)
            #expect(
                await test.scheduler.log(record.attempt)
                    == "0123456789\n[jobctl: the output is longer than 10 bytes: the rest is not kept]\n")
        }
    }

    @Test("output that the worker's disk does not take is said to be missing; the exit code still counts")
    func diskFull() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("out:lost", "exit:0")
            await test.scheduler.order(record)
            await test.engine.close(.startBefore)
            try await test.start()
            try await test.eventuallyReaches(.startBefore)
            // A link to nowhere where the file should be: it cannot be opened for writing.
            let logs = try test.journal().logFolder(of: record.attempt)
            mkdir(logs, 0o700)
            symlink("/nowhere/at/all", logs + "/stdout")
            await test.engine.release()
            let report = try await test.end(of: record)
            #expect(report.state == .succeeded)
            #expect(report.message?.hasPrefix("a part of the output is missing: the worker cannot write it") == true)
        }
    }
}

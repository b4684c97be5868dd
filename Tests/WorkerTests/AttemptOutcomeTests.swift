// A false success cannot be made: every combination of how a container ended and why it was stopped, and what is said
// of it.
import Foundation
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("how an attempt ends")
struct AttemptOutcomeTests {
    private static let time = Timestamp(millisecondsSinceEpoch: 1_400_000_000_000)
    private static let attempt = AttemptID(task: TaskID(job: JobID(rawValue: 42), index: 7), number: 2)

    private static func record(_ code: Int, oom: Bool = false, finished: Bool = true, message: String? = nil)
        -> ExitRecord
    {
        ExitRecord(
            exitCode: code, oomKilled: oom, startedAt: time, finishedAt: finished ? time : nil, message: message)
    }

    @Test("of all ends and all stops, only a proven exit code 0 that nobody stopped is a success")
    func noFalseSuccess() {
        for code in -1...260 {
            for oom in [false, true] {
                for finished in [false, true] {
                    for message in [nil, "the command was not found"] {
                        for stop in [nil] + EndReason.allCases.map(Optional.some) {
                            let record = Self.record(code, oom: oom, finished: finished, message: message)
                            let report = AttemptOutcome(record, stopReason: stop).report(Self.attempt)
                            let isProof = code == 0 && !oom && finished && message == nil && stop == nil
                            #expect((report.state == .succeeded) == isProof, "\(record) \(String(describing: stop))")
                            #expect(report.state.isTerminal && report.reason != nil)
                            #expect(report.state != .succeeded || report.reason == .exitCode && report.exitCode == 0)
                        }
                    }
                }
            }
        }
    }

    @Test(
        "a service that was not ready is a failure without an exit code, and one that ended early is told beside the end"
    )
    func services() {
        for code in [0, 125] {
            var record = Self.record(code)
            record.serviceFailure = "the service 'db' was not ready in time"
            #expect(ExitRecord.Zero(record) == nil)
            let report = AttemptOutcome(record, stopReason: nil).report(Self.attempt)
            #expect(report.state == .failed && report.reason == .serviceError && report.exitCode == nil)
            #expect(report.message == record.serviceFailure && report.reason?.blame == .program)
            #expect(AttemptOutcome(record, stopReason: .cancelled).report(Self.attempt).state == .cancelled)
        }
        var record = Self.record(0)
        record.note = "the service 'db' ended with exit code 4 while the task ran"
        let success = AttemptOutcome(record, stopReason: nil, note: "a part is missing").report(Self.attempt)
        #expect(success.state == .succeeded && success.message == "a part is missing; \(record.note ?? "")")
        record.exitCode = 3
        #expect(AttemptOutcome(record, stopReason: nil).report(Self.attempt).message == record.note)
    }

    @Test("no failure on the way is ever a success, and a wish to stop before the end is kept")
    func failures() {
        for reason in EndReason.allCases {
            for exit in [nil, Self.record(0), Self.record(3)] {
                for stop in [nil] + EndReason.allCases.map(Optional.some) {
                    let failure = AttemptFailure(reason: reason, message: "why")
                    let report = AttemptOutcome(failure, exit: exit, stopReason: stop).report(Self.attempt)
                    #expect(report.state != .succeeded && report.state.isTerminal)
                    if exit == nil, stop == .cancelled { #expect(report.state == .cancelled) }
                    if exit == nil, stop == .workerLost { #expect(report.state == .lost) }
                }
            }
        }
    }

    @Test(
        "each end has its state, its reason, its code and its signal",
        arguments: [
            (AttemptOutcomeTests.record(3), nil, AttemptState.failed, EndReason.exitCode, 3, nil),
            (AttemptOutcomeTests.record(137), nil, .failed, .signal, 137, 9),
            (AttemptOutcomeTests.record(137, oom: true), nil, .failed, .oomKilled, 137, nil),
            (AttemptOutcomeTests.record(0, oom: true), nil, .failed, .oomKilled, 0, nil),
            (AttemptOutcomeTests.record(127, message: "not found"), nil, .failed, .exitCode, 127, nil),
            (AttemptOutcomeTests.record(0, finished: false), nil, .lost, .engineError, nil, nil),
            (AttemptOutcomeTests.record(143), EndReason.timeLimit, .failed, .timeLimit, 143, nil),
            (AttemptOutcomeTests.record(0), EndReason.timeLimit, .failed, .timeLimit, 0, nil),
            (AttemptOutcomeTests.record(143), EndReason.cancelled, .cancelled, .cancelled, 143, nil),
            (AttemptOutcomeTests.record(0), EndReason.preempted, .cancelled, .preempted, 0, nil),
            (AttemptOutcomeTests.record(0), EndReason.workerLost, .lost, .workerLost, nil, nil),
        ] as [(ExitRecord, EndReason?, AttemptState, EndReason, Int?, Int?)])
    func mapping(
        record: ExitRecord, stop: EndReason?, state: AttemptState, reason: EndReason, code: Int?, signal: Int?
    ) {
        let report = AttemptOutcome(record, stopReason: stop).report(Self.attempt)
        #expect(report.state == state && report.reason == reason)
        #expect(report.exitCode == code && report.signal == signal)
        #expect(report.sequence == 4 && report.attempt == Self.attempt)
    }

    @Test("a code and amounts that a scheduler refuses are not sent")
    func sound() {
        let report = AttemptOutcome(Self.record(100_000), stopReason: nil).report(Self.attempt)
        #expect(report.state == .failed && report.exitCode == nil)
        let odd = Usage(cpuSeconds: .nan, maxMemory: ByteCount(bytes: -1), wallSeconds: -.infinity)
        #expect(odd.sound == Usage(cpuSeconds: 0, maxMemory: ByteCount(bytes: 0), wallSeconds: 0))
        let good = Usage(cpuSeconds: 1.5, maxMemory: ByteCount(bytes: 7), wallSeconds: 2)
        #expect(good.sound == good)
    }

    @Test("a later state has a later sequence, and the same state always the same")
    func sequences() {
        let states: [AttemptState] = [.preparing, .running, .ending, .succeeded]
        #expect(states.map { AttemptReport(Self.attempt, $0).sequence } == [1, 2, 3, 4])
        #expect(AttemptReport(Self.attempt, .lost, .workerLost).sequence == 4)
    }
}

@Suite("the agent's journal")
struct JournalTests {
    private func withRecord(_ body: (Journal, JournalRecord) throws -> Void) async throws {
        try await AgentUnderTest.with { test in
            let input = try #require(SlotName(rawValue: "input"))
            var record = try test.attempt("exit:0", slots: [("input", .ro, "data/x")], timeLimit: .seconds(60))
            record.progress.inputs = [
                input: TreeFingerprint(
                    treeDigest: Digest(of: "x"), level: .content, files: 1, bytes: ByteCount(bytes: 2))
            ]
            try body(try test.journal(), record)
        }
    }

    @Test("what is written is read again, replaced as a whole, and removed without a rest")
    func roundTrip() async throws {
        try await withRecord { journal, record in
            var record = record
            try journal.begin(record)
            let (begun, _) = try journal.load()
            #expect(begun.map(\.attempt) == [record.attempt] && begun[0].progress.inputs == nil)
            #expect(begun[0].job == record.job && begun[0].configuration == record.configuration)
            record.progress.container = "c1"
            record.progress.stopReason = .timeLimit
            record.progress.exit = ExitRecord(exitCode: 0, oomKilled: false, startedAt: nil, finishedAt: nil)
            try journal.write(record)
            record.progress.container = "c2"
            try journal.write(record)
            let (records, unreadable) = try journal.load()
            #expect(records.count == 1 && unreadable.isEmpty)
            #expect(records[0].progress.container == "c2" && records[0].progress.inputs == record.progress.inputs)
            #expect(records[0].progress.exit == record.progress.exit && records[0].progress.stopReason == .timeLimit)
            mkdir(journal.logFolder(of: record.attempt), 0o700)
            try Data().write(to: URL(filePath: journal.logFolder(of: record.attempt) + "/unknown"))
            journal.remove(record.attempt)
            #expect(try FileManager.default.contentsOfDirectory(atPath: journal.folder).isEmpty)
        }
    }

    @Test("half a line at the end is as if it had not been written, wherever it was cut")
    func halfALine() async throws {
        try await withRecord { journal, record in
            var record = record
            try journal.begin(record)
            record.progress.container = "c1"
            try journal.write(record)
            let path = journal.file(of: record.attempt)
            let whole = try #require(FileManager.default.contents(atPath: path))
            record.progress.container = "c2"
            try journal.write(record)
            let longer = try #require(FileManager.default.contents(atPath: path))
            for count in stride(from: whole.count, to: longer.count, by: 7) {
                try longer.prefix(count).write(to: URL(filePath: path))
                #expect(try journal.load().records.first?.progress.container == "c1")
                try journal.write(record)
                #expect(try journal.load().records.first?.progress.container == "c2")
            }
        }
    }

    @Test("a record under another attempt's name is set aside, a second time beside the first")
    func misplaced() async throws {
        try await withRecord { journal, record in
            for _ in 0..<2 {
                try journal.begin(record)
                rename(journal.file(of: record.attempt), journal.folder + "/42.9.9")
                let (records, unreadable) = try journal.load()
                #expect(records.isEmpty && unreadable.map(\.description) == ["42.9.9"])
            }
            let aside = try FileManager.default.contentsOfDirectory(atPath: journal.folder + "/unreadable").sorted()
            #expect(aside == ["42.9.9", "42.9.9-2"])
        }
    }

    @Test("the lease counts only in the boot that wrote it")
    func lease() async throws {
        try await withRecord { journal, _ in
            #expect(journal.leaseEnd == nil)
            try journal.write(leaseEnd: 12_345)
            #expect(journal.leaseEnd == 12_345)
            for text in ["another-boot 12345", "", "nonsense", "\(Journal.boot) many"] {
                try Data(text.utf8).write(to: URL(filePath: journal.folder + "/lease"))
                #expect(journal.leaseEnd == nil, "\(text)")
            }
        }
    }
}

@Suite("files of configurations on the worker", .timeLimit(.minutes(20)))
struct FileCacheTests {
    private let script = Array("#!/bin/sh\n".utf8)

    @Test("a file is fetched once for all that want it at the same time, verified, and readable by every user")
    func once() async throws {
        try await AgentUnderTest.with { test in
            await test.scheduler.keep(script)
            await test.scheduler.set { $0.holdsBlobs = true }
            let cache = FileCache(folder: test.folder + "/files", scheduler: test.scheduler)
            let file = ConfigurationFile(digest: Digest(of: script), executable: false)
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<50 { group.addTask { try await cache.path(of: file) } }
                try await eventually("it is fetched") { await test.scheduler.blobCalls > 0 }
                await test.scheduler.set { $0.holdsBlobs = false }
                for try await path in group {
                    #expect(FileManager.default.contents(atPath: path) == Data(script))
                }
            }
            let program = try await cache.path(of: ConfigurationFile(digest: file.digest, executable: true))
            let mode = try FileManager.default.attributesOfItem(atPath: program)[.posixPermissions] as? Int
            #expect(mode == 0o555)
            // All of the fifty shared a fetch, unless one came after it had ended and found the file.
            #expect(await test.scheduler.blobCalls == 2)
        }
    }

    @Test(
        "an agent that ends and the next one fetch the same file at once: both get it whole; what was cut off is removed"
    )
    func twoLives() async throws {
        try await AgentUnderTest.with { test in
            let bytes = [UInt8](repeating: 7, count: 3_000_000)
            await test.scheduler.keep(bytes)
            let file = ConfigurationFile(digest: Digest(of: bytes), executable: false)
            let folder = test.folder + "/files"
            for _ in 0..<10 {
                await test.scheduler.set { $0.holdsBlobs = true }
                let before = await test.scheduler.blobCalls
                let lives = (0..<4).map { _ in FileCache(folder: folder, scheduler: test.scheduler) }
                try await withThrowingTaskGroup(of: String.self) { group in
                    for life in lives { group.addTask { try await life.path(of: file) } }
                    try await eventually("all fetch") { await test.scheduler.blobCalls == before + lives.count }
                    await test.scheduler.set { $0.holdsBlobs = false }
                    for try await path in group {
                        #expect(FileManager.default.contents(atPath: path) == Data(bytes))
                    }
                }
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [file.digest.hex])
                try FileManager.default.removeItem(atPath: "\(folder)/\(file.digest.hex)")
            }
            try Data("cut off".utf8).write(to: URL(filePath: folder + "/x-1.new"))
            _ = FileCache(folder: folder, scheduler: test.scheduler)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
        }
    }

    @Test("content that is not what its digest says is refused, and nothing is kept of it")
    func damaged() async throws {
        try await AgentUnderTest.with { test in
            await test.scheduler.keep(script)
            await test.scheduler.spoil(Digest(of: script))
            let cache = FileCache(folder: test.folder + "/files", scheduler: test.scheduler)
            let file = ConfigurationFile(digest: Digest(of: script), executable: false)
            await #expect {
                _ = try await cache.path(of: file)
            } throws: { error in
                (error as? AttemptFailure)?.message.contains("is something else") ?? false
            }
            #expect(!FileManager.default.fileExists(atPath: test.folder + "/files"))
            await test.scheduler.keep(script)
            _ = try await cache.path(of: file)
        }
    }

    @Test("a scheduler that is away for a moment is waited for")
    func away() async throws {
        try await AgentUnderTest.with { test in
            await test.scheduler.keep(script)
            await test.scheduler.set { $0.isAway = true }
            let cache = FileCache(folder: test.folder + "/files", scheduler: test.scheduler)
            let file = ConfigurationFile(digest: Digest(of: script), executable: false)
            async let path = cache.path(of: file)
            try await eventually("it is asked") { await test.scheduler.blobCalls > 0 }
            await test.scheduler.set { $0.isAway = false }
            #expect(FileManager.default.contents(atPath: try await path) == Data(script))
        }
    }
}

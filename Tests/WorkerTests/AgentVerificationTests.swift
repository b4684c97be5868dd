// Lists of trees reach the scheduler before an end is reported, and an attempt that verifies another compares with it
// and publishes nothing.
import Foundation
import Glibc
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("an agent verifies", .timeLimit(.minutes(20))) struct AgentVerificationTests {
    private static let slots: [(String, SlotMode, String)] = [
        ("input", .ro, "data/in"), ("output", .out, "data/results"),
    ]

    private func makeInput(_ test: AgentUnderTest, _ text: String = "some data") throws {
        let folder = test.folder + "/data/in"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(filePath: folder + "/file"))
    }

    /// An attempt of job 42 as its reports describe it.
    private func document(_ record: JournalRecord, _ end: AttemptReport) -> AttemptDocument {
        func named(_ trees: [SlotName: TreeFingerprint]?) -> [String: TreeFingerprint] {
            Dictionary(uniqueKeysWithValues: (trees ?? [:]).map { ($0.key.rawValue, $0.value) })
        }
        return AttemptDocument(
            id: record.attempt, worker: "node1", engine: nil, state: Open(end.state), reason: nil, exitCode: nil,
            signal: nil, message: nil, startedAt: nil, finishedAt: nil, inputs: named(end.inputs),
            outputs: named(end.outputs), usage: nil, gpus: [])
    }

    /// Runs job 42, and tells the scheduler what it came to.
    private func original(_ test: AgentUnderTest) async throws -> AttemptDocument {
        try makeInput(test)
        try await test.start()
        let record = try test.attempt("exit:0", slots: Self.slots)
        await test.scheduler.order(record)
        let end = try await test.end(of: record)
        #expect(end.state == .succeeded, "\(end)")
        let document = document(record, end)
        await test.scheduler.keep(document)
        return document
    }

    private func verification(_ test: AgentUnderTest) async throws -> (JournalRecord, AttemptReport) {
        let record = try test.attempt("exit:0", job: 57, slots: Self.slots, verifies: 42)
        await test.scheduler.order(record)
        return (record, try await test.end(of: record))
    }

    @Test("the lists of inputs and outputs are with the scheduler when the end is, and each is sent once")
    func lists() async throws {
        try await AgentUnderTest.with { test in
            let first = try await original(test)
            let trees = await test.scheduler.trees
            let (input, output) = (first.inputs["input"]?.treeDigest, first.outputs["output"]?.treeDigest)
            #expect(trees.count == 2)
            let list = try #require(output.flatMap { trees[$0] })
            #expect(String(decoding: list, as: UTF8.self).hasSuffix(" result\0"))
            #expect(input.flatMap { trees[$0] } != nil)
            let again = try test.attempt("exit:0", task: 2, slots: Self.slots)
            await test.scheduler.order(again)
            _ = try await test.end(of: again)
            #expect(await test.scheduler.treeCalls == 2)
            try await test.eventuallyGone(again)
        }
    }

    @Test("an attempt succeeds also if the scheduler never takes its lists")
    func refused() async throws {
        try await AgentUnderTest.with { test in
            await test.scheduler.set { $0.refusesTrees = true }
            _ = try await original(test)
            #expect(await test.scheduler.trees.isEmpty)
        }
    }

    @Test("what comes to the same is a success that publishes nothing and says nothing more")
    func same() async throws {
        try await AgentUnderTest.with { test in
            let first = try await original(test)
            let (record, end) = try await verification(test)
            #expect(end.state == .succeeded)
            #expect(end.outputs?.values.first == first.outputs["output"])
            #expect(await test.scheduler.comparisons.isEmpty)
            try await test.eventuallyGone(record)
            #expect(try FileManager.default.contentsOfDirectory(atPath: test.folder + "/data/results") == ["42"])
        }
    }

    @Test("what comes to something else is compared with what was published, file by file")
    func different() async throws {
        try await AgentUnderTest.with { test in
            var first = try await original(test)
            // What job 42 published was something else, and its list says so.
            let path = test.folder + "/data/results/42/1/result"
            try Data("resulT, longer".utf8).write(to: URL(filePath: path))
            let list = test.folder + "/list"
            first.outputs["output"] = try await Fingerprinter().fingerprint(
                test.folder + "/data/results/42/1", level: .content, list: list)
            let digest = try #require(first.outputs["output"]?.treeDigest)
            try await test.scheduler.keepTree(digest, list: list)
            await test.scheduler.keep(first)
            let (record, end) = try await verification(test)
            #expect(end.state == .succeeded && end.outputs?.values.first?.treeDigest != digest)
            let comparison = try #require(await test.scheduler.comparisons[record.attempt])
            #expect(comparison.with == first.id && comparison.note == nil)
            #expect(comparison.files.map(\.path) == ["result"] && comparison.files.first?.firstDifference == 5)
            try await test.eventuallyGone(record)

            // Once more, after somebody changed what was published: nothing is said of bytes that nobody recorded.
            try Data("spoiled".utf8).write(to: URL(filePath: path))
            let later = try test.attempt("exit:0", job: 58, slots: Self.slots, verifies: 42)
            await test.scheduler.order(later)
            _ = try await test.end(of: later)
            let second = try #require(await test.scheduler.comparisons[later.attempt])
            #expect(second.files.map(\.path) == ["result"] && second.files.first?.firstDifference == nil)
        }
    }

    @Test(
        "an earlier output that is gone, or is not the verifier's to read, is said, and the digests stand",
        arguments: [true, false])
    func gone(isGone: Bool) async throws {
        try await AgentUnderTest.with { test in
            var first = try await original(test)
            first.outputs["output"]?.treeDigest = Digest(of: Array("f 600 1 \(Digest(of: "x").hex) result\0".utf8))
            let list = test.folder + "/list"
            try Data("f 600 1 \(Digest(of: "x").hex) result\0".utf8).write(to: URL(filePath: list))
            try await test.scheduler.keepTree(try #require(first.outputs["output"]?.treeDigest), list: list)
            await test.scheduler.keep(first)
            let published = test.folder + "/data/results/42/1"
            if isGone {
                try FileManager.default.removeItem(atPath: published)
            } else {
                chown(published, 4321, 4321)
                chmod(published, 0o700)
            }
            let (record, end) = try await verification(test)
            #expect(end.state == .succeeded)
            let comparison = try #require(await test.scheduler.comparisons[record.attempt])
            #expect(comparison.files.allSatisfy { $0.firstDifference == nil })
            #expect(isGone ? comparison.note?.contains("No such file") == true : true)
        }
    }

    @Test("with an input that changed nothing is started; the end names the input and the new list is sent")
    func changedInput() async throws {
        try await AgentUnderTest.with { test in
            let first = try await original(test)
            try makeInput(test, "other data")
            let made = await test.engine.made.count
            let (_, end) = try await verification(test)
            #expect(end.state == .failed && end.reason == .volumeError)
            #expect(end.message?.contains("the input 'input' changed since attempt 42.1.1") == true)
            let digest = try #require(end.inputs?.values.first?.treeDigest)
            #expect(digest != first.inputs["input"]?.treeDigest)
            #expect(await test.scheduler.trees[digest] != nil)
            #expect(await test.engine.made.count == made)
        }
    }

    @Test("without a result to compare with, nothing is started")
    func noResult() async throws {
        try await AgentUnderTest.with { test in
            try makeInput(test)
            try await test.start()
            let (_, end) = try await verification(test)
            #expect(end.state == .failed && end.message == "the task 42.1 has no result to compare with")
        }
    }

    @Test("an agent that is killed in a verification goes on with it")
    func killed() async throws {
        try await AgentUnderTest.with { test in
            _ = try await original(test)
            await test.engine.close(.waitBefore)
            let record = try test.attempt("exit:0", job: 57, slots: Self.slots, verifies: 42)
            await test.scheduler.order(record)
            try await test.eventuallyReaches(.waitBefore)
            await test.kill()
            await test.engine.release()
            try await test.start()
            #expect(try await test.end(of: record).state == .succeeded)
            try await test.eventuallyGone(record)
            #expect(try FileManager.default.contentsOfDirectory(atPath: test.folder + "/data/results") == ["42"])
        }
    }
}

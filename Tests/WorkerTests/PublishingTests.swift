// Publishing is one rename by the submitter: all or nothing, never over anything, and the same when it is done again.
import CLinux
import Foundation
import Glibc
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("outputs are published by a rename", .enabled(if: geteuid() == 0), .timeLimit(.minutes(20)))
struct PublishingTests {
    private func stage(_ volume: VolumeUnderTest, _ text: String, _ binding: String, attempt: String = "42.7.1") throws
    {
        try volume.write(
            text, try volume.mount(binding, .out, attempt: attempt) + "/result", owner: 1234)
    }

    @Test("what was staged appears at its place, whole, as the submitter's, and not before")
    func publish() async throws {
        try await VolumeUnderTest.with { volume in
            try stage(volume, "x", "data/results/42/7")
            #expect(!FileManager.default.fileExists(atPath: volume.folder + "/data/results"))
            try volume.publish("data/results/42/7")
            #expect(volume.text("data/results/42/7/result") == "x")
            for folder in ["data/results", "data/results/42", "data/results/42/7"] {
                #expect(try volume.status(folder).st_uid == 1234)
            }
            #expect(!FileManager.default.fileExists(atPath: volume.folder + "/data/.jobctl/staging/42.7.1/slot"))
        }
    }

    @Test("publishing again changes nothing, wherever the first time was interrupted")
    func idempotent() async throws {
        try await VolumeUnderTest.with { volume in
            try stage(volume, "x", "data/out")
            try volume.publish("data/out")
            let inode = try volume.status("data/out").st_ino
            try volume.publish("data/out")
            #expect(try volume.status("data/out").st_ino == inode && volume.text("data/out/result") == "x")
            // Killed between the record and the rename: the staged folder is still there, the record names it.
            rename(volume.folder + "/data/out", volume.folder + "/data/.jobctl/staging/42.7.1/slot")
            try volume.publish("data/out")
            #expect(try volume.status("data/out").st_ino == inode)
        }
    }

    @Test(
        "nothing is ever overwritten",
        arguments: ["a folder", "an empty folder", "a file", "a link", "a link to nothing"])
    func neverOver(what: String) async throws {
        try await VolumeUnderTest.with { volume in
            try stage(volume, "new", "data/out")
            switch what {
            case "a folder":
                volume.makeFolder("data/out", owner: 1234)
                try volume.write("old", "data/out/result", owner: 1234)
            case "an empty folder": volume.makeFolder("data/out", owner: 1234)
            case "a file": try volume.write("old", "data/out", owner: 1234)
            case "a link": symlink(volume.folder + "/outside", volume.folder + "/data/out")
            default: symlink("nowhere", volume.folder + "/data/out")
            }
            let before = try volume.status("data/out")
            let sentence = "slot 'slot': data/out exists already: outputs are never overwritten; bind another path"
            #expect(try volume.publishRefusal("data/out") == sentence)
            // Not even by an attempt that comes later, and not because the first one had tried.
            try stage(volume, "newer", "data/out", attempt: "42.7.2")
            #expect(try volume.publishRefusal("data/out", attempt: "42.7.2") == sentence)
            let after = try volume.status("data/out")
            #expect(before.st_ino == after.st_ino && before.st_mode == after.st_mode)
            #expect(try FileManager.default.contentsOfDirectory(atPath: volume.folder + "/outside").isEmpty)
            #expect(volume.text("data/.jobctl/staging/42.7.1/slot/result") == "new")
        }
    }

    @Test("the output of a superseded attempt of the same task is moved aside, never deleted")
    func superseded() async throws {
        try await VolumeUnderTest.with { volume in
            try stage(volume, "first", "data/out")
            try volume.publish("data/out")
            try stage(volume, "second", "data/out", attempt: "42.7.2")
            try volume.publish("data/out", attempt: "42.7.2")
            #expect(volume.text("data/out/result") == "second")
            #expect(volume.text("data/.jobctl/superseded/42.7.1.slot/result") == "first")
            // The late first attempt cannot come back over the second.
            try stage(volume, "late", "data/out")
            #expect(try volume.publishRefusal("data/out").contains("exists already"))
            #expect(volume.text("data/out/result") == "second")
        }
    }

    @Test("what somebody put in the place of a published output is not moved aside")
    func replaced() async throws {
        try await VolumeUnderTest.with { volume in
            try stage(volume, "first", "data/out")
            try volume.publish("data/out")
            rename(volume.folder + "/data/out", volume.folder + "/data/kept")
            volume.makeFolder("data/out", owner: 2345)
            try volume.write("precious", "data/out/result", owner: 2345)
            try stage(volume, "second", "data/out", attempt: "42.7.2")
            #expect(try volume.publishRefusal("data/out", attempt: "42.7.2").contains("exists already"))
            #expect(volume.text("data/out/result") == "precious" && volume.text("data/kept/result") == "first")
        }
    }

    @Test("the submitter's permissions decide where an output may go")
    func permissions() async throws {
        try await VolumeUnderTest.with { volume in
            volume.makeFolder("data/private", owner: 2345, mode: 0o755)
            try stage(volume, "x", "data/private/out")
            #expect(try volume.publishRefusal("data/private/out").contains("Permission denied"))
            #expect(try volume.publishRefusal("data/private/deep/out").contains("Permission denied"))
            #expect(volume.text("data/.jobctl/staging/42.7.1/slot/result") == "x")
            symlink(volume.folder + "/outside", volume.folder + "/data/way")
            #expect(!(try volume.publishRefusal("data/way/out")).isEmpty)
            #expect(try FileManager.default.contentsOfDirectory(atPath: volume.folder + "/outside").isEmpty)
        }
    }

    @Test("without anything staged there is nothing to publish, and a volume itself is no place for an output")
    func refusals() async throws {
        try await VolumeUnderTest.with { volume in
            let cases = [
                ("data/out", "slot 'slot': data/out: nothing is staged"),
                ("data", "slot 'slot': data: an output needs a path below the volume"),
                ("input/x", "slot 'slot': input/x: the volume is read-only on this worker"),
            ]
            for (binding, sentence) in cases {
                let refusal = try volume.publishRefusal(binding)
                #expect(refusal == sentence)
            }
        }
    }

    @Test("another file system below the volume is named as the reason")
    func otherFileSystem() async throws {
        try await VolumeUnderTest.with { volume in
            volume.makeFolder("data/disk", mode: 0o777)
            try #require(
                try await runProcess("mount", ["-t", "tmpfs", "-o", "mode=777", "none", volume.folder + "/data/disk"])
                    .exitCode == 0)
            defer { _ = jc_unmount(volume.folder + "/data/disk") }
            try stage(volume, "x", "data/disk/out")
            #expect(try volume.publishRefusal("data/disk/out").contains("another file system"))
        }
    }

    @Test("what was not published is removed with its attempt: deep, wide, locked, and through no link")
    func removal() async throws {
        try await VolumeUnderTest.with { volume in
            let path = try volume.mount("data/out", .out)
            try volume.write("keep", "outside/file")
            symlink(volume.folder + "/outside", path + "/link")
            mkdir(path + "/locked", 0o000)
            try volume.write("x", path + "/locked/file", mode: 0o000)
            for index in 0..<2_000 { try volume.write("", "\(path)/file\(index)") }
            // Deeper than any path, and than a recursion would like.
            var folder = open(path, O_RDONLY | O_DIRECTORY)
            for _ in 0..<5_000 {
                mkdirat(folder, "d", 0o700)
                let next = openat(folder, "d", O_RDONLY | O_DIRECTORY)
                close(folder)
                folder = next
            }
            close(folder)
            volume.access.unmount(try VolumeUnderTest.attempt())
            let staging = open(volume.folder + "/data/.jobctl/staging", O_RDONLY | O_DIRECTORY)
            #expect(jc_remove_tree(staging, "42.7.1") == 0)
            #expect(jc_remove_tree(staging, "42.7.1") == 0)
            close(staging)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: volume.folder + "/data/.jobctl/staging").isEmpty)
            #expect(volume.text("outside/file") == "keep")
        }
    }

    @Test("a link in place of a staging folder is removed, not what it names; another file system is not entered")
    func removalOfLinks() async throws {
        try await VolumeUnderTest.with { volume in
            try volume.write("keep", "outside/file")
            symlink(volume.folder + "/outside", volume.folder + "/data/42.7.1")
            let data = open(volume.folder + "/data", O_RDONLY | O_DIRECTORY)
            defer { close(data) }
            #expect(jc_remove_tree(data, "42.7.1") == 0)
            #expect(volume.text("outside/file") == "keep")
            volume.makeFolder("data/tree")
            volume.makeFolder("data/tree/disk")
            try #require(
                try await runProcess("mount", ["-t", "tmpfs", "none", volume.folder + "/data/tree/disk"]).exitCode == 0)
            defer { _ = jc_unmount(volume.folder + "/data/tree/disk") }
            try volume.write("keep", "data/tree/disk/file")
            #expect(jc_remove_tree(data, "tree") < 0)
            #expect(volume.text("data/tree/disk/file") == "keep")
        }
    }
}

@Suite("outputs of whole attempts", .enabled(if: geteuid() == 0), .timeLimit(.minutes(20)))
struct AttemptOutputTests {
    @Test("an output goes to <binding>/<job>/<task>, or exactly where a template says")
    func places() async throws {
        try await AgentUnderTest.with { test in
            let plain = try test.attempt("exit:0", task: 3, slots: [("output", .out, "data/results")])
            let template = try test.attempt(
                "exit:0", job: 43, task: 4,
                slots: [("output", .out, "data/by/${params.year}/${job.id}-${task.index}/${job.name}")])
            for record in [plain, template] { await test.scheduler.order(record) }
            try await test.start()
            for record in [plain, template] {
                let report = try await test.end(of: record)
                #expect(report.state == .succeeded && report.outputs?.values.first?.files == 1, "\(report)")
                try await test.eventuallyGone(record)
            }
            for place in ["results/42/3", "by/2014/43-4/test"] {
                #expect(FileManager.default.contents(atPath: "\(test.folder)/data/\(place)/result") != nil, "\(place)")
            }
        }
    }

    @Test(
        "a failed or stopped attempt publishes nothing, and what it staged is removed",
        arguments: ["exit:1", "sleep:600000"])
    func failed(step: String) async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt(step, slots: [("output", .out, "data/results")])
            await test.scheduler.order(record)
            try await test.start()
            if step != "exit:1" {
                try await test.eventuallyReports(.running, record)
                await test.scheduler.stop(record.attempt)
            }
            #expect(try await test.end(of: record).state != .succeeded)
            try await test.eventuallyGone(record)
            #expect(!FileManager.default.fileExists(atPath: test.folder + "/data/results"))
        }
    }

    @Test("an attempt that waits to publish gives up when it is stopped, and nothing hangs")
    func stoppedWhileWaiting() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("exit:0", slots: [("output", .out, "data/results")])
            await test.scheduler.set { $0.accepts = false }
            await test.scheduler.order(record)
            try await test.start()
            try await test.eventuallyReports(.ending, record)
            await test.scheduler.stop(record.attempt)
            let report = try await test.end(of: record)
            #expect(report.state == .cancelled && report.outputs == nil)
            try await test.eventuallyGone(record)
            #expect(!FileManager.default.fileExists(atPath: test.folder + "/data/results"))
        }
    }

    @Test("an attempt that is forgotten while it waits to publish goes, and nothing hangs")
    func forgottenWhileWaiting() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("exit:0", slots: [("output", .out, "data/results")])
            let runner = AttemptRunner(record, try test.services())
            try test.journal().begin(record)
            await runner.begin()
            let staged = "\(test.folder)/data/.jobctl/staging/\(record.attempt)/output/result"
            try await eventually("it is staged") { FileManager.default.fileExists(atPath: staged) }
            await runner.cleanUp()
            #expect(try await test.isGone(record))
            #expect(!FileManager.default.fileExists(atPath: test.folder + "/data/results"))
        }
    }

    @Test("an output whose place is taken is an output error")
    func taken() async throws {
        try await AgentUnderTest.with { test in
            let record = try test.attempt("exit:0", slots: [("output", .out, "data/results")])
            try FileManager.default.createDirectory(
                atPath: test.folder + "/data/results/42/1", withIntermediateDirectories: true)
            chmod(test.folder + "/data/results/42", 0o777)
            await test.scheduler.order(record)
            try await test.start()
            let report = try await test.end(of: record)
            #expect(report.state == .failed && report.reason == .outputError)
            #expect(report.message?.contains("outputs are never overwritten") == true, "\(report)")
        }
    }
}

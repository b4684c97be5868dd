// What the engines' records prove, and how their logs are taken apart: pure functions, by tables and by cutting at
// every byte.
import Foundation
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("the judgement of recorded states")
struct EngineRecordTests {
    static let start = "2026-03-01T10:00:00.123456789Z"
    static let end = "2026-03-01T10:00:05.5Z"
    static let never = "0001-01-01T00:00:00Z"

    private static func state(
        _ status: String, _ code: Int = 0, error: String = "", _ started: String = start, _ finished: String = end
    )
        -> RecordedState
    {
        RecordedState(status: status, exitCode: code, error: error, startedAt: started, finishedAt: finished)
    }

    @Test("a proof needs a code, a start, an end and no error")
    func proof() throws {
        guard case .ended(.exited(let record)) = Self.state("exited").judge() else {
            Issue.record("no proof")
            return
        }
        #expect(ExitRecord.Zero(record) != nil)
        #expect(
            record.startedAt == Timestamp("2026-03-01T10:00:00.123Z")
                && record.finishedAt == Timestamp("2026-03-01T10:00:05.500Z"))
    }

    @Test(
        "nothing else is a proof",
        arguments: [
            // dockerd 20.10 after a crash of the host.
            state("exited", 0, start, never), state("exited", 0, start, ""),
            state("exited", 0, error: "lost", start, end),
            state("exited", 3, error: "lost", start, end),
            // Podman without conmon's exit file, and after a reboot.
            state("exited", -1), state("created", 0, start, never), state("configured", 0, start, end),
            state("dead"), state("unknown"), state(""), state("exited", 256), state("exited", 0, start, "yesterday"),
        ])
    func unproven(_ state: RecordedState) {
        if case .ended(.unproven) = state.judge() { return }
        Issue.record("\(state) was judged \(state.judge())")
    }

    @Test("what has not ended has not ended")
    func alive() {
        for status in ["running", "paused", "restarting"] {
            #expect(Self.state(status, 0, Self.start, Self.never).judge() == .running)
        }
        for status in ["stopping", "stopped", "removing"] { #expect(Self.state(status).judge() == .ending) }
        for status in ["created", "configured", "initialized"] {
            #expect(Self.state(status, 0, Self.never, Self.never).judge() == .notStarted)
        }
    }

    @Test("a container that the engine could not start never ran")
    func neverStarted() {
        for state in [
            Self.state("created", 127, error: "no such file", Self.never, Self.never),
            Self.state("exited", 0, Self.never, Self.end),
            Self.state("exited", 128, error: "OCI runtime", Self.never, Self.never),
        ] {
            guard case .ended(.neverStarted) = state.judge() else {
                Issue.record("\(state) was judged \(state.judge())")
                continue
            }
        }
    }

    @Test("with a witness, exit code 0 is one code alone, and what an engine makes up is no proof")
    func witness() throws {
        let witness = Witness()
        #expect(try witness.exitCode(Witness.success) == 0)
        for code in [1, 125, 126, 127, 137, 143, 255] { #expect(try witness.exitCode(code) == code) }
        #expect {
            _ = try witness.exitCode(0)
        } throws: { error in
            if case .noProof? = error as? EngineError { true } else { false }
        }
    }

    @Test("the inits' complaints are understood, and nothing else is taken for one")
    func initComplaints() {
        #expect(
            DockerEngine.initFailure(in: "[FATAL tini (7)] exec /nope failed: No such file or directory\n")?.exitCode
                == 127)
        #expect(
            DockerEngine.initFailure(in: "ERROR (catatonit:6): failed to exec pid1: No such file or directory\n")?
                .exitCode == 127)
        #expect(
            DockerEngine.initFailure(in: "ERROR (catatonit:6): failed to exec pid1: Permission denied\n")?.exitCode
                == 126)
        #expect(
            DockerEngine.initFailure(in: "[FATAL tini (7)] exec a failed: Exec format error\n")?.message.contains(
                "Exec format error") == true)
        #expect(DockerEngine.initFailure(in: "jobctl-init: exec failed: errno 2\n")?.exitCode == 127)
        #expect(
            DockerEngine.initFailure(in: "jobctl-init: exec failed: errno 13\n")?.message
                == "the command could not be started: Permission denied")
        for text in [
            "jobctl-init: exec failed: errno x\n", "", "\n", "no\n", "[FATAL tini (7)] exec a failed: x\nmore\n",
            "ERROR (catatonit:6): other\n",
            "[FATAL tini (7)] exec a failed: x",
        ] {
            #expect(DockerEngine.initFailure(in: text) == nil)
        }
    }

    // MARK: Logs

    private static func frame(_ stream: UInt8, _ text: [UInt8]) -> [UInt8] {
        [stream, 0, 0, 0] + withUnsafeBytes(of: UInt32(text.count).bigEndian) { Array($0) } + text
    }

    @Test("frames come out whole, wherever they are cut")
    func cuts() throws {
        let stream =
            Self.frame(1, Array("one\n".utf8)) + Self.frame(2, Array("two".utf8)) + Self.frame(1, [])
            + Self.frame(1, [0, 255, 10])
        for cut in 0...stream.count {
            var demultiplexer = LogDemultiplexer(isLocalDriver: false)
            var output = Output()
            for part in [stream[..<cut], stream[cut...]] {
                for piece in try demultiplexer.take(part) { output.append(piece) }
            }
            #expect(output == Output(stdout: Array("one\n".utf8) + [0, 255, 10], stderr: Array("two".utf8)))
        }
    }

    @Test("the line feeds that dockerd's local driver forgets are put back")
    func forgottenLineFeeds() throws {
        let time = Array("2026-03-01T10:00:00.000000000Z ".utf8)
        let piece = [UInt8](repeating: 120, count: 16_384)
        func take(_ payloads: [[UInt8]]) throws -> ([UInt8], Bool) {
            var demultiplexer = LogDemultiplexer(isLocalDriver: true)
            let output = try demultiplexer.take(payloads.flatMap { Self.frame(1, time + $0) }).flatMap(\.bytes)
            return (output, demultiplexer.unsettled == [.stdout])
        }
        let next = Array("next\n".utf8)
        var (output, isUnsettled) = try take([piece, [121], next])
        #expect(output == piece + [121, 10] + next && !isUnsettled)
        (output, isUnsettled) = try take([piece, piece, [], next])
        #expect(output == piece + piece + [10] + next && !isUnsettled)
        (output, isUnsettled) = try take([piece, [121]])
        #expect(output == piece + [121] && isUnsettled)
        (output, isUnsettled) = try take([piece])
        #expect(output == piece && !isUnsettled)
        // Text without a line feed at the end of a short output is that, and a driver that forgets nothing is
        // believed.
        (output, isUnsettled) = try take([next, [121]])
        #expect(output == next + [121] && !isUnsettled)
        (output, isUnsettled) = try take([piece, [121, 10], next])
        #expect(output == piece + [121, 10] + next && !isUnsettled)
    }

    @Test("a log stream that cannot be right is an error and no crash")
    func brokenFrames() {
        for bytes in [[9, 0, 0, 0, 0, 0, 0, 1, 65], [1, 1, 0, 0, 0, 0, 0, 1, 65], [1, 0, 0, 0, 255, 255, 255, 255]]
            as [[UInt8]]
        {
            var demultiplexer = LogDemultiplexer(isLocalDriver: false)
            #expect(throws: EngineError.self) { try demultiplexer.take(bytes) }
        }
        var demultiplexer = LogDemultiplexer(isLocalDriver: true)
        #expect(throws: EngineError.self) { try demultiplexer.take(Self.frame(1, [UInt8](repeating: 65, count: 100))) }
    }

    @Test("podman's records come out whole, wherever they are cut, and broken ones are an error")
    func podmanRecords() throws {
        let time = "2026-03-01T10:00:00.123456789+00:00"
        let text =
            "\(time) stdout F one\n\(time) stderr P tw\n\(time) stderr F o\n\(time) stdout F \n\(time) stdout P x y"
        let bytes = Array(text.utf8) + [200, 10]
        for cut in 0...bytes.count {
            var parser = PodmanLogParser()
            var output = Output()
            for part in [bytes[..<cut], bytes[cut...]] { for piece in try parser.take(part) { output.append(piece) } }
            #expect(output == Output(stdout: Array("one\n\nx y".utf8) + [200], stderr: Array("two\n".utf8)))
        }
        for broken in [
            "\n", "\(time) stdin F x\n", "\(time) stdout X x\n", "\(time) stdout FP x\n",
            String(repeating: "x", count: 100),
        ] {
            var parser = PodmanLogParser()
            #expect(throws: EngineError.self) { try parser.take(Array(broken.utf8)[...]) }
        }
    }

    @Test("a log file of dockerd that is cut or garbled tells nothing")
    func localFile() throws {
        let folder = try temporaryFolder("log")
        defer { removeFolder(folder) }
        func record(_ message: [UInt8]) -> [UInt8] {
            let length = withUnsafeBytes(of: UInt32(message.count).bigEndian) { Array($0) }
            return length + message + length
        }
        func answer(_ bytes: [UInt8], _ stream: LogPiece.Stream = .stdout) throws -> Bool? {
            try Data(bytes).write(to: URL(filePath: folder + "/container.log"))
            return LocalLogFile.lastLineIsComplete(folder: folder, stream)
        }
        let source: [UInt8] = [10, 6] + Array("stdout".utf8)
        let last = record(source + [32, 1, 42, 2, 8, 1])
        let open = record(source + [32, 1, 42, 2, 24, 1])
        let other = record([10, 6] + Array("stderr".utf8))
        #expect(try answer(open + last) == true)
        #expect(try answer(last + open) == false)
        #expect(try answer(last + other + other) == true)
        #expect(try answer(other, .stdout) == nil)
        for bytes in [
            [], [0], [255, 255, 255, 255], Array(last.dropLast()), record([255, 255, 255, 255]), record([10, 200]),
        ] { #expect(try answer(bytes) == nil) }
        try FileManager.default.removeItem(atPath: folder + "/container.log")
        #expect(LocalLogFile.lastLineIsComplete(folder: folder, .stdout) == nil)
    }

    @Test("a slow consumer is waited for, and what was sent before the end arrives")
    func handoff() async throws {
        let handoff = Handoff<Int>()
        let sender = Task {
            for number in 0..<1000 { try await handoff.send(number) }
            await handoff.finish(nil)
        }
        var received: [Int] = []
        while let number = try await handoff.next() { received.append(number) }
        try await sender.value
        #expect(received == Array(0..<1000))
    }

    @Test("a sender that nobody listens to ends when it is cancelled")
    func abandonedHandoff() async {
        let handoff = Handoff<Int>()
        let sender = Task { while true { try await handoff.send(1) } }
        sender.cancel()
        await #expect(throws: CancellationError.self) { try await sender.value }
    }
}

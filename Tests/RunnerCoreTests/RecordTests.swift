// The files between agent and runner: what is written is read again, and what was damaged is no record.
import RunnerCore
import Testing

@Suite("records between agent and runner")
struct RecordTests {
    private let description = AttemptDescription(
        attempt: "42.7.2", boot: "b", runtime: "/usr/bin/crun", runtimeKind: .crun, controlGroup: "/jobctl-w/42.7.2",
        layers: ["/l/2", "/l/1"], usesUserAttributes: true, holds: ["sha256:1"], workingDirectory: "/a b%\n",
        user: 4_294_967_294, group: 1, memory: 1 << 40, usesHostNetwork: true, logLimit: 64, timeLimit: nil,
        grace: 10_000,
        leaseFile: "/lease", bundle: "{\"a\":\"50%\"}")
    private let end = EndRecord(
        attempt: "42.7.2", verdict: .exited(code: 0), outOfMemory: false, startedAt: 1, finishedAt: 2,
        message: "two\nlines, 100 %", stopped: .lease, cpuMicroseconds: 3, peakMemory: 4)

    @Test("a description is read as it was written")
    func descriptions() throws {
        #expect(try AttemptDescription(description.text) == description)
        var other = description
        other.timeLimit = 5
        other.leaseFile = nil
        #expect(try AttemptDescription(other.text) == other)
        let ids = SubordinateIDs(
            users: IDRange(start: 1, count: 2), groups: IDRange(start: 3, count: 4), userMapper: "/u", groupMapper: "/g"
        )
        for subordinate in [ids, nil] {
            other.rootless = RootlessAttempt(
                subordinate: subordinate, rootForm: .links,
                volumes: [.init(root: "/v", path: "a b", readOnly: true), .init(root: "/w", path: "", readOnly: false)])
            #expect(try AttemptDescription(other.text) == other)
        }
    }

    @Test(
        "a description whose volumes are not consistent is refused",
        arguments: [
            ("volume-root /v", "volume-root v"), ("volume-access ro", "volume-access no"), ("volume-path a\n", ""),
            ("root-form links", "root-form other"),
        ])
    func inconsistent(_ change: (String, String)) throws {
        var rootless = description
        rootless.rootless = RootlessAttempt(
            subordinate: nil, rootForm: .links, volumes: [.init(root: "/v", path: "a", readOnly: true)])
        let text = String(decoding: rootless.text, as: UTF8.self)
        try #require(text.contains(change.0))
        #expect(throws: RecordText.Malformed.self) {
            try AttemptDescription(Array(text.replacing(change.0, with: change.1).utf8))
        }
    }

    @Test("an end is read as it was written")
    func ends() throws {
        #expect(try EndRecord(end.text) == end)
        let failed = EndRecord(attempt: "1.1.1", verdict: .notStarted("no"), startedAt: nil, finishedAt: 2)
        #expect(try EndRecord(failed.text) == failed)
    }

    @Test("a record that was cut off anywhere is none")
    func cut() {
        for length in 0..<end.text.count {
            #expect(throws: RecordText.Malformed.self) { try EndRecord(Array(end.text[..<length])) }
        }
        #expect(throws: RecordText.Malformed.self) { try EndRecord(end.text + end.text) }
    }

    @Test("one bit that flips in a record is no trap, and an exit code stays possible")
    func damaged() {
        for index in end.text.indices {
            for bit in 0..<8 {
                var bytes = end.text
                bytes[index] ^= 1 << bit
                guard let read = try? EndRecord(bytes), case .exited(let code) = read.verdict else { continue }
                #expect((0...255).contains(code))
                if let description = try? AttemptDescription(bytes) { Issue.record("\(description)") }
            }
        }
    }

    @Test(
        "an impossible value is refused",
        arguments: [
            ("code 0", "code 256"), ("code 0", "code -1"), ("code 0", "code 99999999999999999999"),
            ("stopped lease", "stopped no"),
            ("jobctl-end-1", "jobctl-end-2"), ("out-of-memory 0", "out-of-memory"), ("two%0Alines", "two%0xlines"),
        ])
    func impossible(old: String, new: String) throws {
        let text = String(decoding: end.text, as: UTF8.self)
        let parts = text.split(separator: old, omittingEmptySubsequences: false)
        try #require(parts.count == 2)
        #expect(throws: RecordText.Malformed.self) { try EndRecord(Array((parts[0] + new + parts[1]).utf8)) }
    }
}

extension String {
    fileprivate func split(separator: String, omittingEmptySubsequences: Bool) -> [Substring] {
        split(separator: Substring(separator), omittingEmptySubsequences: omittingEmptySubsequences)
    }
}

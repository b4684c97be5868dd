// kill -9 of the agent and of both daemons, at moments that are chosen. At random moments, under load, and of the
// scheduler alone: CampaignTests.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("kill -9", .serialized, .timeLimit(.minutes(20))) struct KillTests {
        @Test(
            "the agent is killed twice while a program prints: it is adopted, and no byte of its log is lost or doubled",
            arguments: EngineUnderTest.Kind.allCases)
        func killedAgent(on kind: EngineUnderTest.Kind) async throws {
            try await ClusterUnderTest.with(engine: kind) { c in
                // 40 blocks of 250 lines, on both streams, with a pause between them.
                let id = try await c.submit(
                    shell: """
                        n=0; for block in $(seq 40); do
                        for line in $(seq 250); do n=$((n+1)); echo "line $n"; echo "error $n" >&2; done; sleep 0.1; done
                        """)
                for lines in [1_000, 4_000] {
                    try await eventually("\(lines) lines have arrived") {
                        try await c.ok("logs", id, "--stdout").split(separator: "\n").count >= lines
                    }
                    try await c.kill(.worker)
                    try await c.up()
                }
                let job = try await c.ended(id)
                #expect(job.state == .known(.succeeded))
                let attempts = try await c.attempts(of: id)
                #expect(attempts.count == 1 && attempts.first?.exitCode == 0)
                for (stream, word) in [("--stdout", "line"), ("--stderr", "error")] {
                    let result = try await c.jobctl(["logs", id, stream])
                    let text = stream == "--stdout" ? result.output : result.errors
                    let expected = (1...10_000).map { "\(word) \($0)\n" }.joined()
                    #expect(text.utf8.count == expected.utf8.count)
                    #expect(text == expected, "\(stream): \(Self.firstDifference(text, expected))")
                }
            }
        }

        private static func firstDifference(_ text: String, _ expected: String) -> String {
            let lines = zip(text.split(separator: "\n"), expected.split(separator: "\n"))
            return lines.first { $0 != $1 }.map { "'\($0)' instead of '\($1)'" } ?? "one is longer"
        }

        @Test("scheduler and agent are killed together: a job that runs goes on and succeeds in its first attempt")
        func killedTogether() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let id = try await c.submit(shell: "sleep 3; echo done")
                try await c.waitUntil(id, is: .running)
                try await c.kill(.worker)
                try await c.kill(.scheduler)
                try await c.up()
                #expect(try await c.ended(id).state == .known(.succeeded))
                #expect(try await c.ok("logs", id) == "done")
                #expect(try await c.attempts(of: id).count == 1)
            }
        }

        @Test("a program that ends while its agent is away is told as it ended, once")
        func endsAlone() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let wait = "while [ ! -e /gate/end ]; do sleep 0.1; done"
                let gate = "volumes: [scratch:/gate:ro]"
                let good = try await c.submit(shell: wait + "; echo good", gate)
                let bad = try await c.submit(shell: wait + "; echo bad; exit 3", gate)
                try await eventually("both have started") {
                    for id in [good, bad] where try await c.attempts(of: id).first?.state != .known(.running) {
                        return false
                    }
                    return true
                }
                try await c.kill(.worker)
                _ = FileManager.default.createFile(atPath: c.scratch + "/end", contents: nil)
                try await eventually("both programs have ended") {
                    try await runProcess("pgrep", ["-f", "gate/end.*echo (good|bad)"]).exitCode != 0
                }
                try await c.up()
                #expect(try await c.ended(good).state == .known(.succeeded))
                #expect(try await c.ended(bad).state == .known(.failed))
                let end = try #require(try await c.attempts(of: bad).first)
                #expect(end.reason == .known(.exitCode) && end.exitCode == 3)
                #expect(try await c.ok("logs", good) == "good")
                #expect(try await c.ok("logs", bad) == "bad")
            }
        }
    }
}

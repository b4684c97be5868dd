// kill -9 of the scheduler and of the agent, while work is going on. What ran is proved from inside: each attempt
// writes its start and its end into a shared file, whose order is the order in which it happened.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("kill -9", .serialized, .timeLimit(.minutes(20))) struct KillTests {
        /// Appends `start ATTEMPT` and `end ATTEMPT` to the shared file; each line is one write, so lines are whole.
        private static let witnessed = """
            image: busybox:local
            shell: 'echo "start $JOBCTL_ATTEMPT" >> /log/events; sleep 0.1; echo "end $JOBCTL_ATTEMPT" >> /log/events'
            volumes: [scratch:/log:rw]
            resources: {cpus: 0.1, memory: 16MiB}
            fingerprint: none

            """

        @Test(
            "the scheduler is killed three times under load: each acknowledged job ends well, nothing ran twice at once"
        )
        func killedScheduler() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                let array = try await c.submit(Self.witnessed + "array: 1-200")
                let isOver = Flag()
                async let jobs = Self.submitUntil(isOver, c)
                for part in [20, 70, 120] {
                    try await eventually("\(part) tasks have ended") { Self.events(c, "end").count >= part }
                    try await c.kill(.scheduler)
                    try await c.up()
                }
                await isOver.raise()
                let acknowledged = try await jobs
                #expect(acknowledged.count >= 3)
                for id in [array] + acknowledged {
                    let job = try await c.ended(id)
                    #expect(job.state == .known(.succeeded) && job.tasks.succeeded == job.tasks.total, "job \(id)")
                    #expect(job.tasks.pending == 0 && job.tasks.running == 0 && job.tasks.failed == 0)
                }
                Self.expectNoOverlap(Self.events(c))
                // No false success: every task that counts as succeeded has come to its last line.
                let ended = Set(Self.events(c, "end").map { $0.split(separator: ".").prefix(2).joined(separator: ".") })
                #expect(ended.count == 200 + acknowledged.count)
            }
        }

        /// Submits one job after the other, each under a key that is tried until it is answered.
        private static func submitUntil(_ isOver: Flag, _ c: ClusterUnderTest) async throws -> [String] {
            var ids: [String] = []
            while await !isOver.isRaised {
                // A dozen is load enough: each is a container of its own besides.
                guard ids.count < 12 else {
                    try await Task.sleep(for: .milliseconds(50))
                    continue
                }
                let key = "key-\(ids.count)"
                func submit() async throws -> String {
                    let result = try await c.jobctl(
                        ["submit", "-", "-q", "--idempotency-key", key], input: Self.witnessed)
                    if result.exitCode == 6 { return "" }
                    #expect(result.exitCode == 0, "\(result)")
                    return result.line
                }
                var id = ""
                try await eventually("the scheduler takes a job") {
                    id = try await submit()
                    return !id.isEmpty
                }
                // Whoever did not get the answer asks again and learns of the same job.
                try await eventually("the same key gives the same job") { try await submit() == id }
                #expect(!ids.contains(id), "\(id) was given to two keys")
                ids.append(id)
            }
            return ids
        }

        private static func events(_ c: ClusterUnderTest, _ word: String) -> [String] {
            events(c).filter { $0.word == word }.map(\.attempt)
        }

        private static func events(_ c: ClusterUnderTest) -> [(word: String, attempt: String)] {
            let text = (try? String(contentsOfFile: c.scratch + "/events", encoding: .utf8)) ?? ""
            return text.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ").map(String.init)
                return words.count == 2 ? (words[0], words[1]) : nil
            }
        }

        /// Between the start and the end of an attempt no other attempt of its task may start.
        private static func expectNoOverlap(_ events: [(word: String, attempt: String)]) {
            var running: [String: String] = [:]
            for (word, attempt) in events {
                let task = attempt.split(separator: ".").prefix(2).joined(separator: ".")
                if word == "start" {
                    #expect(running[task] == nil, "\(attempt) began while \(running[task] ?? "") ran")
                    running[task] = attempt
                } else {
                    #expect(running[task] == attempt)
                    running[task] = nil
                }
            }
            #expect(running.isEmpty)
        }

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
            try await ClusterUnderTest.with(engine: .docker) { c in
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
            try await ClusterUnderTest.with(engine: .docker) { c in
                let good = try await c.submit(shell: "sleep 1; echo good")
                let bad = try await c.submit(shell: "sleep 1; echo bad; exit 3")
                try await c.waitUntil(good, is: .running)
                try await c.waitUntil(bad, is: .running)
                try await eventually("both have started") {
                    for id in [good, bad] where try await c.attempts(of: id).first?.state != .known(.running) {
                        return false
                    }
                    return true
                }
                try await c.kill(.worker)
                try await eventually("both programs have ended") {
                    try await runProcess("pgrep", ["-f", "sleep 1; echo (good|bad)"]).exitCode != 0
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

/// Something that one task says and another one sees.
private actor Flag {
    private(set) var isRaised = false
    func raise() { isRaised = true }
}

// How jobs end, wait and are shown: told apart by what `jobctl` prints and by its exit code. One cluster for all.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("outcomes", .serialized, .sharedCluster(on: .oci), .timeLimit(.minutes(20))) struct OutcomeTests {
        private var c: ClusterUnderTest {
            get throws { try #require(ClusterUnderTest.shared) }
        }

        struct Ending: Sendable, CustomTestStringConvertible {
            var what: String
            var shell: String
            var more = ""
            var reason: EndReason
            var exitCode: Int?
            var signal: Int?
            /// A part of what `jobctl show` says to people.
            var shown: String
            var testDescription: String { what }
        }

        static let endings = [
            Ending(what: "an exit code", shell: "exit 7", reason: .exitCode, exitCode: 7, shown: "exit-code 7"),
            Ending(
                what: "a signal", shell: "kill -SEGV $$", reason: .signal, exitCode: 139, signal: 11, shown: "signal 11"
            ),
            Ending(
                what: "too much memory", shell: "exec tail /dev/zero", reason: .oomKilled, exitCode: 137,
                shown: "oom-killed"),
            Ending(
                what: "too much time", shell: "exec sleep 600", more: "time_limit: 1s\ngrace: 1s", reason: .timeLimit,
                exitCode: 143, shown: "time-limit"),
            Ending(
                what: "a program that ignores SIGTERM", shell: "trap '' TERM; while :; do sleep 0.1; done",
                more: "time_limit: 1s\ngrace: 1s", reason: .timeLimit, exitCode: 137, shown: "time-limit"),
        ]

        @Test("each way to fail is told apart", arguments: endings)
        func failures(_ ending: Ending) async throws {
            let c = try c
            let id = try await c.submit(shell: ending.shell, ending.more)
            let wait = try await c.jobctl(["wait", id])
            #expect(wait.exitCode == 1 && wait.errors == "jobctl: job \(id) failed\n")
            let attempt = try #require(try await c.attempts(of: id).first)
            #expect(attempt.state == .known(.failed) && attempt.reason == .known(ending.reason))
            #expect(attempt.exitCode == ending.exitCode && attempt.signal == ending.signal)
            #expect(try await c.ok("show", id).contains(ending.shown))
            #expect(try await c.job(id).reason?.isEmpty == false)
        }

        @Test("a job whose time limit is extended lives on, one whose limit is shortened ends by it")
        func changedTimeLimit() async throws {
            let c = try c
            let long = try await c.submit(shell: "echo up; exec sleep 17", "time_limit: 15s")
            let short = try await c.submit(shell: "exec sleep 600", "time_limit: 10m\ngrace: 1s")
            for id in [long, short] {
                try await eventually("it runs") { try await c.attempts(of: id).first?.state == .known(.running) }
            }
            #expect(try await c.ok("update", long, "--time-limit=+2h") == "job \(long) has a time limit of 2h15s")
            try await c.ok("update", short, "--time-limit", "1s")
            #expect(try await c.ok("show", short).contains("1s, changed from 10m"))
            #expect(try await c.ended(short).state == .known(.failed))
            #expect(try await c.attempts(of: short).first?.reason == .known(.timeLimit))
            #expect(try await c.ended(long).state == .known(.succeeded))
            #expect(try await c.ok("events").contains("2h15s instead of 15s"))
        }

        @Test("a command that is not in the image fails with 127 and a sentence that says so")
        func commandNotFound() async throws {
            let c = try c
            let id = try await c.submit(
                "image: busybox:local\ncommand: [no-such-program, x]\nresources: {cpus: 0.1, memory: 32MiB}")
            #expect(try await c.ended(id).state == .known(.failed))
            let attempt = try #require(try await c.attempts(of: id).first)
            #expect(attempt.reason == .known(.exitCode) && attempt.exitCode == 127)
            #expect(attempt.message == "the command was not found in the image")
        }

        @Test("a cancelled job is cancelled, not failed, and its program is gone")
        func cancel() async throws {
            let c = try c
            let id = try await c.submit(shell: "exec sleep 4321")
            try await eventually("it runs") { try await c.attempts(of: id).first?.state == .known(.running) }
            #expect(try await c.ok("cancel", id) == "job \(id) is being cancelled")
            let wait = try await c.jobctl(["wait", id])
            #expect(wait.exitCode == 1 && wait.errors == "jobctl: job \(id) cancelled\n")
            let attempt = try #require(try await c.attempts(of: id).first)
            #expect(attempt.state == .known(.cancelled) && attempt.reason == .known(.cancelled))
            #expect(try await runProcess("pgrep", ["-f", "^sleep 4321"]).exitCode == 1)
            let late = try await c.jobctl(["cancel", id])
            #expect(late.exitCode == 5 && late.errors.contains("cancelled"))
        }

        @Test("a program that fails is tried again as often as it may be, and a success ends that")
        func retries() async throws {
            let c = try c
            let id = try await c.submit(shell: "case $JOBCTL_ATTEMPT in *.2) exit 0;; *) exit 9;; esac", "retries: 1")
            #expect(try await c.ended(id).state == .known(.succeeded))
            let attempts = try await c.attempts(of: id)
            #expect(attempts.map(\.exitCode) == [9, 0])
            #expect(attempts.map(\.id.description) == ["\(id).1.1", "\(id).1.2"])
        }

        @Test("missing data fails with the slot and the path in the sentence, and nothing starts")
        func missingInput() async throws {
            let c = try c
            let id = try await c.submit(
                "image: busybox:local\ncommand: ['true']\nvolumes: [input:/data:ro]\nresources: {memory: 32MiB}",
                "--bind",
                "input=weather/1999")
            #expect(try await c.ended(id).state == .known(.failed))
            let attempt = try #require(try await c.attempts(of: id).first)
            #expect(attempt.reason == .known(.volumeError))
            #expect(attempt.message?.contains("'input'") == true && attempt.message?.contains("weather/1999") == true)
        }

        @Test("an output is never overwritten: the second job fails and says why")
        func outputExists() async throws {
            let c = try c
            let spec = """
                image: busybox:local
                command: [/bin/sh, -c, "echo $1 > /out/x", x, "${params.word}"]
                volumes: [output:/out:out]
                resources: {cpus: 0.1, memory: 32MiB}
                parameters: {word: first}
                """
            let first = try await c.submit(spec, "--bind", "output=results/fixed-${params.word}")
            #expect(try await c.ended(first).state == .known(.succeeded))
            let second = try await c.ok("rerun", first, "-q")
            #expect(try await c.ended(second).state == .known(.failed))
            let attempt = try #require(try await c.attempts(of: second).first)
            #expect(attempt.reason == .known(.outputError) && attempt.message?.contains("never overwritten") == true)
            #expect(try String(contentsOfFile: c.results + "/fixed-first/x", encoding: .utf8) == "first\n")
            try await eventually("nothing is left in staging") {
                try FileManager.default.contentsOfDirectory(atPath: c.results + "/.jobctl/staging").isEmpty
            }
        }

        @Test("run prints what the program prints and ends with its result")
        func run() async throws {
            let c = try c
            let options = ["run", "--image", "busybox:local", "--cpus", "0.1", "--memory", "32MiB"]
            let good = try await c.jobctl(
                options + ["--bind", "input=weather/2014:/data:ro", "--param", "file=seattle.csv", "--"]
                    + ["wc", "-l", "/data/${params.file}"])
            #expect(good.exitCode == 0 && good.output == "366 /data/seattle.csv\n", "\(good)")
            let bad = try await c.jobctl(options + ["--", "sh", "-c", "echo to stdout; echo to stderr >&2; exit 3"])
            #expect(bad.exitCode == 1 && bad.output == "to stdout\n")
            #expect(bad.errors.hasPrefix("to stderr\njobctl: job "))
            #expect(bad.errors.hasSuffix(" failed: exit-code 3\n"), "\(bad.errors)")
        }

        @Test("Ctrl-C during run cancels the job and ends with its result")
        func interruptedRun() async throws {
            let c = try c
            async let run = c.jobctl([
                "run", "--image", "busybox:local", "--cpus", "0.1", "--memory", "32MiB", "--name", "interrupted", "--",
                "sleep", "600",
            ])
            var id = ""
            try await eventually("it runs") {
                id = try await c.ok("list", "--name", "interrupted", "--state", "running", "-q")
                return !id.isEmpty
            }
            let found = try await runProcess("pgrep", ["-f", "jobctl run .*--name interrupted"])
            kill(try #require(pid_t(found.line)), SIGINT)
            let result = try await run
            #expect(result.exitCode == 1 && result.errors.contains("cancelling the job"), "\(result)")
            #expect(result.errors.contains("job \(id) cancelled"))
            #expect(try await c.job(id).state == .known(.cancelled))
        }

        @Test("logs -f streams while the program runs")
        func follow() async throws {
            let c = try c
            let gate = c.scratch + "/go"
            let id = try await c.submit(
                shell: "echo before; while [ ! -e /gate/go ]; do sleep 0.1; done; echo after",
                "volumes: [scratch:/gate:ro]")
            let seen = c.folder + "/followed"
            async let follower = runProcess(
                "sh", ["-c", "exec \"$0\" logs -f \"$1\" > \"$2\"", c.programs + "/jobctl", id, seen],
                environment: c.environment)
            try await eventually("the first line arrives while it runs") {
                (try? String(contentsOfFile: seen, encoding: .utf8)) == "before\n"
            }
            #expect(try await c.job(id).state == .known(.running))
            _ = FileManager.default.createFile(atPath: gate, contents: nil)
            #expect(try await follower.exitCode == 0)
            #expect(try String(contentsOfFile: seen, encoding: .utf8) == "before\nafter\n")
            try FileManager.default.removeItem(atPath: gate)
        }

        @Test("a held job does not start until it is released")
        func hold() async throws {
            let c = try c
            let id = try await c.submit(
                "image: busybox:local\ncommand: ['true']\nresources: {cpus: 0.1, memory: 32MiB}", "--hold")
            #expect(try await c.job(id).state == .known(.held))
            // One that came later runs to its end: the held one had its chance.
            let later = try await c.submit(shell: "true")
            try await c.ok("wait", later)
            #expect(try await c.attempts(of: id).isEmpty)
            try await c.ok("hold", id)
            try await c.ok("release", id)
            #expect(try await c.ended(id).state == .known(.succeeded))
        }

        @Test("a drained worker starts nothing new, finishes what it runs, and goes on when it is resumed")
        func drain() async throws {
            let c = try c
            let name = try await c.ok("worker", "list", "-q")
            let gate = c.scratch + "/finish"
            let running = try await c.submit(
                shell: "while [ ! -e /gate/finish ]; do sleep 0.1; done", "volumes: [scratch:/gate:ro]")
            try await c.waitUntil(running, is: .running)
            #expect(try await c.ok("worker", "drain", name) == "worker \(name) is draining")
            let id = try await c.submit(shell: "true")
            _ = FileManager.default.createFile(atPath: gate, contents: nil)
            #expect(try await c.ended(running).state == .known(.succeeded))
            try FileManager.default.removeItem(atPath: gate)
            try await eventually("the worker is drained") { try await c.ok("worker", "show", name).contains("drained") }
            #expect(try await c.attempts(of: id).isEmpty)
            #expect(try await c.ok("worker", "resume", name) == "worker \(name) is ready")
            #expect(try await c.ended(id).state == .known(.succeeded))
        }

        @Test("an array is waited for as a whole; one failed task makes wait fail and the others still run")
        func array() async throws {
            let c = try c
            let id = try await c.submit(
                shell: "echo task $JOBCTL_TASK_INDEX; [ $JOBCTL_TASK_INDEX != 3 ]", "array: 1-6")
            #expect(try await c.jobctl(["wait", id]).exitCode == 1)
            let counts = try await c.job(id).tasks
            #expect(counts.total == 6 && counts.succeeded == 5 && counts.failed == 1)
            #expect(try await c.ok("logs", id) == (1...6).map { "task \($0)" }.joined(separator: "\n"))
            #expect(try await c.ok("logs", "\(id).4") == "task 4")
            #expect(try await c.ok("show", id, "--tasks", "--state", "failed", "-q") == "\(id).3")
        }

        @Test("wait gives up after its timeout with exit code 6 and leaves the job alone")
        func waitTimeout() async throws {
            let c = try c
            let id = try await c.submit(shell: "exec sleep 600")
            let wait = try await c.jobctl(["wait", id, "--timeout", "500ms"])
            #expect(wait.exitCode == 6 && wait.errors == "jobctl: job \(id) has not ended within 0.5s\n")
            #expect(try await c.job(id).state.value?.isTerminal == false)
            try await c.ok("cancel", id)
            #expect(try await c.ended(id).state == .known(.cancelled))
        }
    }
}

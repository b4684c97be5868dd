// `jobctl exec` and `jobctl shell` through all programs. What a session is inside its container, engine by engine,
// stands in WorkerTests/EngineSessions.swift.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("sessions", .serialized, .sharedCluster(on: .oci), .timeLimit(.minutes(20))) struct SessionTests {
        private var c: ClusterUnderTest {
            get throws { try #require(ClusterUnderTest.shared) }
        }

        /// A job that sleeps, once it runs.
        private func sleeping(_ c: ClusterUnderTest) async throws -> String {
            let id = try await c.submit(shell: "exec sleep 5000")
            try await eventually("it runs") { try await c.attempts(of: id).first?.state == .known(.running) }
            return id
        }

        private func isAlive(_ program: String) async throws -> Bool {
            try await runProcess("pgrep", ["-f", "^\(program)"]).exitCode == 0
        }

        @Test("exec runs as the job's user, prints on both streams, and its exit code is jobctl's")
        func exec() async throws {
            let c = try c
            let id = try await sleeping(c)
            let script = "id -u; grep CapEff /proc/self/status; echo wrong >&2; exit 3"
            for subject in [id, id + ".1", id + ".1.1"] {
                let result = try await c.jobctl(["exec", subject, "--", "sh", "-c", script])
                #expect(result.exitCode == 3 && result.output == "65532\nCapEff:\t0000000000000000\n")
                #expect(result.errors == "wrong\n")
            }
            let missing = try await c.jobctl(["exec", id, "--", "no-such-program"])
            #expect([5, 126, 127].contains(missing.exitCode), "\(missing)")
            try await c.ok("cancel", id)
        }

        @Test("a mebibyte of input comes back as it went in")
        func input() async throws {
            let c = try c
            let id = try await sleeping(c)
            let text = (0..<131_072).map { String(format: "%07d\n", $0) }.joined()
            let result = try await c.jobctl(["exec", id, "--", "cat"], input: text)
            #expect(result.exitCode == 0 && result.errors == "" && result.output == text)
            try await c.ok("cancel", id)
        }

        @Test("a terminal has the window's size, passes Ctrl-C on, and is afterwards as it was")
        func terminal() async throws {
            let c = try c
            let id = try await sleeping(c)
            let jobctl = try JobctlOnTerminal(c, ["exec", id, "--", "sh"], rows: 33, columns: 99)
            try await jobctl.expect("$ ")
            #expect(jobctl.isRaw)
            jobctl.type("tty; until [ \"$(stty size)\" = '33 99' ]; do sleep 0.05; done; echo si''zed\r")
            try await jobctl.expect("/dev/pts/")
            try await jobctl.expect("sized")
            jobctl.resize(rows: 44, columns: 111)
            jobctl.type("until [ \"$(stty size)\" = '44 111' ]; do sleep 0.05; done; echo re''sized\r")
            try await jobctl.expect("resized")
            jobctl.type("sleep 6345\r")
            try await eventually("it sleeps") { try await isAlive("sleep 6345") }
            jobctl.type("\u{3}")
            jobctl.type("echo went''on; exit 6\r")
            try await jobctl.expect("wenton")
            #expect(try await jobctl.exitCode() == 6)
            #expect(!jobctl.isRaw)
            try await c.ok("cancel", id)
        }

        @Test("without a terminal TERM reaches the program")
        func signals() async throws {
            let c = try c
            let id = try await sleeping(c)
            let script = "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
            let jobctl = try JobctlOnPipes(c, ["exec", id, "--", "sh", "-c", script])
            try await jobctl.expect("ready\n")
            jobctl.signal(SIGTERM)
            #expect(try await jobctl.exitCode() == 9)
            #expect(jobctl.text.contains("asked\n"), "\(jobctl.text)")
            try await c.ok("cancel", id)
        }

        @Test("when jobctl is killed, what it ran ends, and the job goes on", arguments: [SIGKILL, SIGHUP])
        func killed(signal: Int32) async throws {
            let c = try c
            let id = try await sleeping(c)
            let program = "sleep 60\(signal)0"
            let jobctl = try JobctlOnTerminal(
                c, ["exec", id, "--", "sh", "-c", program + "; :"], rows: 24, columns: 80)
            try await eventually("it runs") { try await isAlive(program) }
            kill(jobctl.process, signal)
            try await eventually("it is gone") { try await !isAlive(program) }
            if signal == SIGHUP {
                #expect(try await jobctl.exitCode() == 128 + SIGHUP)
                #expect(!jobctl.isRaw)
            }
            #expect(try await c.job(id).state == .known(.running))
            try await c.ok("cancel", id)
        }

        @Test(
            "when the agent is killed, the next one ends what a session ran, and the job goes on",
            arguments: [true, false])
        func killedAgent(onTerminal: Bool) async throws {
            let c = try c
            let id = try await sleeping(c)
            let program = "sleep 60\(onTerminal ? 7 : 8)1"
            // It does not mind that its terminal hangs up.
            let command = ["exec", id, "--", "sh", "-c", "trap '' HUP; echo ready; \(program); \(program)"]
            if onTerminal {
                let jobctl = try JobctlOnTerminal(c, command, rows: 24, columns: 80)
                try await jobctl.expect("ready")
                try await c.kill(.worker)
                #expect(try await jobctl.exitCode() == 6)
            } else {
                let jobctl = try JobctlOnPipes(c, command)
                try await jobctl.expect("ready\n")
                try await c.kill(.worker)
                #expect(try await jobctl.exitCode() == 6)
            }
            try await c.up()
            try await eventually("it is gone") { try await !isAlive(program) }
            try await eventually("and so is what started it") {
                try FileManager.default.contentsOfDirectory(atPath: c.data + "/worker/sessions").isEmpty
            }
            #expect(try await runProcess("pgrep", ["-f", "\(c.data)/.*/session-"]).exitCode != 0)
            #expect(try await c.job(id).state == .known(.running))
            #expect(try await c.jobctl(["exec", id, "--", "true"]).exitCode == 0)
            try await c.ok("cancel", id)
        }

        @Test("only the owner may, only beside what runs, and each refusal is a sentence")
        func refused() async throws {
            let c = try c
            let id = try await sleeping(c)
            let token = try await c.ok("user", "add", "eve", "--uid", "1300", "--gid", "1300", "-q")
            let eve = ["JOBCTL_URL": try await c.url(), "JOBCTL_TOKEN": token]
            let stranger = try await c.jobctl(["exec", id + ".1.1", "--", "sh"], environment: eve)
            #expect(stranger.exitCode == 3 && stranger.errors.contains("only its owner"), "\(stranger)")
            try await c.ok("cancel", id)
            _ = try await c.ended(id)
            let late = try await c.jobctl(["exec", id + ".1.1", "--", "sh"])
            #expect(late.exitCode == 5 && late.errors.contains("does not run any more"), "\(late)")
            let ended = try await c.jobctl(["exec", id, "--", "sh"])
            #expect(ended.exitCode == 5 && ended.errors.contains("nothing of it runs"), "\(ended)")
            #expect(try await c.jobctl(["exec", "99999.1.1", "--", "sh"]).exitCode == 4)
            #expect(try await c.jobctl(["exec", id]).exitCode == 2)
            #expect(try await c.jobctl(["exec", id, "-t", "--no-tty", "--", "sh"]).exitCode == 2)
        }

        @Test("a shell has the job's data and user; its outputs are not published; its job ends with it")
        func shell() async throws {
            let c = try c
            let spec = """
                name: looked-at
                image: busybox:local
                command: [/bin/sh, -c, "exit 1"]
                volumes: [input:/data:ro, output:/out:out]
                resources: {cpus: 0.1, memory: 32MiB}
                retries: 0
                """
            let id = try await c.submit(spec, "--bind", "input=weather/2014", "--bind", "output=results")
            _ = try await c.ended(id)
            let script = "id -u; ls /data | wc -l; touch /out/made && echo written; exit 4"
            let result = try await c.jobctl(["shell", id, "--", "sh", "-c", script])
            let count = try FileManager.default.contentsOfDirectory(atPath: c.weather + "/2014").count
            #expect(result.exitCode == 4 && result.output == "65532\n\(count)\nwritten\n", "\(result)")
            let jobs = try WireJSON.decode(JobList.self, from: try await c.ok("list", "-o", "json").utf8).jobs
            let shell = try #require(jobs.first)
            #expect(shell.labels["jobctl.shell"] == "true" && shell.rerunOf?.description == id)
            #expect(try await c.ended(shell.id.description).state == .known(.cancelled))
            #expect(!FileManager.default.fileExists(atPath: "\(c.results)/\(shell.id)"))
            let configuration = try await c.ok("config", "show", "looked-at@1", "-o", "json")
            #expect(configuration.contains("exit 1"))
            #expect(try await c.jobctl(["config", "show", "looked-at@2"]).exitCode == 4)
        }

        @Test("a shell at a terminal is interactive, and when its jobctl is killed its job is cancelled")
        func interactiveShell() async throws {
            let c = try c
            let id = try await c.submit(shell: "exit 1", "name: broken")
            _ = try await c.ended(id)
            let jobctl = try JobctlOnTerminal(c, ["shell", "broken"], rows: 24, columns: 80)
            try await jobctl.expect("$ ")
            jobctl.type("echo hel''lo\r")
            try await jobctl.expect("hello")
            kill(jobctl.process, SIGKILL)
            let shell = try #require(
                try WireJSON.decode(JobList.self, from: try await c.ok("list", "-o", "json").utf8).jobs.first)
            #expect(shell.rerunOf?.description == id)
            try await c.waitUntil(shell.id.description, is: .cancelled)
        }

        @Test("a scheduler that goes ends the session with a sentence, and the program with it")
        func schedulerGoes() async throws {
            let c = try c
            let id = try await sleeping(c)
            let program = "sleep 6123"
            let jobctl = try JobctlOnPipes(c, ["exec", id, "--", "sh", "-c", "echo ready; \(program); :"])
            try await jobctl.expect("ready\n")
            try await c.kill(.scheduler)
            #expect(try await jobctl.exitCode() == 6)
            #expect(jobctl.text.contains("the connection was lost and the session has ended"))
            try await eventually("it is gone") { try await !isAlive(program) }
            try await c.up()
            #expect(try await c.jobctl(["exec", id, "--", "true"]).exitCode == 0)
            try await c.ok("cancel", id)
        }
    }
}

// Bad input through the whole path: one sentence that names the field, the exit code of its kind, and scheduler and
// worker live on. What needs no scheduler to be refused stands in JobctlTests.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("refusals", .serialized, .sharedCluster(on: .oci), .timeLimit(.minutes(20))) struct RefusalTests {
        private var c: ClusterUnderTest {
            get throws { try #require(ClusterUnderTest.shared) }
        }

        struct Mistake: Sendable {
            var call: [String]
            var input = ""
            var exitCode: Int32
            /// What the sentence must name.
            var names: [String]

            init(_ call: String, _ exitCode: Int32, _ names: String...) {
                self.call = call.split(separator: " ").map(String.init)
                self.exitCode = exitCode
                self.names = names
            }

            init(_ call: String, _ input: String, _ exitCode: Int32, _ names: String...) {
                self.call = call.split(separator: " ").map(String.init)
                self.input = input
                self.exitCode = exitCode
                self.names = names
            }
        }

        private static let base = "image: busybox:local\ncommand: [\"true\"]\n"

        static let mistakes = [
            // Nothing of that name.
            Mistake("show 4711", 4, "job 4711"), Mistake("show 4711.1", 4, "job 4711"),
            Mistake("logs 4711", 4, "job 4711"), Mistake("logs -f 4711", 4, "job 4711"),
            Mistake("wait 4711", 4, "job 4711"), Mistake("cancel 4711", 4, "job 4711"),
            Mistake("hold 4711", 4, "job 4711"), Mistake("release 4711", 4, "job 4711"),
            Mistake("diff 4711 4712", 4, "job 4711"), Mistake("rerun 4711", 4, "job 4711"),
            Mistake("rerun no-such-name", 4, "no-such-name"), Mistake("rerun no-such@7", 4, "no-such@7"),
            Mistake("rerun sha256:\(String(repeating: "0", count: 64))", 4, "sha256:000"),
            Mistake("rerun a/b/c", 2, "a/b/c", "NAME@VERSION"), Mistake("config show nothing", 4, "nothing"),
            Mistake("image show nothing:1", 4, "nothing:1"), Mistake("worker show nobody", 4, "nobody"),
            Mistake("worker drain nobody", 4, "nobody"), Mistake("user remove nobody", 4, "nobody"),
            // Specs that jobctl passes and the scheduler refuses, or both.
            Mistake("submit - --bind inptu=weather", base + "volumes: [input:/data:ro]", 5, "inptu", "'input'"),
            Mistake("submit - --bind input=../etc", base + "volumes: [input:/data:ro]", 5, "bindings.input", "../etc"),
            Mistake("submit - --bind input=a//b", base + "volumes: [input:/data:ro]", 5, "bindings.input", "a//b"),
            Mistake("submit - --param yaer=1", base + "parameters: {year: 1}", 5, "yaer", "'year'"),
            Mistake(
                "submit -", "image: busybox:local\ncommand: [echo, \"${params.year}\"]", 5, "year", "--param year="),
            Mistake(
                "submit -", "image: busybox:local\ncommand: [echo, \"${year}\"]", 2, "standard input:2", "command[1]"),
            Mistake("submit -", base + "resources: {cpu: 1}", 2, "standard input:3", "resources.cpu", "'cpus'"),
            Mistake("submit -", base + "array: 5-1", 2, "standard input:3", "array", "5-1"),
            Mistake("submit -", base + "matrix: {}", 2, "standard input:3", "matrix"),
            Mistake("submit -", base + "time_limit: 10 parsecs", 2, "standard input:3", "time_limit"),
            Mistake("submit -", base + "files: {/tmp: x}", 2, "files./tmp"),
            Mistake("submit -", base + "volumes: [input:/proc/x:ro]", 2, "volumes[0]", "/proc/x"),
            Mistake("submit -", base + "network: bridged", 2, "network", "bridged"),
            Mistake("submit -", base + "retries: 100000", 2, "retries"),
            Mistake("submit - --queue a/b", base, 2, "queue", "a/b"),
            Mistake(
                "submit -", "{\"image\": \"busybox:local\", \"command\": [\"true\"], \"x\": 1}", 2, "standard input:1",
                "x"),
            Mistake("submit -", "", 2, "standard input"),
            Mistake("submit -", "- 1\n- 2\n", 2, "standard input:1", "mapping"),
            Mistake("submit -", String(repeating: "# much\n", count: 200_000), 2, "standard input", "1"),
            Mistake(
                "submit -", "image: no-such-image-here.invalid/x:1\ncommand: [\"true\"]", 5,
                "no-such-image-here.invalid"),
            Mistake("submit -", "image: 127.0.0.1:1/x:1\ncommand: [\"true\"]", 5, "127.0.0.1:1"),
            // Values that only the scheduler knows.
            Mistake("list --state happy", 2, "state", "happy"), Mistake("list --owner a/b", 0),
            Mistake("show 1 --tasks --state happy", 2, "state", "happy"),
            Mistake("run --image busybox:local --memory lots -- true", 2, "memory"),
            Mistake("run --image busybox:local --time-limit soon -- true", 2, "time_limit"),
            Mistake("run --image busybox:local --network lan -- true", 2, "network", "lan"),
            Mistake("run --image busybox:local --bind input=weather:data:ro -- true", 2, "volumes[0]", "data"),
            Mistake("run --image busybox:local --array 1-x -- true", 2, "array", "1-x"),
            Mistake("run --image Busy$Box -- true", 2, "image", "Busy$Box"),
            Mistake("image import - -t lab/x:1", "this is no archive", 2, "archive"),
            Mistake("image import - -t lab/x:1", "", 2, "archive"),
            Mistake("user add root2 --uid 1 --gid 1 --role worker", 0),
        ]

        @Test("each bad input gets one sentence and its exit code, and the cluster lives on")
        func badInput() async throws {
            let c = try c
            try await c.ok("wait", try await c.submit(shell: "true"))
            let before = (c.processID(.scheduler), c.processID(.worker))
            for mistake in Self.mistakes {
                let result = try await c.jobctl(mistake.call, input: mistake.input)
                let what = "\(mistake.call.joined(separator: " ")) <<< \(mistake.input.prefix(80)): \(result)"
                #expect(result.exitCode == mistake.exitCode, "\(what)")
                guard mistake.exitCode != 0 else { continue }
                #expect(result.output.isEmpty, "\(what)")
                #expect(
                    result.errors.hasPrefix("jobctl: ") && result.errors.filter { $0 == "\n" }.count == 1, "\(what)")
                #expect(result.errors.utf8.count < 600, "\(what)")
                for name in mistake.names { #expect(result.errors.contains(name), "\(name): \(what)") }
            }
            #expect(before == (c.processID(.scheduler), c.processID(.worker)))
            #expect(c.isRunning(.scheduler) && c.isRunning(.worker))
            #expect(try await c.ended(try await c.submit(shell: "true")).state == .known(.succeeded))
        }

        @Test("a wrong token, none, and one that may not: exit code 3; another user's job cannot be cancelled")
        func tokens() async throws {
            let c = try c
            let id = try await c.submit(shell: "exec sleep 600")
            let url = try await c.url()
            let token = try await c.ok("user", "add", "bob", "--uid", "1002", "--gid", "1002", "-q")
            let bob = ["JOBCTL_URL": url, "JOBCTL_TOKEN": token]
            for (environment, call) in [
                (["JOBCTL_TOKEN": "jobctl_wrong"], ["status"]),
                (["JOBCTL_URL": url, "JOBCTL_CONFIG": "/nonexistent"], ["list"]), (bob, ["cancel", id]),
                (bob, ["hold", id]), (bob, ["logs", id]), (bob, ["user", "list"]),
                (bob, ["user", "add", "eve", "--uid", "0", "--gid", "0"]), (bob, ["worker", "drain", "x"]),
            ] {
                let result = try await c.jobctl(call, environment: environment)
                #expect(result.exitCode == 3 && result.output.isEmpty, "\(call): \(result)")
                #expect(result.errors.filter { $0 == "\n" }.count == 1 && !result.errors.contains("jobctl_wrong"))
            }
            #expect(try await c.jobctl(["show", id], environment: bob).exitCode == 0)
            try await c.ok("user", "remove", "bob")
            #expect(try await c.jobctl(["list"], environment: bob).exitCode == 3)
            try await c.ok("cancel", id)
        }

        @Test("a program that prints a great deal is cut with a mark, and its neighbours are not harmed")
        func loudProgram() async throws {
            let c = try c
            let id = try await c.submit(shell: "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo end")
            #expect(try await c.ended(id).state == .known(.succeeded))
            let text = try await c.ok("logs", id)
            #expect(text.utf8.count == 3_000_004 && text.hasSuffix("x\nend"))
        }
    }
}

// A database beside a script, through the whole path: the example of the documentation, on the engine without a daemon.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("services", .serialized, .timeLimit(.minutes(20))) struct ServiceTests {
        private static let hottest2014 = "2014/08/11 35.6\n2014/07/01 34.4\n2014/08/04 32.8"
        private static let hottest2015 = "2015/07/19 35.0\n2015/07/31 34.4\n2015/07/30 34.4"
        private static let small = "resources: {cpus: 0.1, memory: 32MiB}"

        /// A cluster on the engine without a daemon, with the example's image in its archive.
        private static func withRedis(_ body: @Sendable (ClusterUnderTest) async throws -> Void) async throws {
            // The last word on the engine counts.
            try await ClusterUnderTest.with(engine: .docker, options: ["--engine", "oci"]) { c in
                let archive = c.folder + "/redis.tar"
                let made = try await runProcess(repositoryFolder + "/Examples/services/redis-image.sh", [archive])
                guard made.exitCode == 0 else { throw ProcessFailure(description: "redis-image.sh: \(made)") }
                try await c.ok("image", "import", archive, "-t", "redis:local")
                try await body(c)
            }
        }

        @Test(
            "a script finds its database by name, and a rerun a fresh one; the configuration pins the service's image")
        func databaseBesideScript() async throws {
            try await Self.withRedis { c in
                let spec = repositoryFolder + "/Examples/services/hottest.yaml"
                let first = try await c.ok("submit", spec, "--bind", "input=weather/2014", "--wait", "-q")
                #expect(try await c.ok("logs", first) == Self.hottest2014)
                let second = try await c.ok("rerun", "hottest-days", "--bind", "input=weather/2015", "--wait", "-q")
                #expect(try await c.ok("logs", second) == Self.hottest2015)

                let (a, b) = (try await c.job(first), try await c.job(second))
                #expect(a.configuration.digest == b.configuration.digest && b.rerunOf == a.id)
                #expect(a.services?["db"]?.digest == a.image.digest && a.services == b.services)
                #expect(a.services?["db"]?.reference == "redis:local")
                #expect(try await c.attempts(of: first).map(\.engine) == ["oci"])
                #expect(try await c.ok("show", first).contains("db: redis:local = sha256:"))
                let configuration = try await c.ok("config", "show", "hottest-days")
                #expect(configuration.contains("service db:") && configuration.contains("redis-cli ping"))

                // The tag means another image now: what was pinned runs.
                let moved = try await busyboxArchive(in: c.folder, marker: "moved")
                try await c.ok("image", "import", moved, "-t", "redis:local")
                let third = try await c.ok("rerun", first, "--wait", "-q")
                #expect(try await c.ok("logs", third) == Self.hottest2014)
                #expect(try await c.job(third).services == a.services)
            }
        }

        @Test("a service that is not ready fails the attempt with its reason and its last lines; retries count")
        func notReady() async throws {
            try await ClusterUnderTest.with(engine: .docker, options: ["--engine", "oci"]) { c in
                let id = try await c.submit(
                    shell: "echo ran",
                    """
                    retries: 1
                    services:
                      db:
                        image: busybox:local
                        shell: echo no space for me; sleep 1000
                        \(Self.small)
                        healthcheck: {command: ["false"], interval: 0.1, retries: 2}
                    """)
                let job = try await c.ended(id)
                #expect(job.state == .known(.failed))
                #expect(
                    job.reason
                        == "service-error: the service 'db' was not ready in time: its last health check ended with exit code 1"
                )
                let attempts = try await c.attempts(of: id)
                #expect(attempts.map(\.reason) == [.known(.serviceError), .known(.serviceError)])
                #expect(attempts.allSatisfy { $0.exitCode == nil })
                let logs = try await c.jobctl(["logs", id])
                #expect("\(logs)".contains("[db] no space for me"), "\(logs)")
            }
        }

        @Test("an agent that is killed finds task and service again; a cancel ends both")
        func killedAgent() async throws {
            try await ClusterUnderTest.with(engine: .docker, options: ["--engine", "oci"]) { c in
                let service = """
                    services:
                      db:
                        image: busybox:local
                        shell: "mkdir /tmp/www; echo here > /tmp/www/x; httpd -f -p 80 -h /tmp/www; : \(c.folder)/service"
                        \(Self.small)
                        healthcheck: {shell: wget -q -O /dev/null http://db/x}
                    """
                let id = try await c.submit(
                    shell: "echo up; until [ -e /gate/open ]; do sleep 0.1; done; wget -q -O - http://db/x",
                    service + "\nvolumes: [scratch:/gate:ro]")
                try await eventually("the program runs") { try await c.ok("logs", id) == "up" }
                try await c.kill(.worker)
                try await c.up(options: ["--engine", "oci"])
                _ = FileManager.default.createFile(atPath: c.scratch + "/open", contents: nil)
                let job = try await c.ended(id)
                #expect(job.state == .known(.succeeded), "\(job)")
                #expect(try await c.ok("logs", id) == "up\nhere")
                #expect(try await c.attempts(of: id).count == 1)

                let endless = try await c.submit(shell: "echo up; sleep 1000", service)
                try await eventually("the program runs") { try await c.ok("logs", endless) == "up" }
                try await c.ok("cancel", endless)
                #expect(try await c.ended(endless).state == .known(.cancelled))
                try await eventually("nothing of the service runs") {
                    try await runProcess("pgrep", ["-f", "\(c.folder)/[s]ervice"]).exitCode == 1
                }
            }
        }

        @Test("a service's image that nobody has is refused at submission, and the field is named")
        func missingImage() async throws {
            try await ClusterUnderTest.with(engine: .docker, options: ["--engine", "oci"]) { c in
                let spec = """
                    image: busybox:local
                    command: ["true"]
                    services: {db: {image: "127.0.0.1:1/nothing:1", command: ["true"]}}
                    """
                let result = try await c.jobctl(["submit", "-"], input: spec)
                #expect(result.exitCode != 0 && result.errors.contains("services.db.image"), "\(result)")
            }
        }
    }
}

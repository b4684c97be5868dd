// `jobctl up` and `down`: what they say, what they refuse, and that nothing is left.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("up and down", .serialized, .timeLimit(.minutes(20))) struct UpTests {
        @Test("up starts what does not run, down stops it, and both say so as JSON; the data outlives them")
        func upAndDown() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                let id = try await c.submit(shell: "echo kept")
                try await c.ok("wait", id)
                let again = try await c.state(["up", "--detach", "--data-dir", c.data, "-o", "json"])
                #expect(again["url"] as? String == (try await c.url()))
                #expect(again["data_dir"] as? String == c.data)
                #expect((again["scheduler"] as? [String: Any])?["pid"] as? Int == c.processID(.scheduler).map(Int.init))
                #expect((again["worker"] as? [String: Any])?["pid"] as? Int == c.processID(.worker).map(Int.init))
                let other = try await c.jobctl(
                    ["up", "--detach", "--data-dir", c.data, "--volume", "weather=\(c.scratch):ro"])
                #expect(other.exitCode == 5 && other.errors.contains("jobctl down"), "\(other)")

                let down = try await c.state(["down", "--data-dir", c.data, "-o", "json"])
                #expect(down["stopped"] as? [String] == ["worker", "scheduler"])
                #expect(!c.isRunning(.scheduler) && !c.isRunning(.worker))
                let idle = try await c.state(["down", "--data-dir", c.data, "-o", "json"])
                #expect(idle["stopped"] as? [String] == [])
                #expect(try await c.jobctl(["status"]).exitCode == 6)

                // The options, the engine's place and the port are remembered; the data is still there.
                let url = try await c.url()
                try await c.ok("up", "--detach", "--data-dir", c.data, environment: ["DOCKER_HOST": ""])
                #expect(try await c.url() == url)
                #expect(try await c.ok("logs", id) == "kept")
                #expect(try await c.ended(try await c.submit(shell: "true")).state == .known(.succeeded))
            }
        }

        @Test(
            "down stops what runs, leaves no container, mount or control group, and the job runs again after the next up"
        )
        func downWhileRunning() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                let id = try await c.submit(
                    shell: "[ -e /gate/second ] || exec sleep 600", "volumes: [scratch:/gate:ro]")
                try await c.waitUntil(id, is: .running)
                try await eventually("its container runs") { try await c.containers() == 1 }
                try await c.ok("down", "--data-dir", c.data)
                #expect(try await c.containers() == 0)
                let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
                #expect(!mounts.contains(c.data + "/"))
                let identity = try String(contentsOfFile: c.data + "/worker/identity", encoding: .utf8)
                let groups = try await runProcess(
                    "find", ["/sys/fs/cgroup", "-maxdepth", "3", "-name", "jobctl-\(identity)"])
                #expect(groups.output.isEmpty, "\(groups)")
                _ = FileManager.default.createFile(atPath: c.scratch + "/second", contents: nil)
                try await c.up()
                #expect(try await c.ended(id).state == .known(.succeeded))
                let attempts = try await c.attempts(of: id)
                #expect(attempts.map(\.state) == [.known(.lost), .known(.succeeded)])
            }
        }

        @Test("a start that fails says why and leaves nothing running: a forbidden volume, a port in use, no engine")
        func failedStarts() async throws {
            let folder = try temporaryFolder("up")
            let result = await outcome {
                let server = try ScriptedServer { _ in .init(200, "") }
                defer { server.stop() }
                for (options, environment, words) in [
                    (["--volume", "bad=/etc"], [:], "/etc"),
                    (["--volume", "gone=/no/such/folder"], [:], "/no/such/folder"),
                    (["--listen", server.address], [:], server.address),
                    (["--keep-tasks", "5m"], [:], "--keep-tasks"),
                    (["--engine", "docker"], ["DOCKER_HOST": "unix://\(folder)/none.sock"], "none.sock"),
                ] as [([String], [String: String], String)] {
                    let given = options.contains("--listen") ? options : options + ["--listen", "127.0.0.1:0"]
                    let variables = ["HOME": folder, "JOBCTL_CONFIG": folder + "/context.yaml"]
                    let up = try await runProcess(
                        try builtProgram("jobctl"), ["up", "--detach", "--data-dir", folder + "/data"] + given,
                        environment: variables.merging(environment) { $1 })
                    #expect(up.exitCode != 0 && up.exitCode != 1, "\(options): \(up)")
                    #expect(up.errors.contains(words) && up.errors.filter { $0 == "\n" }.count == 1, "\(up)")
                    let left = try await runProcess("pgrep", ["-f", "jobctl-(scheduler|worker).*\(folder)/"])
                    #expect(left.output.isEmpty, "\(options)")
                    #expect(!FileManager.default.fileExists(atPath: folder + "/context.yaml"))
                }
            }
            await sweep(folder)
            try result.get()
        }

        @Test("without --detach both stop at SIGTERM, and up ends by itself with a sentence if one of them ends")
        func foreground() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                try await c.ok("down", "--data-dir", c.data)
                for dies in [false, true] {
                    let seen = c.folder + "/up.out"
                    async let up = runProcess(
                        "sh",
                        ["-c", "exec \"$0\" up --data-dir \"$1\" > \"$2\"", c.programs + "/jobctl", c.data, seen],
                        environment: c.environment)
                    try await eventually("both run") {
                        (try? String(contentsOfFile: seen, encoding: .utf8))?.contains("Ctrl-C") == true
                    }
                    if dies {
                        try await c.kill(.scheduler)
                    } else {
                        let found = try await runProcess("pgrep", ["-f", "^[^ ]*/jobctl up --data-dir \(c.data)"])
                        Foundation.kill(try #require(pid_t(found.line)), SIGTERM)
                    }
                    let result = try await up
                    #expect(result.exitCode == (dies ? 6 : 0), "\(result)")
                    #expect(result.errors.contains("scheduler ended") == dies)
                    #expect(!c.isRunning(.scheduler) && !c.isRunning(.worker))
                    try FileManager.default.removeItem(atPath: seen)
                }
            }
        }

        @Test("a user without root runs a whole cluster of their own, outputs included")
        func withoutRoot() async throws {
            try await ClusterUnderTest.with(engine: .docker) { c in
                try await c.ok("down", "--data-dir", c.data)
                let home = c.folder + "/home"
                for name in ["home", "bin", "results"] {
                    try FileManager.default.createDirectory(
                        atPath: c.folder + "/" + name, withIntermediateDirectories: true)
                }
                for name in ["jobctl", "jobctl-scheduler", "jobctl-worker", "jobctl-runner"] {
                    try FileManager.default.copyItem(atPath: "\(c.programs)/\(name)", toPath: "\(c.folder)/bin/\(name)")
                }
                for folder in [home, c.results] { chown(folder, 1234, 1234) }
                chmod(c.engine.socketPath, 0o666)
                // Where the user stands is none of their folders, as after su.
                let elsewhere = c.folder + "/elsewhere"
                try FileManager.default.createDirectory(
                    atPath: elsewhere, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
                func jobctl(_ arguments: String...) async throws -> String {
                    let result = try await runProcess(
                        "setpriv",
                        ["--reuid", "1234", "--regid", "1234", "--clear-groups", c.folder + "/bin/jobctl"] + arguments,
                        environment: ["HOME": home, "DOCKER_HOST": c.environment["DOCKER_HOST"] ?? ""],
                        folder: elsewhere)
                    guard result.exitCode == 0 else { throw ProcessFailure(description: "\(arguments): \(result)") }
                    return result.line
                }
                _ = try await jobctl(
                    "up", "--detach", "--listen", "127.0.0.1:0", "--volume", "weather=\(c.weather):ro", "--volume",
                    "results=\(c.results):rw")
                let result = await outcome {
                    _ = try await jobctl("image", "import", c.folder + "/first.tar", "-t", "busybox:local")
                    let spec = repositoryFolder + "/Examples/weather"
                    try FileManager.default.copyItem(atPath: spec, toPath: home + "/weather")
                    let id = try await jobctl(
                        "submit", home + "/weather/yearly.yaml", "--bind", "input=weather/2014", "--bind",
                        "output=results", "--wait", "-q")
                    let path = "\(c.results)/\(id)/1/yearly.txt"
                    #expect(try String(contentsOfFile: path, encoding: .utf8).contains("16.9959"))
                    var file = stat()
                    #expect(stat(path, &file) == 0 && file.st_uid == 1234)
                }
                _ = try await jobctl("down")
                try result.get()
            }
        }

        @Test("through sudo the context file and the containers belong to the user who called it")
        func sudo() async throws {
            try await ClusterUnderTest.with(engine: .docker, submitter: 1234) { c in
                var file = stat()
                #expect(stat(c.folder + "/context.yaml", &file) == 0)
                #expect(file.st_uid == 1234 && file.st_mode & 0o777 == 0o600)
                let id = try await c.submit(shell: "id -u; id -g")
                try await c.ok("wait", id)
                #expect(try await c.ok("logs", id) == "1234\n1234")
                // That user needs no more privileges from here on.
                let copy = c.folder + "/jobctl"
                try FileManager.default.copyItem(atPath: c.programs + "/jobctl", toPath: copy)
                let asUser = try await runProcess(
                    "setpriv", ["--reuid", "1234", "--regid", "1234", "--clear-groups", copy, "show", id, "-q"],
                    environment: c.environment)
                #expect(asUser.exitCode == 0 && asUser.line == id, "\(asUser)")
            }
        }
    }
}

extension ClusterUnderTest {
    fileprivate func state(_ call: [String]) async throws -> [String: Any] {
        let result = try await jobctl(call)
        guard result.exitCode == 0,
            let state = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        else { throw ProcessFailure(description: "\(call): \(result)") }
        return state
    }

    /// How many containers of this cluster's worker there are, in whatever state.
    fileprivate func containers() async throws -> Int {
        let identity = try String(contentsOfFile: data + "/worker/identity", encoding: .utf8)
        let list = try await runProcess(
            "curl",
            ["-sf", "--unix-socket", engine.socketPath, "http://engine/v1.41/containers/json?all=1"])
        return list.output.components(separatedBy: "\"\(identity)\"").count - 1
    }
}

// Which scheduler a command finds and which token it gives to whom; and calls that got no answer.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("connection") struct ConnectionTests {
    private static func status() throws -> ScriptedServer.Reply {
        ScriptedServer.Reply(200, try WireJSON.encode(WireDocuments.status))
    }

    /// Writes a context file at its standard place.
    private static func write(_ text: String, mode: Int = 0o600, in jobctl: JobctlUnderTest) throws {
        let folder = jobctl.home + "/.config/jobctl"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try text.write(toFile: folder + "/config.yaml", atomically: true, encoding: .utf8)
        chmod(folder + "/config.yaml", mode_t(mode))
    }

    @Test("the scheduler is found in --url, then $JOBCTL_URL, then the context file")
    func order() async throws {
        let reply = try Self.status()
        try await ScriptedServer.with(always(reply)) { server in
            try await JobctlUnderTest.with { jobctl in
                let (good, bad) = ("http://\(server.address)", "http://127.0.0.1:1")
                try Self.write("url: \(bad)\ntoken: x\n", in: jobctl)
                #expect(try await jobctl.run(["status"]).exitCode == 6)
                #expect(try await jobctl.run(["status"], environment: ["JOBCTL_URL": good]).exitCode == 0)
                #expect(
                    try await jobctl.run(["status", "--url", good], environment: ["JOBCTL_URL": bad]).exitCode == 0)
                try Self.write("# by hand\nurl: '\(good)'\ntoken: \"secret-1\"\n", in: jobctl)
                #expect(try await jobctl.run(["status"]).exitCode == 0)
                #expect(server.requests.last?.headers["authorization"] == "Bearer secret-1")
                let elsewhere = jobctl.home + "/other.yaml"
                try "url: \(good)\ntoken: secret-2".write(toFile: elsewhere, atomically: true, encoding: .utf8)
                chmod(elsewhere, 0o600)
                #expect(try await jobctl.run(["status"], environment: ["JOBCTL_CONFIG": elsewhere]).exitCode == 0)
                #expect(server.requests.last?.headers["authorization"] == "Bearer secret-2")
            }
        }
    }

    @Test("the context file's token goes to the context file's scheduler and to no other")
    func tokenStaysHome() async throws {
        let reply = try Self.status()
        try await ScriptedServer.with(always(reply)) { server in
            try await JobctlUnderTest.with { jobctl in
                let url = "http://\(server.address)"
                try Self.write("url: http://127.0.0.1:1\ntoken: secret-1\n", in: jobctl)
                _ = try await jobctl.run(["status", "--url", url])
                #expect(server.requests.last.map { $0.headers["authorization"] == nil } == true)
                _ = try await jobctl.run(["status", "--url", url], environment: ["JOBCTL_TOKEN": "secret-3"])
                #expect(server.requests.last?.headers["authorization"] == "Bearer secret-3")
                try Self.write("url: \(url)/\ntoken: secret-1\n", in: jobctl)
                _ = try await jobctl.run(["status", "--url", url])
                #expect(server.requests.last?.headers["authorization"] == "Bearer secret-1")
            }
        }
    }

    @Test("a context file that others may read, or that says nothing, is refused with what to do")
    func badContext() async throws {
        try await JobctlUnderTest.with { jobctl in
            try Self.write("url: http://127.0.0.1:1\ntoken: x\n", mode: 0o644, in: jobctl)
            let open = try await jobctl.run(["status"])
            #expect(open.exitCode == 5 && open.errors.contains("chmod 600"))
            try Self.write("url: http://127.0.0.1:1\n", in: jobctl)
            let half = try await jobctl.run(["status"])
            #expect(half.exitCode == 5 && half.errors.contains("token"))
        }
    }

    @Test("without a scheduler each command says how to get one and ends with 6")
    func noScheduler() async throws {
        try await JobctlUnderTest.with { jobctl in
            for call in [
                ["status"], ["list"], ["show", "1"], ["wait", "1"], ["worker"], ["image"], ["config"], ["user"],
            ] {
                let unknown = try await jobctl.run(call)
                #expect(unknown.exitCode == 6 && unknown.errors.contains("'jobctl up'"), "\(call): \(unknown)")
                let away = try await jobctl.run(
                    call, environment: ["JOBCTL_URL": "http://127.0.0.1:1", "JOBCTL_TOKEN": "x"])
                #expect(away.exitCode == 6 && away.errors.contains("http://127.0.0.1:1"), "\(call): \(away)")
                #expect(away.errors.filter { $0 == "\n" }.count == 1)
            }
        }
    }

    @Test("a submit that got no answer is sent again under the same key")
    func submitAgain() async throws {
        let answer = ScriptedServer.Reply(201, try WireJSON.encode(WireDocuments.done))
        let lost = ScriptedServer.Reply(201, "{").with {
            $0.claimedLength = 100
            $0.end = .reset
        }
        let handler = { @Sendable (request: ScriptedServer.Request) in request.earlier == 0 ? lost : answer }
        try await ScriptedServer.with(handler) { server in
            try await JobctlUnderTest.with { jobctl in
                let spec = "image: busybox:1\ncommand: [\"true\"]\n"
                let result = try await jobctl.run(
                    ["submit", "-", "-q", "--url", "http://\(server.address)"], input: spec)
                #expect(result.exitCode == 0 && result.output == "42\n", "\(result)")
                let keys = server.requests.map { $0.headers["idempotency-key"] }
                #expect(keys.count == 2 && keys[0] != nil && keys[0] == keys[1])
                let own = try await jobctl.run(
                    ["submit", "-", "-q", "--idempotency-key", "mine", "--url", "http://\(server.address)"], input: spec
                )
                #expect(own.exitCode == 0 && server.requests.last?.headers["idempotency-key"] == "mine")
            }
        }
    }

    @Test("wait outlives many lost connections, one after the other, and reads on after the last event")
    func eventsAgain() async throws {
        var running = WireDocuments.waiting
        running.state = .known(.running)
        let events = (0..<14).map { number in
            var document = running
            document.revision = Int64(number)
            return (try? WireDocuments.events(document)) ?? []
        }
        var ended = running
        ended.state = .known(.succeeded)
        ended.revision = 99
        let last = try WireDocuments.events(ended)
        let states = [try WireJSON.encode(running), try WireJSON.encode(ended)]
        let handler = { @Sendable (request: ScriptedServer.Request) -> ScriptedServer.Reply in
            guard request.path.hasSuffix("/events") else {
                return ScriptedServer.Reply(200, states[0])
            }
            if request.earlier >= events.count { return ScriptedServer.Reply(200, last) }
            return ScriptedServer.Reply(200, events[request.earlier]).with {
                $0.claimedLength = 100_000
                $0.end = .reset
            }
        }
        try await ScriptedServer.with(handler) { server in
            try await JobctlUnderTest.with { jobctl in
                let result = try await jobctl.run(["wait", "45", "--url", "http://\(server.address)"])
                #expect(result.exitCode == 0, "\(result)")
                let seen = server.requests.filter { $0.path.hasSuffix("/events") }.map { $0.headers["last-event-id"] }
                #expect(seen.count == 15 && seen[0] == nil && seen.last == "13")
            }
        }
    }
}

// The built jobctl against a scheduler that says what a test tells it: golden pages, and what went over the wire.
import Foundation
import JobModel
import TestSupport
import Testing

/// jobctl with a home folder of its own.
struct JobctlUnderTest {
    let home: String
    var environment: [String: String]

    /// Runs `body` with a home that is gone afterwards.
    static func with(_ body: (JobctlUnderTest) async throws -> Void) async throws {
        let home = try temporaryFolder("home")
        defer { removeFolder(home) }
        try await body(JobctlUnderTest(home: home, environment: ["HOME": home]))
    }

    /// Runs `body` with a scheduler that gives `answers`, and problems of kind `notFound` for everything else.
    static func with(
        _ answers: [String: [UInt8]],
        _ body: (JobctlUnderTest, ScriptedServer) async throws -> Void
    ) async throws {
        try await with { jobctl in
            let handler = { @Sendable (request: ScriptedServer.Request) in Self.reply(to: request, answers) }
            try await ScriptedServer.with(handler) { server in
                var jobctl = jobctl
                jobctl.environment["JOBCTL_URL"] = "http://\(server.address)"
                jobctl.environment["JOBCTL_TOKEN"] = "token-of-the-test"
                try await body(jobctl, server)
            }
        }
    }

    private static func reply(to request: ScriptedServer.Request, _ answers: [String: [UInt8]])
        -> ScriptedServer.Reply
    {
        guard let answer = answers["\(request.method) \(request.path)"] else {
            let problem = Problem(.notFound, "there is nothing at \(request.path)")
            return .problem(problem)
        }
        var headers = ["Content-Type": "application/json"]
        if request.path.hasSuffix("/events") { headers["Content-Type"] = "text/event-stream" }
        if request.path.contains("/logs/") {
            headers["Jobctl-Log-Size"] = String(answer.count)
            headers["Jobctl-Log-Complete"] = "true"
            let offset = Int(request.query.firstMatch(of: #/offset=(\d+)/#)?.1 ?? "") ?? 0
            return ScriptedServer.Reply(200, Array(answer.dropFirst(offset)), headers: headers)
        }
        return ScriptedServer.Reply(200, answer, headers: headers)
    }

    func run(_ arguments: [String], environment: [String: String] = [:], input: String = "") async throws
        -> ProcessResult
    {
        try await runProcess(
            try builtProgram("jobctl"), arguments, environment: self.environment.merging(environment) { $1 },
            input: input, folder: home)
    }

    /// A call and its answer as a page shows them.
    func page(_ arguments: [String], environment: [String: String] = [:], input: String = "") async throws -> String {
        let result = try await run(arguments, environment: environment, input: input)
        var text = "$ jobctl " + arguments.joined(separator: " ") + "\n" + result.output
        if !result.errors.isEmpty {
            text += result.errors.split(separator: "\n").map { "stderr: \($0)\n" }.joined()
        }
        return text + (result.exitCode == 0 ? "" : "exit \(result.exitCode)\n") + "\n"
    }
}

extension ScriptedServer.Reply {
    static func problem(_ problem: Problem) -> Self {
        let body = (try? WireJSON.encode(problem)) ?? []
        return Self(problem.status, body, headers: ["Content-Type": "application/problem+json"])
    }
}

/// A scheduler that says the same to everything.
func always(_ reply: ScriptedServer.Reply) -> @Sendable (ScriptedServer.Request) -> ScriptedServer.Reply {
    { _ in reply }
}

/// A file that was reviewed once; `UPDATE_GOLDEN=1` rewrites it.
struct GoldenFile {
    let url: URL

    init(_ name: String, file: String = #filePath) {
        url = URL(filePath: file).deletingLastPathComponent().appending(path: "Golden/\(name)")
    }

    func expect(_ text: String) throws {
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" { try Data(text.utf8).write(to: url) }
        let golden = (try? String(contentsOf: url, encoding: .utf8)) ?? ""
        #expect(
            text == golden,
            "run UPDATE_GOLDEN=1 swift test to rewrite \(url.lastPathComponent), and review the difference")
    }
}

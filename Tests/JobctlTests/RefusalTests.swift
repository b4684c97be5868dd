// Mistakes on the command line: one sentence on stderr that names what is wrong, and the exit code of its kind. No
// scheduler is needed to refuse these.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("refusals") struct RefusalTests {
    /// Arguments as a shell would split them; `|` stands for a space inside an argument.
    static let calls = [
        "sumbit", "image imprt x", "worker frobnicate", "submit", "submit no-such-file.yaml",
        "submit --bnd a=b spec.yaml",
        "submit spec.yaml --bind input", "submit spec.yaml --bind =x", "submit spec.yaml --bind a=b --bind a=c",
        "submit spec.yaml --param year", "submit spec.yaml --priority high", "submit spec.yaml --priority 1001",
        "submit spec.yaml --idempotency-key a|b", "submit unknown-key.yaml", "submit text-command.yaml",
        "submit no-image.yaml", "submit bad-mode.yaml", "submit bad-memory.yaml", "submit not-yaml.yaml",
        "submit duplicate.yaml", "submit alias.yaml", "submit missing-file.yaml", "submit folder", "show abc",
        "show 42.x",
        "show 0", "show 42 --tasks --attempts", "show 42 --state failed", "show 42.1 --tasks", "logs", "logs 42 -q",
        "wait 42 --timeout soon", "wait", "cancel x", "diff 1", "verify 42.1.1", "verify 42 --times 0", "history",
        "history a --limit 0", "list --limit 0", "list --limit many", "list -o xml",
        "run --image busybox", "run --image busybox echo hello", "run --image busybox --", "run -- echo",
        "run --image b --bind input=weather -- x", "run --image b --cpus none -- x", "run --image b --gpus -1 -- x",
        "run --image b --env A -- x", "run --image b --file /x=nowhere -- x", "run --image b --retries -1 -- x",
        "image import x",
        "image import nowhere.tar -t busybox:1", "image import spec.yaml -t Not|A|Name",
        "worker drain -x", "worker drain a --deadline later", "license set matlab many", "license set a/b 3",
        "reservation add fw --start 2h --duration 1h", "reservation add fw --start soon --duration 1h --workers a",
        "queue set night --preempts a/b", "queue set night --placement wide", "worker show a/b", "user add ada",
        "user add ada --uid -1 --gid 1",
        "user add ada --uid 1 --gid 1 --role king", "user add a/b --uid 1 --gid 1", "up --engine rkt",
        "up --volume weather", "up --volume weather=relative", "up --label x", "up --listen nowhere",
        "up --listen 127.0.0.1:99999", "up --allow-path relative", "completions tcsh", "list --url ftp://x",
        "list --url http://a|b", "--no-such-flag",
    ]

    private static let specs = [
        "spec.yaml": "image: busybox:1\ncommand: [\"true\"]\n",
        "unknown-key.yaml": "image: busybox:1\ncomand: [\"true\"]\n",
        "text-command.yaml": "image: busybox:1\n\ncommand: echo hello\n",
        "no-image.yaml": "command: [\"true\"]\n",
        "bad-mode.yaml": "image: busybox:1\ncommand: [\"true\"]\nvolumes:\n  - input:/data:rx\n",
        "bad-memory.yaml": "image: busybox:1\ncommand: [\"true\"]\nresources: {memory: 5 parsecs}\n",
        "not-yaml.yaml": "image: [busybox\ncommand\n", "duplicate.yaml": "image: busybox:1\nimage: busybox:2\n",
        "alias.yaml": "image: &a busybox:1\ncommand: [*a]\n",
        "missing-file.yaml": "image: busybox:1\ncommand: [\"true\"]\nfiles: {/x: ./nowhere.py}\n",
    ]

    @Test("each mistake has its sentence and exit code 2, as on the golden page")
    func golden() async throws {
        try await JobctlUnderTest.with { jobctl in
            for (name, text) in Self.specs {
                try text.write(toFile: "\(jobctl.home)/\(name)", atomically: true, encoding: .utf8)
            }
            try FileManager.default.createDirectory(
                atPath: jobctl.home + "/folder", withIntermediateDirectories: true)
            var page = ""
            for call in Self.calls {
                let words = call.split(separator: " ").map { String($0).replacing("|", with: " ") }
                let result = try await jobctl.run(words)
                #expect(result.exitCode == 2, "\(call): \(result)")
                #expect(result.output.isEmpty, "\(call)")
                #expect(
                    result.errors.hasPrefix("jobctl: ") && result.errors.filter { $0 == "\n" }.count == 1, "\(call)")
                #expect(!result.errors.contains("Error") && !result.errors.contains("USAGE"), "\(call)")
                page +=
                    "$ jobctl \(words.joined(separator: " "))\nexit \(result.exitCode): \(result.errors.dropFirst(8))\n"
            }
            try GoldenFile("refusals.txt").expect(page)
        }
    }

    @Test("each kind of problem has its exit code, and its sentence reaches the user", arguments: ProblemKind.allCases)
    func exitCodes(_ kind: ProblemKind) async throws {
        let codes: [ProblemKind: Int32] = [
            .badRequest: 2, .unauthenticated: 3, .forbidden: 3, .notFound: 4, .conflict: 5, .refused: 5, .tooLarge: 2,
            .upstream: 5, .unavailable: 6, .diskFull: 5, .internal: 6,
        ]
        let problem = ScriptedServer.Reply.problem(Problem(kind, "a sentence", field: "the.field"))
        try await ScriptedServer.with(always(problem)) { server in
            try await JobctlUnderTest.with { jobctl in
                let result = try await jobctl.run(["show", "42", "--url", "http://\(server.address)"])
                #expect(result.exitCode == codes[kind] && result.errors == "jobctl: the.field: a sentence\n")
            }
        }
    }

    @Test("an answer that is no scheduler's is no crash")
    func strangeAnswers() async throws {
        for reply: ScriptedServer.Reply in [
            .init(200, "<html>"), .init(500, "boom"), .init(200, "{}"), .init(302, "", headers: ["Location": "/x"]),
            .init(200, "[]").with { $0.claimedLength = 100 }, .init(200, "").with { $0.end = .reset },
        ] {
            try await ScriptedServer.with(always(reply)) { server in
                try await JobctlUnderTest.with { jobctl in
                    for call in [["list"], ["show", "42"], ["wait", "42", "--timeout", "1s"], ["status"]] {
                        let result = try await jobctl.run(call + ["--url", "http://\(server.address)"])
                        #expect(result.exitCode == 6, "\(call): \(result)")
                        #expect(result.errors.hasPrefix("jobctl: ") && result.errors.filter { $0 == "\n" }.count == 1)
                    }
                }
            }
        }
    }
}

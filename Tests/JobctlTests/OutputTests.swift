// What commands print, for people, for scripts and for ids only: one golden page a command.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("output") struct OutputTests {
    static let calls = [
        "list", "show 42", "show 44", "show 45", "show 42.1", "show 44 --tasks", "show 44 --attempts", "wait 42",
        "wait 42 44", "cancel 42 43", "hold 42", "release 42", "diff 42 43", "verify 42", "history annual-temps",
        "config list",
        "config show annual-temps@3",
        "image list", "image show python:3.12", "image lint python:3.12", "status", "worker list",
        "worker show node7", "worker drain node7", "worker resume node7", "user list",
        "user add ada --uid 1001 --gid 1001", "user remove ada", "submit spec.yaml", "submit spec.yaml --wait",
        "rerun annual-temps --bind input=weather/2015", "rerun 42 --wait", "show 45 --why", "queue list",
        "queue show night", "queue add night --weight 20 --max-cpus 200", "queue set night --max-running none",
        "queue remove night", "share list", "share set user/ada --group physics --max-gpus 4",
        "share remove group/physics", "license list", "license set matlab 20", "license remove matlab",
        "reservation list", "reservation remove course",
        "reservation add course --start 2027-01-12T08:00:00Z --duration 4h --label room=a --groups students",
        "worker drain node9 --reason disk --deadline 2027-01-12T08:00:00Z", "worker show node9",
        "schedule list", "schedule show nightly", "schedule show yearly",
        "top", "events", "usage --by configuration,user",
        "usage --by configuration,user --csv",
    ]

    @Test("the page of each command is the golden one: table, JSON and ids", arguments: calls)
    func golden(_ call: String) async throws {
        try await JobctlUnderTest.with(try WireDocuments.answers()) { jobctl, _ in
            try "image: busybox:1\ncommand: [\"true\"]\n".write(
                toFile: jobctl.home + "/spec.yaml", atomically: true, encoding: .utf8)
            let words = call.split(separator: " ").map(String.init)
            var text = ""
            for format in [[], ["-o", "json"], ["-q"]] {
                text += try await jobctl.page(words + format)
            }
            let name = call.map { $0.isLetter || $0.isNumber ? $0 : "-" }
            try GoldenFile("output-\(String(name)).txt").expect(text)
        }
    }

    @Test("-o json is the document that the scheduler gave, with the names that the design fixed")
    func fieldNames() async throws {
        try await JobctlUnderTest.with(try WireDocuments.answers()) { jobctl, _ in
            let fields: [(String, [String])] = [
                (
                    "show 42",
                    [
                        "id", "name", "state", "owner", "queue", "priority", "configuration", "image", "bindings",
                        "parameters", "tasks", "submitted_at", "started_at", "finished_at", "attempts",
                    ]
                ), ("show 43", ["rerun_of"]), ("show 44", ["reason"]),
                (
                    "worker show node7",
                    ["name", "state", "capacity", "free", "labels", "volumes", "engines", "version", "last_seen"]
                ),
                ("list", ["jobs"]), ("worker list", ["workers"]), ("image list", ["images"]), ("user list", ["users"]),
                ("config list", ["configurations"]), ("show 42 --attempts", ["attempts"]),
                ("show 44 --tasks", ["tasks"]),
            ]
            for (call, names) in fields {
                let result = try await jobctl.run(call.split(separator: " ").map(String.init) + ["-o", "json"])
                let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
                for name in names { #expect(document?[name] != nil, "\(call): \(name)") }
            }
            let text = try await jobctl.run(["show", "42.1", "-o", "json"]).output
            let list = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
            let attempt = try #require((list?["attempts"] as? [[String: Any]])?.first)
            for name in ["id", "worker", "engine", "state", "reason", "exit_code", "inputs", "outputs", "usage"] {
                #expect(attempt[name] != nil, "\(name)")
            }
            let input = try #require((attempt["inputs"] as? [String: [String: Any]])?["input"])
            #expect(Set(input.keys) == ["tree_digest", "level", "files", "bytes"])
        }
    }

    @Test("logs copies each stream to its own, and as JSON one object a line")
    func logs() async throws {
        try await JobctlUnderTest.with(try WireDocuments.answers()) { jobctl, _ in
            for arguments in [["logs", "42"], ["logs", "-f", "42"], ["logs", "42.1.1"]] {
                let result = try await jobctl.run(arguments)
                #expect(result.exitCode == 0 && result.output == "1961\nmean 16.9959\n")
                #expect(result.errors == "a warning\nno end of line")
            }
            let lines = try await jobctl.run(["logs", "42", "-o", "json"])
            #expect(lines.errors.isEmpty)
            #expect(
                lines.output == """
                    {"attempt":"42.1.1","stream":"stdout","text":"1961"}
                    {"attempt":"42.1.1","stream":"stdout","text":"mean 16.9959"}
                    {"attempt":"42.1.1","stream":"stderr","text":"a warning"}
                    {"attempt":"42.1.1","stream":"stderr","text":"no end of line"}

                    """)
            #expect(try await jobctl.run(["logs", "42", "--stdout"]).errors.isEmpty)
            #expect(try await jobctl.run(["logs", "42", "--stderr"]).output.isEmpty)
            let none = try await jobctl.run(["logs", "45"])
            #expect(none.exitCode == 0 && none.output.isEmpty && none.errors.contains("waiting"))
        }
    }

    @Test("run -o json keeps standard output for the document")
    func runAsJSON() async throws {
        try await JobctlUnderTest.with(try WireDocuments.answers()) { jobctl, _ in
            let result = try await jobctl.run(["run", "--image", "python:3.12", "-o", "json", "--", "x"])
            #expect(result.exitCode == 0, "\(result)")
            #expect(try WireJSON.decode(JobDocument.self, from: result.output.utf8) == WireDocuments.done)
            #expect(result.errors.contains("mean 16.9959\n") && result.errors.contains("a warning\n"))
        }
    }

    @Test("on a terminal, waiting for an array and importing an image show a line of progress on stderr")
    func progress() async throws {
        var running = WireDocuments.array
        running.state = .known(.running)
        running.tasks = TaskCounts(total: 4, pending: 1, running: 2, succeeded: 1)
        running.revision = 3
        var answers = try WireDocuments.answers()
        answers["GET /v1/jobs/44"] = try WireJSON.encode(running)
        answers["GET /v1/jobs/44/events"] =
            try WireDocuments.events(running) + WireDocuments.events(WireDocuments.array)
        try await JobctlUnderTest.with(answers) { jobctl, _ in
            try "a tar".write(toFile: jobctl.home + "/a.tar", atomically: true, encoding: .utf8)
            for (call, line) in [
                ("wait 44", "job 44: 1/4 done, 2 running, 0 failed"),
                ("image import a.tar -t python:3.12", "5 B of 5 B"),
            ] {
                // `script` gives the command a terminal of its own.
                let program = try builtProgram("jobctl")
                let onTerminal = try await runProcess(
                    "script", ["-qec", "\(program) \(call) > out", "/dev/null"], environment: jobctl.environment,
                    folder: jobctl.home)
                #expect(onTerminal.output.contains("\r\u{1b}[Kjobctl: \(line)"), "\(onTerminal)")
                let plain = try await jobctl.run(call.split(separator: " ").map(String.init))
                #expect(!plain.errors.contains("\u{1b}") && !plain.output.contains("\u{1b}"))
            }
        }
    }
}

// The help page of each command as it was reviewed, completions, and the version.
import Foundation
import TestSupport
import Testing

@Suite("help") struct HelpTests {
    static let commands = [
        "", "submit", "run", "rerun", "list", "show", "logs", "wait", "cancel", "hold", "release", "requeue", "update",
        "extend", "close", "diff",
        "verify",
        "exec", "shell", "schedule", "schedule add", "schedule list", "schedule show", "schedule pause",
        "schedule resume", "schedule run", "schedule remove", "config", "config list", "config show", "history",
        "image", "image import", "image build",
        "image list", "image show", "image pulls", "image lint", "archive", "archive status", "archive gc",
        "archive verify", "archive export", "archive import", "status",
        "worker",
        "queue", "queue list", "queue show", "queue add", "queue set", "queue remove", "share", "share list",
        "share show",
        "share set", "share remove",
        "worker list", "worker show", "worker drain", "worker resume", "user", "user list", "user add", "user remove",
        "license", "license list", "license set", "license remove", "reservation", "reservation list",
        "reservation add", "reservation remove", "up", "down", "completions", "top", "usage", "events",
    ]

    @Test("each command has the golden help page", arguments: commands)
    func page(of command: String) async throws {
        try await JobctlUnderTest.with { jobctl in
            let words = command.split(separator: " ").map(String.init)
            let result = try await jobctl.run(words + ["--help"])
            #expect(result.exitCode == 0 && result.errors.isEmpty)
            // The folder of this test's home is not the one of the next.
            let text = result.output.replacing(jobctl.home, with: "~")
            try GoldenFile("help\(words.map { "-" + $0 }.joined()).txt").expect(text)
            // A line that is too long for a terminal would be broken in an ugly place: on a wide one it is not.
            let wide = try await jobctl.run(words + ["--help"], environment: ["COLUMNS": "200"]).output
            let prose = { (page: String) in page.components(separatedBy: "USAGE:")[0] }
            #expect(prose(wide) == prose(result.output), "keep the lines of a discussion within 78 columns")
        }
    }

    @Test("no command lacks a page: every one that the completions know is in the list above")
    func complete() async throws {
        try await JobctlUnderTest.with { jobctl in
            for parent in Self.commands {
                let words = parent.split(separator: " ").map(String.init)
                let help = try await jobctl.run(words + ["--help"]).output
                var isInside = false
                for line in help.split(separator: "\n", omittingEmptySubsequences: false) {
                    if line.hasSuffix("SUBCOMMANDS:") {
                        isInside = true
                    } else if line.isEmpty {
                        isInside = false
                    } else if isInside, let match = line.firstMatch(of: #/^  ([a-z]+)/#) {
                        #expect(Self.commands.contains((words + [String(match.1)]).joined(separator: " ")), "\(line)")
                    }
                }
            }
        }
    }

    @Test("the version is printed")
    func version() async throws {
        try await JobctlUnderTest.with { jobctl in
            let result = try await jobctl.run(["--version"])
            #expect(result.exitCode == 0 && result.output.wholeMatch(of: #/\d+\.\d+\.\d+\n/#) != nil)
        }
    }

    @Test("bash completes commands, options and the values of options")
    func bash() async throws {
        try await JobctlUnderTest.with { jobctl in
            let script = jobctl.home + "/completion.bash"
            let printed = try await jobctl.run(["completions", "bash"])
            #expect(printed.exitCode == 0)
            try printed.output.write(toFile: script, atomically: true, encoding: .utf8)
            #expect(try await runProcess("bash", ["-n", script]).exitCode == 0)
            for (line, expected) in [
                ("jobctl su", "submit"), ("jobctl image im", "import"), ("jobctl submit --bi", "--bind"),
                ("jobctl list --state pen", "pending"), ("jobctl completions fi", "fish"),
            ] {
                let complete = """
                    source "$1"; line=$2; COMP_LINE=$line; COMP_POINT=${#line}; COMP_TYPE=9
                    read -ra COMP_WORDS <<< "$line"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
                    function=$(complete -p jobctl | sed 's/.*-F \\([^ ]*\\).*/\\1/')
                    "$function" jobctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
                    printf '%s\\n' "${COMPREPLY[@]}"
                    """
                let result = try await runProcess("bash", ["-c", complete, "complete", script, line])
                let words = result.output.split(whereSeparator: \.isWhitespace).map(String.init)
                #expect(words == [expected], "\(line): \(result)")
            }
        }
    }

    @Test("zsh and fish get scripts that name every command; another shell is refused")
    func otherShells() async throws {
        try await JobctlUnderTest.with { jobctl in
            for shell in ["zsh", "fish"] {
                let result = try await jobctl.run(["completions", shell])
                #expect(result.exitCode == 0)
                for command in Self.commands {
                    #expect(
                        result.output.contains(command.split(separator: " ").last ?? "jobctl"), "\(shell) \(command)")
                }
            }
            let other = try await jobctl.run(["completions", "tcsh"])
            #expect(other.exitCode == 2 && other.errors.contains("'tcsh'"))
        }
    }
}

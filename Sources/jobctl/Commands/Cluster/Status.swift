// jobctl status and completions.
import ArgumentParser
import JobModel
import SchedulerClient

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "The cluster at a glance.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let status = try await global.client().status()
        try Render.one(status, quiet: status.version, global) { status.page }
    }
}

struct Completions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions", abstract: "Print completions for a shell.",
        discussion: "Example: jobctl completions bash > /etc/bash_completion.d/jobctl")
    @Argument(help: "bash, zsh or fish.") var shell: String

    func run() throws {
        guard let shell = CompletionShell.allCases.first(where: { $0.rawValue == shell }) else {
            throw ValidationError("\(quoted(shell)) is not a shell that is known: use bash, zsh or fish")
        }
        print(JobCtl.completionScript(for: shell))
    }
}

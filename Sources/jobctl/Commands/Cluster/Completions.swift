// jobctl completions: a script for each shell, made from the tree of commands.
import ArgumentParser
import JobModel

struct Completions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions", abstract: "Print completions for a shell.",
        discussion: """
            Examples:

              jobctl completions bash > /etc/bash_completion.d/jobctl
              jobctl completions zsh > ~/.zfunc/_jobctl
              jobctl completions fish > ~/.config/fish/completions/jobctl.fish
            """)
    @Argument(help: "bash, zsh or fish.", completion: .list(CompletionShell.allCases.map(\.rawValue)))
    var shell: String

    func validate() throws { _ = try known() }

    func run() throws { print(JobCtl.completionScript(for: try known())) }

    private func known() throws -> CompletionShell {
        guard let shell = CompletionShell.allCases.first(where: { $0.rawValue == shell }) else {
            throw ValidationError("\(quoted(shell)) is not a shell that is known: use bash, zsh or fish")
        }
        return shell
    }
}

// A mistake on the command line as one sentence: what is wrong, what was probably meant, and where the help is.
import ArgumentParser
import Foundation
import JobModel

enum Usage {
    /// The parser's message without its page of usage.
    static func sentence(for error: any Error, arguments: [String] = Array(CommandLine.arguments.dropFirst())) -> String
    {
        if let mistake = mistake(in: arguments) { return mistake }
        let lines = JobCtl.message(for: error).split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        var text = lines.joined(separator: " ")
        text = text.replacing(". Did you mean", with: ": did you mean").replacing(
            ". Please provide one", with: ": use one")
        if text.hasSuffix(".") { text.removeLast() }
        if let first = text.first, first.isUppercase { text = first.lowercased() + text.dropFirst() }
        let help = JobCtl.fullMessage(for: error).firstMatch(of: #/See '(.+?)'/#).map { String($0.1) }
        return text + (text.hasSuffix("?") ? " See '" : ": see '") + (help ?? "jobctl --help") + "'"
    }

    /// A command that does not exist, or a program of `run` that does not stand after `--`.
    private static func mistake(in arguments: [String]) -> String? {
        var (command, path): (any ParsableCommand.Type, [String]) = (JobCtl.self, ["jobctl"])
        for argument in arguments {
            let commands = subcommands(of: command)
            guard !commands.isEmpty, !argument.hasPrefix("-"), argument != "help" else { break }
            guard let next = commands.first(where: { name(of: $0) == argument }) else {
                let hint = nearest(to: argument, among: commands.map(name)).map { ": did you mean '\($0)'?" }
                return "\(path.joined(separator: " ")) has no command \(quoted(argument))"
                    + (hint ?? ": see '\(path.joined(separator: " ")) --help'")
            }
            (command, path) = (next, path + [argument])
        }
        if command == Run.self, !arguments.contains("--"), !arguments.contains("--help"), !arguments.contains("-h") {
            return "the command to run is missing: write it after '--', for example "
                + "'jobctl run --image busybox:1.36 -- echo hello'"
        }
        return nil
    }

    private static func name(of command: any ParsableCommand.Type) -> String {
        command.configuration.commandName ?? String(describing: command).lowercased()
    }

    private static func subcommands(of command: any ParsableCommand.Type) -> [any ParsableCommand.Type] {
        command.configuration.subcommands + command.configuration.groupedSubcommands.flatMap(\.subcommands)
    }
}

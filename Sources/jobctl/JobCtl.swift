// The program: the tree of commands, and the one place where an error becomes a sentence and an exit code.
import ArgumentParser
import Foundation
import JobModel
import NIOCore

@main
struct JobCtl: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "jobctl", abstract: "Run reproducible containerized jobs on a cluster, and run them again.",
        discussion: """
            A job's image, command, files and mounts become a configuration with a digest.
            It runs again, unchanged, on other data whenever you like:

              jobctl submit annual-temps.yaml --bind input=weather/2014
              jobctl rerun annual-temps --bind input=weather/2015
              jobctl diff 1 2

            No cluster yet? This starts one on this machine:

              jobctl up --detach --volume weather=/srv/weather:ro

            For scripts, '-o json' prints what the API gives and '-q' prints ids only.
            Exit codes: 0 ok, 1 the job failed, 2 usage, 3 not authorised, 4 not found, 5
            refused, 6 scheduler unavailable or not done in time.
            """,
        version: version,
        groupedSubcommands: [
            CommandGroup(
                name: "Jobs",
                subcommands: [
                    Submit.self, Run.self, Rerun.self, List.self, Show.self, Logs.self, Wait.self, Cancel.self,
                    Hold.self, Release.self, Requeue.self, Update.self, Extend.self, Close.self, Diff.self, Verify.self,
                    Exec.self, Shell.self,
                    ScheduleCommand.self,
                ]),
            CommandGroup(
                name: "Archive",
                subcommands: [ConfigCommand.self, History.self, ImageCommand.self, ArchiveCommand.self]),
            CommandGroup(
                name: "Cluster",
                subcommands: [
                    Status.self, Top.self, UsageCommand.self, Events.self, QueueCommand.self, ShareCommand.self,
                    WorkerCommand.self, LicenseCommand.self, ReservationCommand.self, UserCommand.self, Up.self,
                    Down.self, Completions.self,
                ]),
        ])

    static func main() async {
        NIOSingletons.groupLoopCountSuggestion = 1
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            fflush(nil)
            // Connections need no farewell: a command line ends at once.
            _exit(0)
        } catch {
            finish(error)
        }
    }

    private static func finish(_ error: any Error) -> Never {
        switch error {
        case let problem as Problem: end(problem.kind?.exitCode ?? 6, problem.description)
        case let error as SpecError: end(2, error.description)
        case let end as JobFailed: JobCtl.end(1, end.sentence)
        default:
            let code = exitCode(for: error)
            if code.isSuccess {
                print(fullMessage(for: error))
                end(0, nil)
            }
            // swift-argument-parser ends usage errors with 64. What nobody foresaw must not look like a failed job.
            if code == .validationFailure { end(2, Usage.sentence(for: error)) }
            end(5, message(for: error).split(separator: "\n").joined(separator: " "))
        }
    }

    /// Prints one sentence on stderr and ends.
    static func end(_ code: Int32, _ sentence: String?) -> Never {
        fflush(nil)
        if let sentence { FileHandle.standardError.write(Data("jobctl: \(sentence)\n".utf8)) }
        _exit(code)
    }
}

/// The command went well; the job did not.
struct JobFailed: Error {
    /// Nil where the job's end was printed already.
    let sentence: String?
}

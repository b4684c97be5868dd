// jobctl exec: a second program beside a running attempt.
import ArgumentParser
import Foundation
import Glibc
import JobModel
import SchedulerClient

/// Whether a session has a terminal.
struct TerminalOptions: ParsableArguments {
    @Flag(name: [.customShort("t"), .customLong("tty")], help: "Give the program a terminal.") var wanted = false
    @Flag(name: .customLong("no-tty"), help: "Give the program pipes, also if this is a terminal.") var unwanted = false

    func validate() throws {
        if wanted, unwanted { throw ValidationError("--tty and --no-tty: use one of them") }
    }

    /// Where nothing is said: like here.
    var tty: Bool { wanted || !unwanted && UserTerminal.isBoth }
}

struct Exec: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Run a program in the container of a running attempt.",
        discussion: """
            Examples:

              jobctl exec 42 -- ps                     the only running task of job 42
              jobctl exec 42.7 -- sh                   task 7
              echo data | jobctl exec 42.7.2 -- cat    attempt 2 of task 7

            It runs as the job's user, with the same mounts and limits, and gets a
            terminal if this is one. When it has ended, or the connection is lost, what
            it started is stopped. Without a terminal, INT and TERM are passed on to it.

            The program's exit code is the exit code of jobctl; failures of jobctl
            itself have the codes 2 to 6, with a sentence on standard error.
            """)

    @Argument(help: "42, 42.7 or 42.7.2.", completion: Given.jobCompletion, transform: Given.subject)
    var subject: Subject
    @OptionGroup var terminal: TerminalOptions
    @Argument(parsing: .postTerminator, help: "The program, after '--'.") var command: [String] = []
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard !command.isEmpty else { throw ValidationError("a program is required: write it after '--'") }
    }

    func run() async throws {
        let client = try global.client()
        let attempt = try await attempt(client)
        let session = SessionClient(
            client: client, attempt: attempt, command: command, tty: terminal.tty,
            signals: SignalFeed(SessionClient.caught))
        do {
            JobCtl.end(Int32(try await session.run()), nil)
        } catch let end as SessionClient.Interrupted {
            JobCtl.end(128 + end.signal, nil)
        }
    }

    /// The attempt that is named, or the one that runs of the task or job that is.
    private func attempt(_ client: SchedulerClient) async throws -> AttemptID {
        if case .attempt(let id) = subject { return id }
        let running = try await client.allAttempts(of: subject.job, task: subject.task)
            .filter { $0.state == .known(.running) }.map(\.id)
        guard let first = running.first else {
            let job = try await client.job(subject.job)
            throw Problem(.conflict, "nothing of it runs: job \(job.id) is \(job.state)", field: "attempt")
        }
        guard running.count == 1 else {
            let some = running.prefix(5).map { $0.task.description }.joined(separator: ", ")
            throw Problem(
                .refused, "\(running.count) tasks of job \(subject.job) run: name one of them, for example \(some)")
        }
        return first
    }
}

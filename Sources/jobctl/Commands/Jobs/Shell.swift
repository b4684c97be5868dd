// jobctl shell: the environment of a job, for a person. A job with the same configuration and data that only waits, a
// session beside it, and the job's end when the session is over.
import ArgumentParser
import Foundation
import Glibc
import JobModel
import SchedulerClient

struct Shell: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shell", abstract: "Open a shell in the image of a job, with its mounts and its user.",
        discussion: """
            Examples:

              jobctl shell 42                                 why did it fail?
              jobctl shell 42 --task 7                        as its task 7
              jobctl shell temps@3 --bind input=weather/2015
              jobctl shell 42 -- python3                      another program than a shell

            The job's command is not run: it stands in 'jobctl config show'. What is
            written to outputs is not published; what is written to shared volumes
            stays. The shell takes a worker's room like any job and ends after 12 hours.

            The shell's exit code is the exit code of jobctl; failures of jobctl itself
            have the codes 2 to 6, with a sentence on standard error.
            """)

    @Argument(help: "A job id, NAME, NAME@VERSION or a configuration's digest.") var source: String
    @Option(help: ArgumentHelp("Bind a slot to other data.", valueName: "slot=volume/path")) var bind: [String] = []
    @Option(help: ArgumentHelp("Set a parameter.", valueName: "name=value")) var param: [String] = []
    @Option(help: "Of an array: whose parameters and paths; otherwise those of the first.") var task: Int64?
    @OptionGroup var terminal: TerminalOptions
    @Argument(parsing: .postTerminator, help: "A program instead of a shell, after '--'.") var command: [String] = []
    @OptionGroup var global: GlobalOptions

    /// Ends at once when it is asked to, never with success, and does not spin where there is no `sleep`.
    static let waiting = [
        "/bin/sh", "-c", "trap 'exit 143' TERM; while :; do sleep 3600 & wait $! || exit 69; done",
    ]
    static let shell = [
        "/bin/sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; else exec /bin/sh; fi",
    ]

    func run() async throws {
        let client = try global.client()
        let request = RerunRequest(
            source: source, bindings: try BindingOptions.pairs(bind, "--bind"),
            parameters: try BindingOptions.pairs(param, "--param"), command: Self.waiting, task: task)
        let signals = SignalFeed(SessionClient.caught)
        let job = try await client.rerun(request, idempotencyKey: UUID().uuidString)
        let end: Result<UInt8, any Error>
        do {
            let attempt = try await start(of: job, client, signals)
            let session = SessionClient(
                client: client, attempt: attempt, command: command.isEmpty ? Self.shell : command, tty: terminal.tty,
                signals: signals)
            end = .success(try await session.run())
        } catch {
            end = .failure(error)
        }
        await Self.cancel(job.id, client)
        switch end {
        case .success(let code): JobCtl.end(Int32(code), nil)
        case .failure(let interruption as SessionClient.Interrupted): JobCtl.end(128 + interruption.signal, nil)
        case .failure(let error): throw error
        }
    }

    /// The job's attempt once it runs. Says why it waits.
    private func start(of job: JobDocument, _ client: SchedulerClient, _ signals: SignalFeed) async throws
        -> AttemptID
    {
        try await withThrowingTaskGroup(of: AttemptID.self) { group in
            group.addTask { try await running(job, client) }
            group.addTask {
                for await signal in signals.signals where signal != SIGWINCH {
                    throw SessionClient.Interrupted(signal: signal)
                }
                throw CancellationError()
            }
            defer { group.cancelAll() }
            guard let attempt = try await group.next() else { throw CancellationError() }
            return attempt
        }
    }

    private func running(_ submitted: JobDocument, _ client: SchedulerClient) async throws -> AttemptID {
        say("job \(submitted.id) is a shell on \(submitted.name)")
        var said: String?
        while true {
            let job = try await client.job(submitted.id)
            if let reason = job.reason, reason != said {
                say("it is \(job.state): \(reason)")
                said = reason
            }
            let attempt = try await client.attempts(of: job.id, limit: 1000).attempts.last
            if job.state.value?.isTerminal == true {
                let why = attempt?.message ?? job.reason ?? "it has ended"
                throw Problem(.refused, "the shell could not be started: job \(job.id) \(job.state), \(why)")
            }
            if let attempt, attempt.state == .known(.running) {
                say("it runs on \(attempt.worker), and is cancelled when the shell ends")
                return attempt.id
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// Also through a short absence of the scheduler.
    private static func cancel(_ job: JobID, _ client: SchedulerClient) async {
        for round in 0..<20 {
            do throws(Problem) {
                _ = try await client.cancel(job)
                return
            } catch {
                guard error.kind == .unavailable, round < 19 else {
                    if error.kind != .conflict { say("job \(job) could not be cancelled: \(error)") }
                    return
                }
            }
            // allowed: a cancelled pause only shortens it
            try? await Task.sleep(for: .milliseconds(500))
        }
    }

    private func say(_ sentence: String) { if !global.quiet { Self.say(sentence) } }

    private static func say(_ sentence: String) {
        FileHandle.standardError.write(Data("jobctl: \(sentence)\n".utf8))
    }
}

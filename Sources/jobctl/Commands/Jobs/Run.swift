// jobctl run: submit, stream the output, end with the job's result.
import ArgumentParser
@preconcurrency import Dispatch
import Foundation
import JobModel
import SchedulerClient

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Submit a job, show its output, and end with its result.",
        discussion: "Example: jobctl run --image busybox:1.36 --bind input=weather:/data:ro -- wc -l /data/2014.csv")

    @Option(help: "The image.") var image: String
    @Option(
        help: ArgumentHelp("Bind data and say where it is mounted.", valueName: "slot=volume/path:/mount:ro|rw|out"))
    var bind: [String] = []
    @Option(help: ArgumentHelp("Set an environment variable.", valueName: "name=value")) var env: [String] = []
    @Option(help: ArgumentHelp("Send a file along and mount it.", valueName: "/path=file")) var file: [String] = []
    @Option(help: "Processors.") var cpus: Double?
    @Option(help: "Memory, for example 2GiB.") var memory: String?
    @Option(help: "GPUs.") var gpus: Int?
    @Option(help: "Wall time, for example 10m.") var timeLimit: String?
    @Option(help: "none, bridge or host.") var network: String?
    @Option(help: "The configuration's name, to rerun it by.") var name: String?
    @Argument(parsing: .postTerminator, help: "The command, after '--'.") var command: [String] = []
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard !command.isEmpty else { throw ValidationError("a command is required: write it after '--'") }
    }

    func run() async throws {
        let (spec, files, bindings) = try request()
        let client = try global.client()
        let job = try await client.submit(
            SubmitRequest(spec: spec, files: files, bindings: bindings), idempotencyKey: UUID().uuidString)
        // allowed: the job's end is shown either way
        let interrupt = Interrupt { Task { _ = try? await client.cancel(job.id) } }
        defer { interrupt.stop() }
        try await LogFollower(client: client, job: job.id, streams: LogStream.allCases).follow()
        let ended = try await Waiting.end(of: job.id, client)
        guard ended.state == .known(.succeeded) else {
            let attempt = try await client.attempts(of: job.id, limit: 1000).attempts.last
            throw JobFailed(
                sentence:
                    "job \(job.id) \(ended.state): \(attempt.map { $0.ending + ($0.message.map { ", " + $0 } ?? "") } ?? ended.reason ?? "it did not start")"
            )
        }
    }

    private func request() throws -> (JSONValue, [String: SubmittedFile], [String: String]) {
        var bindings: [String: String] = [:]
        var volumes: [JSONValue] = []
        for text in bind {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            let rest =
                parts.count == 2
                ? parts[1].split(separator: ":", omittingEmptySubsequences: false).map(String.init) : []
            guard parts.count == 2, (2...3).contains(rest.count) else {
                throw ValidationError("--bind: \(quoted(text)) must be SLOT=VOLUME/PATH:/MOUNT:MODE")
            }
            bindings[parts[0]] = rest[0]
            volumes.append(.string(([parts[0]] + rest.dropFirst()).joined(separator: ":")))
        }
        var members: [(key: String, value: JSONValue)] = [
            ("image", .string(image)), ("command", .array(command.map { .string($0) })),
        ]
        if !volumes.isEmpty { members.append(("volumes", .array(volumes))) }
        var resources: [(key: String, value: JSONValue)] = []
        if let cpus { resources.append(("cpus", .number(cpus))) }
        if let memory { resources.append(("memory", .string(memory))) }
        if let gpus { resources.append(("gpus", .number(Double(gpus)))) }
        if !resources.isEmpty { members.append(("resources", .object(resources))) }
        for (key, value) in [("time_limit", timeLimit), ("network", network), ("name", name)] {
            if let value { members.append((key, .string(value))) }
        }
        let environment = try BindingOptions.pairs(env, "--env")
        if !environment.isEmpty {
            members.append(("environment", .object(environment.map { ($0.key, .string($0.value)) })))
        }
        let names = try BindingOptions.pairs(file, "--file")
        if !names.isEmpty { members.append(("files", .object(names.map { ($0.key, .string($0.value)) }))) }
        return (.object(members), try SpecFile.files(names, beside: ""), bindings)
    }
}

/// Calls a body at the first Ctrl-C; the second ends the program as usual.
final class Interrupt: Sendable {
    private let source: any DispatchSourceSignal

    init(_ body: @escaping @Sendable () -> Void) {
        signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT)
        source.setEventHandler {
            signal(SIGINT, SIG_DFL)
            printError("cancelling the job; press Ctrl-C again to leave it running")
            body()
        }
        source.activate()
        self.source = source
    }

    func stop() { source.cancel() }
}

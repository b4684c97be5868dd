// jobctl run: submit, stream the output, end with the job's result.
import ArgumentParser
@preconcurrency import Dispatch
import Foundation
import JobModel
import SchedulerClient

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Submit a job, show its output, and end with its result.",
        discussion: """
            Examples:

              jobctl run --image busybox:1.36 -- echo hello
              jobctl run --image busybox:1.36 --bind input=weather/2014:/data:ro -- \\
                  wc -l /data/seattle.csv
              jobctl run --image lab/stack:1 --cpus 4 --memory 8GiB --name fit \\
                  --file /job/fit.R=fit.R -- Rscript /job/fit.R

            The command stands after '--' and is executed directly; for pipes write
            -- sh -c 'a | b'. It sees no environment, home or network of this machine.
            Ctrl-C cancels the job. With '-o json' the job is printed at the end, and what
            it prints goes to standard error. Give it a --name to run it again by.
            """)

    @Option(help: "The image.") var image: String
    @Option(
        help: ArgumentHelp(
            "Bind data and say where it is mounted. May be repeated.", valueName: "slot=volume/path:/mount:ro|rw|out"))
    var bind: [String] = []
    @Option(help: ArgumentHelp("Set a parameter that ${params.NAME} stands for.", valueName: "name=value"))
    var param: [String] = []
    @Option(help: ArgumentHelp("Set an environment variable. May be repeated.", valueName: "name=value"))
    var env: [String] = []
    @Option(
        help: ArgumentHelp("Send a file along and mount it. May be repeated.", valueName: "/path=file"),
        completion: .file())
    var file: [String] = []
    @Option(help: "Processors, for example 2 or 0.5.", transform: Given.cpus) var cpus: Double?
    @Option(help: "Memory, for example 2GiB.") var memory: String?
    @Option(help: "GPUs.", transform: { try Given.integer($0, in: 0...SpecLimits.gpus) }) var gpus: Int?
    @Option(help: "Wall time, for example 10m.") var timeLimit: String?
    @Option(
        help: "How often it may be tried again after a failure.",
        transform: { try Given.integer($0, in: 0...SpecLimits.retries) })
    var retries: Int?
    @Option(help: "Tasks, for example 1-100; each has its number in $JOBCTL_TASK_INDEX.") var array: String?
    @Option(help: "none, bridge or host.", completion: .list(NetworkMode.allCases.map(\.rawValue)))
    var network: String?
    @Option(help: "The working directory in the container.") var workdir: String?
    @Option(help: "The configuration's name, to rerun it by.") var name: String?
    @Option(help: "The queue.") var queue: String?
    @Option(
        help: "How long its images are kept: always, on-success or never.",
        completion: .list(KeepPolicy.allCases.map(\.rawValue)), transform: Given.keep)
    var keep: KeepPolicy?
    @Option(help: "Larger runs first: -1000 to 1000.", transform: Given.priority) var priority: Int?
    @Argument(parsing: .postTerminator, help: "The command, after '--'.") var command: [String] = []
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard !command.isEmpty else { throw ValidationError("the command is empty: write a program after '--'") }
    }

    func run() async throws {
        let request = try request()
        let client = try global.client()
        let job = try await client.submit(request, idempotencyKey: UUID().uuidString)
        for warning in job.warnings ?? [] { printError("warning: \(warning)") }
        // allowed: the job's end is shown either way
        let interrupt = Interrupt { Task { _ = try? await client.cancel(job.id) } }
        defer { interrupt.stop() }
        let copier = LogCopier(client: client, target: global.output == .json ? .standardError : .streams)
        try await LogFollower(copier: copier, job: job.id, streams: LogStream.allCases).follow()
        let ended = try await Waiting.end(of: job.id, client)
        if global.output == .json { try Render.json(ended) }
        guard ended.state != .known(.succeeded) else { return }
        let last = try await client.allAttempts(of: job.id).last { $0.state != .known(.succeeded) }
        let why = last.map { $0.ending + ($0.message.map { ", " + $0 } ?? "") } ?? ended.reason ?? "it did not start"
        throw JobFailed(sentence: "\(Waiting.sentence(ended)): \(why)")
    }

    private func request() throws -> SubmitRequest {
        let (bindings, volumes) = try mounts()
        let environment = try BindingOptions.pairs(env, "--env")
        let names = try BindingOptions.pairs(file, "--file")
        let parameters = try BindingOptions.pairs(param, "--param")
        var resources: [(key: String, value: JSONValue)] = []
        if let cpus { resources.append(("cpus", .number(cpus))) }
        if let memory { resources.append(("memory", .string(memory))) }
        if let gpus { resources.append(("gpus", .number(Double(gpus)))) }
        let members: [(key: String, value: JSONValue?)] = [
            ("image", .string(image)), ("command", .array(command.map { .string($0) })),
            ("volumes", volumes.isEmpty ? nil : .array(volumes)),
            ("resources", resources.isEmpty ? nil : .object(resources)), ("environment", Self.object(environment)),
            ("files", Self.object(names)), ("time_limit", timeLimit.map { .string($0) }),
            ("retries", retries.map { .number(Double($0)) }), ("array", array.map { .string($0) }),
            ("network", network.map { .string($0) }), ("working_dir", workdir.map { .string($0) }),
            ("name", name.map { .string($0) }), ("queue", queue.map { .string($0) }),
            ("priority", priority.map { .number(Double($0)) }), ("keep", keep.map { .string($0.rawValue) }),
        ]
        return SubmitRequest(
            spec: .object(members.compactMap { member in member.value.map { (member.key, $0) } }),
            files: try SpecFile.files(names, beside: ""), bindings: bindings, parameters: parameters)
    }

    private static func object(_ map: [String: String]) -> JSONValue? {
        map.isEmpty ? nil : .object(map.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
    }

    /// `--bind` names what is bound and where it is mounted; the two go different ways.
    private func mounts() throws(Problem) -> (bindings: [String: String], volumes: [JSONValue]) {
        var bindings: [String: String] = [:]
        var volumes: [JSONValue] = []
        for text in bind {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            let rest =
                parts.count == 2
                ? parts[1].split(separator: ":", omittingEmptySubsequences: false).map(String.init) : []
            guard parts.count == 2, (2...3).contains(rest.count) else {
                throw Problem(
                    .badRequest,
                    "\(quoted(text)) must be SLOT=VOLUME/PATH:/MOUNT:MODE, for example input=weather/2014:/data:ro",
                    field: "--bind")
            }
            guard bindings.updateValue(rest[0], forKey: parts[0]) == nil else {
                throw Problem(.badRequest, "\(quoted(parts[0])) is given twice", field: "--bind")
            }
            volumes.append(.string(([parts[0]] + rest.dropFirst()).joined(separator: ":")))
        }
        return (bindings, volumes)
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

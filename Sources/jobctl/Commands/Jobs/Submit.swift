// jobctl submit: a spec file and a few flags become a SubmitRequest.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

/// Flags that submit and rerun share.
struct BindingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Bind a slot to data, for example input=weather/2014. May be repeated.", valueName: "slot=volume/path"))
    var bind: [String] = []

    @Option(help: ArgumentHelp("Set a parameter. May be repeated.", valueName: "name=value")) var param: [String] = []
    @Option(help: "The queue.") var queue: String?
    @Option(help: "Larger runs first: -1000 to 1000.", transform: Given.priority) var priority: Int?
    @Flag(help: "Accept the job, but start it only when it is released.") var hold = false
    @Option(
        help: "How long its images are kept: always, on-success or never.",
        completion: .list(KeepPolicy.allCases.map(\.rawValue)), transform: Given.keep)
    var keep: KeepPolicy?
    @Option(
        help: ArgumentHelp(
            "Names this submission: the same key again gives the same job. For scripts that try until it worked.",
            valueName: "key"))
    var idempotencyKey: String?

    /// A key of this call alone, where none was given.
    var key: String { idempotencyKey ?? UUID().uuidString }

    func validate() throws {
        if let key = idempotencyKey,
            key.isEmpty || key.utf8.count > 128 || !key.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        {
            throw ValidationError("--idempotency-key: \(quoted(key)) must be 1 to 128 ASCII characters without spaces")
        }
    }

    static func pairs(_ texts: [String], _ flag: String) throws(Problem) -> [String: String] {
        var map: [String: String] = [:]
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty else {
                let rule = flag == "--bind" ? "SLOT=VOLUME/PATH" : "NAME=VALUE"
                throw Problem(.badRequest, "\(quoted(text)) must be \(rule)", field: flag)
            }
            guard map.updateValue(parts[1], forKey: parts[0]) == nil else {
                throw Problem(.badRequest, "\(quoted(parts[0])) is given twice", field: flag)
            }
        }
        return map
    }
}

struct Submit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit", abstract: "Submit a job.",
        discussion: """
            Examples:

              jobctl submit temps.yaml --bind input=weather/2014 --bind output=results
              jobctl submit temps.yaml --bind input=weather/2014 --wait
              id=$(jobctl submit temps.yaml -q) && jobctl wait $id
              jobctl submit report.yaml --after-ok $id

            A spec needs little:

              name: annual-temps
              image: docker.io/library/python:3.12-slim
              command: ["python3", "/job/mean.py"]
              files: {/job/mean.py: ./mean.py}
              volumes: [input:/data:ro, output:/out:out]
              resources: {cpus: 1, memory: 512MiB}

            A slot that is not bound takes the volume of its own name. What an 'out' slot
            received is published as BINDING/JOB/TASK once the task has succeeded. An
            image's tag is resolved once, now; reruns use the same digest.

            A job that waits for others is cancelled if they end otherwise than it waits
            for. In a spec: depends_on: {after_ok: [41, 42]}.
            """)

    @Argument(
        help: "The job spec, YAML or JSON; '-' for standard input.",
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var spec: String
    @OptionGroup var bindings: BindingOptions
    @OptionGroup var dependencies: DependencyOptions
    @Option(help: "The configuration's name, instead of the spec's.") var name: String?
    @Option(
        help: ArgumentHelp("Start nothing before: 2027-01-01T06:00:00Z, or 2h from now.", valueName: "time"),
        transform: Given.moment)
    var startAfter: String?
    @Option(
        help: ArgumentHelp("Cancel what has not ended by then, and start nothing that could not.", valueName: "time"),
        transform: Given.moment)
    var deadline: String?
    @Option(help: "How many tasks may run at a time.", transform: Given.maxRunning) var maxRunning: Int?
    @Flag(help: "Wait until the job has ended.") var wait = false
    @OptionGroup var global: GlobalOptions

    /// Station 1 of 8. Next: Sources/SchedulerClient/SchedulerClient+Jobs.swift
    func run() async throws {
        let file = try SpecFile(spec)
        if PipelineSpec.isPipeline(file.tree) { return try await runTogether(file) }
        var request = try file.request(overrides: overrides)
        request.bindings = try BindingOptions.pairs(bindings.bind, "--bind")
        request.parameters = try BindingOptions.pairs(bindings.param, "--param")
        request.hold = bindings.hold
        request.spec = dependencies.added(to: request.spec)
        let client = try global.client()
        let job = try await client.submit(request, idempotencyKey: bindings.key)
        try await Submitted.show(job, wait: wait, client, global)
    }

    private func runTogether(_ file: SpecFile) async throws {
        let request = try PipelineFile(
            file, overrides: overrides.filter { $0.0 != "name" }, bindings: bindings, dependencies: dependencies
        ).request(name: name)
        let client = try global.client()
        let pipeline = try await client.submit(request, idempotencyKey: bindings.key)
        try await Submitted.show(pipeline, wait: wait, client, global)
    }

    private var overrides: [(String, JSONValue)] {
        [
            ("name", name.map { .string($0) }), ("queue", bindings.queue.map { .string($0) }),
            ("priority", bindings.priority.map { .number(Double($0)) }),
            ("keep", bindings.keep.map { .string($0.rawValue) }),
            ("start_after", startAfter.map { .string($0) }), ("deadline", deadline.map { .string($0) }),
            ("max_running", maxRunning.map { .number(Double($0)) }),
        ]
        .compactMap { key, value in value.map { (key, $0) } }
    }
}

/// What submit and rerun print.
enum Submitted {
    static func show(_ job: JobDocument, wait: Bool, _ client: SchedulerClient, _ global: GlobalOptions) async throws {
        for warning in job.warnings ?? [] { printError("warning: \(warning)") }
        if !wait {
            return try Render.one(job, quiet: job.id.description, global.format) {
                "job \(job.id) (\(job.name)) is \(job.state)\nconfiguration \(job.configuration.digest)\nimage \(job.image.reference) = \(job.image.digest)"
                    + (job.pulls ?? []).map { "\n\($0.reference) is on its way: 'jobctl show \(job.id)' says how far" }
                    .joined()
            }
        }
        let ended = try await Waiting.end(of: job.id, client)
        try Render.one(ended, quiet: ended.id.description, global.format) { ended.page }
        guard ended.state == .known(.succeeded) else { throw JobFailed(sentence: Waiting.sentence(ended)) }
    }

    static func show(
        _ pipeline: PipelineDocument, wait: Bool, _ client: SchedulerClient, _ global: GlobalOptions
    ) async throws {
        var pipeline = pipeline
        if wait { pipeline.jobs = try await Waiting.end(of: pipeline.jobs.map(\.id), client) }
        try Render.list(pipeline.jobs, document: pipeline, global.format)
        if wait { try Waiting.mustHaveSucceeded(pipeline.jobs) }
    }
}

/// A spec file with the files that it names.
struct SpecFile {
    let tree: SpecNode
    private let folder: String

    /// - Throws: ``SpecError`` with file and line, or ``Problem`` that names the file.
    init(_ path: String) throws {
        let limit = DocumentLimits().size
        let name = path == "-" ? "standard input" : path
        let handle: FileHandle
        if path == "-" {
            handle = .standardInput
        } else {
            guard let opened = FileHandle(forReadingAtPath: path) else {
                throw Problem(.badRequest, "the spec \(quoted(path)) cannot be read")
            }
            handle = opened
        }
        guard let data = try? handle.read(upToCount: limit + 1) ?? Data() else {  // allowed: said in the error
            throw Problem(.badRequest, "the spec \(quoted(path)) cannot be read")
        }
        tree = try SpecParser.tree(file: name, Array(data))
        folder = path == "-" ? FileManager.default.currentDirectoryPath : (path as NSString).deletingLastPathComponent
    }

    func request(overrides: [(String, JSONValue)]) throws -> SubmitRequest {
        try request(of: try SpecParser.parse(tree), tree, overrides: overrides)
    }

    /// One of several specs.
    func request(of spec: JobSpec, _ tree: SpecNode, overrides: [(String, JSONValue)]) throws -> SubmitRequest {
        var members: [(key: String, value: JSONValue)] = []
        if case .object(let written) = tree.specJSON { members = written }
        for (key, value) in overrides { members = members.filter { $0.key != key } + [(key, value)] }
        return SubmitRequest(spec: .object(members), files: try Self.files(spec.files, beside: folder))
    }

    static func files(_ names: [String: String], beside folder: String) throws -> [String: SubmittedFile] {
        var total = 0
        var files: [String: SubmittedFile] = [:]
        for (target, source) in names.sorted(by: { $0.key < $1.key }) {
            let path = source.hasPrefix("/") || folder.isEmpty ? source : folder + "/" + source
            guard let handle = FileHandle(forReadingAtPath: path),
                let data = try? handle.read(upToCount: SpecLimits.filesBytes + 1)
            else {  // allowed: said in the error
                throw Problem(.badRequest, "the file \(quoted(path)) cannot be read", field: "files.\(target)")
            }
            total += data.count
            guard total <= SpecLimits.filesBytes else {
                throw Problem(
                    .tooLarge,
                    "the files have more than \(ByteCount(bytes: Int64(SpecLimits.filesBytes))): put data into a volume",
                    field: "files.\(target)")
            }
            files[target] = SubmittedFile(
                content: data.base64EncodedString(), executable: FileManager.default.isExecutableFile(atPath: path))
        }
        return files
    }
}

// One attempt as a CreateAction of the Process Run Crate profile: who ran what on which data, when, where, and how it
// ended.
import JobModel

struct CrateAction: Sendable {
    let attempt: AttemptDocument
    let run: ExportedRun
    /// Of inputs and outputs.
    let data: [CrateData]
    /// Logs and lists that are in the export, by path.
    let files: [String]
    private let inputs: [CrateData]
    private let outputs: [CrateData]
    private let logs: [String]

    init(attempt: AttemptDocument, run: ExportedRun, paths: Set<ExportPath>) {
        self.attempt = attempt
        self.run = run
        func data(_ trees: [String: TreeFingerprint]) -> [CrateData] {
            trees.sorted { $0.key < $1.key }.map {
                CrateData($0.key, $0.value, configuration: run.record.configuration, paths: paths)
            }
        }
        inputs = data(attempt.inputs)
        outputs = data(attempt.outputs)
        self.data = inputs + outputs
        logs = LogStream.allCases.map {
            ExportPath.runFile(
                origin: run.origin, run.job, ExportPath.log(LogKey(attempt: attempt.id, stream: $0)))
        }.filter { paths.contains($0) }.map { "\($0)" }
        let trees = (Array(attempt.inputs.values) + Array(attempt.outputs.values)).compactMap(\.treeDigest)
        files = logs + trees.map { ExportPath.tree($0) }.filter { paths.contains($0) }.map { "\($0)" }
    }

    var id: String { "#\(run.origin)-\(attempt.id)" }
    var agent: String { run.record.owner.name.rawValue }
    static func image(_ digest: Digest) -> String { "#image-\(digest.hex)" }

    var entity: JSONValue {
        let hasSucceeded = attempt.state == Open(.succeeded)
        var members: [(key: String, value: JSONValue)] = [
            ("@id", .string(id)), ("@type", .string("CreateAction")),
            ("name", .string("Attempt \(attempt.id) of \(run.record.name)")), ("description", .string(description)),
            ("agent", .reference("#user-\(agent)")),
            ("instrument", .reference("\(ExportPath.configuration(run.record.configuration))")),
            ("containerImage", .references(run.record.imageDigests.map(Self.image))),
            ("object", .references(inputs.map(\.id))), ("result", .references(outputs.map(\.id) + logs)),
            (
                "actionStatus",
                .string("http://schema.org/\(hasSucceeded ? "CompletedActionStatus" : "FailedActionStatus")")
            ),
        ]
        if let time = attempt.startedAt { members.append(("startTime", .string(time.crateText))) }
        if let time = attempt.finishedAt { members.append(("endTime", .string(time.crateText))) }
        if !hasSucceeded { members.append(("error", .string(ending))) }
        return .object(members)
    }

    private var ending: String {
        var text = "\(attempt.state)" + (attempt.reason.map { " (\($0))" } ?? "")
        if let code = attempt.exitCode { text += ", exit code \(code)" }
        if let signal = attempt.signal { text += ", signal \(signal)" }
        return text
    }

    private var description: String {
        let record = run.record
        let values = record.bindings.map { "\($0.key)=\($0.value)" } + record.parameters.map { "\($0.key)=\($0.value)" }
        var text = "Task \(attempt.id.task) on the worker \(attempt.worker)"
        if let engine = attempt.engine { text += " by \(engine)" }
        if !values.isEmpty { text += ", with " + values.sorted().joined(separator: ", ") }
        if let verified = record.verifies { text += ", to verify job \(verified)" }
        text += ": \(ending)"
        if let usage = attempt.usage {
            text += "; \(usage.wallSeconds) s, \(usage.cpuSeconds) s of cpu, at most \(usage.maxMemory) of memory"
        }
        return text
    }
}

extension JSONValue {
    /// `{"@id": …}`
    static func reference(_ id: String) -> JSONValue { .object([("@id", .string(id))]) }
    /// One alone is no list.
    static func references(_ ids: [String]) -> JSONValue {
        ids.count == 1 ? reference(ids[0]) : .array(ids.map { reference($0) })
    }
}

extension Timestamp {
    /// RFC 3339 with an offset in digits, as the profile's patterns want it.
    var crateText: String { description.hasSuffix("Z") ? description.dropLast() + "+00:00" : description }
}

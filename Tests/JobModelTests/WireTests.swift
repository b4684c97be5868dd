// The wire as golden documents: each type as it is written today, and as release 0.1 wrote it, which must be read for
// ever.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("wire documents")
struct WireTests {
    private static let time = Timestamp("2026-11-24T13:30:00.250Z")!
    private static let digest = Digest(of: "content")
    private static let tree = TreeFingerprint(
        treeDigest: digest, level: .content, files: 3, bytes: ByteCount(bytes: 4096))
    private static let usage = Usage(cpuSeconds: 1.5, maxMemory: ByteCount(bytes: 1 << 20), wallSeconds: 2)
    private static let amounts = WorkerResources(
        cpus: CPUAmount(thousandths: 1500), memory: ByteCount(bytes: 8 << 30), gpus: ["GPU-0"])
    static let input = SlotName(rawValue: "input")!

    static let job = JobDocument(
        id: JobID("42")!, name: "annual-temps", state: Open(.failed), reason: "1 of 4 tasks failed", owner: "ada",
        queue: "default", priority: -5,
        configuration: ConfigurationReference(digest: digest, name: "annual-temps", version: 3),
        image: ImageReferenceAndDigest(reference: "python:3.12", digest: digest), bindings: ["input": "weather/2014"],
        parameters: ["model": "a"],
        tasks: TaskCounts(total: 4, pending: 0, running: 0, succeeded: 3, failed: 1, cancelled: 0),
        rerunOf: JobID("7")!, submittedAt: time,
        startedAt: time, finishedAt: time, labels: ["team": "climate"],
        shape: .matrix([.init(name: "year", values: ["2012", "2013"]), .init(name: "level", values: ["high", "low"])]),
        revision: 9)

    static let task = TaskDocument(
        id: TaskID("42.7")!, state: Open(.failed), reason: "exit-code", parameters: ["year": "2012"], attempts: 2)

    static let attempt = AttemptDocument(
        id: AttemptID("42.7.2")!, worker: "node1", engine: "docker", state: Open(.failed), reason: Open(.exitCode),
        exitCode: 3, signal: 9,
        message: "a \"quoted\" line\nand another: é", startedAt: time, finishedAt: time, inputs: ["input": tree],
        outputs: ["output": tree], usage: usage,
        gpus: ["GPU-0"])

    static let worker = WorkerDocument(
        name: "node1", state: Open(.draining), capacity: amounts, free: amounts, labels: ["zone": "a"],
        volumes: ["weather": VolumeOffer(writable: false)],
        engines: ["docker"], version: "0.1.0", lastSeen: time, attempts: [AttemptID("42.7.2")!],
        weaknesses: ["swap is not limited"])

    static let configuration = Configuration(
        image: PinnedImage(digest: digest, platform: "linux/amd64"), command: ["a", "${params.x}"],
        environment: ["A": "1"], workingDirectory: "/w",
        files: ["/f": ConfigurationFile(digest: digest, executable: true)],
        slots: [input: Slot(path: "/data", mode: .ro)], network: .none,
        resources: .standard)

    static let record = JobRecord(
        name: "annual-temps", owner: Identity(name: UserName(rawValue: "ada")!, uid: 1000, gid: 100), queue: .standard,
        priority: 0, configuration: digest,
        configurationVersion: ConfigurationVersion(name: ConfigurationName(rawValue: "annual-temps")!, version: 3),
        imageReference: "python:3.12",
        image: PinnedImage(digest: digest, platform: nil), resources: .standard,
        slots: [input: Slot(path: "/data", mode: .ro)],
        bindings: [input: Binding("weather/2014")!], parameters: ["x": "1"], shape: .array(first: 1, last: 100),
        labels: ["team": "climate"],
        constraints: [Constraint(label: "zone", comparison: .notEqual, value: "b")], retries: 2,
        timeLimit: .minutes(10), grace: .seconds(10),
        fingerprint: .metadata, rerunOf: JobID("7")!)

    static let registration = WorkerRegistration(
        cpus: CPUAmount(cpus: 4), memory: ByteCount(bytes: 8 << 30), gpus: ["GPU-0"], labels: ["zone": "a"],
        volumes: [VolumeName(rawValue: "weather")!: VolumeOffer(writable: true)], allowedPaths: ["/data"],
        engines: ["docker", "podman"], version: "0.1.0", weaknesses: ["swap is not limited"],
        address: "10.0.0.7")

    static let report = AttemptReport(
        attempt: AttemptID("42.7.2")!, sequence: 3, state: .succeeded, reason: .exitCode, exitCode: 0, signal: nil,
        message: "done", engine: "docker",
        startedAt: time, finishedAt: time, inputs: [input: tree], outputs: [:], usage: usage)

    static let request = SyncRequest(
        incarnation: "life-1", sequence: 17, registration: registration, live: [AttemptID("42.7.2")!],
        reports: [report], wait: TimeSpan(milliseconds: 10_500), proof: "1764000000000-17")

    static let response = SyncResponse(
        lease: .minutes(10), interval: .seconds(10),
        start: [
            StartOrder(attempt: AttemptID("42.8.1")!, gpus: ["GPU-0"]),
            StartOrder(attempt: AttemptID("43.1.1")!, gpus: [], gangHosts: ["10.0.0.7", "node-2"]),
        ],
        stop: [StopOrder(attempt: AttemptID("42.9.1")!, reason: .cancelled)], publish: [AttemptID("42.3.1")!],
        forget: [AttemptID("42.1.1")!],
        jobs: [JobBrief(id: JobID("42")!, record: record)], configurations: [digest: configuration],
        registrationWanted: false, limits: [LimitOrder(job: JobID("42")!, timeLimit: .minutes(20))],
        challenge: "1764000000000-17")

    static let image = ImageDocument(
        digest: digest, references: ["docker.io/library/python:3.12"],
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        size: ByteCount(bytes: 123), platforms: ["linux/amd64"], layers: [digest], createdAt: time, complete: true)

    static let status = StatusDocument(
        version: "0.1.0", startedAt: time, jobs: ["running": 1], tasks: TaskCounts(total: 4, pending: 4),
        workers: ["ready": 2], capacity: amounts,
        free: amounts)

    private static let configurationDocument = ConfigurationDocument(
        digest: digest, names: [record.configurationVersion!], createdAt: time, imageReference: "python:3.12",
        configuration: configuration)

    /// One type of the wire: its name, its golden text, and whether some text decodes to what was encoded.
    struct Document: Sendable, CustomTestStringConvertible {
        let name: String
        let json: @Sendable () throws -> [UInt8]
        let again: @Sendable ([UInt8]) throws -> [UInt8]
        var testDescription: String { name }

        init<Value: Codable & Sendable>(_ name: String, _ value: Value) {
            self.name = name
            json = { try WireJSON.encode(value, pretty: true) }
            again = { try WireJSON.encode(try WireJSON.decode(Value.self, from: $0), pretty: true) }
        }
    }

    static let documents = [
        Document("job", job), Document("job-list", JobList(jobs: [job], next: "42")), Document("task", task),
        Document("task-list", TaskList(tasks: [task], next: nil)), Document("attempt", attempt),
        Document("attempt-list", AttemptList(attempts: [attempt], next: "7.2")), Document("worker", worker),
        Document("worker-list", WorkerList(workers: [worker], next: nil)),
        Document("configuration", configurationDocument),
        Document("configuration-list", ConfigurationList(configurations: [configurationDocument], next: "1")),
        Document("image", image),
        Document("image-list", ImageList(images: [image], next: nil)), Document("status", status),
        Document("user", UserDocument(name: "ada", role: .user, uid: 1000, gid: 100, token: "jobctl_x")),
        Document(
            "user-list",
            UserList(users: [UserDocument(name: "ada", role: .admin, uid: 1, gid: 1, token: nil)], next: "ada")),
        Document("problem", Problem(.refused, "a sentence", field: "$.spec.image")), Document("sync-request", request),
        Document("sync-response", response),
        Document(
            "submit-request",
            SubmitRequest(
                spec: .object([("image", .string("a")), ("command", .array([.string("b")]))]),
                files: ["/f": SubmittedFile(content: "aGVsbG8=", executable: true)], bindings: ["input": "weather"],
                parameters: ["x": "1"], hold: true)),
        Document(
            "rerun-request",
            RerunRequest(source: "annual-temps@3", bindings: ["input": "weather/2015"], queue: "long", priority: 3)),
    ]

    @Test("each type is written as its golden document, and read back to the same", arguments: documents)
    func golden(document: Document) throws {
        let json = try document.json()
        try GoldenFile("wire/\(document.name).json").expect(String(decoding: json, as: UTF8.self) + "\n")
        #expect(try document.again(json) == json)
    }

    /// Kept from release 0.1. When one of these fails, a field was renamed, or a new field was made obligatory.
    @Test("documents of release 0.1 are read, and nothing of them is lost", arguments: documents)
    func oldDocuments(document: Document) throws {
        let old = Array(try Data(contentsOf: GoldenFile("wire-0.1/\(document.name).json").url))
        func paths(_ bytes: [UInt8]) throws -> Set<String> { Self.paths(try JSONParser.parse(bytes).json, "$") }
        let lost = try paths(old).subtracting(paths(document.again(old)))
        #expect(lost.isEmpty)
    }

    private static func paths(_ value: JSONValue, _ path: String) -> Set<String> {
        switch value {
        case .object(let members): members.reduce(into: []) { $0.formUnion(paths($1.value, "\(path).\($1.key)")) }
        case .array(let values):
            values.enumerated().reduce(into: []) { $0.formUnion(paths($1.element, "\(path)[\($1.offset)]")) }
        case .null: []
        default: ["\(path) = \(String(decoding: value.canonical, as: UTF8.self))"]
        }
    }

    @Test("a state or reason that this version does not know is kept as it came")
    func unknownValues() throws {
        func replaced(_ name: String, _ old: String, _ new: String) throws -> [UInt8] {
            let text = try String(contentsOf: GoldenFile("wire/\(name).json").url, encoding: .utf8)
            try #require(text.contains(old))
            return Array(text.replacing(old, with: new).utf8)
        }
        let job = try WireJSON.decode(JobDocument.self, from: replaced("job", "\"failed\",", "\"hibernating\","))
        #expect(job.state == .unknown("hibernating") && job.state.value == nil)
        #expect(String(decoding: try WireJSON.encode(job), as: UTF8.self).contains("\"hibernating\""))
        let attempt = try WireJSON.decode(
            AttemptDocument.self, from: replaced("attempt", "\"exit-code\"", "\"cosmic-ray\""))
        #expect(attempt.reason == .unknown("cosmic-ray"))
        let worker = try WireJSON.decode(WorkerDocument.self, from: replaced("worker", "\"draining\"", "\"resting\""))
        #expect(worker.state == .unknown("resting"))
        let problem = try WireJSON.decode(Problem.self, from: replaced("problem", "problem:refused", "problem:novel"))
        #expect(problem.kind == nil && problem.detail == "a sentence")
    }

    @Test(
        "fields that this version does not know are passed over",
        arguments: documents.filter { $0.name != "submit-request" })
    func newFields(document: Document) throws {
        let json = try document.json()
        let more = Array(#"{"added_later": {"a": [1]}, "#.utf8) + json.dropFirst()
        #expect(try document.again(more) == json)
    }

    @Test("a submit request that is written in order is the request that the coder writes")
    func submitRequest() throws {
        let request = SubmitRequest(
            spec: .object([("matrix", .object([("z", .array([.number(1)])), ("a", .array([.string("\u{1}\"é")]))]))]),
            files: [
                "/g": SubmittedFile(content: "", executable: false),
                "/f": SubmittedFile(content: "aGk=", executable: true),
            ], bindings: ["b": "v"],
            parameters: ["p": "1"], hold: true)
        let coded = try JSONParser.parse(try WireJSON.encode(request)).json
        #expect(try JSONParser.parse(request.json).json.canonical == coded.canonical)
        #expect(String(decoding: request.json, as: UTF8.self).hasPrefix(#"{"spec":{"matrix":{"z":[1],"a":["#))
    }

    @Test("each kind of problem: status, exit code, and whether to try again")
    func problems() throws {
        let lines = ProblemKind.allCases.map { kind in
            let problem = Problem(kind, "…")
            return
                "\(kind.rawValue.padding(toLength: 18, withPad: " ", startingAt: 0)) \(problem.status)  exit \(kind.exitCode)  "
                + "\(problem.retryable ? "again" : "-")      \(problem.title)\n"
        }
        try GoldenFile("problems.txt").expect(lines.joined())
    }

    @Test(
        "what cannot be decoded is a problem that names the field",
        arguments: [
            ("{}", "$.protocol: is required"), ("[]", "$: has the wrong type"), ("", "the body is not valid JSON"),
            ("{\"protocol\": \"x\"", "the body is not valid JSON"),
        ])
    func decoding(text: String, sentence: String) {
        let problem = #expect(throws: Problem.self) { try WireJSON.decode(SyncRequest.self, from: text.utf8) }
        #expect(problem?.kind == .badRequest)
        #expect(problem?.description.hasPrefix(sentence) == true, "\(problem?.description ?? "")")
    }
}

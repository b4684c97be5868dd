// Documents that are written without Codable are the same bytes as Codable writes.
import JobModel
import Testing

@Suite struct UncodedJSONTests {
    private let strange = "a \"quoted\" back\\slash /path\t\u{1}é 日本"

    private let counts = ResourceCounts([ResourceName(unchecked: "tape"): 1, ResourceName(unchecked: "fpga"): 2])

    private func record(shape: TaskShape, full: Bool) -> JobRecord {
        let slot = SlotName(unchecked: "input")
        var record = JobRecord(
            name: strange, owner: Identity(name: UserName(unchecked: "ada"), uid: 1001, gid: 1002),
            queue: .standard, priority: -7, configuration: Digest(of: "configuration"),
            configurationVersion: full
                ? ConfigurationVersion(name: ConfigurationName(unchecked: "a"), version: 3) : nil,
            imageReference: "docker.io/library/busybox:1.36",
            image: PinnedImage(digest: Digest(of: "image"), platform: full ? "linux/amd64" : nil),
            resources: Resources(
                cpus: CPUAmount(thousandths: full ? 1500 : 2000), memory: ByteCount(bytes: 1 << 40), gpus: 2,
                disk: ByteCount(bytes: full ? 1 << 20 : 0), custom: full ? counts : .none),
            slots: full
                ? [slot: Slot(path: "/data", mode: .ro), SlotName(unchecked: "Out"): Slot(path: "/o", mode: .out)]
                : [:],
            bindings: full ? [slot: Binding(root: .volume(VolumeName(unchecked: "weather")), path: "2014")] : [:],
            parameters: full ? ["year": "2014", strange: strange] : [:], shape: shape,
            labels: full ? ["z": "1", "a": strange] : [:],
            constraints: full ? [Constraint(label: "stack", comparison: .notEqual, value: "r")] : [],
            retries: 3, timeLimit: full ? TimeSpan(milliseconds: 1250) : nil, grace: .seconds(10),
            fingerprint: .metadata, rerunOf: full ? JobID(rawValue: 41) : nil, keep: full ? .onSuccess : .always,
            placement: full
                ? PlacementRequest(
                    licenses: counts, preferences: [Constraint(label: "zone", comparison: .equal, value: "a")],
                    strategy: .spread, isExclusive: true) : .standard,
            dependencies: full ? [Dependency(job: JobID(rawValue: 40), kind: .afterOKEach)] : [])
        if full {
            record.schedule = ScheduleName(unchecked: "yearly")
            record.pipeline = PipelineReference(id: JobID(rawValue: 39), name: ConfigurationName(unchecked: "p"))
        }
        if full {
            record.rules.startAfter = Timestamp(millisecondsSinceEpoch: 1_764_000_000_250)
            record.rules.deadline = Timestamp(millisecondsSinceEpoch: 1_764_000_900_000)
            record.rules.mostRunning = 50
            record.rules.retryOn = [75, 137]
            record.rules.retryNotOn = [2]
        }
        return record
    }

    @Test("a job's record is written as Codable writes it")
    func record() throws {
        let axes = [TaskShape.Axis(name: "year", values: ["2012", strange])]
        let part = try Matrix(axes: axes, exclude: [["year": "2012"]], include: [["year": "2013"], ["year": "b\"c"]])
        for shape in [
            TaskShape.single, .array(first: 0, last: 999_999), .matrix(try Matrix(axes: axes)), .matrix(part), .gang(4),
        ] {
            for full in [false, true] {
                let record = record(shape: shape, full: full)
                #expect(
                    String(decoding: record.json, as: UTF8.self)
                        == String(decoding: try WireJSON.encode(record), as: UTF8.self))
            }
        }
    }

    @Test("a sync request is written as Codable writes it")
    func syncRequest() throws {
        let attempt = try #require(AttemptID("42.7.2"))
        var report = AttemptReport(attempt: attempt, sequence: 1, state: .running)
        var reports = [report]
        report.inputs = [:]
        report.startedAt = Timestamp(millisecondsSinceEpoch: 1_764_000_000_250)
        report.engine = "docker"
        report.imageManifest = Digest(of: "manifest")
        reports.append(report)
        report.reason = .exitCode
        report.exitCode = -1
        report.signal = 9
        report.message = strange
        report.finishedAt = report.startedAt
        report.outputs = [
            SlotName(unchecked: "out"): TreeFingerprint(
                treeDigest: Digest(of: "x"), level: .content, files: 3, bytes: ByteCount(bytes: 9))
        ]
        for (cpu, wall) in [(0.01, 2.0), (1e-7, 1e17), (123_456.789, 0)] {
            report.usage = Usage(cpuSeconds: cpu, maxMemory: ByteCount(bytes: 1 << 33), wallSeconds: wall)
            reports.append(report)
        }
        let registration = WorkerRegistration(
            cpus: CPUAmount(cpus: 4), memory: ByteCount(bytes: 1 << 33), gpus: ["0"], labels: ["a": strange],
            volumes: [VolumeName(unchecked: "v"): VolumeOffer(writable: true)], allowedPaths: ["/srv"],
            engines: ["docker"], version: "0.1.0", disk: ByteCount(bytes: 5), custom: counts)
        for registration in [nil, registration] {
            let request = SyncRequest(
                incarnation: strange, sequence: 5, registration: registration, live: [attempt], reports: reports,
                wait: TimeSpan(milliseconds: 1500), images: registration == nil ? nil : [Digest(of: "i")],
                proof: registration == nil ? nil : strange)
            let text = String(decoding: try request.encoded(), as: UTF8.self)
            #expect(text == String(decoding: try WireJSON.encode(request), as: UTF8.self))
        }
    }

    @Test("a number that is not finite is refused, not written")
    func notFinite() throws {
        let attempt = try #require(AttemptID("42.7.2"))
        let report = AttemptReport(
            attempt: attempt, sequence: 1, state: .running,
            usage: Usage(cpuSeconds: .infinity, maxMemory: ByteCount(bytes: 0), wallSeconds: 0))
        let request = SyncRequest(
            incarnation: "a", sequence: 1, registration: nil, live: [], reports: [report], wait: .zero)
        #expect(throws: EncodingError.self) { try request.encoded() }
    }
}

// One fixed document of each kind, as a scheduler would give it.
import Foundation
import JobModel

enum WireDocuments {
    static let configurationDigest = Digest(of: "a configuration")
    static let imageDigest = Digest(of: "an image")
    static let start = Timestamp(millisecondsSinceEpoch: 1_793_000_000_000)

    static func after(_ seconds: Int64) -> Timestamp {
        Timestamp(millisecondsSinceEpoch: start.millisecondsSinceEpoch + seconds * 1000)
    }

    static func job(
        _ id: Int64, state: JobState = .succeeded, reason: String? = nil, tasks: TaskCounts, shape: TaskShape = .single,
        year: String = "2014", rerunOf: Int64? = nil
    ) -> JobDocument {
        JobDocument(
            id: JobID(rawValue: id), name: "annual-temps", state: .known(state), reason: reason, owner: "ada",
            queue: "default", priority: 10,
            configuration: ConfigurationReference(digest: configurationDigest, name: "annual-temps", version: 3),
            image: ImageReferenceAndDigest(reference: "docker.io/library/python:3.12", digest: imageDigest),
            bindings: ["input": "weather/\(year)", "output": "results"], parameters: ["year": year], tasks: tasks,
            rerunOf: rerunOf.map { JobID(rawValue: $0) }, submittedAt: start,
            startedAt: state == .pending ? nil : after(1), finishedAt: state.isTerminal ? after(90) : nil,
            labels: ["project": "climate"], shape: shape, revision: 7)
    }

    static let done = job(42, tasks: TaskCounts(total: 1, pending: 0, succeeded: 1))
    static let again = job(43, tasks: TaskCounts(total: 1, pending: 0, succeeded: 1), year: "2015", rerunOf: 42)
    static let array = job(
        44, state: .failed, reason: "1 of 4 tasks failed, the first with exit-code 3",
        tasks: TaskCounts(total: 4, pending: 0, succeeded: 3, failed: 1), shape: .array(first: 1, last: 4))
    static let waiting = job(
        45, state: .waiting, reason: "no worker fits: none offers the volume 'weather'",
        tasks: TaskCounts(total: 1, pending: 1))

    static func attempt(_ id: String, input: String = "2014") throws -> AttemptDocument {
        guard let id = AttemptID(id) else { throw Problem(.internal, "no attempt \(id)") }
        func tree(_ text: String, _ files: Int64) -> TreeFingerprint {
            TreeFingerprint(
                treeDigest: Digest(of: text), level: .content, files: files, bytes: ByteCount(bytes: 12_345))
        }
        return AttemptDocument(
            id: id, worker: "node7", engine: "docker", state: .known(.succeeded), reason: .known(.exitCode),
            exitCode: 0,
            signal: nil, message: nil, startedAt: after(2), finishedAt: after(89), inputs: ["input": tree(input, 12)],
            outputs: ["output": tree("output of \(input)", 1)],
            usage: Usage(cpuSeconds: 85.25, maxMemory: ByteCount(bytes: 100 << 20), wallSeconds: 87), gpus: [])
    }

    static func failure() throws -> AttemptDocument {
        var attempt = try attempt("44.3.1")
        attempt.state = .known(.failed)
        attempt.reason = .known(.signal)
        attempt.exitCode = 139
        attempt.signal = 11
        attempt.outputs = [:]
        return attempt
    }

    static let tasks = [
        TaskDocument(
            id: TaskID(job: JobID(rawValue: 44), index: 1), state: .known(.succeeded), reason: "exit-code",
            parameters: [:], attempts: 1),
        TaskDocument(
            id: TaskID(job: JobID(rawValue: 44), index: 3), state: .known(.failed), reason: "signal", parameters: [:],
            attempts: 2),
    ]

    static let worker = WorkerDocument(
        name: "node7", state: .known(.ready),
        capacity: WorkerResources(cpus: CPUAmount(cpus: 64), memory: ByteCount(bytes: 256 << 30), gpus: ["GPU-1"]),
        free: WorkerResources(
            cpus: CPUAmount(thousandths: 62_500), memory: ByteCount(bytes: 250 << 30), gpus: ["GPU-1"]),
        labels: ["rack": "b"],
        volumes: ["weather": VolumeOffer(writable: false), "results": VolumeOffer(writable: true)],
        engines: ["docker"], version: "0.1.0", lastSeen: after(100),
        attempts: [AttemptID(task: TaskID(job: JobID(rawValue: 46), index: 1), number: 1)],
        weaknesses: [
            "swap is not limited: a container may use swap beyond its memory request", "no seccomp profile is in force",
        ])

    static let drained = WorkerDocument(
        name: "node9", state: .known(.draining),
        capacity: WorkerResources(
            cpus: CPUAmount(cpus: 8), memory: ByteCount(bytes: 32 << 30), gpus: [], disk: ByteCount(bytes: 900 << 30),
            custom: ResourceCounts([ResourceName(unchecked: "fpga"): 2])),
        free: WorkerResources(
            cpus: CPUAmount(cpus: 2), memory: ByteCount(bytes: 30 << 30), gpus: [], disk: ByteCount(bytes: 880 << 30),
            custom: ResourceCounts([ResourceName(unchecked: "fpga"): 1])),
        labels: [:], volumes: [:], engines: ["docker"], version: "0.1.0", lastSeen: after(100), attempts: [],
        drain: DrainOrder(reason: "disk", deadline: after(7_200)))

    static let license = LicenseDocument(
        name: ResourceName(unchecked: "matlab"), total: 20, used: 3,
        holders: [.init(job: JobID(rawValue: 46), owner: UserName(unchecked: "ada"), count: 3)])

    static let reservation = AdvanceReservation(
        name: ReservationName(unchecked: "course"), start: after(3_600), end: after(18_000), labels: ["room": "a"],
        groups: [GroupName(unchecked: "students")])

    static let maintenance = AdvanceReservation(
        name: ReservationName(unchecked: "firmware"), start: after(86_400), end: after(172_800),
        workers: [WorkerName(unchecked: "node1"), WorkerName(unchecked: "node2")], reason: "new firmware")

    static let yearly = ScheduleDocument(
        name: "yearly", owner: "ada",
        settings: ScheduleSettings(
            cron: "0 0 1 1 *", timeZone: "Europe/Berlin", rerun: "annual-temps",
            bindings: ["input": "weather/${year}"], parameters: ["year": "${year}"], queue: "night", priority: 10,
            overlap: .queue, catchUp: .all),
        paused: false, createdAt: after(-34_560_000), next: Timestamp("2026-12-31T23:00:00Z"),
        lastDue: Timestamp("2025-12-31T23:00:00Z"), lastJob: JobID(rawValue: 43), note: nil)

    static let nightly = ScheduleDocument(
        name: "nightly", owner: "ada",
        settings: ScheduleSettings(cron: "30 2 * * *", timeZone: nil, rerun: "annual-temps@3"), paused: true,
        createdAt: after(-34_560_000), next: nil, lastDue: Timestamp("2026-10-26T02:30:00Z"),
        lastJob: JobID(rawValue: 42), note: "skipped 2026-10-26T02:30:00.000Z: job 42 had not ended")

    static let image = ImageDocument(
        digest: imageDigest, references: ["docker.io/library/python:3.12"],
        mediaType: "application/vnd.oci.image.index.v1+json", size: ByteCount(bytes: 45 << 20),
        platforms: ["linux/amd64", "linux/arm64"], layers: [Digest(of: "layer")], createdAt: start, complete: true)

    static let lint = LintDocument(
        reference: "python:3.12", digest: imageDigest, platform: "linux/amd64",
        findings: [
            LintFinding(.secret, .error, "its environment holds what looks like a secret: API_KEY", "make a new one"),
            LintFinding(.root, .note, "it runs as root elsewhere", "add 'USER 65532'"),
        ], note: nil)

    static let why = WaitingDocument(
        job: JobID(rawValue: 45), state: Open(.waiting), reason: "no worker has 3 cpus free (the most is 1)",
        priority: 1_050_100_000,
        terms: [
            .init(name: "queue", weight: 1000, factor: 100_000), .init(name: "share", weight: 1000, factor: 900_000),
            .init(name: "age", weight: 200, factor: 500), .init(name: "size", weight: 50, factor: 0),
            .init(name: "job", weight: 100, factor: 500_000),
        ])

    static let accounts = [
        account(.queue, "default", AccountSettings(), nil),
        account(.queue, "night", AccountSettings(weight: 20, limits: Limits(cpus: CPUAmount(cpus: 200))), nil),
        account(.group, "physics", AccountSettings(weight: 300), 0.75),
        account(.user, "ada", AccountSettings(limits: Limits(gpus: 4), group: GroupName(rawValue: "physics")), 1),
    ]

    static func usage() -> UsageReport {
        var row = UsageReportRow()
        (row.user, row.configuration, row.configurationName) = ("ada", configurationDigest.description, "a,\"b\"@3")
        (row.attempts, row.succeeded, row.failed, row.lost, row.starts) = (10, 7, 2, 1, 8)
        (row.cpuSeconds, row.usedCPUSeconds, row.memoryByteSeconds) = (72_000, 54_000, 3.6e12)
        (row.runSeconds, row.waitSeconds) = (36_000, 4)
        return UsageReport(by: [.configuration, .user], since: "2026-10-27", until: "2026-11-26", rows: [row])
    }

    static let happenings = ClusterEventList(
        events: [
            ClusterEvent(id: 7, time: start, kind: .workerRegistered, worker: "node7"),
            ClusterEvent(
                id: 8, time: after(60), kind: .attemptLost, job: JobID(rawValue: 46),
                attempt: AttemptID(task: TaskID(job: JobID(rawValue: 46), index: 1), number: 1), worker: "node7",
                message: "worker-lost"),
        ], next: 8, missed: false)

    private static func account(
        _ kind: AccountKind, _ name: String, _ settings: AccountSettings, _ entitled: Double?
    ) -> AccountDocument {
        AccountDocument(
            kind: Open(kind), name: name, configured: name != "default", settings: settings, pending: 7, running: 3,
            cpus: CPUAmount(cpus: 6), memory: ByteCount(bytes: 3 << 30), gpus: 1, entitled: entitled,
            used: entitled.map { $0 / 3 })
    }

    static let user = UserDocument(name: "ada", role: .user, uid: 1001, gid: 1001, token: nil)

    static let status = StatusDocument(
        version: "0.1.0", startedAt: start, jobs: ["succeeded": 40, "running": 2, "failed": 0],
        tasks: TaskCounts(total: 1_000_042, pending: 999_000, running: 2, succeeded: 1_040), workers: ["ready": 3],
        capacity: worker.capacity, free: worker.free)

    static func configuration() throws -> ConfigurationDocument {
        let image = PinnedImage(digest: imageDigest, platform: "linux/amd64")
        let slots: [SlotName: Slot] = [
            SlotName(unchecked: "input"): Slot(path: "/data", mode: .ro),
            SlotName(unchecked: "output"): Slot(path: "/out", mode: .out),
        ]
        let configuration = Configuration(
            image: image, command: ["python3", "/job/mean.py", "a b"], environment: ["OMP_NUM_THREADS": "1"],
            workingDirectory: nil,
            files: ["/job/mean.py": ConfigurationFile(digest: Digest(of: "mean.py"), executable: false)], slots: slots,
            network: .none, resources: .standard)
        return ConfigurationDocument(
            digest: configurationDigest,
            names: [ConfigurationVersion(name: ConfigurationName(unchecked: "annual-temps"), version: 3)],
            createdAt: start, imageReference: "docker.io/library/python:3.12", configuration: configuration)
    }

    /// What differs between the jobs 42 and 43, or a verification of 42.
    static func differences(_ second: String) throws -> AttemptDifferences {
        let (x, y) = (try attempt("42.1.1"), try attempt(second, input: "2015"))
        func entry(_ path: String, _ size: Int64, _ text: String) -> TreeEntry {
            TreeEntry(path: Array(path.utf8), kind: .file, mode: 0o644, size: size, content: Digest(of: text).hex)
        }
        var output = TreeDifference(first: x.outputs["output"], second: y.outputs["output"])
        output.files = [
            FileDifference(EntryDifference(first: entry("means.gz", 120, "a"), second: entry("means.gz", 120, "b"))),
            FileDifference(EntryDifference(first: nil, second: entry("tmp/new", 1 << 20, "c"))),
        ]
        output.files[0].firstDifference = 4
        output.files[0].cause = DifferenceCause(.timestamp, "a time stamp in the gzip header: write it with 'gzip -n'")
        output.total = 5
        var input = TreeDifference(first: x.inputs["input"], second: y.inputs["input"])
        input.note = "the files are not named: their list is not kept"
        return AttemptDifferences(
            first: x.id, second: y.id, inputs: ["input": input], outputs: ["output": output])
    }

    static func runs() throws -> RunList {
        let runs = [again, done].map { job in
            RunDocument(
                job: job,
                inputs: [
                    "input": SlotHistory(
                        binding: job.bindings["input"], treeDigest: Digest(of: "input"), trees: 1, files: 12,
                        size: ByteCount(bytes: 12_345))
                ],
                outputs: [
                    "output": SlotHistory(
                        binding: "results", treeDigest: Digest(of: "output of \(job.id)"), trees: 1, files: 1,
                        size: ByteCount(bytes: 7))
                ], workers: ["node7"], wallSeconds: 87, cpuSeconds: 85.25, partial: false)
        }
        return RunList(runs: runs, next: "42")
    }

    /// Server-sent events with one document, after which the stream ends.
    static func events(_ job: JobDocument) throws -> [UInt8] {
        Array("id: \(job.revision)\nevent: job\ndata: ".utf8) + (try WireJSON.encode(job)) + Array("\n\n".utf8)
    }

    /// What a scheduler with these documents answers, by method and path.
    static func answers() throws -> [String: [UInt8]] {
        func json(_ value: some Encodable) throws -> [UInt8] { try WireJSON.encode(value) }
        var answers: [String: [UInt8]] = [
            "GET /v1/jobs": try json(JobList(jobs: [waiting, array, again, done], next: nil)),
            "GET /v1/jobs/44/tasks": try json(TaskList(tasks: tasks, next: nil)),
            "GET /v1/jobs/42/attempts": try json(AttemptList(attempts: [try attempt("42.1.1")], next: nil)),
            "GET /v1/jobs/43/attempts": try json(
                AttemptList(attempts: [try attempt("43.1.1", input: "2015")], next: nil)),
            "GET /v1/jobs/44/attempts": try json(AttemptList(attempts: [try failure()], next: nil)),
            "GET /v1/jobs/45/attempts": try json(AttemptList(attempts: [], next: nil)),
            "GET /v1/attempts/42.1.1/logs/stdout": Array("1961\nmean 16.9959\n".utf8),
            "GET /v1/attempts/42.1.1/logs/stderr": Array("a warning\nno end of line".utf8),
            "GET /v1/attempts/42.1.1/differences/43.1.1": try json(try differences("43.1.1")),
            "GET /v1/configurations/annual-temps/runs": try json(try runs()),
            "GET /v1/workers": try json(WorkerList(workers: [worker], next: nil)),
            "GET /v1/workers/node7": try json(worker), "POST /v1/workers/node7/drain": try json(worker),
            "POST /v1/workers/node7/resume": try json(worker), "GET /v1/workers/node9": try json(drained),
            "POST /v1/workers/node9/drain": try json(drained),
            "GET /v1/licenses": try json(LicenseList(licenses: [license])),
            "PUT /v1/licenses/matlab": try json(license), "DELETE /v1/licenses/matlab": Array("{}".utf8),
            "GET /v1/reservations": try json(ReservationList(reservations: [reservation, maintenance])),
            "PUT /v1/reservations/course": try json(reservation),
            "DELETE /v1/reservations/course": Array("{}".utf8),
            "GET /v1/schedules": try json(ScheduleList(schedules: [nightly, yearly])),
            "GET /v1/schedules/nightly": try json(nightly), "GET /v1/schedules/yearly": try json(yearly),
            "GET /v1/configurations": try json(ConfigurationList(configurations: [try configuration()], next: nil)),
            "GET /v1/configurations/annual-temps%403": try json(try configuration()),
            "GET /v1/images": try json(ImageList(images: [image], next: nil)), "GET /v1/images/show": try json(image),
            "GET /v1/images/lint": try json(lint), "POST /v1/images/import": try json(image),
            "GET /v1/users": try json(UserList(users: [user], next: nil)),
            "POST /v1/users": try json(
                UserDocument(name: "ada", role: .user, uid: 1001, gid: 1001, token: "jobctl_once")),
            "DELETE /v1/users/ada": Array("{}".utf8), "GET /v1/status": try json(status),
            "GET /v1/jobs/45/why": try json(why), "GET /v1/accounts": try json(AccountList(accounts: accounts)),
            "GET /v1/accounts/queue/night": try json(accounts[1]),
            "PUT /v1/accounts/queue/night": try json(accounts[1]),
            "PUT /v1/accounts/user/ada": try json(accounts[3]), "DELETE /v1/accounts/queue/night": Array("{}".utf8),
            "DELETE /v1/accounts/group/physics": Array("{}".utf8),
            "GET /v1/usage": try json(usage()), "GET /v1/events": try json(happenings),
            "POST /v1/jobs": try json(done), "POST /v1/reruns": try json(again),
        ]
        for job in [done, again, array, waiting] {
            answers["GET /v1/jobs/\(job.id)"] = try json(job)
            answers["GET /v1/jobs/\(job.id)/events"] = try events(job)
            for verb in ["cancel", "hold", "release"] { answers["POST /v1/jobs/\(job.id)/\(verb)"] = try json(job) }
        }
        return answers
    }
}

// A whole agent with a real journal, real volumes and a simulated engine, against a scheduler that is a small model
// of the real one:
// it can be away, withhold answers, and remembers all that it was told.
import Foundation
import JobModel
import Logging
import SchedulerClient
import TestSupport
import Testing

@testable import Worker

/// The other side of the protocol.
actor ModelScheduler: SchedulerConnection {
    struct Stop: Sendable { let reason: EndReason }
    private struct StreamKey: Hashable {
        let attempt: AttemptID
        let stream: LogStream
    }

    /// Every call fails as if nobody listened.
    var isAway = false
    /// Refuses every sync with this.
    var refusal: Problem?
    /// What a call must show to be taken; empty: nothing.
    var challenge = ""
    /// Calls that could not show it.
    private(set) var challenged: [SyncRequest] = []
    /// Forgets what has ended.
    var forgets = true
    /// Allows to publish.
    var accepts = true
    /// Log pieces are held until this is false.
    var holdsLogs = false
    var holdsBlobs = false
    var lease = TimeSpan.minutes(10)
    var logLimit = Int.max
    private(set) var blobs: [Digest: [UInt8]] = [:]
    private(set) var requests: [SyncRequest] = []
    private(set) var history: [AttemptID: [AttemptReport]] = [:]
    private(set) var forgotten: Set<AttemptID> = []
    private(set) var logCalls = 0
    private(set) var blobCalls = 0
    private var orders: [AttemptID: (order: StartOrder, job: JobBrief, configuration: Configuration)] = [:]
    private var stops: [AttemptID: EndReason] = [:]
    private var limits: [LimitOrder] = []
    private var limitsAreNews = false
    private var streams: [StreamKey: (bytes: [UInt8], isComplete: Bool)] = [:]
    private var repeatsStarts = false
    private var change = 0

    func set(_ body: @Sendable (isolated ModelScheduler) -> Void) {
        body(self)
        change += 1
    }

    func order(_ record: JournalRecord) {
        orders[record.attempt] = (record.order, record.job, record.configuration)
        change += 1
    }

    /// Sends starts also for attempts that the agent has already.
    func repeatStarts() {
        repeatsStarts = true
        change += 1
    }

    func stop(_ attempt: AttemptID, _ reason: EndReason = .cancelled) {
        stops[attempt] = reason
        change += 1
    }

    func limit(_ job: Int64, to limit: TimeSpan) {
        limits.append(LimitOrder(job: JobID(rawValue: job), timeLimit: limit))
        limitsAreNews = true
        change += 1
    }

    func keep(_ blob: [UInt8]) { blobs[Digest(of: blob)] = blob }

    /// The terminal report.
    func end(of attempt: AttemptID) -> AttemptReport? { history[attempt]?.last { $0.state.isTerminal } }
    func log(_ attempt: AttemptID, _ stream: LogStream = .stdout) -> String {
        String(decoding: streams[StreamKey(attempt: attempt, stream: stream)]?.bytes ?? [], as: UTF8.self)
    }
    func isComplete(_ attempt: AttemptID, _ stream: LogStream = .stdout) -> Bool {
        streams[StreamKey(attempt: attempt, stream: stream)]?.isComplete ?? false
    }

    // MARK: Calls

    func sync(_ worker: WorkerName, _ request: SyncRequest) async throws(Problem) -> SyncResponse {
        try mustBeThere()
        if let refusal { throw refusal }
        guard challenge.isEmpty || request.proof == challenge else {
            challenged.append(request)
            return SyncResponse(
                lease: lease, interval: .seconds(10), start: [], stop: [], publish: [], forget: [], jobs: [],
                configurations: [:], registrationWanted: true, challenge: challenge)
        }
        requests.append(request)
        for report in request.reports where history[report.attempt]?.last != report {
            history[report.attempt, default: []].append(report)
        }
        let deadline = ContinuousClock.now + .milliseconds(request.wait.milliseconds)
        while true {
            let response = response(to: request)
            let isNews =
                !response.start.isEmpty || !response.stop.isEmpty || !response.publish.isEmpty
                || !response.forget.isEmpty || limitsAreNews
            if isNews || ContinuousClock.now >= deadline {
                forgotten.formUnion(response.forget)
                limitsAreNews = false
                return response
            }
            guard requests.last?.sequence == request.sequence else {
                throw Problem(.conflict, "a newer call is here", field: "sequence")
            }
            try mustBeThere()
            let seen = change
            while change == seen, ContinuousClock.now < deadline, requests.last?.sequence == request.sequence {
                do { try await Task.sleep(for: .milliseconds(2)) } catch { throw Problem(.unavailable, "given up") }
            }
        }
    }

    private func mustBeThere() throws(Problem) {
        if isAway { throw Problem(.unavailable, "nobody listens") }
    }

    private func response(to request: SyncRequest) -> SyncResponse {
        let ended = request.live.filter { end(of: $0) != nil }
        let unknownEnds = request.reports.filter { $0.state.isTerminal }.map(\.attempt)
        let starting = orders.values.filter {
            end(of: $0.order.attempt) == nil && (repeatsStarts || !request.live.contains($0.order.attempt))
        }.sorted { $0.order.attempt < $1.order.attempt }
        let strangers = request.live.filter { orders[$0] == nil }
        if repeatsStarts, starting.allSatisfy({ request.live.contains($0.order.attempt) }) { repeatsStarts = false }
        return SyncResponse(
            lease: lease, interval: .seconds(10), start: starting.map(\.order),
            stop: request.live.filter { stops[$0] != nil && end(of: $0) == nil && wasNotTold($0, request) }
                .map { StopOrder(attempt: $0, reason: stops[$0] ?? .cancelled) }
                + strangers.map { StopOrder(attempt: $0, reason: .cancelled) },
            publish: accepts
                ? request.live.filter { history[$0]?.last?.state == .ending && stops[$0] == nil } : [],
            forget: forgets ? Array(Set(ended + unknownEnds)).sorted() : [],
            jobs: Dictionary(starting.map { ($0.job.id, $0.job) }, uniquingKeysWith: { a, _ in a }).values.map { $0 },
            configurations: Dictionary(
                starting.map { ($0.job.record.configuration, $0.configuration) }, uniquingKeysWith: { a, _ in a }),
            registrationWanted: false, limits: limits)
    }

    private var told: [AttemptID: Int] = [:]
    /// A stop is said a few times, not in each answer: an agent must not be spun.
    private func wasNotTold(_ attempt: AttemptID, _ request: SyncRequest) -> Bool {
        told[attempt, default: 0] += 1
        return told[attempt, default: 0] <= 3
    }

    func appendLog(
        worker: WorkerName, attempt: AttemptID, _ stream: LogStream, offset: Int64, bytes: [UInt8], complete: Bool
    ) async throws(Problem) -> LogPosition {
        logCalls += 1
        try mustBeThere()
        while holdsLogs {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { throw Problem(.unavailable, "given up") }
        }
        let key = StreamKey(attempt: attempt, stream: stream)
        var log = streams[key] ?? ([], false)
        if !log.isComplete, offset <= Int64(log.bytes.count) {
            let fresh = bytes.dropFirst(log.bytes.count - Int(offset))
            let kept = fresh.prefix(logLimit - log.bytes.count)
            log.bytes += kept
            log.isComplete = complete || kept.count < fresh.count
        }
        streams[key] = log
        // What was taken is on disk, whether or not the answer arrives.
        try mustBeThere()
        return LogPosition(size: Int64(log.bytes.count), complete: log.isComplete)
    }

    func blob(_ digest: Digest, limit: Int) async throws(Problem) -> [UInt8] {
        blobCalls += 1
        try mustBeThere()
        while holdsBlobs {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { throw Problem(.unavailable, "given up") }
        }
        guard let blob = blobs[digest] else { throw Problem(.notFound, "there is no blob \(digest)") }
        return blob
    }

    // MARK: Trees

    private(set) var trees: [Digest: [UInt8]] = [:]
    private(set) var treeCalls = 0
    private(set) var comparisons: [AttemptID: OutputComparison] = [:]
    /// What earlier attempts came to.
    private(set) var results: [AttemptDocument] = []
    /// Refuses every list.
    var refusesTrees = false

    func keepTree(_ digest: Digest, list: String) async throws(Problem) {
        treeCalls += 1
        try mustBeThere()
        if refusesTrees { throw Problem(.badRequest, "is no list of a tree", field: "body") }
        guard let data = FileManager.default.contents(atPath: list), Digest(of: data) == digest else {
            throw Problem(.badRequest, "the list is something else", field: "body")
        }
        trees[digest] = Array(data)
    }

    func tree(_ digest: Digest) async throws(Problem) -> [UInt8] {
        try mustBeThere()
        guard let tree = trees[digest] else { throw Problem(.notFound, "there is no tree \(digest)") }
        return tree
    }

    func attempts(of job: JobID, task: Int64?, limit: Int?, cursor: String?) async throws(Problem) -> AttemptList {
        try mustBeThere()
        return AttemptList(attempts: results.filter { $0.id.job == job && $0.id.task.index == task }, next: nil)
    }

    func keepComparison(worker: WorkerName, attempt: AttemptID, _ comparison: OutputComparison) async throws(Problem) {
        try mustBeThere()
        comparisons[attempt] = comparison
    }

    func keep(_ result: AttemptDocument) { results.append(result) }

    func spoil(_ digest: Digest) { blobs[digest] = Array("something else".utf8) }
}

/// The simulated engine with places where a call stops for ever, as seen by an agent that is killed there.
actor GatedEngine: ContainerEngine {
    enum Place: String, Sendable, CaseIterable {
        case image, createBefore, createAfter, startBefore, startAfter, waitBefore, waitAfter, stop, remove
    }

    let inner: SimulatedEngine
    nonisolated var name: String { inner.name }
    nonisolated var weaknesses: [String] { [] }
    private var closed: Set<Place> = []
    private(set) var reached: Set<Place> = []
    private var held: [CheckedContinuation<Void, Never>] = []
    /// Each container that was ever made.
    private(set) var made: Set<String> = []
    private(set) var specifications: [String: ContainerSpecification] = [:]
    private var failures: [Place: [EngineError]] = [:]

    init(host: SimulatedHost) { inner = SimulatedEngine(host: host, worker: "w") }

    func close(_ place: Place) { closed.insert(place) }
    /// From now on nothing stops here; what is held stays held until ``release()``.
    func openAll() { closed = [] }
    func release() {
        closed = []
        for continuation in held { continuation.resume() }
        held = []
    }
    func fail(_ place: Place, with errors: EngineError...) { failures[place] = errors }

    private func pass(_ place: Place) async throws(EngineError) {
        reached.insert(place)
        if let error = failures[place]?.first {
            failures[place]?.removeFirst()
            throw error
        }
        if closed.contains(place) { await withCheckedContinuation { held.append($0) } }
    }

    func ensureImage(_ image: PinnedImage) async throws(EngineError) -> Digest? {
        try await pass(.image)
        return try await inner.ensureImage(image)
    }
    func create(_ specification: ContainerSpecification) async throws(EngineError) -> String {
        try await pass(.createBefore)
        let id = try await inner.create(specification)
        made.insert(id)
        specifications[id] = specification
        try await pass(.createAfter)
        return id
    }
    /// The program writes `result` into each folder that it may write to.
    func start(_ id: String) async throws(EngineError) {
        try await pass(.startBefore)
        for mount in specifications[id]?.mounts ?? [] where !mount.readOnly {
            try? Data("result".utf8).write(to: URL(filePath: mount.source + "/result"))
        }
        try await inner.start(id)
        try await pass(.startAfter)
    }
    func wait(_ id: String) async throws(EngineError) -> ExitRecord {
        try await pass(.waitBefore)
        let record = try await inner.wait(id)
        try await pass(.waitAfter)
        return record
    }
    func stop(_ id: String, grace: TimeSpan) async throws(EngineError) {
        try await pass(.stop)
        try await inner.stop(id, grace: grace)
    }
    nonisolated func logs(_ id: String, skip: [LogPiece.Stream: Int64]) -> AsyncThrowingStream<LogPiece, any Error> {
        inner.logs(id, skip: skip)
    }
    func usage(_ id: String) async throws(EngineError) -> Usage? { try await inner.usage(id) }
    func list() async throws(EngineError) -> [FoundContainer] { try await inner.list() }
    func session(in id: String, _ launch: SessionLaunch) async throws(EngineError) -> any ContainerSession {
        try await inner.session(in: id, launch)
    }
    func remove(_ id: String) async throws(EngineError) {
        try await pass(.remove)
        try await inner.remove(id)
    }
}

/// One worker: its data folder, its volumes, and the agent that may be killed and started again.
actor AgentUnderTest {
    nonisolated let folder: String
    nonisolated let scheduler = ModelScheduler()
    nonisolated let engine: GatedEngine
    nonisolated let image = PinnedImage(digest: Digest(of: "an image"), platform: nil)
    private var life: Task<Void, any Error>?
    private var lastEnd: (any Error)?
    var logLimit = LogFiles.standardLimit

    private init(folder: String) {
        self.folder = folder
        engine = GatedEngine(host: SimulatedHost(available: [Digest(of: "an image")]))
    }

    /// Runs `body` with a worker that has a writable volume `data`; nothing is left afterwards.
    static func with(_ body: (AgentUnderTest) async throws -> Void) async throws {
        let folder = try temporaryFolder("agent")
        try FileManager.default.createDirectory(atPath: folder + "/data", withIntermediateDirectories: true)
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder + "/data")
        let test = AgentUnderTest(folder: folder)
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(test))
        } catch {
            result = .failure(error)
        }
        await test.kill()
        await test.engine.release()
        VolumeAccess(table: try VolumeTable(volumes: [], allowedPaths: []), mountFolder: folder + "/w/mounts")
            .removeLeftovers(except: [])
        removeFolder(folder)
        try result.get()
    }

    nonisolated var journalFolder: String { folder + "/w/attempts" }
    nonisolated func journal() throws -> Journal { try Journal(folder: journalFolder) }
    func set(logLimit: Int64) { self.logLimit = logLimit }

    nonisolated func table() throws -> VolumeTable {
        let name = try #require(VolumeName(rawValue: "data"))
        return try VolumeTable(
            volumes: [Volume(name: name, root: folder + "/data", writable: true)], allowedPaths: [])
    }

    /// What runners work with; reports go to `report`.
    nonisolated func services(
        logLimit: Int64 = LogFiles.standardLimit, report: @escaping @Sendable (AttemptReport) -> Void = { _ in }
    ) throws -> RunnerServices {
        RunnerServices(
            worker: WorkerName(unchecked: "node1"), engine: engine, scheduler: scheduler, journal: try journal(),
            volumes: VolumeAccess(table: try table(), mountFolder: folder + "/w/mounts"),
            files: FileCache(folder: folder + "/w/files", scheduler: scheduler), fingerprints: Fingerprinter(),
            logLimit: logLimit, report: report)
    }

    func start() throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let registration = WorkerRegistration(
            cpus: CPUAmount(cpus: 4), memory: ByteCount(bytes: 1 << 30), gpus: [], labels: [:],
            volumes: try table().offers, allowedPaths: [], engines: [engine.name], version: "test")
        let (letters, box) = AsyncStream.makeStream(of: AttemptReport.self)
        let agent = Agent(
            name: WorkerName(unchecked: "node1"), registration: registration, scheduler: scheduler, logger: logger,
            reports: letters, services: try services(logLimit: logLimit) { box.yield($0) })
        life = Task { try await agent.run() }
    }

    /// Ends the agent as a kill would: what it was doing has no further effect. Containers stay.
    func kill() async {
        life?.cancel()
        do { try await life?.value } catch { lastEnd = error }
        life = nil
    }

    /// What the agent ended with by itself.
    func end() async -> (any Error)? {
        do { try await life?.value } catch { return error }
        return nil
    }

    /// An attempt of a program in the simulated engine's language. What differs in more than its task is another job.
    nonisolated func attempt(
        _ steps: String..., job: Int64 = 42, task: Int64 = 1, slots: [(String, SlotMode, String)] = [],
        files: [String: ConfigurationFile] = [:], timeLimit: TimeSpan? = nil, grace: TimeSpan = .seconds(5),
        image: PinnedImage? = nil, verifies: Int64? = nil
    ) throws -> JournalRecord {
        try attempt(
            steps: steps, job: job, task: task, slots: slots, files: files, timeLimit: timeLimit, grace: grace,
            image: image, verifies: verifies)
    }

    nonisolated func attempt(
        steps: [String], job: Int64 = 42, task: Int64 = 1, slots: [(String, SlotMode, String)] = [],
        files: [String: ConfigurationFile] = [:], timeLimit: TimeSpan? = nil, grace: TimeSpan = .seconds(5),
        image: PinnedImage? = nil, verifies: Int64? = nil
    ) throws -> JournalRecord {
        var named: [SlotName: Slot] = [:]
        var bindings: [SlotName: Binding] = [:]
        for (name, mode, binding) in slots {
            let slot = try #require(SlotName(rawValue: name))
            named[slot] = Slot(path: "/" + name, mode: mode)
            bindings[slot] = Binding(binding)
            try #require(bindings[slot] != nil)
        }
        let resources = Resources(cpus: CPUAmount(cpus: 1), memory: ByteCount(bytes: 1 << 20), gpus: 0)
        let configuration = Configuration(
            image: image ?? self.image, command: ["simulate"] + steps, environment: [:], workingDirectory: nil,
            files: files, slots: named, network: .none, resources: resources)
        let record = JobRecord(
            name: "test", owner: Identity(name: UserName(unchecked: "ada"), uid: 1234, gid: 5678),
            queue: try #require(QueueName(rawValue: "default")), priority: 0, configuration: configuration.digest,
            configurationVersion: nil, imageReference: "busybox", image: configuration.image, resources: resources,
            slots: named, bindings: bindings, parameters: ["year": "2014"], shape: .array(first: 1, last: 100),
            labels: [:], constraints: [], retries: 0, timeLimit: timeLimit, grace: grace, fingerprint: .content,
            rerunOf: nil, verifies: verifies.map { JobID(rawValue: $0) })
        let job = JobID(rawValue: job)
        let id = AttemptID(task: TaskID(job: job, index: task), number: 1)
        return JournalRecord(
            order: StartOrder(attempt: id, gpus: []), job: JobBrief(id: job, record: record),
            configuration: configuration)
    }

    /// The container of an attempt without volumes.
    nonisolated func specification(of record: JournalRecord) -> ContainerSpecification {
        ContainerSpecification(
            attempt: record.attempt, image: image, command: record.configuration.command, environment: [:],
            workingDirectory: nil, user: record.job.record.owner, mounts: [], network: .none,
            resources: record.configuration.resources, gpus: [], logLimit: ByteCount(bytes: 1))
    }

    /// Waits for the terminal report.
    nonisolated func end(of record: JournalRecord) async throws -> AttemptReport {
        try await eventually("\(record.attempt) ends") { await scheduler.end(of: record.attempt) != nil }
        return try #require(await scheduler.end(of: record.attempt))
    }

    nonisolated func eventuallyReports(_ state: AttemptState, _ record: JournalRecord) async throws {
        try await eventually("\(record.attempt) is \(state)") {
            await scheduler.history[record.attempt]?.contains { $0.state == state } ?? false
        }
    }

    nonisolated func eventuallyReaches(_ place: GatedEngine.Place) async throws {
        try await eventually("the engine is asked for \(place)") { await engine.reached.contains(place) }
    }

    /// Whether anything of the attempt is left on the worker.
    nonisolated func isGone(_ record: JournalRecord) async throws -> Bool {
        let files = FileManager.default
        return try await engine.list().allSatisfy { $0.attempt != record.attempt }
            && !files.fileExists(atPath: "\(journalFolder)/\(record.attempt)")
            && !files.fileExists(atPath: "\(journalFolder)/\(record.attempt).logs")
            && !files.fileExists(atPath: "\(folder)/w/mounts/\(record.attempt)")
            && !files.fileExists(atPath: "\(folder)/data/.jobctl/staging/\(record.attempt)")
    }

    nonisolated func eventuallyGone(_ record: JournalRecord) async throws {
        try await eventually("\(record.attempt) is cleaned up") { try await isGone(record) }
    }
}

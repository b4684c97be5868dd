// One attempt, from the order to the report: numbered steps, each journaled before it acts, so that an agent that was
// killed enters again where it was. What an outcome is stands in AttemptOutcome.swift.
import CLinux
import Foundation
import JobModel

/// What every runner of an agent shares.
struct RunnerServices: Sendable {
    let worker: WorkerName
    let engine: any ContainerEngine
    let scheduler: any SchedulerConnection
    let journal: Journal
    let volumes: VolumeAccess
    let files: FileCache
    let fingerprints: Fingerprinter
    /// Takes a new report; the agent sends it.
    let report: @Sendable (AttemptReport) async -> Void
    /// Serves sessions beside attempts; nil in tests without.
    var sessions: SessionHost?
}

actor AttemptRunner {
    private let services: RunnerServices
    private var record: JournalRecord
    private var publication: CheckedContinuation<Void, Never>?
    private var mayPublish = false
    private var stopping: Task<Void, Never>?

    var attempt: AttemptID { record.attempt }

    init(_ record: JournalRecord, _ services: RunnerServices) {
        self.record = record
        self.services = services
    }

    /// Runs the attempt to its terminal report. Never throws: whatever happens is reported.
    ///
    /// Station 7 of 8. Next: Sources/Worker/Engines/DockerEngine.swift
    /// 1. journal the order (the agent did) · 2. image · 3. files · 4. volumes · 5. fingerprint inputs · 6. create · 7.
    /// start ·
    /// 8. watch: logs, time limit, stop · 9. write down the exit · 10. ship logs, fingerprint outputs · 11. ask to
    /// publish, publish ·
    /// 12. report · 13. clean up when told to forget
    func run() async {
        if record.report?.state.isTerminal == true { return await resend() }
        let outcome = await self.outcome()
        var report = outcome.report(attempt)
        report.engine = services.engine.name
        report.startedAt = record.exit?.startedAt ?? record.startedWall
        report.finishedAt = record.exit?.finishedAt
        report.usage = finalUsage()
        if case .succeeded = outcome { report.outputs = record.report?.outputs }
        await remember(report)
    }

    private func outcome() async -> AttemptOutcome {
        do throws(AttemptFailure) {
            if record.exit == nil {
                if record.container == nil { try await prepare() }
                try await start()
                try await watch()
            }
            guard let exit = record.exit else {
                throw AttemptFailure(reason: .engineError, message: "the container's end was not recorded")
            }
            await shipper.finish()
            let outcome = AttemptOutcome(exit, stopReason: record.stopReason)
            guard case .succeeded = outcome, !outputSlots.isEmpty else { return outcome }
            try await publish()
            return outcome
        } catch {
            if let reason = record.stopReason, reason != .timeLimit, record.exit == nil {
                return .cancelled(reason, nil)
            }
            if record.container == nil { await shipper.finish() }
            switch error.reason {
            case .engineError, .workerLost: return .lost(error.reason, message: error.message)
            case .exitCode, .signal, .oomKilled, .timeLimit, .imageError, .volumeError, .outputError:
                return .failed(error.reason, record.exit, message: error.message)
            case .cancelled, .preempted: return .cancelled(error.reason, record.exit)
            }
        }
    }

    // MARK: Steps 2 to 6

    private func prepare() async throws(AttemptFailure) {
        await say(.preparing)
        try await engine(.imageError) { (engine) async throws(EngineError) in
            try await engine.ensureImage(self.record.configuration.image)
        }
        try checkStop()
        var mounts: [ContainerMount] = []
        for (path, file) in record.configuration.files.sorted(by: { $0.key < $1.key }) {
            mounts.append(ContainerMount(source: try await services.files.path(of: file), target: path, readOnly: true))
        }
        var inputs: [SlotName: TreeFingerprint] = [:]
        for (slot, entry) in record.configuration.slots.sorted(by: { $0.key < $1.key }) {
            let source = try volume(.volumeError) { () throws(VolumeError) in
                try services.volumes.mount(
                    slot, entry.mode, at: try location(of: slot), for: attempt, as: record.job.record.owner)
            }
            mounts.append(ContainerMount(source: source, target: entry.path, readOnly: entry.mode == .ro))
            if entry.mode == .ro { inputs[slot] = try await fingerprint(source, .volumeError) }
        }
        record.inputs = inputs
        try checkStop()
        let specification = try self.specification(mounts)
        let id = try await engine(.engineError) { (engine) async throws(EngineError) in
            try await engine.create(specification)
        }
        record.container = id
        try journal()
    }

    private func specification(_ mounts: [ContainerMount]) throws(AttemptFailure) -> ContainerSpecification {
        let configuration = record.configuration
        let values = TemplateValues(task: attempt.task, record: record.job.record)
        do {
            var environment = [
                "JOBCTL_JOB_ID": attempt.job.description, "JOBCTL_TASK_INDEX": String(attempt.task.index),
                "JOBCTL_ATTEMPT": attempt.description,
                "JOBCTL_CPUS": configuration.resources.cpus.description,
                "JOBCTL_MEMORY_BYTES": String(configuration.resources.memory.bytes),
            ]
            for (name, text) in configuration.environment { environment[name] = try Template(text).text(values) }
            return ContainerSpecification(
                attempt: attempt, image: configuration.image,
                command: try configuration.command.map { try Template($0).text(values) },
                environment: environment, workingDirectory: configuration.workingDirectory,
                user: record.job.record.owner, mounts: mounts,
                network: configuration.network, resources: configuration.resources, gpus: record.order.gpus,
                logLimit: ByteCount(bytes: LogFiles.limit), timeLimit: record.job.record.timeLimit,
                grace: record.job.record.grace)
        } catch {
            throw AttemptFailure(reason: .engineError, message: "the configuration cannot be filled in: \(error)")
        }
    }

    private func location(of slot: SlotName) throws(VolumeError) -> Binding {
        do {
            return try record.job.record.location(of: slot, for: attempt.task)
        } catch {
            throw VolumeError(error.message)
        }
    }

    // MARK: Steps 7 to 9

    private func start() async throws(AttemptFailure) {
        guard let container = record.container, record.startedAt == nil else { return }
        try checkStop()
        record.startedAt = jc_boot_milliseconds()
        record.boot = Journal.boot
        record.startedWall = Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
        try journal()
        do throws(EngineError) {
            try await services.engine.start(container)
        } catch {
            if case .program(let why) = error {
                throw AttemptFailure(reason: .exitCode, message: "the program could not be started: \(why)")
            }
            throw AttemptFailure(reason: .engineError, message: error.description)
        }
        await say(.running)
    }

    private func watch() async throws(AttemptFailure) {
        guard let container = record.container else { return }
        if record.report?.state != .running { await say(.running) }
        if let reason = record.stopReason { stop(reason) }
        let logFiles = self.logFiles
        let skip = Dictionary(uniqueKeysWithValues: LogPiece.Stream.allCases.map { ($0, logFiles.size($0)) })
        let engine = services.engine
        let collector = Task {
            for try await piece in engine.logs(container, skip: skip) { try logFiles.append(piece) }
        }
        let shipping = Task { [shipper] in await shipper.follow() }
        let sampling = Task { await sample(container) }
        let limit = Task { await enforceTimeLimit() }
        defer { for task in [shipping, sampling, limit] { task.cancel() } }
        let exit = try await waitForEnd(container)
        _ = await collector.result
        // After the end, for those that lived shorter than a sample.
        // allowed: the samples stand
        if let usage = try? await services.engine.usage(container) { record.usage = usage }
        record.exit = exit
        try journal()
    }

    /// Waits through restarts of the engine; without a proof of how it ended, the attempt is lost.
    private func waitForEnd(_ container: String) async throws(AttemptFailure) -> ExitRecord {
        var pause = 200
        while true {
            do throws(EngineError) {
                return try await services.engine.wait(container)
            } catch {
                switch error {
                case .unavailable:
                    try? await Task.sleep(for: .milliseconds(pause))  // allowed: nobody cancels a runner
                    pause = min(pause * 2, 10_000)
                case .image, .program, .noProof, .refused:
                    throw AttemptFailure(reason: .engineError, message: error.description)
                }
            }
        }
    }

    private func sample(_ container: String) async {
        var pause = 20
        while !Task.isCancelled {
            // allowed: the next sample may come
            if let usage = try? await services.engine.usage(container) { record.usage = usage }
            do { try await Task.sleep(for: .milliseconds(pause)) } catch { return }
            pause = min(pause * 2, 500)
        }
    }

    private func enforceTimeLimit() async {
        guard let limit = record.job.record.timeLimit, let started = record.startedAt, record.boot == Journal.boot
        else { return }
        let left = started + limit.milliseconds - jc_boot_milliseconds()
        if left > 0 { do { try await Task.sleep(for: .milliseconds(left)) } catch { return } }
        stop(.timeLimit)
    }

    /// Asks the program to end. The first reason counts.
    func stop(_ reason: EndReason) {
        guard record.exit == nil else { return }
        if record.stopReason == nil {
            record.stopReason = reason
            try? journal()  // allowed: the scheduler orders the stop again
        }
        guard let container = record.container, record.startedAt != nil, stopping == nil else { return }
        let (engine, grace) = (services.engine, record.job.record.grace)
        stopping = Task {
            var pause = 500
            while !Task.isCancelled {
                do throws(EngineError) {
                    return try await engine.stop(container, grace: grace)
                } catch {
                    try? await Task.sleep(for: .milliseconds(pause))  // allowed: tried again
                    pause = min(pause * 2, 10_000)
                }
            }
        }
    }

    private func checkStop() throws(AttemptFailure) {
        if let reason = record.stopReason {
            throw AttemptFailure(reason: reason, message: "stopped before the container was started")
        }
    }

    // MARK: Steps 10 and 11

    private var outputSlots: [SlotName] {
        record.configuration.slots.filter { $0.value.mode == .out }.map(\.key).sorted()
    }

    private func publish() async throws(AttemptFailure) {
        if record.report?.state != .ending {
            var outputs: [SlotName: TreeFingerprint] = [:]
            for slot in outputSlots {
                let folder = try volume(.outputError) { () throws(VolumeError) in
                    try services.volumes.outputFolder(of: slot, at: try location(of: slot), for: attempt)
                }
                outputs[slot] = try await fingerprint(folder, .outputError)
            }
            var report = AttemptReport(attempt: attempt, sequence: 0, state: .ending, exitCode: 0)
            report.outputs = outputs
            await remember(report)
        } else {
            await resend()
        }
        if !mayPublish { await withCheckedContinuation { publication = $0 } }
        if let reason = record.stopReason, !mayPublish {
            throw AttemptFailure(reason: reason, message: "superseded before its output was published")
        }
        for slot in outputSlots {
            try volume(.outputError) { () throws(VolumeError) in
                try services.volumes.publish(
                    slot, to: try location(of: slot), for: attempt, as: record.job.record.owner)
            }
        }
    }

    /// The scheduler has accepted the attempt: its output may be published.
    func accept() {
        mayPublish = true
        publication?.resume()
        publication = nil
    }

    /// The scheduler wants it to end. An attempt that waits to publish gives up.
    func order(_ stopReason: EndReason) {
        if let waiting = publication {
            record.stopReason = stopReason
            publication = nil
            waiting.resume()
        } else {
            stop(stopReason)
        }
    }

    // MARK: Steps 12 and 13

    /// Removes everything that is kept for the attempt. Its terminal report is on the scheduler's disk.
    func cleanUp() async {
        stopping?.cancel()
        if let container = record.container {
            try? await services.engine.remove(container)  // allowed: the next start of the agent removes what is left
        }
        services.volumes.unmount(attempt)
        services.volumes.removeStaging(of: attempt, in: record.job.record)
        services.journal.remove(attempt)
    }

    private func say(_ state: AttemptState) async {
        var report = AttemptReport(
            attempt: attempt, sequence: 0, state: state, engine: services.engine.name, startedAt: record.startedWall)
        report.inputs = record.inputs
        await remember(report)
    }

    /// Journals a report under the next sequence and hands it to the agent.
    private func remember(_ report: AttemptReport) async {
        var report = report
        report.sequence = (record.report?.sequence ?? 0) + 1
        report.inputs = report.inputs ?? record.inputs
        record.report = report
        try? journal()  // allowed: without the record, a crash ends as "lost", never as a success
        await services.report(report)
    }

    private func resend() async {
        if let report = record.report { await services.report(report) }
    }

    private func journal() throws(AttemptFailure) {
        do {
            try services.journal.write(record)
        } catch {
            throw AttemptFailure(reason: .engineError, message: "the worker's disk cannot take the journal: \(error)")
        }
    }

    private func finalUsage() -> Usage? {
        guard var usage = record.usage else { return nil }
        if let exit = record.exit, let start = exit.startedAt, let end = exit.finishedAt {
            usage.wallSeconds = max(0, (end - start).seconds)
        }
        return usage
    }

    private var logFiles: LogFiles { LogFiles(folder: services.journal.folder(of: attempt)) }
    private var shipper: LogShipper {
        LogShipper(files: logFiles, attempt: attempt, worker: services.worker, scheduler: services.scheduler)
    }

    private func fingerprint(_ path: String, _ reason: EndReason) async throws(AttemptFailure) -> TreeFingerprint {
        do {
            return try await services.fingerprints.fingerprint(path, level: record.job.record.fingerprint)
        } catch {
            throw AttemptFailure(reason: reason, message: error.description)
        }
    }

    private func volume<Value>(_ reason: EndReason, _ body: () throws(VolumeError) -> Value) throws(AttemptFailure)
        -> Value
    {
        do {
            return try body()
        } catch {
            throw AttemptFailure(reason: reason, message: error.description)
        }
    }

    /// A call to the engine, tried again while the engine is away.
    private func engine<Value: Sendable>(
        _ reason: EndReason, _ body: (any ContainerEngine) async throws(EngineError) -> Value
    ) async throws(AttemptFailure) -> Value {
        var tries = 0
        while true {
            do throws(EngineError) {
                return try await body(services.engine)
            } catch {
                tries += 1
                switch error {
                case .unavailable where tries < 5 && record.stopReason == nil:
                    try? await Task.sleep(for: .milliseconds(300 << tries))  // allowed: nobody cancels a runner
                case .program(let why):
                    throw AttemptFailure(reason: .exitCode, message: "the program could not be started: \(why)")
                case .image, .noProof, .unavailable, .refused:
                    throw AttemptFailure(reason: reason, message: error.description)
                }
            }
        }
    }
}

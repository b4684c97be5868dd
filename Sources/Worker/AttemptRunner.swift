// One attempt, from the order to the report: numbered steps, each journaled before it acts, so that an agent that was
// killed enters
// again where it was. What a step does stands in AttemptRunner+Steps.swift, what an outcome is in AttemptOutcome.swift.
//
// The actor gives way at each await. What may come in between is an order to stop, the permission to publish, the
// order to forget, and
// the agent's own end; each sets a value that the steps look at, and wakes the one continuation that the steps may
// wait on.
import JobModel
import Synchronization

/// What every runner of an agent shares.
struct RunnerServices: Sendable {
    let worker: WorkerName
    let engine: any ContainerEngine
    let scheduler: any SchedulerConnection
    let journal: Journal
    let volumes: VolumeAccess
    let files: FileCache
    let fingerprints: Fingerprinter
    let sentTrees = SentTrees()
    let lease = WorkerLease()
    /// For mounts, publishing and cleaning: file servers may let them hang.
    let work = BlockingWork(width: 16)
    var logLimit = LogFiles.standardLimit
    /// Takes a new report; the agent sends it.
    let report: @Sendable (AttemptReport) -> Void
    /// Serves sessions beside attempts; nil in tests without.
    var sessions: SessionHost?
    /// Learns which images are here; nil in tests without.
    var images: PreparedImages?
}

actor AttemptRunner {
    let services: RunnerServices
    let attempt: AttemptID
    let logFiles: LogFiles
    let shipper: LogShipper
    let trees: TreeShipper
    var record: JournalRecord
    /// The engine has been told to start it, by this agent or an earlier one: a stop goes to the engine from now on.
    var isStarted = false
    private var stopping: Task<Void, Never>?
    private var running: Task<Void, Never>?
    /// Waits for the time limit while the program runs.
    var limiting: Task<Void, Never>?
    /// The time limit that the engine was told since this agent began, beside the one it was given with the container.
    var limitToldToEngine: TimeSpan?
    /// The program was started by an earlier agent.
    let isAdopted: Bool
    /// What goes on beside the steps while the program runs.
    var companions: [@Sendable () -> Void] = []
    /// What the steps wait on, if they wait for somebody else than the engine.
    private var waiting: CheckedContinuation<Void, Never>?
    /// The step before the start that is under way.
    private var step: Task<Void, Never>?
    /// Nothing of it runs any more, proven or not.
    var hasEnded = false
    private var mayPublish = false
    /// Ordered to end after its program ended: its output is not wanted.
    private var publicationStop: EndReason?
    /// Nothing more is written or said: the attempt is forgotten, or the agent ends.
    private(set) var isSilent = false

    init(_ record: JournalRecord, _ services: RunnerServices) {
        self.record = record
        self.services = services
        attempt = record.attempt
        isAdopted = record.progress.startedAt != nil
        var files = LogFiles(folder: services.journal.logFolder(of: record.attempt), limit: services.logLimit)
        for stream in LogPiece.Stream.allCases { files.kept[stream] = services.engine.logFile(record.attempt, stream) }
        logFiles = files
        shipper = LogShipper(
            files: logFiles, attempt: record.attempt, worker: services.worker, scheduler: services.scheduler)
        trees = TreeShipper(
            lists: TreeLists(folder: logFiles.folder), sent: services.sentTrees, scheduler: services.scheduler)
    }

    /// Begins to run. Call it once.
    func begin() {
        guard !isSilent, running == nil else { return }
        running = Task {
            await run()
            hasEnded = true
        }
    }

    /// Runs the attempt to its terminal report. Never throws: whatever happens is reported.
    ///
    /// Station 7 of 8. Next: Sources/Worker/Engines/DockerEngine.swift
    /// 1. journal the order (the agent did) · 2. image · 3. files · 4. volumes · 5. fingerprint inputs · 6. create ·
    /// 7. start ·
    /// 8. watch: logs, time limit, stop · 9. write down the exit · 10. ship logs, fingerprint outputs, ship the lists
    /// of trees · 11. ask to publish, publish (a verification compares instead) ·
    /// 12. report · 13. clean up when told to forget
    private func run() async {
        if let report = record.progress.report, report.state.isTerminal { return say(report) }
        let outcome = await self.outcome()
        await shipper.finish { await self.isSilent }
        await trees.ship(record.progress.inputs ?? [:]) { await self.isSilent }
        var report = outcome.report(attempt)
        report.engine = services.engine.name
        report.startedAt = record.progress.exit?.startedAt ?? record.progress.startedWall
        report.finishedAt = record.progress.exit?.finishedAt
        report.inputs = record.progress.inputs
        report.usage = finalUsage()
        if case .succeeded = outcome { report.outputs = record.progress.report?.outputs }
        // What follows from a journaled exit alone, an agent that starts again finds again.
        if record.progress.exit == nil || !outputSlots.isEmpty { record.progress.report = report }
        say(report, isKept: record.progress.report != nil)
    }

    private func outcome() async -> AttemptOutcome {
        do throws(AttemptFailure) {
            if record.progress.exit == nil {
                if record.progress.startedAt == nil { try await prepare() }
                try await start()
                try await watch()
            }
            guard let exit = record.progress.exit else {
                throw AttemptFailure(reason: .engineError, message: "the container's end was not recorded")
            }
            let outcome = AttemptOutcome(exit, stopReason: record.progress.stopReason, note: record.progress.note)
            guard case .succeeded = outcome, !outputSlots.isEmpty else { return outcome }
            await shipper.finish { await self.isSilent }
            if isSilent { throw Self.agentEnded }
            try await publish()
            return outcome
        } catch {
            // The scheduler starts it elsewhere once it hears: nothing of it may run any more.
            if record.progress.exit == nil, !isSilent { await removeContainer() }
            return AttemptOutcome(error, exit: record.progress.exit, stopReason: record.progress.stopReason)
        }
    }

    // MARK: What comes from outside

    /// Asks the attempt to end. The first reason counts. One that ended but waits to publish gives up.
    func stop(_ reason: EndReason) {
        guard record.progress.exit == nil else {
            if !mayPublish { publicationStop = publicationStop ?? reason }
            step?.cancel()
            return wake()
        }
        if record.progress.stopReason == nil {
            record.progress.stopReason = reason
            try? journal()  // allowed: the scheduler orders the stop again
        }
        step?.cancel()
        wake()
        stopContainer()
    }

    /// The scheduler has accepted the attempt: its output may be published.
    func accept() {
        guard publicationStop == nil else { return }
        mayPublish = true
        wake()
    }

    /// The agent ends, or another agent has its place: nothing is written, said or stopped any more. Containers stay.
    func fallSilent() {
        isSilent = true
        stopping?.cancel()
        step?.cancel()
        for cancel in companions { cancel() }
        dropLimit()
        running?.cancel()
        wake()
    }

    /// Removes everything that is kept for the attempt. Its terminal report is on the scheduler's disk.
    func cleanUp() async {
        fallSilent()
        await removeContainer()
        // A step that was under way may have made a container or a mount since.
        await running?.value
        await removeContainer()
        if !record.configuration.slots.isEmpty {
            await services.work.run { [volumes = services.volumes, attempt, record = record.job.record] in
                volumes.unmount(attempt)
                volumes.removeStaging(of: attempt, in: record)
            }
        }
        services.journal.remove(attempt)
    }

    /// Returns when nothing of the attempt runs any more.
    func hasStopped() async {
        while running != nil, !hasEnded {
            do { try await Task.sleep(for: .milliseconds(50)) } catch { return }
        }
    }

    // MARK: Stopping

    /// SIGTERM, grace, SIGKILL: by the engine, tried again while it is away.
    func stopContainer() {
        guard let container = record.progress.container, isStarted, stopping == nil, !isSilent else { return }
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

    /// Waits through a restart of the engine. One that is gone is fine.
    func removeContainer() async {
        guard let container = record.progress.container else { return }
        var pause = 200
        while !Task.isCancelled {
            do throws(EngineError) {
                if !isSilent { logFiles.keep() }
                try await services.engine.remove(container)
                record.progress.container = nil
                return
            } catch {
                guard error.isUnavailable else { return }  // the next start of the agent removes what is left
                try? await Task.sleep(for: .milliseconds(pause))  // allowed: tried again
                pause = min(pause * 2, 10_000)
            }
        }
    }

    // MARK: Waiting

    func checkStop() throws(AttemptFailure) {
        if isSilent { throw Self.agentEnded }
        if let reason = record.progress.stopReason {
            throw AttemptFailure(reason: reason, message: "stopped before the container was started")
        }
    }

    /// Waits for a step before the start, no longer than until the attempt is to stop. What the step then still does
    /// must do no harm.
    func untilStop<Value: Sendable>(
        _ body: @escaping @Sendable () async throws(AttemptFailure) -> Value
    ) async throws(AttemptFailure) -> Value {
        try checkStop()
        let result = StepResult<Value>()
        step = Task {
            do throws(AttemptFailure) {
                result.set(.success(try await body()))
            } catch {
                result.set(.failure(error))
            }
            self.wake()
        }
        while result.value == nil, !isSilent, record.progress.stopReason == nil { await pauseForNews() }
        step = nil
        try checkStop()
        guard let value = result.value else { throw Self.agentEnded }
        return try value.get()
    }

    /// Waits for a step that must have ended before anything else is done. A stop cancels it.
    func cancellable<Value: Sendable>(
        _ body: @escaping @Sendable () async throws(AttemptFailure) -> Value
    ) async throws(AttemptFailure) -> Value {
        let work = Task { () async -> Result<Value, AttemptFailure> in
            do throws(AttemptFailure) {
                return .success(try await body())
            } catch {
                return .failure(error)
            }
        }
        step = Task {
            await withTaskCancellationHandler {
                _ = await work.value
            } onCancel: {
                work.cancel()
            }
        }
        let result = await work.value
        step = nil
        return try result.get()
    }

    func pause(milliseconds: Int) async throws(AttemptFailure) {
        // allowed: a pause that ends early is looked at below
        try? await Task.sleep(for: .milliseconds(milliseconds))
        if isSilent { throw Self.agentEnded }
    }

    private static let agentEnded = AttemptFailure(reason: .engineError, message: "the agent ended")

    /// Suspends until ``wake()``. Only the steps wait, one after the other.
    private func pauseForNews() async {
        await withCheckedContinuation { waiting = $0 }
    }

    private func wake() {
        waiting?.resume()
        waiting = nil
    }

    /// Until the output may be published.
    /// - Throws: ``AttemptFailure`` if it is not wanted any more.
    func permission() async throws(AttemptFailure) {
        while !mayPublish, publicationStop == nil, !isSilent { await pauseForNews() }
        if let reason = publicationStop {
            throw AttemptFailure(reason: reason, message: "ended before its output was published")
        }
        if isSilent { throw Self.agentEnded }
    }

    // MARK: Reporting

    var outputSlots: [SlotName] {
        record.configuration.slots.filter { $0.value.mode == .out }.map(\.key).sorted()
    }

    /// Hands a report to the agent. One that cannot be made again from the journal is written there first.
    func say(_ report: AttemptReport, isKept: Bool = false) {
        guard !isSilent else { return }
        if isKept { try? journal() }  // allowed: without the record, a crash ends as "lost", never as a success
        var report = report
        report.imageManifest = record.progress.imageManifest
        services.report(report)
    }

    func journal() throws(AttemptFailure) {
        guard !isSilent else { return }
        do {
            try services.journal.write(record)
        } catch {
            throw AttemptFailure(reason: .engineError, message: "the worker's disk cannot take the journal: \(error)")
        }
    }

    private func finalUsage() -> Usage? {
        guard var usage = record.progress.usage else { return nil }
        if let exit = record.progress.exit, let start = exit.startedAt, let end = exit.finishedAt {
            usage.wallSeconds = max(0, (end - start).seconds)
        }
        return usage.sound
    }
}

/// Where a step leaves its result.
private final class StepResult<Value: Sendable>: Sendable {
    private let stored = Mutex<Result<Value, AttemptFailure>?>(nil)
    var value: Result<Value, AttemptFailure>? { stored.withLock { $0 } }
    func set(_ value: Result<Value, AttemptFailure>) { stored.withLock { $0 = value } }
}

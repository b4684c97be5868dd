// The steps of an attempt, in their order. Each may be entered again after a crash: what it did already changes
// nothing.
import CLinux
import Foundation
import JobModel

extension AttemptRunner {
    // MARK: Steps 2 to 6

    func prepare() async throws(AttemptFailure) {
        report(.preparing)
        let (configuration, files, images) = (record.configuration, services.files, services.images)
        let original = try await original()
        record.progress.imageManifest = try await untilStop { () async throws(AttemptFailure) in
            try await self.engine(.imageError) { (engine) async throws(EngineError) in
                let manifest = try await engine.ensureImage(configuration.image)
                images?.prepared(configuration.image.digest)
                for (_, service) in configuration.services.sorted(by: { $0.key < $1.key }) {
                    try await engine.ensureImage(service.image)
                    images?.prepared(service.image.digest)
                }
                return manifest
            }
        }
        var mounts: [ContainerMount] = []
        for (path, file) in configuration.files.sorted(by: { $0.key < $1.key }) {
            let source = try await untilStop { () async throws(AttemptFailure) in try await files.path(of: file) }
            mounts.append(ContainerMount(source: source, target: path, readOnly: true))
        }
        var inputs: [SlotName: TreeFingerprint] = [:]
        for (slot, entry) in configuration.slots.sorted(by: { $0.key < $1.key }) {
            try checkStop()
            let source = try await mount(slot, entry.mode)
            mounts.append(
                ContainerMount(
                    source: source, target: entry.path, readOnly: entry.mode == .ro,
                    volumeRoot: services.volumes.unmountedRoot(of: try location(of: slot), slot)))
            if entry.mode == .ro { inputs[slot] = try await fingerprint(source, slot, .volumeError) }
        }
        record.progress.inputs = inputs
        if let original { try check(inputs, against: original) }
        try checkStop()
        let specification = try self.specification(mounts)
        record.progress.container = try await engine(.engineError) { (engine) async throws(EngineError) in
            try await engine.create(specification)
        }
    }

    private func mount(_ slot: SlotName, _ mode: SlotMode) async throws(AttemptFailure) -> String {
        let (volumes, attempt, owner) = (services.volumes, self.attempt, record.job.record.owner)
        let binding = try location(of: slot)
        do {
            return try await services.work.run { () throws(VolumeError) in
                try volumes.mount(slot, mode, at: binding, for: attempt, as: owner)
            }
        } catch {
            throw AttemptFailure(reason: .volumeError, message: error.description)
        }
    }

    private func location(of slot: SlotName) throws(AttemptFailure) -> Binding {
        do {
            return try record.job.record.source(of: slot, for: attempt.task)
        } catch {
            throw AttemptFailure(reason: .volumeError, message: error.message)
        }
    }

    private func fingerprint(_ path: String, _ slot: SlotName, _ reason: EndReason) async throws(AttemptFailure)
        -> TreeFingerprint
    {
        let (fingerprints, level) = (services.fingerprints, record.job.record.fingerprint)
        let list = TreeLists(folder: logFiles.folder).path(slot)
        return try await cancellable { () async throws(AttemptFailure) in
            do throws(VolumeError) {
                return try await fingerprints.fingerprint(path, level: level, list: list)
            } catch {
                throw AttemptFailure(reason: reason, message: error.description)
            }
        }
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
            environment.merge(record.order.gangEnvironment) { $1 }
            for (name, text) in configuration.environment { environment[name] = try Template(text).text(values) }
            return ContainerSpecification(
                attempt: attempt, image: configuration.image,
                command: try configuration.command.map { try Template($0).text(values) },
                environment: environment, workingDirectory: configuration.workingDirectory,
                user: record.job.record.owner, mounts: mounts,
                network: configuration.network, resources: configuration.resources, gpus: record.order.gpus,
                logLimit: ByteCount(bytes: LogFiles.standardLimit), timeLimit: timeLimit,
                grace: record.job.record.grace, services: try services(values))
        } catch {
            throw AttemptFailure(reason: .engineError, message: "the configuration cannot be filled in: \(error)")
        }
    }

    private func services(_ values: TemplateValues) throws -> [ServiceSpecification] {
        try record.configuration.services.sorted { $0.key < $1.key }.map { name, service in
            func filled(_ words: [String]) throws -> [String] { try words.map { try Template($0).text(values) } }
            return ServiceSpecification(
                name: name, image: service.image, command: try filled(service.command),
                environment: try service.environment.mapValues { try Template($0).text(values) },
                workingDirectory: service.workingDirectory, resources: service.resources,
                health: try service.health.map {
                    HealthCheck(
                        command: try filled($0.command), interval: $0.interval, timeout: $0.timeout,
                        retries: $0.retries)
                })
        }
    }

    // MARK: Step 7

    func start() async throws(AttemptFailure) {
        guard let container = record.progress.container else {
            throw AttemptFailure(reason: .engineError, message: "the container was not recorded")
        }
        let mayRun = record.progress.startedAt != nil
        if !mayRun {
            try checkStop()
            record.progress.startedAt = jc_boot_milliseconds()
            record.progress.boot = Journal.boot
            record.progress.startedWall = Timestamp(
                millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
            try journal()
            try checkLease()
        }
        // An earlier life may have been killed between the journal and the engine. After a reboot nothing is started
        // again.
        if record.progress.boot == Journal.boot {
            // What may run already is not given up because the engine is away.
            try await engine(.engineError, tries: mayRun ? .max : 5) { (engine) async throws(EngineError) in
                try await engine.start(container)
            }
        }
        isStarted = true
        report(.running)
        // One that came while the engine was starting it.
        if record.progress.stopReason != nil { stopContainer() }
    }

    /// The agent may have stood still, with its host or alone, since it was told that it may go on.
    private func checkLease() throws(AttemptFailure) {
        guard services.lease.isOver else { return }
        throw AttemptFailure(reason: .workerLost, message: "the worker's lease has ended")
    }

    private func report(_ state: AttemptState) {
        var report = AttemptReport(attempt, state)
        report.engine = services.engine.name
        report.startedAt = record.progress.startedWall
        report.inputs = record.progress.inputs
        say(report)
    }

    // MARK: Steps 8 and 9

    func watch() async throws(AttemptFailure) {
        guard let container = record.progress.container else { return }
        let collecting = Task { () async -> String? in
            guard logFiles.kept.isEmpty else { return nil }
            let collector = LogCollector(files: logFiles, engine: services.engine)
            return await collector.collect(container) { await self.hasEnded }
        }
        let shipping = Task { [shipper] in await shipper.follow() }
        let sampling = Task { await sample(container) }
        companions = [collecting.cancel, shipping.cancel, sampling.cancel]
        keepLimit()
        let end: Result<ExitRecord, AttemptFailure>
        do throws(AttemptFailure) {
            end = .success(try await waitForEnd(container))
        } catch {
            end = .failure(error)
        }
        hasEnded = true
        dropLimit()
        sampling.cancel()
        if case .failure = end, !isSilent { await endUnproven(container) }
        record.progress.note = await collecting.value
        shipping.cancel()
        await shipping.value
        let exit = try end.get()
        // After the end, for those that lived shorter than a sample.
        // allowed: the samples stand
        if let usage = try? await services.engine.usage(container) { record.progress.usage = usage.sound }
        record.progress.exit = exit
        // allowed: an agent that starts again finds the same in the engine's own record
        try? journal()
    }

    /// Nobody knows whether it runs: it shall not, and what it wrote is still collected for as long as more of it
    /// comes.
    private func endUnproven(_ container: String) async {
        // allowed: it is removed below
        try? await services.engine.stop(container, grace: record.job.record.grace)
        Task { [logFiles] in
            var size: Int64 = -1
            while true {
                let now = LogPiece.Stream.allCases.reduce(0) { $0 + logFiles.size($1) }
                if now == size { return await removeContainer() }
                size = now
                do { try await Task.sleep(for: .seconds(1)) } catch { return }
            }
        }
    }

    /// Waits through restarts of the engine; without a proof of how it ended, the attempt is lost.
    private func waitForEnd(_ container: String) async throws(AttemptFailure) -> ExitRecord {
        var milliseconds = 200
        while true {
            do throws(EngineError) {
                return try await services.engine.wait(container)
            } catch {
                guard error.isUnavailable else {
                    throw AttemptFailure(reason: .engineError, message: error.description)
                }
            }
            try await pause(milliseconds: milliseconds)
            milliseconds = min(milliseconds * 2, 10_000)
        }
    }

    /// For engines that forget what a container used when it ends. The first sample comes late: most programs are
    /// short.
    private func sample(_ container: String) async {
        var pause = 100
        while !Task.isCancelled {
            do { try await Task.sleep(for: .milliseconds(pause)) } catch { return }
            // allowed: the next sample may come
            if let usage = try? await services.engine.usage(container) { record.progress.usage = usage.sound }
            pause = min(pause * 2, 2_000)
        }
    }

    // MARK: Steps 10 and 11

    func publish() async throws(AttemptFailure) {
        if record.progress.report?.state == .ending, let report = record.progress.report {
            say(report)
        } else {
            var outputs: [SlotName: TreeFingerprint] = [:]
            for slot in outputSlots {
                outputs[slot] = try await fingerprint(try await staged(slot), slot, .outputError)
            }
            if let original = try await original() { try await compare(outputs, with: original) }
            await trees.ship(outputs) { await self.isSilent }
            var report = AttemptReport(attempt, .ending, exitCode: 0)
            report.outputs = outputs
            report.inputs = record.progress.inputs
            record.progress.report = report
            say(report, isKept: true)
        }
        try await permission()
        try checkLease()
        if record.job.record.verifies != nil { return }
        let (volumes, attempt, owner) = (services.volumes, self.attempt, record.job.record.owner)
        for slot in outputSlots {
            let binding = try location(of: slot)
            do {
                try await services.work.run { () throws(VolumeError) in
                    try volumes.publish(slot, to: binding, for: attempt, as: owner)
                }
            } catch {
                throw AttemptFailure(reason: .outputError, message: error.description)
            }
        }
    }

    /// Where the container wrote an output.
    private func staged(_ slot: SlotName) async throws(AttemptFailure) -> String {
        let (volumes, attempt, owner) = (services.volumes, self.attempt, record.job.record.owner)
        let binding = try location(of: slot)
        do {
            return try await services.work.run { () throws(VolumeError) in
                try volumes.staged(slot, at: binding, for: attempt, as: owner)
            }
        } catch {
            throw AttemptFailure(reason: .outputError, message: error.description)
        }
    }

    // MARK: The engine

    /// A call to the engine, tried again while the engine is away.
    private func engine<Value: Sendable>(
        _ reason: EndReason, tries most: Int = 5,
        _ body: @Sendable (any ContainerEngine) async throws(EngineError) -> Value
    ) async throws(AttemptFailure) -> Value {
        var tries = 0
        while true {
            do throws(EngineError) {
                return try await body(services.engine)
            } catch {
                tries += 1
                switch error {
                case .unavailable where tries < most && (most > 5 || record.progress.stopReason == nil): break
                case .program(let why):
                    throw AttemptFailure(reason: .exitCode, message: "the program could not be started: \(why)")
                case .image, .noProof, .unavailable, .refused:
                    throw AttemptFailure(reason: reason, message: error.description)
                }
            }
            try await pause(milliseconds: 300 << min(tries, 5))
        }
    }
}

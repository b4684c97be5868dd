// An attempt's services at dockerd or podman: a container each beside the attempt's own. `start` begins to gather them,
// and starts the program once all are ready; `wait` ends them with it. Health checks are run from here, the same for
// both: podman leaves its own to systemd. Invariant: what is known of services stands in labels, so that an agent that
// starts again goes on.
import Foundation
import JobModel
import NIOCore
import Synchronization

/// How it went to bring a container's services up.
enum Gathering: Sendable {
    case programStarted
    /// The program will not be started: this is the end, and what the services wrote last.
    case failed(ExitRecord, lastWords: String)
    case broken(EngineError)
}

/// A health check that runs: its streams are let go of once, by its end, its timeout, or who stops the attempt.
private final class RunningCheck: Sendable {
    private let session: any ContainerSession
    private let isOver = Mutex(false)

    init(_ session: any ContainerSession) { self.session = session }

    /// Nil if it took longer, or was stopped.
    func exitCode(within limit: Duration) async -> Result<Int?, EngineError> {
        let timer = Task {
            do { try await Task.sleep(for: limit) } catch { return }
            await end()
        }
        defer { timer.cancel() }
        return await withTaskCancellationHandler {
            do throws(EngineError) {
                await session.endInput()
                while try await session.read() != nil {}
                guard await end() else { return .success(nil) }
                return .success(Int(try await session.exitCode()))
            } catch {
                await end()
                return error.isUnavailable ? .failure(error) : .success(126)
            }
        } onCancel: {
            Task { await end() }
        }
    }

    /// - Returns: whether nobody had ended it before.
    @discardableResult
    private func end() async -> Bool {
        let isFirst = isOver.withLock { isOver in
            defer { isOver = true }
            return !isOver
        }
        if isFirst { await session.close() }
        return isFirst
    }
}

/// What is gathered at present, or was, by container id.
actor ServiceBook {
    private var gatherings: [String: Task<Gathering, Never>] = [:]

    /// Begins, unless it has been begun.
    func begin(_ id: String, _ body: @escaping @Sendable () async -> Gathering) {
        guard gatherings[id] == nil else { return }
        gatherings[id] = Task { await body() }
    }

    /// Waits for it; nil if nothing was begun by this agent.
    func outcome(of id: String) async -> Gathering? { await gatherings[id]?.value }
    func stop(_ id: String) { gatherings[id]?.cancel() }
    func forget(_ id: String) { gatherings.removeValue(forKey: id)?.cancel() }
}

extension DockerEngine {
    // MARK: Making and removing

    /// Beside the attempt's own container, which exists.
    func createServices(
        of specification: ContainerSpecification, in network: PlannedNetwork
    ) async throws(EngineError) {
        for service in specification.services {
            let name = serviceName(service.name.rawValue, of: specification.attempt)
            let plan = ContainerPlan(
                specification: specification.container(of: service), name: name, worker: worker,
                image: try await present(service.image), cgroupParent: nil, limits: ProcessLimits.ofThisProcess,
                network: network, service: service)
            let answer = try await sendCreate(plan)
            guard answer.status != 201, try await inspect(name)?.settings.labels?[ContainerLabel.worker] != worker
            else { continue }
            throw answer.failure
        }
    }

    /// Whatever there is of an attempt besides its own container, which is gone.
    func removeServices(of attempt: AttemptID) async throws(EngineError) {
        for service in try await listed("\(ContainerLabel.attempt)=\(attempt)") where service.isService(of: worker) {
            try await delete(service.id)
        }
    }

    func serviceName(_ service: String, of attempt: AttemptID) -> String {
        containerName(of: attempt) + "-" + service
    }

    // MARK: Gathering

    /// Begins to bring the services up, and then the program; returns at once.
    func gather(_ found: InspectedContainer) async {
        guard let attempt = found.attempt else { return }
        await services.begin(found.id) { [self] in
            do throws(EngineError) {
                if let failed = try await gathered(found, attempt) { return failed }
                try await patiently { () async throws(EngineError) in
                    try await http.exchange(.POST, container(found.id, "/start")).expect(204, 304)
                }
                return .programStarted
            } catch {
                guard Task.isCancelled else { return .broken(error) }
                // Of its own, because this one is cancelled.
                return await Task { await self.afterStop(found.id) }.value
            }
        }
    }

    /// The order to stop may have met the order to start on their way to the engine.
    private func afterStop(_ id: String) async -> Gathering {
        do throws(EngineError) {
            guard let found = try await patiently({ () async throws(EngineError) in try await inspect(id) }),
                found.state.judge() != .notStarted
            else { return .failed(Self.stopped, lastWords: "") }
            try await stopContainer(id, grace: nil)
            return .programStarted
        } catch {
            return .broken(error)
        }
    }

    /// The program was not to be started any more.
    private static var stopped: ExitRecord {
        ExitRecord(exitCode: 137, oomKilled: false, startedAt: nil, finishedAt: now)
    }

    private static var now: Timestamp {
        Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
    }

    /// Nil once all are ready.
    private func gathered(_ found: InspectedContainer, _ attempt: AttemptID) async throws(EngineError) -> Gathering? {
        let names = found.serviceNames.map { serviceName($0, of: attempt) }
        for name in names {
            try await patiently { () async throws(EngineError) in
                guard let service = try await inspect(name) else { throw .noProof("the service \(name) is gone") }
                guard service.state.judge() == .notStarted else { return }
                try await http.exchange(.POST, container(name, "/start")).expect(204, 304)
            }
        }
        let failures = await withTaskGroup(of: Result<String?, EngineError>.self) { group in
            for name in names {
                group.addTask {
                    do throws(EngineError) {
                        return .success(try await self.untilReady(name))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            // The first that fails ends the others' waiting.
            for await result in group {
                if case .success(nil) = result { continue }
                group.cancelAll()
                return result
            }
            return .success(nil)
        }
        guard let why = try failures.get() else { return nil }
        return .failed(
            ExitRecord(exitCode: 125, oomKilled: false, startedAt: nil, finishedAt: Self.now, serviceFailure: why),
            lastWords: await lastWords(of: names))
    }

    /// - Returns: why it will not be ready; nil if it is.
    private func untilReady(_ name: String) async throws(EngineError) -> String? {
        var failures = 0
        while true {
            let looked = try await patiently { () async throws(EngineError) in try await inspect(name) }
            guard let service = looked else { throw .noProof("the service \(name) is gone") }
            let called = "the service '\(service.serviceName ?? name)'"
            switch service.state.judge() {
            case .running: break
            case .ended(let end): return "\(called) " + (await sentence(end, service, "before the task was started"))
            case .ending, .notStarted:
                try await pause(.milliseconds(50))
                continue
            }
            guard let health = service.health else { return nil }
            let code = try await patiently { () async throws(EngineError) in try await check(health, in: service.id) }
            if code == 0 { return nil }
            failures += 1
            if failures >= health.retries {
                let how = code.map { "ended with exit code \($0)" } ?? "took too long"
                return "\(called) was not ready in time: its last health check \(how)"
            }
            try await pause(.milliseconds(health.interval.milliseconds))
        }
    }

    private func sentence(_ end: ContainerEnd, _ service: InspectedContainer, _ moment: String) async -> String {
        switch end {
        case .exited(let record) where record.oomKilled: return "used more memory than it asked for \(moment)"
        case .exited(let record):
            // allowed: the code alone is told
            let cause = (try? await completed(.exited(record), of: service))?.message.map { ": \($0)" } ?? ""
            return "ended with exit code \(record.exitCode) \(moment)\(cause)"
        case .neverStarted(let why), .unproven(let why): return "was gone \(moment): \(why)"
        }
    }

    /// - Returns: the exit code of a health check; nil if it took too long.
    private func check(_ health: HealthCheck, in id: String) async throws(EngineError) -> Int? {
        let request = SessionRequest(command: health.command, tty: false)
        let session: any ContainerSession
        do throws(EngineError) {
            session = try await self.session(in: id, SessionLaunch(id: "health", request: request))
        } catch {
            // A command that is not there, or a service that ended in between: its state is looked at next.
            guard !error.isUnavailable else { throw error }
            return 126
        }
        return try await RunningCheck(session).exitCode(within: .milliseconds(health.timeout.milliseconds)).get()
    }

    /// Again and again while the engine is away.
    private func patiently<Value: Sendable>(
        _ body: @Sendable () async throws(EngineError) -> Value
    ) async throws(EngineError) -> Value {
        var delay = Duration.milliseconds(100)
        while true {
            do throws(EngineError) {
                return try await body()
            } catch {
                guard error.isUnavailable, !Task.isCancelled else { throw error }
            }
            try await pause(delay)
            delay = min(delay * 2, .seconds(5))
        }
    }

    // MARK: The end

    /// The record with what happened to services before the program's end; then they are ended too.
    func finish(_ record: ExitRecord, _ found: InspectedContainer) async throws(EngineError) -> ExitRecord {
        guard let attempt = found.attempt, !found.serviceNames.isEmpty else { return record }
        var record = record
        record.note = try await lost(found).first?.sentence
        await stopServices(found.serviceNames, of: attempt)
        return record
    }

    /// With the services' own grace, all at once.
    func stopServices(_ names: [String], of attempt: AttemptID, grace: TimeSpan? = nil) async {
        await withTaskGroup(of: Void.self) { group in
            for name in names {
                let name = serviceName(name, of: attempt)
                // allowed: removing the container ends them as well
                group.addTask { try? await self.stopContainer(name, grace: grace) }
            }
        }
    }

    /// The services that ended before the program did.
    private func lost(_ found: InspectedContainer) async throws(EngineError) -> [(name: String, sentence: String)] {
        guard let attempt = found.attempt else { return [] }
        let end = RecordedState.time(found.state.finishedAt)
        var lost: [(String, String)] = []
        for service in found.serviceNames {
            let name = serviceName(service, of: attempt)
            guard let inspected = try await inspect(name), case .ended(let how) = inspected.state.judge(),
                let time = RecordedState.time(inspected.state.finishedAt), let end, time < end
            else { continue }
            let sentence = await sentence(how, inspected, "while the task ran")
            lost.append((name, "the service '\(service)' \(sentence)"))
        }
        return lost
    }

    // MARK: Output

    /// What stands after a container's own output: the last lines of services that failed, with their names.
    func lastWords(after found: InspectedContainer) async -> String {
        // allowed: only the container's own output is shown
        guard let again = try? await inspect(found.id), let lost = try? await lost(again), !lost.isEmpty else {
            return ""
        }
        return await lastWords(of: lost.map(\.name)) + lost.map { "[jobctl: \($0.sentence)]\n" }.joined()
    }

    private static let tailLines = 20

    private func lastWords(of containers: [String]) async -> String {
        var text = ""
        for name in containers {
            guard let service = try? await inspect(name) else { continue }  // allowed: nothing to show
            var output: [LogPiece.Stream: [UInt8]] = [:]
            do {
                for try await piece in logs(service.id, follow: false, skip: [:]) {
                    output[piece.stream] = Array((output[piece.stream, default: []] + piece.bytes).suffix(4096))
                }
            } catch {
                continue
            }
            for stream in LogPiece.Stream.allCases {
                for line in output[stream, default: []].split(separator: UInt8(ascii: "\n")).suffix(Self.tailLines) {
                    text += "[\(service.serviceName ?? name)] \(String(decoding: line, as: UTF8.self))\n"
                }
            }
        }
        return text
    }
}

extension InspectedContainer {
    /// Of the attempt's own container: the names of its services.
    var serviceNames: [String] {
        (settings.labels?[ContainerLabel.services] ?? "").split(separator: ",").map(String.init)
    }
    /// Of a service's container.
    var serviceName: String? { settings.labels?[ContainerLabel.service] }
    fileprivate var health: HealthCheck? {
        // allowed: the label was written here
        settings.labels?[ContainerLabel.health].flatMap { try? WireJSON.decode(HealthCheck.self, from: $0.utf8) }
    }
}

extension ListedContainer {
    func isService(of worker: String) -> Bool {
        labels?[ContainerLabel.worker] == worker && labels?[ContainerLabel.service] != nil
    }
}

// A worker without containers: it speaks the worker protocol as the agent does, with full inventory and idempotent
// reports, and every attempt that it is told to start has run by its next call. What it says of each attempt is what
// the agent says: running, then succeeded with exit code, times and use.
import Foundation
import JobModel
import SchedulerClient

struct LeanWorker {
    let name: WorkerName
    let slots: Int
    private let incarnation: String
    private var sequence: Int64 = 0
    private var isRegistered = false
    /// Started, not yet reported as running.
    private var started: [AttemptID] = []
    /// Reported as running.
    private var running: [AttemptID] = []
    /// Reported as succeeded, not yet forgotten.
    private var ended: [AttemptID] = []
    private(set) var succeeded = 0

    init(name: String, slots: Int, incarnation: String) {
        self.name = WorkerName(unchecked: name)
        self.slots = slots
        self.incarnation = incarnation
    }

    private static let now = Timestamp(millisecondsSinceEpoch: 1_764_000_000_000)

    mutating func request(wait: TimeSpan) -> SyncRequest {
        sequence += 1
        var reports: [AttemptReport] = []
        reports.reserveCapacity(started.count + running.count)
        for attempt in started {
            reports.append(
                AttemptReport(
                    attempt: attempt, sequence: 1, state: .running, engine: "simulated", startedAt: Self.now,
                    inputs: [:]))
        }
        for attempt in running {
            reports.append(
                AttemptReport(
                    attempt: attempt, sequence: 2, state: .succeeded, reason: .exitCode, exitCode: 0,
                    engine: "simulated",
                    startedAt: Self.now, finishedAt: Self.now, inputs: [:],
                    usage: Usage(cpuSeconds: 0.01, maxMemory: ByteCount(bytes: 1 << 20), wallSeconds: 0.02)))
        }
        return SyncRequest(
            incarnation: incarnation, sequence: sequence, registration: isRegistered ? nil : registration,
            live: started + running + ended, reports: reports, wait: reports.isEmpty ? wait : .zero)
    }

    private var registration: WorkerRegistration {
        WorkerRegistration(
            cpus: CPUAmount(cpus: slots), memory: ByteCount(bytes: Int64(slots) << 30), gpus: [], labels: [:],
            volumes: [:],
            allowedPaths: [], engines: ["simulated"], version: "bench")
    }

    /// What the answer to the last request means.
    mutating func take(start: [AttemptID], forget: [AttemptID], registrationWanted: Bool) {
        isRegistered = !registrationWanted
        succeeded += running.count
        ended += running
        let forgotten = Set(forget)
        ended.removeAll { forgotten.contains($0) }
        running = started
        let known = Set(running + ended)
        started = start.filter { !known.contains($0) }
    }
}

// MARK: over HTTP

extension LeanWorker {
    private var isIdle: Bool { started.isEmpty && running.isEmpty && ended.isEmpty }

    /// Some workers that call for `seconds`, or until there is nothing left to do.
    /// - Returns: how many tasks they ended.
    static func serve(
        _ scheduler: SchedulerUnderBench, workers: Int, slots: Int, seconds: Double? = nil
    ) async throws -> Int {
        let client = try SchedulerClient(url: scheduler.url, token: scheduler.workerToken)
        let end = seconds.map { ContinuousClock.now + .seconds($0) }
        let done = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 1...workers {
                group.addTask {
                    var worker = LeanWorker(name: "bench-\(number)", slots: slots, incarnation: UUID().uuidString)
                    try await worker.serve(client, until: end)
                    return worker.succeeded
                }
            }
            return try await group.reduce(0, +)
        }
        await client.close()
        return done
    }

    private mutating func serve(_ client: SchedulerClient, until end: ContinuousClock.Instant?) async throws {
        while end.map({ ContinuousClock.now < $0 }) ?? true {
            let answer = try await client.sync(name, request(wait: TimeSpan(milliseconds: 300)))
            take(
                start: answer.start.map(\.attempt), forget: answer.forget,
                registrationWanted: answer.registrationWanted)
            if end == nil, isIdle, isRegistered { return }
        }
    }
}

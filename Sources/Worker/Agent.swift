// The agent's one call, again and again: everything that this worker holds goes up, the difference to what the
// scheduler wants comes down. A new report interrupts a call that waits. Nothing is decided here.
import CLinux
import Foundation
import JobModel
import Logging

package actor Agent {
    private let name: WorkerName
    private let registration: WorkerRegistration
    private let scheduler: any SchedulerConnection
    private let services: RunnerServices
    private let logger: Logger
    private let reports: AsyncStream<AttemptReport>

    private let incarnation = UUID().uuidString
    private var sequence: Int64 = 0
    private var registrationIsKnown = false
    private var runners: [AttemptID: AttemptRunner] = [:]
    /// The newest report of each attempt that no answer has acknowledged.
    private var unacknowledged: [AttemptID: AttemptReport] = [:]
    /// When the worker's own lease ends, in milliseconds of the boot-time clock. Nil before the first answer.
    private var leaseEnd: Int64?
    private var interval = TimeSpan.seconds(10)
    private var wakeUp: CheckedContinuation<Void, Never>?
    private var hasNews = false
    private var lastAnswered: Int64 = 0

    init(
        name: WorkerName, registration: WorkerRegistration, scheduler: any SchedulerConnection, logger: Logger,
        services: (@escaping @Sendable (AttemptReport) async -> Void) -> RunnerServices
    ) {
        self.name = name
        self.registration = registration
        self.scheduler = scheduler
        self.logger = logger
        let (stream, continuation) = AsyncStream.makeStream(of: AttemptReport.self)
        reports = stream
        self.services = services { continuation.yield($0) }
    }

    /// Takes up what an earlier life left, then serves until it is cancelled. Containers stay.
    ///
    /// Station 6 of 8. Next: Sources/Worker/AttemptRunner.swift
    /// - Throws: ``JobModel/Problem`` if another agent has taken this worker's name.
    package func run() async throws {
        try await adopt()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for await report in self.reports { await self.take(report) } }
            group.addTask { try await self.watchLease() }
            group.addTask { try await self.serve() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    // MARK: Calls

    private func serve() async throws {
        var pause = 200
        while !Task.isCancelled {
            hasNews = false
            let request = nextRequest()
            let sentAt = jc_boot_milliseconds()
            do throws(Problem) {
                guard let response = try await callUntilNews(request) else { continue }
                pause = 200
                leaseEnd = sentAt + response.lease.milliseconds
                await services.engine.leaseExtended(to: sentAt + response.lease.milliseconds)
                interval = response.interval
                await carryOut(response, of: request)
            } catch {
                if error.field == "incarnation" { throw error }
                logger.warning("the scheduler did not take a call", metadata: ["cause": "\(error)"])
                if error.status == 401 || error.status == 403 || error.status == 422 { pause = max(pause, 2_000) }
                // Jitter keeps a thousand agents from coming back in the same moment.
                try await Task.sleep(for: .milliseconds(pause + Int.random(in: 0...(pause / 2))))
                pause = min(pause * 2, 10_000)
            }
        }
    }

    private func nextRequest() -> SyncRequest {
        sequence += 1
        return SyncRequest(
            incarnation: incarnation, sequence: sequence, registration: registrationIsKnown ? nil : registration,
            live: runners.keys.sorted(),
            reports: unacknowledged.values.sorted { $0.attempt < $1.attempt }, wait: interval)
    }

    /// The answer, or nil if there was news first: then the next call replaces this one, which the scheduler drops.
    private func callUntilNews(_ request: SyncRequest) async throws(Problem) -> SyncResponse? {
        let (name, scheduler) = (self.name, self.scheduler)
        let call = Task { () -> Result<SyncResponse, Problem> in
            let result: Result<SyncResponse, Problem>
            do throws(Problem) {
                result = .success(try await scheduler.sync(name, request))
            } catch {
                result = .failure(error)
            }
            self.answered(request.sequence)
            return result
        }
        await withTaskCancellationHandler {
            if !hasNews { await withCheckedContinuation { wakeUp = $0 } }
        } onCancel: {
            Task { await self.wake() }
        }
        if Task.isCancelled { call.cancel() }
        guard lastAnswered == request.sequence || Task.isCancelled else { return nil }
        return try await call.value.get()
    }

    /// A call that was replaced may still be answered: that is no news.
    private func answered(_ sequence: Int64) {
        guard sequence == self.sequence else { return }
        lastAnswered = sequence
        wake()
    }

    private func wake() {
        hasNews = true
        wakeUp?.resume()
        wakeUp = nil
    }

    private func take(_ report: AttemptReport) {
        unacknowledged[report.attempt] = report
        wake()
    }

    // MARK: Orders

    private func carryOut(_ response: SyncResponse, of request: SyncRequest) async {
        registrationIsKnown = !response.registrationWanted
        if response.sessions == true { services.sessions?.wanted() }
        // What was sent is on the scheduler's disk; what is newer stays.
        for report in request.reports where unacknowledged[report.attempt]?.sequence == report.sequence {
            unacknowledged[report.attempt] = nil
        }
        for order in response.start where runners[order.attempt] == nil { start(order, response) }
        for order in response.stop { await runners[order.attempt]?.order(order.reason) }
        for attempt in response.publish { await runners[attempt]?.accept() }
        for attempt in response.forget {
            unacknowledged[attempt] = nil
            guard let runner = runners.removeValue(forKey: attempt) else { continue }
            Task { await runner.cleanUp() }
        }
    }

    private func start(_ order: StartOrder, _ response: SyncResponse) {
        guard let job = response.jobs.first(where: { $0.id == order.attempt.job }),
            let configuration = response.configurations[job.record.configuration]
        else {
            logger.error("an order lacks its job or configuration", metadata: ["attempt": "\(order.attempt)"])
            return
        }
        let record = JournalRecord(order: order, job: job, configuration: configuration)
        do {
            try services.journal.write(record)
        } catch {
            logger.error(
                "the journal cannot be written: the order waits",
                metadata: ["attempt": "\(order.attempt)", "cause": "\(error)"])
            return
        }
        launch(record)
    }

    private func launch(_ record: JournalRecord) {
        let runner = AttemptRunner(record, services)
        runners[record.attempt] = runner
        Task { await runner.run() }
    }

    // MARK: Adoption and lease

    /// Continues every attempt of the journal, removes containers and mounts that belong to none.
    private func adopt() async throws {
        let (records, unreadable) = try services.journal.load()
        for attempt in unreadable {
            logger.error("a journal record cannot be read: the attempt is lost", metadata: ["attempt": "\(attempt)"])
        }
        var found: [AttemptID: String] = [:]
        for container in try await listContainers() {
            if let attempt = container.attempt, records.contains(where: { $0.attempt == attempt }) {
                found[attempt] = container.id
            } else {
                try? await services.engine.remove(container.id)  // allowed: the next start removes what is left
            }
        }
        services.volumes.removeLeftovers(except: Set(records.map(\.attempt)))
        for var record in records {
            if record.container == nil { record.container = found[record.attempt] }
            logger.notice("attempt adopted", metadata: ["attempt": "\(record.attempt)"])
            launch(record)
        }
    }

    private func listContainers() async throws -> [FoundContainer] {
        var pause = 200
        while true {
            do throws(EngineError) {
                return try await services.engine.list()
            } catch {
                logger.warning("the engine cannot list containers yet", metadata: ["cause": "\(error)"])
                try await Task.sleep(for: .milliseconds(pause))
                pause = min(pause * 2, 10_000)
            }
        }
    }

    /// At the end of its own lease the worker stops what it runs: from then on the scheduler may start it elsewhere.
    private func watchLease() async throws {
        while true {
            try await Task.sleep(for: .seconds(1))
            guard let end = leaseEnd, jc_boot_milliseconds() > end else { continue }
            for runner in runners.values { await runner.order(.workerLost) }
        }
    }
}

// The agent's one call, again and again: everything that this worker holds goes up, the difference to what the
// scheduler wants comes
// down. Nothing is decided here. Orders go to runners as messages that nobody waits for: a runner that hangs on a
// dead file server
// holds up neither the calls nor the lease.
//
// News and calls. A call that brings the end of something is answered at once, so it is never given up; what happens
// meanwhile goes
// into the next one, and under load the calls carry more instead of becoming more. Any other call may wait at the
// scheduler for
// minutes: news replaces it, and its answer is dropped. (The scheduler relies on that: what a newer call does not
// list, no earlier
// answer has started.) A mere step of an attempt is news only after a while: many attempts end before.
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
    /// What the scheduler wants to see before it takes the calls of this life.
    private var proof = ""
    /// The state of the image book that the scheduler knows of.
    private var imagesTold: Int?
    private var runners: [AttemptID: AttemptRunner] = [:]
    /// Adopted without a lease: what they have not started, they start after the first answer.
    private var postponed: [AttemptRunner] = []
    /// The newest report of each attempt that no answer has acknowledged.
    private var unacknowledged: [AttemptID: AttemptReport] = [:]
    private var journaledLeaseEnd: Int64 = 0
    private var interval = TimeSpan.seconds(10)
    private var wakeUp: CheckedContinuation<Void, Never>?
    private var hasNews = false
    private var willHaveNews = false
    private var lastAnswered: Int64 = 0
    private var isOver = false

    /// - Parameter reports: what the runners of `services` report.
    init(
        name: WorkerName, registration: WorkerRegistration, scheduler: any SchedulerConnection, logger: Logger,
        reports: AsyncStream<AttemptReport>, services: RunnerServices
    ) {
        self.name = name
        self.registration = registration
        self.scheduler = scheduler
        self.logger = logger
        self.reports = reports
        self.services = services
    }

    /// Takes up what an earlier life left, then serves until it is cancelled. Containers stay.
    ///
    /// Station 6 of 8. Next: Sources/Worker/AttemptRunner.swift
    /// - Throws: ``JobModel/Problem`` if another agent has taken this worker's name; then what ran here has been
    /// stopped.
    package func run() async throws {
        let failure: (any Error)?
        do {
            try await serveToTheEnd()
            failure = nil
        } catch {
            failure = error
        }
        if failure is Problem { await stopEverything() }
        isOver = true
        for runner in runners.values { await runner.fallSilent() }
        if let failure { throw failure }
    }

    private func serveToTheEnd() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for await report in self.reports { await self.take(report) } }
            group.addTask { try await self.watchLease() }
            group.addTask {
                try await self.adopt()
                try await self.serve()
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    // MARK: Calls

    /// After a call that failed, in milliseconds, on average; the next is twice as long.
    private static let firstPause = 400

    private func serve() async throws {
        var pause = Self.firstPause
        while !Task.isCancelled {
            hasNews = false
            let request = nextRequest()
            do throws(Problem) {
                guard let response = try await callUntilNews(request) else { continue }
                pause = Self.firstPause
                if !response.start.isEmpty || !response.forget.isEmpty || response.challenge != nil { await breathe() }
            } catch {
                if error.field == "incarnation" { throw error }
                logger.warning("the scheduler did not take a call", metadata: ["cause": "\(error)"])
                if error.status == 401 || error.status == 403 || error.status == 422 { pause = max(pause, 2_000) }
                // By the dice, from nothing on: thousands of agents that lost their scheduler in the same moment come
                // back over all of the time that it was gone, and users find their way in between.
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...(2 * pause))))
                pause = min(pause * 2, 10_000)
            }
        }
    }

    /// What an answer says of time, within a day: sums cannot overflow.
    private static func sane(_ span: TimeSpan) -> TimeSpan { max(.zero, min(span, .minutes(24 * 60))) }

    /// After an answer that moved something, more is about to happen: it shall share the next call.
    private func breathe() async {
        // allowed: a cancelled agent ends at its next call
        try? await Task.sleep(for: .milliseconds(5))
    }

    private func nextRequest() -> SyncRequest {
        sequence += 1
        // The first answer brings the lease, which some wait for.
        let isUrgent =
            !registrationIsKnown || !postponed.isEmpty || unacknowledged.values.contains { $0.state.isUrgent }
        return SyncRequest(
            incarnation: incarnation, sequence: sequence, registration: registrationIsKnown ? nil : registration,
            live: runners.keys.sorted(),
            reports: unacknowledged.values.sorted { $0.attempt < $1.attempt },
            wait: isUrgent ? .zero : interval, images: imageNews?.images, proof: proof)
    }

    /// What the scheduler does not know of the images here.
    private var imageNews: (images: [Digest], changes: Int)? {
        guard let entries = services.images?.entries, !registrationIsKnown || entries.changes != imagesTold else {
            return nil
        }
        return entries
    }

    /// The answer, or nil if there was news first: then the next call replaces this one.
    private func callUntilNews(_ request: SyncRequest) async throws(Problem) -> SyncResponse? {
        let (name, scheduler, engine) = (self.name, self.scheduler, services.engine)
        let call = Task { () -> Result<SyncResponse, Problem> in
            let sentAt = jc_boot_milliseconds()
            do throws(Problem) {
                let response = try await scheduler.sync(name, request)
                if let challenge = response.challenge {
                    self.take(challenge, of: request)
                    return .success(response)
                }
                // Engines that outlive the agent keep the lease too.
                await engine.leaseExtended(to: sentAt + Self.sane(response.lease).milliseconds)
                self.take(response, of: request, sentAt: sentAt)
                return .success(response)
            } catch {
                self.answered(request.sequence)
                return .failure(error)
            }
        }
        await withTaskCancellationHandler {
            while lastAnswered != request.sequence, !Task.isCancelled, request.wait == .zero || !hasNews {
                await withCheckedContinuation { wakeUp = $0 }
            }
        } onCancel: {
            Task { await self.wake() }
        }
        if Task.isCancelled { call.cancel() }
        guard lastAnswered == request.sequence || Task.isCancelled else { return nil }
        return try await call.value.get()
    }

    private func answered(_ sequence: Int64) {
        guard sequence == self.sequence else { return }
        lastAnswered = sequence
        wake()
    }

    private func wake() {
        wakeUp?.resume()
        wakeUp = nil
    }

    private func take(_ report: AttemptReport) {
        if let known = unacknowledged[report.attempt], known.sequence > report.sequence { return }
        unacknowledged[report.attempt] = report
        if report.state.isUrgent {
            hasNews = true
            wake()
        } else if !willHaveNews {
            willHaveNews = true
            Task {
                // allowed: a cancelled agent makes no more calls
                try? await Task.sleep(for: .milliseconds(100))
                stepsAreNews()
            }
        }
    }

    private func stepsAreNews() {
        willHaveNews = false
        guard !unacknowledged.isEmpty else { return }
        hasNews = true
        wake()
    }

    // MARK: Orders

    /// The call was not taken, so its answer is no sign that the scheduler knows what is here.
    private func take(_ challenge: String, of request: SyncRequest) {
        guard !Task.isCancelled, !isOver else { return }
        proof = challenge
        registrationIsKnown = false
        answered(request.sequence)
    }

    /// A call that was replaced may be answered as well. Then its starts are not for this worker any more; all else
    /// still holds.
    private func take(_ response: SyncResponse, of request: SyncRequest, sentAt: Int64) {
        guard !Task.isCancelled, !isOver else { return }
        renewLease(sentAt + Self.sane(response.lease).milliseconds)
        interval = max(.seconds(1), Self.sane(response.interval))
        if response.sessions == true { services.sessions?.wanted() }
        // What was sent is on the scheduler's disk; what is newer stays.
        for report in request.reports where unacknowledged[report.attempt]?.sequence == report.sequence {
            unacknowledged[report.attempt] = nil
        }
        if request.sequence == sequence {
            registrationIsKnown = !response.registrationWanted
            if let told = request.images, told == services.images?.entries.images {
                imagesTold = services.images?.entries.changes
            }
            for order in response.start where runners[order.attempt] == nil { start(order, response) }
        }
        for limit in response.limits ?? [] {
            for attempt in runners.keys where attempt.job == limit.job {
                tell(attempt) { await $0.limit(to: limit.timeLimit) }
            }
        }
        for order in response.stop { tell(order.attempt) { await $0.stop(order.reason) } }
        for attempt in response.publish { tell(attempt) { await $0.accept() } }
        for attempt in response.forget {
            unacknowledged[attempt] = nil
            tell(attempt) { await $0.cleanUp() }
            runners[attempt] = nil
        }
        for runner in postponed { Task { await runner.begin() } }
        postponed = []
        answered(request.sequence)
    }

    /// Nobody waits for a runner: what is ordered is repeated until it shows.
    private func tell(_ attempt: AttemptID, _ message: @escaping @Sendable (AttemptRunner) async -> Void) {
        guard let runner = runners[attempt] else { return }
        Task { await message(runner) }
    }

    private func start(_ order: StartOrder, _ response: SyncResponse) {
        guard let job = response.jobs.first(where: { $0.id == order.attempt.job }),
            let configuration = response.configurations[job.record.configuration]
        else { return refuse(order.attempt, "the order lacks its job or its configuration") }
        let record = JournalRecord(order: order, job: job, configuration: configuration)
        do throws(JournalFailure) {
            try services.journal.begin(record)
        } catch {
            return refuse(order.attempt, "the worker's disk cannot take its journal: \(error)")
        }
        launch(record)
    }

    /// Reports an attempt that was never begun. Otherwise its order would be repeated with each answer.
    private func refuse(_ attempt: AttemptID, _ why: String) {
        logger.error("an attempt cannot be begun", metadata: ["attempt": "\(attempt)", "cause": "\(why)"])
        take(AttemptOutcome.lost(.engineError, message: why).report(attempt))
    }

    private func launch(_ record: JournalRecord, isPostponed: Bool = false) {
        let runner = AttemptRunner(record, services)
        runners[record.attempt] = runner
        if isPostponed { postponed.append(runner) } else { Task { await runner.begin() } }
    }

    // MARK: Adoption

    /// Continues every attempt of the journal, removes containers and mounts that belong to none. Until that is done
    /// no call is made:
    /// what a call does not list, the scheduler starts elsewhere.
    private func adopt() async throws {
        let (records, unreadable) = try services.journal.load()
        for attempt in unreadable {
            logger.error("a journal record cannot be read: the attempt is lost", metadata: ["attempt": "\(attempt)"])
        }
        let live = Set(records.map(\.attempt))
        let lease = services.lease
        lease.end = services.journal.leaseEnd
        // Nobody has promised to wait for what was started without a lease on record. What another boot started has
        // ended.
        if lease.end == nil, records.contains(where: \.mayRun) { lease.end = jc_boot_milliseconds() }
        let isLeased = lease.end != nil && !lease.isOver
        for container in try await retried("the engine cannot list containers yet", services.engine.list) {
            if let attempt = container.attempt, live.contains(attempt) { continue }
            try await retried("a container of no attempt cannot be removed yet") { () async throws(EngineError) in
                try await self.services.engine.remove(container.id)
            }
        }
        await services.work.run { [volumes = services.volumes] in volumes.removeLeftovers(except: live) }
        for record in records {
            logger.notice("attempt adopted", metadata: ["attempt": "\(record.attempt)"])
            launch(record, isPostponed: !isLeased && record.progress.startedAt == nil)
        }
    }

    private func retried<Value: Sendable>(
        _ complaint: Logger.Message, _ body: @Sendable () async throws(EngineError) -> Value
    ) async throws -> Value {
        var pause = 200
        while true {
            do throws(EngineError) {
                return try await body()
            } catch {
                logger.warning(complaint, metadata: ["cause": "\(error)"])
                try await Task.sleep(for: .milliseconds(pause))
                pause = min(pause * 2, 10_000)
            }
        }
    }

    // MARK: Lease

    private func renewLease(_ end: Int64) {
        services.lease.end = end
        // An agent that starts again may think that it ends this much too early, never too late.
        guard end - journaledLeaseEnd > 5_000 || end < journaledLeaseEnd else { return }
        do throws(JournalFailure) {
            try services.journal.write(leaseEnd: end)
            journaledLeaseEnd = end
        } catch {
            logger.error("the lease cannot be written down", metadata: ["cause": "\(error)"])
        }
    }

    /// At the end of its own lease the worker stops what it runs: from then on the scheduler may start it elsewhere.
    private func watchLease() async throws {
        while true {
            try await Task.sleep(for: .seconds(1))
            guard services.lease.isOver else { continue }
            for attempt in runners.keys { tell(attempt) { await $0.stop(.workerLost) } }
        }
    }

    /// Another agent has this worker's name, and the scheduler has given up what runs here: it is stopped, to its end.
    private func stopEverything() async {
        await withTaskGroup(of: Void.self) { group in
            for runner in runners.values {
                group.addTask {
                    await runner.stop(.workerLost)
                    await runner.hasStopped()
                }
            }
        }
    }
}

extension AttemptState {
    /// Whether the scheduler does something at once when it hears of it.
    fileprivate var isUrgent: Bool { isTerminal || self == .ending }
}

// What runs on the scheduler's thread: take letters, step, answer. Everything here is synchronous.
import Foundation
import JobModel
import Logging
import SchedulingCore

struct LoopThread: Sendable {
    private let initial: SendableStepper
    private let clock: any SchedulerClock
    private let logger: Logger
    private let inbox: Inbox
    private let watchers: Watchers
    private let events: EventLog
    private let batchLimit: Int
    private let tick: Int

    /// The state on its way to the thread that owns it from then on.
    private struct SendableStepper: Sendable { let stepper: Stepper }

    private struct Call: Hashable {
        let worker: WorkerName
        let incarnation: String
        let sequence: Int64
    }
    private typealias Parked = [Call: CheckedContinuation<Result<SyncOrders, Problem>, Never>]

    init(
        stepper: Stepper, clock: any SchedulerClock, logger: Logger, inbox: Inbox, watchers: Watchers, events: EventLog,
        batchLimit: Int, tick: Int
    ) {
        initial = SendableStepper(stepper: stepper)
        self.clock = clock
        self.logger = logger
        self.inbox = inbox
        self.watchers = watchers
        self.events = events
        self.batchLimit = batchLimit
        self.tick = tick
    }

    /// Runs until the inbox is closed and empty, or the disk fails.
    func run() -> Result<Void, StoreFailure> {
        var stepper = initial.stepper
        var parked: Parked = [:]
        var lastTick = Int64.min
        defer { for waiter in parked.values { waiter.resume(returning: .failure(Self.stopping)) } }
        while let letters = inbox.take(batchLimit, waiting: tick) {
            let now = clock.now()
            var batch = letters.compactMap(\.envelope)
            let isDue = now.uptime >= lastTick + Int64(tick)
            if isDue {
                batch.append(.event(.timeAdvanced))
                lastTick = now.uptime
            }
            guard !batch.isEmpty || !letters.isEmpty else { continue }
            do throws(StoreFailure) {
                let result = try stepper.step(batch, at: now)
                events.take(result.changes, result.effects, at: now.wall)
                answer(letters, result, &parked, &stepper)
            } catch {
                logger.critical("the store failed: the scheduler stops", metadata: ["cause": "\(error)"])
                inbox.close()  // whoever comes later is refused: nobody would answer
                for letter in letters { letter.fail(Self.stopping) }
                while let rest = inbox.take(.max, waiting: 0), !rest.isEmpty {
                    for letter in rest { letter.fail(Self.stopping) }
                }
                return .failure(error)
            }
        }
        return .success(())
    }

    private static func replaced(_ worker: WorkerName) -> Problem {
        Problem(.conflict, "a newer call of '\(worker)' replaced this one", field: "sequence")
    }

    private static let stopping = Problem(.unavailable, "the scheduler is stopping: try again in a moment")

    private func answer(_ letters: [Letter], _ result: StepResult, _ parked: inout Parked, _ stepper: inout Stepper) {
        log(result.changes)
        watchers.announce(result.changes)
        var replies = result.replies.makeIterator()
        for letter in letters {
            switch letter {
            case .envelope(_, let waiter):
                if let reply = replies.next() { waiter.resume(returning: .success(reply)) }
            case .sync(let worker, let request, let waiter):
                if case .refused(let problem) = replies.next() {
                    waiter.resume(returning: .failure(problem))
                } else {
                    let call = Call(worker: worker, incarnation: request.incarnation, sequence: request.sequence)
                    // The same call twice, from an agent that is not known yet: each wait ends once.
                    parked.updateValue(waiter, forKey: call)?.resume(returning: .failure(Self.replaced(worker)))
                }
            case .query(let body): withUnsafePointer(to: &stepper) { body(.success($0)) }
            }
        }
        if result.restarted {
            for waiter in parked.values {
                waiter.resume(returning: .failure(Problem(.diskFull, StoreFailure.diskFull.description)))
            }
            parked = [:]
        }
        for effect in result.effects {
            switch effect {
            case .answerSync(let worker, let incarnation, let sequence, let orders):
                parked.removeValue(forKey: Call(worker: worker, incarnation: incarnation, sequence: sequence))?.resume(
                    returning: .success(orders))
            case .dropSync(let worker, let incarnation, let sequence):
                parked.removeValue(forKey: Call(worker: worker, incarnation: incarnation, sequence: sequence))?.resume(
                    returning: .failure(Self.replaced(worker)))
            case .timeLimitChanged(let job, _, let limit):
                logger.notice("time limit changed", metadata: ["job": "\(job)", "limit": "\(limit)"])
            case .workerTurned(let worker, let turn):
                logger.notice("worker changed", metadata: ["worker": "\(worker)", "state": "\(turn)"])
            }
        }
    }

    /// One line for each transition of a job, and for each attempt that went wrong; at `info`, for every attempt. Lines
    /// about attempts that go well would cost as much as everything else that the thread does for them.
    private func log(_ changes: [Change]) {
        guard logger.logLevel <= .notice else { return }
        for change in changes { log(change) }
    }

    private func log(_ change: Change) {
        switch change {
        case .jobAdded(let id, let record, let progress):
            logger.notice(
                "job accepted",
                metadata: ["job": "\(id)", "state": "\(progress.state)", "owner": "\(record.owner.name)"])
        case .job(let id, let progress)
        where progress.state.isTerminal || progress.state == .held || progress.state == .waiting:
            logger.notice("job changed", metadata: ["job": "\(id)", "state": "\(progress.state)"])
        case .attempt(let row) where row.state.isTerminal || row.state == .assigned:
            let level: Logger.Level = row.state == .failed || row.state == .lost ? .notice : .info
            guard logger.logLevel <= level else { return }
            logger.log(
                level: level, "attempt changed",
                metadata: [
                    "attempt": "\(row.id)", "state": "\(row.state)", "worker": "\(row.worker)",
                    "reason": "\(row.reason?.rawValue ?? "-")",
                ])
        case .record(let id, let record):
            logger.notice(
                record.rules.open == true ? "array extended" : "array closed",
                metadata: ["job": "\(id)", "tasks": "\(record.shape.count)"])
        case .job, .attempt, .task: break
        case .worker(let row):
            logger.notice("worker changed", metadata: ["worker": "\(row.name)", "draining": "\(row.isDraining)"])
        case .account(let row): logger.notice("account changed", metadata: ["account": "\(row.id)"])
        case .accountRemoved(let id): logger.notice("account removed", metadata: ["account": "\(id)"])
        case .license(let row):
            logger.notice("license changed", metadata: ["license": "\(row.name)", "total": "\(row.total)"])
        case .licenseRemoved(let name): logger.notice("license removed", metadata: ["license": "\(name)"])
        case .reservation(let row): logger.notice("reservation changed", metadata: ["reservation": "\(row.name)"])
        case .reservationRemoved(let name):
            logger.notice("reservation removed", metadata: ["reservation": "\(name)"])
        case .usage, .ended: break
        }
    }
}

extension Letter {
    var envelope: Envelope? {
        switch self {
        case .envelope(let envelope, _): envelope
        case .sync(let worker, let request, _): .event(.workerSynced(worker, request))
        case .query: nil
        }
    }

    /// Ends the wait without a result.
    func fail(_ problem: Problem) {
        switch self {
        case .envelope(_, let waiter): waiter.resume(returning: .failure(problem))
        case .sync(_, _, let waiter): waiter.resume(returning: .failure(problem))
        case .query(let body): body(.failure(problem))
        }
    }
}

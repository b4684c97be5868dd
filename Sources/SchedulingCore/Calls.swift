// Parked calls: a worker's call waits until there is something to say or its time is over, and is answered once.
// Invariant: whatever was ordered is repeated in each answer until the worker's inventory shows that it took effect;
// but only what no answer has said yet makes a call return early, so that an order under way does not turn the long
// poll into a spin.
import JobModel

extension Cluster {
    /// A newer call or life of the agent is here: the older call ends without an answer.
    mutating func dropCall(of slot: Int) {
        guard let call = workers[slot].call else { return }
        workers[slot].call = nil
        outcome.effects.append(.dropSync(workers[slot].name, incarnation: call.incarnation, sequence: call.sequence))
    }

    mutating func park(_ request: SyncRequest, at slot: Int, _ now: Instant) {
        let longest = policy.syncInterval.milliseconds * 3
        let wait = min(max(0, request.wait.milliseconds), longest)
        workers[slot].call = ParkedCall(
            incarnation: request.incarnation, sequence: request.sequence, until: now.uptime + wait)
        payAttention(to: slot)
        arm(slot)
    }

    mutating func payAttention(to slot: Int) {
        guard workers[slot].call != nil, attention.last != slot else { return }
        attention.append(slot)
    }

    mutating func answerCalls(at now: Instant) {
        guard !attention.isEmpty else { return }
        for slot in attention {
            guard let call = workers[slot].call else { continue }
            let (orders, isNews) = orders(for: slot)
            guard isNews || call.until <= now.uptime else { continue }
            answer(call, of: slot, orders, at: now)
        }
        attention.removeAll(keepingCapacity: true)
    }

    private func orders(for slot: Int) -> (SyncOrders, isNews: Bool) {
        let worker = workers[slot]
        var orders = SyncOrders(registrationWanted: !worker.isRegistered)
        var isNews = orders.registrationWanted
        if worker.isRegistered, worker.sessions != .none {
            orders.sessions = true
            isNews = isNews || worker.sessions == .untold
        }
        for id in worker.attempts.ids {
            guard let attempt = worker.attempts[id] else { continue }
            if attempt.isWaitingToStart {
                // It was chosen before it showed what it still runs.
                guard worker.isRegistered, !worker.runsStrangers, orders.start.count < policy.startsPerAnswer else {
                    continue
                }
                orders.start.append(
                    StartOrder(attempt: id, gpus: attempt.row.gpus, gangHosts: gangHosts(of: id.job)))
                isNews = true
                orders.add(limitOf: attempt)
                continue
            }
            if attempt.row.isAcknowledged, orders.add(limitOf: attempt) { isNews = isNews || !attempt.isLimitTold }
            if let reason = attempt.row.stopReason {
                guard attempt.row.isAcknowledged else { continue }
                orders.stop.append(StopOrder(attempt: id, reason: reason))
                isNews = isNews || !attempt.isTold
            } else if attempt.row.isAccepted {
                orders.publish.append(id)
                isNews = isNews || !attempt.isTold
            }
        }
        for id in worker.strangers.ids {
            guard let stranger = worker.strangers[id] else { continue }
            if stranger.hasEnded {
                orders.forget.append(id)
            } else {
                orders.stop.append(StopOrder(attempt: id, reason: .cancelled))
            }
            isNews = isNews || !stranger.isTold
        }
        orders.stop.sort { $0.attempt < $1.attempt }
        orders.jobs = briefs(for: orders.start)
        return (orders, isNews)
    }

    /// `starts` are in order of their ids, so those of one job stand together.
    private func briefs(for starts: [StartOrder]) -> [JobBrief] {
        var briefs: [JobBrief] = []
        for start in starts where briefs.last?.id != start.attempt.job {
            if let record = jobs[start.attempt.job]?.record {
                briefs.append(JobBrief(id: start.attempt.job, record: record))
            }
        }
        return briefs
    }

    private mutating func answer(_ call: ParkedCall, of slot: Int, _ orders: SyncOrders, at now: Instant) {
        for start in orders.start { workers[slot].attempts[start.attempt]?.wasSent = true }
        for stop in orders.stop { markTold(stop.attempt, slot) }
        for id in orders.publish { markTold(id, slot) }
        for id in orders.forget { markTold(id, slot) }
        if !orders.limits.isEmpty { markLimitsTold(orders.limits, slot) }
        if orders.sessions { workers[slot].sessions = .told }
        workers[slot].call = nil
        workers[slot].lastContact = now.uptime
        workers[slot].leaseEnds = leaseEnd(answeredAt: now)
        arm(slot)
        outcome.effects.append(
            .answerSync(workers[slot].name, incarnation: call.incarnation, sequence: call.sequence, orders))
    }

    private mutating func markTold(_ id: AttemptID, _ slot: Int) {
        workers[slot].attempts[id]?.isTold = true
        workers[slot].strangers[id]?.isTold = true
    }

    private mutating func markLimitsTold(_ limits: [LimitOrder], _ slot: Int) {
        for id in workers[slot].attempts.ids where limits.contains(where: { $0.job == id.job }) {
            workers[slot].attempts[id]?.isLimitTold = true
        }
    }
}

extension SyncOrders {
    /// - Returns: whether it has a limit of its own. Attempts come in order of their ids.
    @discardableResult
    fileprivate mutating func add(limitOf attempt: Attempt) -> Bool {
        guard let limit = attempt.limit else { return false }
        let job = attempt.row.id.job
        if limits.last?.job != job { limits.append(LimitOrder(job: job, timeLimit: limit)) }
        return true
    }
}

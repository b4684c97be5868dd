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
        let isRegistered = workers[slot].isRegistered
        var orders = SyncOrders(registrationWanted: !isRegistered)
        var isNews = !isRegistered
        if isRegistered, workers[slot].sessions != .none {
            orders.sessions = true
            isNews = isNews || workers[slot].sessions == .untold
        }
        // What waits was chosen before the worker showed what it still runs.
        let mayStart = isRegistered && !workers[slot].runsStrangers
        for id in workers[slot].attempts.ids {
            guard workers[slot].attempts.read(id, { $0.isWaitingToStart }) == false else {
                guard mayStart, orders.start.count < policy.startsPerAnswer else { continue }
                let gpus = workers[slot].attempts.read(id) { $0.row.gpus } ?? []
                orders.start.append(StartOrder(attempt: id, gpus: gpus, gangHosts: gangHosts(of: id.job)))
                _ = workers[slot].attempts.read(id) { $0.add(limitTo: &orders) }
                isNews = true
                continue
            }
            if workers[slot].attempts.read(id, { $0.add(to: &orders) }) == true { isNews = true }
        }
        for id in workers[slot].strangers.ids {
            guard let stranger = workers[slot].strangers[id] else { continue }
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
            if let record = jobs.read(start.attempt.job, { $0.record }) {
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

extension Attempt {
    /// What is to be said about one that has begun.
    /// - Returns: whether no answer has said it yet.
    fileprivate func add(to orders: inout SyncOrders) -> Bool {
        var isNews = row.isAcknowledged && add(limitTo: &orders) && !isLimitTold
        if let reason = row.stopReason {
            guard row.isAcknowledged else { return isNews }
            orders.stop.append(StopOrder(attempt: row.id, reason: reason))
            isNews = isNews || !isTold
        } else if row.isAccepted {
            orders.publish.append(row.id)
            isNews = isNews || !isTold
        }
        return isNews
    }

    /// Attempts come in order of their ids.
    /// - Returns: whether it has a limit of its own.
    fileprivate func add(limitTo orders: inout SyncOrders) -> Bool {
        guard let limit else { return false }
        let job = row.id.job
        if orders.limits.last?.job != job { orders.limits.append(LimitOrder(job: job, timeLimit: limit)) }
        return true
    }
}

// What a worker's silence leads to, in two steps: unreachable, it gets no new work; its lease over, its attempts are
// given up. Two timers, because a long run must survive a short network failure. The scheduler's end of a lease lies
// after the worker's own for certain: it counts from the answer, the worker from the request, and margin and clock
// drift are added.
import JobModel

extension Cluster {
    /// When the attempts of a worker that was last answered at `now` are given up.
    func leaseEnd(answeredAt now: Instant) -> Int64 {
        now.uptime(after: policy.lease + policy.leaseMargin + policy.clockDrift)
    }

    /// Looks at everything about a worker that is due at some time.
    mutating func checkDeadlines(of slot: Int, at now: Instant) {
        if let call = workers[slot].call, call.until <= now.uptime { payAttention(to: slot) }
        if !workers[slot].isUnreachable, let deadline = contactDeadline(of: slot), deadline <= now.uptime {
            workers[slot].isUnreachable = true
            outcome.effects.append(.workerTurned(workers[slot].name, .unreachable))
            workerChanged(slot)
            retractUnsent(from: slot, at: now)
        }
        if let due = workers[slot].drainDue, due <= now.uptime {
            workers[slot].drainDue = nil
            for id in workers[slot].attempts.ids { stop(id, on: slot, because: .preempted, at: now) }
        }
        if !workers[slot].isLost, workers[slot].leaseEnds <= now.uptime { expireLease(of: slot, at: now) }
    }

    /// Every deadline that is still ahead, the earliest first. A call that waits for its answer counts as contact.
    func nextDeadline(of slot: Int) -> Int64? {
        let lease = workers[slot].isLost ? nil : workers[slot].leaseEnds
        let contact = workers[slot].isUnreachable ? nil : contactDeadline(of: slot)
        return [workers[slot].call?.until, contact, lease, workers[slot].drainDue].compactMap { $0 }.min()
    }

    private func contactDeadline(of slot: Int) -> Int64? {
        workers[slot].call == nil ? workers[slot].lastContact + policy.unreachableAfter.milliseconds : nil
    }

    private mutating func expireLease(of slot: Int, at now: Instant) {
        workers[slot].isLost = true
        workers[slot].isUnreachable = true
        outcome.effects.append(.workerTurned(workers[slot].name, .lost))
        workerChanged(slot)
        for id in workers[slot].attempts.ids { end(id, on: slot, as: .lost, .workerLost, at: now) }
    }
}

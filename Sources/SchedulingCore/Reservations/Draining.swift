// Draining: nothing new starts on a worker; at the deadline what still runs is stopped, with its grace, and waits again
// at nobody's cost. The deadline is civil time when it is said, and counts down on the boot-time clock.
import JobModel

extension DrainOrder {
    func due(at now: Instant) -> Int64? {
        deadline.map { now.uptime + max(0, ($0 - now.wall).milliseconds) }
    }
}

extension Cluster {
    /// A second order replaces the reason and the deadline of the first.
    mutating func drain(_ name: WorkerName, _ order: DrainOrder, at now: Instant) throws(Refusal) {
        guard let slot = slots[name] else { throw .unknownWorker(name) }
        guard !workers[slot].isDraining || workers[slot].drain != order else { return }
        workers[slot].isDraining = true
        workers[slot].drain = order
        workers[slot].drainDue = order.due(at: now)
        arm(slot)
        workerChanged(slot)
        outcome.changes.append(.worker(workers[slot].row))
        retractUnsent(from: slot, at: now)
    }

    mutating func resume(_ name: WorkerName) throws(Refusal) {
        guard let slot = slots[name] else { throw .unknownWorker(name) }
        guard workers[slot].isDraining else { return }
        workers[slot].isDraining = false
        workers[slot].drain = .standard
        workers[slot].drainDue = nil
        outcome.changes.append(.worker(workers[slot].row))
        workerChanged(slot)
    }
}

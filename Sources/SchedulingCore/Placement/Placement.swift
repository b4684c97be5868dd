// One pass: gives room to tasks, highest priority first, then in submission order, then by index; tasks to be tried
// again come before new ones of the same job. A class for which nothing fits is left alone until some worker has more
// room.
import HeapModule
import JobModel

/// A class that has something to start, by its first job.
private struct Contender: Comparable {
    let key: QueueKey
    let place: Int
    static func < (a: Contender, b: Contender) -> Bool { a.key < b.key }
}

extension Cluster {
    /// Puts a job into its class's queue if it has something to start.
    mutating func enqueue(_ id: JobID) {
        guard jobs[id]?.isRunnable == true else { return }
        needsPlacement = true
        guard jobs[id]?.isQueued == false, let place = jobs[id]?.classSlot, let key = jobs[id]?.queueKey else { return }
        jobs[id]?.isQueued = true
        classes.rows[place].queue.insert(key)
    }

    mutating func place(at now: Instant) {
        guard needsPlacement else { return }
        needsPlacement = false
        var contenders = Heap<Contender>()
        for place in classes.rows.indices { addContender(place, to: &contenders) }
        while let best = contenders.popMin() {
            fill(best.place, until: contenders.min?.key, at: now)
            addContender(best.place, to: &contenders)
        }
    }

    private mutating func addContender(_ place: Int, to contenders: inout Heap<Contender>) {
        guard classes.rows[place].blockedAt != roomVersion, let key = firstRunnable(in: place) else { return }
        contenders.insert(Contender(key: key, place: place))
    }

    /// The class's first runnable job. Those in front of it that no longer are runnable leave the queue.
    private mutating func firstRunnable(in place: Int) -> QueueKey? {
        while let key = classes.rows[place].queue.min {
            if jobs[key.job]?.isRunnable == true { return key }
            classes.rows[place].queue.removeMin()
            jobs[key.job]?.isQueued = false
        }
        return nil
    }

    /// Starts tasks of one class until another class's first job comes before its own, or nothing fits.
    private mutating func fill(_ place: Int, until rival: QueueKey?, at now: Instant) {
        let amounts = classes.rows[place].requirement.amounts
        while let key = firstRunnable(in: place) {
            if let rival, rival < key { return }
            guard let slot = bestWorker(for: place) else {
                classes.rows[place].blockedAt = roomVersion
                return
            }
            // The fullest worker that fits stays the fullest: it is filled without looking at the others again.
            while amounts.fit(in: workers[slot].room), let row = jobs[key.job]?.startNext(on: slot) {
                start(row, on: slot, amounts, at: now)
            }
            if jobs[key.job]?.progress.startedAt == nil { jobs[key.job]?.progress.startedAt = now.wall }
            markDirty(key.job)
        }
    }

    private func bestWorker(for place: Int) -> Int? {
        let amounts = classes.rows[place].requirement.amounts
        var best: Int?
        for slot in classes.rows[place].eligible where workers[slot].takesWork && amounts.fit(in: workers[slot].room) {
            if let best, !Ranking.isBetter(workers[slot].room, than: workers[best].room) { continue }
            best = slot
        }
        return best
    }

    private mutating func start(_ row: TaskRow, on slot: Int, _ amounts: Amounts, at now: Instant) {
        let id = AttemptID(task: row.id, number: row.attempts)
        let gpus = workers[slot].reserve(amounts)
        let attempt = AttemptRow(
            id: id, worker: workers[slot].name, state: .assigned, reason: nil, gpus: gpus, isAcknowledged: false,
            isAccepted: false, stopReason: nil, assignedAt: now.wall, endedAt: nil, report: nil)
        workers[slot].attempts.insert(Attempt(row: attempt, amounts: amounts), for: id)
        outcome.changes.append(.task(row))
        outcome.changes.append(.attempt(attempt))
        payAttention(to: slot)
    }
}

// Preemption by queue: a task whose queue may do so, and for which no worker has room, stops tasks of the queues that
// its queue names. The victims end with their grace and the reason `preempted`, wait again, and no budget of retries
// pays. Off unless an administrator sets `preempts` of a queue.
//
// What is taken is claimed: until the task has started, nobody of another class may use that worker. Only what makes
// room is stopped, the fewest tasks and of these the youngest. No queue comes to preempt one that preempts it, at any
// remove: such settings are refused.
import JobModel

/// Room that was made on a worker for tasks of one job.
struct PreemptionClaim: Hashable, Sendable {
    let job: JobID
    let place: Int
    var tasks: Int64

    /// Whether the job's start is one that room was made for, if it starts on the claimed worker. Whoever of the class
    /// goes first takes it: neither would get it while the one waits for its turn and the other for the claim.
    func isTaken(by job: JobID, of place: Int) -> Bool { self.job == job || self.place == place }
}

extension Cluster {
    /// Workers on which victims are compared, and workers that are looked at to find so many.
    private static let mostCompared = 64
    private static let mostLookedAt = 512
    /// Tasks of one job for which room is made at a time.
    private static let mostClaims: Int64 = 16

    /// The queues whose tasks this class may stop.
    func preempted(by place: Int) -> [QueueName] {
        // A gang waits for the workers that are kept for it.
        guard shapes.rows[classes.rows[place].shape].requirement.gang == nil else { return [] }
        return accounts[classes.rows[place].queue].settings.preempts
    }

    /// Stops what is in the way of the job's next tasks.
    /// - Returns: whether there is room at once, because what was stopped had not begun.
    mutating func preempt(for job: JobID, of place: Int, at now: Instant) -> Bool {
        let queues = preempted(by: place)
        guard !queues.isEmpty, mayRunMore(of: place) else { return false }
        let most = min(startable(job), hasLimits(place) ? 1 : Self.mostClaims)
        var claimed = claims.ids.reduce(Int64(0)) { $0 + (claims[$1]?.job == job ? claims[$1]?.tasks ?? 0 : 0) }
        var isRoom = false
        while claimed < most, let (slot, victims) = cheapest(for: job, of: place, queues, at: now) {
            claim(slot, for: job, of: place)
            claimed += 1
            for victim in victims {
                isRoom = isRoom || workers[slot].attempts[victim].map { !$0.row.isAcknowledged && !$0.wasSent } == true
                stop(victim, on: slot, because: .preempted, at: now)
            }
        }
        return isRoom
    }

    private func hasLimits(_ place: Int) -> Bool {
        let books = accounts(of: place)
        return [books.queue, books.group, books.user].contains { accounts[$0].settings.limits != .none }
    }

    private func startable(_ job: JobID) -> Int64 {
        guard let job = jobs[job] else { return 0 }
        return job.progress.unstarted.reduce(Int64(job.due.count)) { $0 + $1.upperBound - $1.lowerBound + 1 }
    }

    private mutating func claim(_ slot: Int, for job: JobID, of place: Int) {
        if let promise = reservation, promise.keeps(slot), promise.job != job {
            dropReservation()
            needsPlacement = true
        }
        if claims.contains(slot) {
            claims[slot]?.tasks += 1
        } else {
            claims.insert(PreemptionClaim(job: job, place: place, tasks: 1), for: slot)
        }
    }

    /// A task started where room was made for it. Returns whether others may use what is left of the worker.
    mutating func settleClaim(of job: JobID, of place: Int, on slot: Int) -> Bool {
        guard !claims.isEmpty, claims[slot]?.isTaken(by: job, of: place) == true else { return false }
        claims[slot]?.tasks -= 1
        guard claims[slot]?.tasks == 0 else { return false }
        dropClaim(on: slot)
        return true
    }

    /// What was kept free on the worker is looked at as if it had become free now.
    private mutating func dropClaim(on slot: Int) {
        claims.remove(slot)
        rooms.noteGrown(slot)
    }

    /// Drops claims that have lost their object: the job needs no room any more, or cannot use it, because a
    /// reservation has come too near, or has been put into another class by its time limit.
    mutating func checkClaims(at now: Instant) {
        guard !claims.isEmpty else { return }
        var used = Table<JobID, Int64>()
        for slot in claims.ids {
            guard let claim = claims[slot] else { continue }
            if !used.contains(claim.job) { used.insert(0, for: claim.job) }
            let sum = (used[claim.job] ?? 0) + claim.tasks
            let shape = classes.rows[claim.place].shape
            let holds =
                jobs.read(claim.job) { $0.isRunnable && $0.classSlot == claim.place } == true
                && sum <= startable(claim.job) && workers[slot].takesWork
                && couldRun(shape, on: slot) && mayRunMore(of: claim.place) && isClear(slot, for: claim.place, at: now)
                && (isMakingRoom(on: slot) || hasRoom(for: shape, on: slot))
            if holds { used[claim.job] = sum } else { dropClaim(on: slot) }
        }
    }

    /// Whether others stand back for this job.
    func hasPrecedence(_ job: JobID) -> Bool {
        reservation?.job == job || claims.ids.contains { claims[$0]?.job == job } || licenses.isClaimed(by: job)
    }

    private func isMakingRoom(on slot: Int) -> Bool {
        workers[slot].attempts.ids.contains { workers[slot].attempts[$0]?.row.stopReason != nil }
    }

    // MARK: victims

    /// The worker where the fewest tasks must go, and of equal ones where the youngest must.
    private func cheapest(for job: JobID, of place: Int, _ queues: [QueueName], at now: Instant)
        -> (slot: Int, victims: [AttemptID])?
    {
        let shape = classes.rows[place].shape
        var best: (slot: Int, victims: [AttemptID], oldest: Timestamp)?
        var (compared, lookedAt) = (0, 0)
        rooms.emptiestFirst { slot in
            lookedAt += 1
            guard couldRun(shape, on: slot), mayClaim(slot, job, of: place, at: now),
                let victims = victims(on: slot, for: shape, queues)
            else { return lookedAt < Self.mostLookedAt }
            compared += 1
            let oldest = victims.compactMap { workers[slot].attempts[$0]?.row.assignedAt }.min() ?? now.wall
            let isBetter =
                best.map { best in
                    victims.count < best.victims.count
                        || victims.count == best.victims.count && oldest > best.oldest
                } ?? true
            if isBetter { best = (slot, victims, oldest) }
            return compared < Self.mostCompared && lookedAt < Self.mostLookedAt
        }
        return best.map { ($0.slot, $0.victims) }
    }

    /// A promise to a job that may be preempted does not count.
    private func mayClaim(_ slot: Int, _ job: JobID, of place: Int, at now: Instant) -> Bool {
        let queues = preempted(by: place)
        if let claim = claims[slot], claim.job != job { return false }
        if let promise = reservation, promise.keeps(slot), !promise.isTaken(by: job, of: place),
            !queues.contains(jobs[promise.job]?.record.queue ?? .standard)
        {
            return false
        }
        return isClear(slot, for: place, at: now)
    }

    /// The fewest tasks of these queues without which one more task fits beside what is claimed; nil if it never does.
    private func victims(on slot: Int, for shape: Int, _ queues: [QueueName]) -> [AttemptID]? {
        let wanted = demand(of: shape, on: slot)
        var room = workers[slot].left
        var candidates: [Attempt] = []
        var others = 0
        for id in workers[slot].attempts.ids {
            guard let attempt = workers[slot].attempts[id] else { continue }
            if attempt.row.stopReason != nil {
                room = room + attempt.amounts
            } else if !attempt.row.isAccepted, let queue = jobs[id.job]?.record.queue, queues.contains(queue) {
                candidates.append(attempt)
            } else {
                others += 1
            }
        }
        for _ in 0..<(claims[slot]?.tasks ?? 0) { room = room - wanted }
        if shapes.rows[shape].requirement.isExclusive, others > 0 { return nil }
        candidates.sort { ($0.row.assignedAt, $0.row.id) > ($1.row.assignedAt, $1.row.id) }
        if wanted.fit(in: room) { return [] }
        if let one = candidates.first(where: { wanted.fit(in: room + $0.amounts) }) { return [one.row.id] }
        var chosen: [Attempt] = []
        for candidate in candidates where !wanted.fit(in: room) {
            chosen.append(candidate)
            room = room + candidate.amounts
        }
        guard wanted.fit(in: room) else { return nil }
        // The oldest stay, if it goes without them.
        for candidate in chosen.reversed() where wanted.fit(in: room - candidate.amounts) {
            room = room - candidate.amounts
            chosen.removeAll { $0.row.id == candidate.row.id }
        }
        return chosen.map(\.row.id)
    }

    // MARK: settings

    /// Refuses a queue that would preempt itself, at any remove.
    func admit(_ row: AccountRow) throws(Refusal) {
        guard row.id.kind == .queue, !row.settings.preempts.isEmpty else { return }
        let queue = QueueName(unchecked: row.id.name)
        var reached = row.settings.preempts
        var next = 0
        while next < reached.count {
            guard reached[next] != queue else { throw .preemptionCycle(queue) }
            let place = accounts.place(of: .queue(reached[next]))
            let isKnown = reached[next] == .standard || place.map { accounts[$0].isStored } == true
            // What another queue named may be gone by now.
            guard isKnown || next >= row.settings.preempts.count else { throw .unknownQueue(reached[next]) }
            next += 1
            guard let place else { continue }
            for other in accounts[place].settings.preempts where !reached.contains(other) { reached.append(other) }
        }
    }
}

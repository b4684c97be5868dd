// One pass: gives room to tasks by priority (Shares/Priority.swift). What cannot start for want of room is blocked
// until some worker grows, and then only compared with the workers that did: a pass costs what changed and what
// starts, not what waits, and not all workers.
import HeapModule
import JobModel

/// A class that may have something to start, by its priority when it was looked at. During a pass priorities only fall.
private struct Contender: Comparable {
    let priority: Int64
    let job: JobID
    let place: Int

    /// The least goes first.
    static func < (a: Contender, b: Contender) -> Bool {
        a.priority == b.priority ? a.job < b.job : a.priority > b.priority
    }
}

/// What one pass works with.
private struct Pass {
    let totals: ShareTotals
    var contenders = Heap<Contender>()
    /// Share factors by user, good while nothing else of the user's group was started.
    private var shares: [(starts: Int, factor: Int64)]
    private var starts: [Int]

    init(totals: ShareTotals, accounts: Int) {
        self.totals = totals
        shares = Array(repeating: (-1, 0), count: accounts)
        starts = Array(repeating: 0, count: accounts)
    }

    mutating func share(of user: Int, _ accounts: borrowing Accounts, _ policy: Policy) -> Int64 {
        let count = starts[accounts[user].group ?? user]
        if shares[user].starts != count { shares[user] = (count, totals.factor(of: user, accounts, policy)) }
        return shares[user].factor
    }

    mutating func noteStart(in group: Int) { starts[group] += 1 }
}

extension Cluster {
    mutating func place(at now: Instant) {
        guard needsPlacement else { return }
        needsPlacement = false
        unblock()
        licenses.forgetClaims()
        checkClaims()
        var pass = Pass(totals: ShareTotals(self, at: now), accounts: accounts.rows.count)
        checkReservation(at: now)
        addContenders(to: &pass, at: now)
        if reservation == nil { addFirstBlocked(to: &pass, at: now) }
        while let stale = pass.contenders.popMin() {
            guard let best = contender(stale.place, &pass, at: now) else { continue }
            if let next = pass.contenders.min, next < best {
                pass.contenders.insert(best)
                continue
            }
            let hadReservation = reservation != nil
            fill(best.place, &pass, at: now)
            // The reserved task runs: the next one that is blocked gets a reservation of its own.
            if hadReservation, reservation == nil { addFirstBlocked(to: &pass, at: now) }
        }
    }

    /// Shapes that fit into what has grown are tried again.
    private mutating func unblock() {
        for place in shapes.rows.indices where shapes.rows[place].isBlocked {
            let fits = rooms.grown.contains { hasRoom(for: place, on: $0) }
            if fits { shapes.rows[place].isBlocked = false }
        }
        rooms.forgetGrown()
    }

    private func addContenders(to pass: inout Pass, at now: Instant) {
        var all: [Contender] = []
        for place in classes.summaries.indices {
            let isBlocked = shapes.rows[classes.summaries[place].shape].isBlocked
            guard classes.summaries[place].first != nil, !isBlocked || !preempted(by: place).isEmpty,
                let contender = contender(place, &pass, at: now)
            else { continue }
            all.append(contender)
        }
        pass.contenders = Heap(all)
    }

    /// The first of the blocked classes takes its turn among the others, to be promised a start.
    private func addFirstBlocked(to pass: inout Pass, at now: Instant) {
        var first: Contender?
        for place in classes.summaries.indices {
            let row = classes.summaries[place]
            guard row.first != nil, shapes.rows[row.shape].isBlocked, shapes.hasOpenKind(row.shape),
                let contender = contender(place, &pass, at: now), first.map({ contender < $0 }) ?? true,
                mayRunMore(of: place), canBePromised(place, at: now)
            else { continue }
            first = contender
        }
        if let first { pass.contenders.insert(first) }
    }

    private func contender(_ place: Int, _ pass: inout Pass, at now: Instant) -> Contender? {
        let row = classes.summaries[place]
        guard let job = row.first else { return nil }
        let priority =
            row.base + policy.weights.age * policy.ageFactor(now.uptime - row.since)
            + policy.weights.share * pass.share(of: row.user, accounts, policy)
        return Contender(priority: priority, job: job, place: place)
    }

    /// Starts tasks of one class until another class comes before it, a limit is reached, or nothing fits.
    private mutating func fill(_ place: Int, _ pass: inout Pass, at now: Instant) {
        let shape = classes.rows[place].shape
        let amounts = shapes.rows[shape].requirement.amounts
        let books = accounts(of: place)
        while let job = firstRunnable(in: place) {
            if let rival = pass.contenders.min, let own = contender(place, &pass, at: now), rival < own {
                return pass.contenders.insert(own)
            }
            guard accounts[books.user].allows(amounts), accounts[books.group].allows(amounts),
                accounts[books.queue].allows(amounts)
            else { return }
            guard licenseShortage(of: place, for: job) == nil else {
                return licenses.claim(shapes.rows[shape].requirement.licenses, for: job)
            }
            guard !shapes.rows[shape].isBlocked, let slot = bestWorker(for: job, of: place, at: now) else {
                if !shapes.rows[shape].isBlocked { shapes.rows[shape].isBlocked = !hasRoom(for: shape) }
                if preempt(for: job, of: place, at: now) {
                    shapes.rows[shape].isBlocked = false
                    continue
                }
                if reservation == nil { reserve(for: job, of: place, at: now) }
                return
            }
            start(job, of: place, on: slot, at: now)
            pass.noteStart(in: books.group)
        }
    }

    private mutating func start(_ job: JobID, of place: Int, on slot: Int, at now: Instant) {
        let shape = classes.rows[place].shape
        let (amounts, isWhole) = (demand(of: shape, on: slot), shapes.rows[shape].requirement.isExclusive)
        guard let row = jobs[job]?.startNext(on: slot) else { return }
        if jobs[job]?.progress.startedAt == nil { jobs[job]?.progress.startedAt = now.wall }
        markDirty(job)
        let id = AttemptID(task: row.id, number: row.attempts)
        let end = expectedTime(of: place).map { now.uptime + $0 } ?? .max
        let gpus = workers[slot].reserve(amounts, whole: isWhole, until: end)
        let attempt = AttemptRow(
            id: id, worker: workers[slot].name, state: .assigned, reason: nil, gpus: gpus, isAcknowledged: false,
            isAccepted: false, stopReason: nil, assignedAt: now.wall, endedAt: nil, report: nil)
        workers[slot].attempts.insert(
            Attempt(row: attempt, amounts: amounts, expectedEnd: end, isWhole: isWhole), for: id)
        settleClaim(of: job, on: slot)
        outcome.changes.append(.task(row))
        outcome.changes.append(.attempt(attempt))
        bookRunning(amounts, 1, of: place, at: now)
        workerChanged(slot)
        payAttention(to: slot)
        if reservation?.job == job { reservation = nil }
    }
}

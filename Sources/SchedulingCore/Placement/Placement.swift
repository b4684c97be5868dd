// One pass: gives room to tasks by priority (Shares/Priority.swift). A pass costs what changed and what starts. A class
// that no worker could take is blocked, and then only compared with workers that grew since the last pass; of what is
// left, a pass compares the first class of each user (Standings.swift).
import JobModel

extension Cluster {
    /// More workers than this are not compared with each class: what is blocked is tried again instead.
    private static let fewWorkers = 8

    mutating func place(at now: Instant) {
        guard needsPlacement else { return }
        needsPlacement = false
        licenses.forgetClaims()
        checkClaims(at: now)
        checkReservation(at: now)
        if rooms.grown.count > Self.fewWorkers {
            unblockWhatFits()
            rooms.forgetGrown()
        }
        let totals = ShareTotals(self, at: now)
        while pass(totals, at: now) {}
        // Room that came free during the pass is for the next one.
        if !needsPlacement { rooms.forgetGrown() }
    }

    /// False when nothing is left that could start. True when what was kept for a task is free, because it was started:
    /// the next one that is blocked gets a promise of its own.
    private mutating func pass(_ totals: ShareTotals, at now: Instant) -> Bool {
        var pass = Pass(totals, accounts, policy, shapes: shapes.rows.count)
        for user in standings.indices where !standings[user].isEmpty {
            ageClasses(of: user, at: now)
            addNext(of: user, to: &pass, at: now)
        }
        while let turn = pass.popBest() {
            let user = classes.summaries[turn.place].user
            guard mightStart(turn.place), firstRunnable(in: turn.place) != nil,
                let current = contender(turn.place, &pass, at: now)
            else {
                addNext(of: user, to: &pass, at: now)
                continue
            }
            // Its first job is another one than its place among the user's classes came from.
            if current.job != turn.job { addNext(of: user, to: &pass, at: now) }
            guard current == turn else {
                pass.insert(current)
                continue
            }
            if fill(turn, &pass, at: now) { return true }
            // Often the one room that came free was all, and every other class would be looked at in vain.
            guard mightStartAny() else { return false }
            addNext(of: user, to: &pass, at: now)
        }
        return false
    }

    /// After much has changed: each shape is compared with all workers once, instead of each class with many.
    private mutating func unblockWhatFits() {
        let fits = shapes.rows.indices.map { shapes.rows[$0].memberCount > 0 && hasRoom(for: $0) }
        for place in classes.summaries.indices where classes.summaries[place].isBlocked {
            if fits[classes.summaries[place].shape] { setBlocked(false, place) }
        }
    }

    /// The user's next class that might start something takes its turn.
    private mutating func addNext(of user: Int, to pass: inout Pass, at now: Instant) {
        guard mightStart(user: user) else { return }
        var cursor = pass.cursors[user]
        if let next = nextStanding(of: user, after: &cursor, at: now) {
            if next.isYoung { cursor.young = next.row.rank } else { cursor.old = next.row.rank }
            if let contender = contender(next.row.place, &pass, at: now) { pass.insert(contender) }
        }
        pass.cursors[user] = cursor
    }

    /// False if no class of the user could start or be promised anything.
    private func mightStart(user: Int) -> Bool {
        if reservation == nil || standings[user].looseCount > 0 { return true }
        let least = standings[user].least
        return rooms.grown.contains { least.fits(in: rooms.free[$0]) }
    }

    private func mightStartAny() -> Bool {
        for user in standings.indices where mightStart(user: user) { return true }
        return false
    }

    private func mightStart(_ place: Int) -> Bool {
        let shape = classes.summaries[place].shape
        return mightStart(place, shape, Bulk(shapes.rows[shape].requirement.amounts))
    }

    func mightStart(_ place: Int, _ shape: Int, _ bulk: Bulk) -> Bool {
        guard classes.summaries[place].isBlocked else { return isWithinLimits(place) }
        for slot in rooms.grown
        where bulk.fits(in: rooms.free[slot]) && rooms.isOpen[slot] && couldRun(shape, on: slot) {
            return true
        }
        return reservation == nil && shapes.hasOpenKind(shape) && isWithinLimits(place)
    }

    private func contender(_ place: Int, _ pass: inout Pass, at now: Instant) -> Contender? {
        guard let job = classes.summaries[place].first else { return nil }
        let (user, since) = (classes.summaries[place].user, classes.summaries[place].since)
        let share = pass.knownPart(ofUser: user) ?? pass.findPart(ofUser: user, accounts, policy)
        let age = policy.weights.age * policy.ageFactor(since: since, at: now.uptime)
        let own = classes.summaries[place].base + age + share
        return Contender(priority: own, job: job, place: place, group: accounts.group(of: user))
    }

    /// Starts tasks of one class until another class comes before it, a limit is reached, or nothing fits. Returns
    /// whether a promise was kept, or all room used that was made for the job.
    private mutating func fill(_ turn: Contender, _ pass: inout Pass, at now: Instant) -> Bool {
        let place = turn.place
        let shape = classes.rows[place].shape
        while let job = firstRunnable(in: place), let own = contender(place, &pass, at: now) {
            if job != turn.job || pass.hasBetter(than: own) {
                pass.insert(own)
                break
            }
            guard isWithinLimits(place) else {
                setBlocked(false, place)
                break
            }
            guard licenseShortage(of: place, for: job) == nil else {
                licenses.claim(shapes.rows[shape].requirement.licensesTogether, for: job)
                break
            }
            guard !pass.full[shape], let isRoomFreed = startIfRoom(job, of: place, at: now) else {
                if !pass.full[shape] { pass.full[shape] = !hasRoom(for: shape) }
                if preempt(for: job, of: place, at: now) {
                    pass.full[shape] = false
                    continue
                }
                setBlocked(isBlockable(place), place)
                if reservation == nil { reserve(for: job, of: place, at: now) }
                break
            }
            pass.noteStart(own, of: classes.summaries[place].user, accounts, policy)
            // The next promise is not the class's own by right: whoever then comes first gets it.
            if isRoomFreed { return true }
        }
        return false
    }

    /// More than room decides about tasks that hold licenses or make room for themselves: those are looked at in each
    /// pass.
    func isBlockable(_ place: Int) -> Bool {
        shapes.rows[classes.rows[place].shape].requirement.licenses == .none && preempted(by: place).isEmpty
    }

    /// Nil if there is no room; otherwise whether others may use what had been kept for the job.
    private mutating func startIfRoom(_ job: JobID, of place: Int, at now: Instant) -> Bool? {
        guard let size = shapes.rows[classes.rows[place].shape].requirement.gang else {
            return bestWorker(for: job, of: place, at: now).map { start(job, of: place, on: $0, at: now) }
        }
        guard let team = team(of: size, for: job, of: place, at: now) else { return nil }
        var isRoomFreed = false
        for slot in team where start(job, of: place, on: slot, at: now) { isRoomFreed = true }
        return isRoomFreed
    }

    /// Returns whether others may use what had been kept for the job.
    private mutating func start(_ job: JobID, of place: Int, on slot: Int, at now: Instant) -> Bool {
        let shape = classes.rows[place].shape
        let (amounts, isWhole) = (demand(of: shape, on: slot), shapes.rows[shape].requirement.isExclusive)
        guard let row = jobs[job]?.startNext(on: slot) else { return false }
        if jobs.read(job, { $0.progress.startedAt == nil }) == true { jobs[job]?.progress.startedAt = now.wall }
        markDirty(job)
        let id = AttemptID(task: row.id, number: row.attempts)
        let end = expectedTime(of: place).map { now.uptime + $0 } ?? .max
        let gpus = workers[slot].reserve(amounts, whole: isWhole, until: end)
        let attempt = AttemptRow(
            id: id, worker: workers[slot].name, state: .assigned, reason: nil, gpus: gpus, isAcknowledged: false,
            isAccepted: false, stopReason: nil, assignedAt: now.wall, endedAt: nil, report: nil)
        workers[slot].attempts.insert(
            Attempt(
                row: attempt, amounts: amounts, placedAt: now.uptime, expectedEnd: end, isWhole: isWhole,
                limit: jobs.read(job) { $0.progress.timeLimit } ?? nil), for: id)
        let hasClaimEnded = settleClaim(of: job, of: place, on: slot)
        outcome.changes.append(.task(row))
        outcome.changes.append(.attempt(attempt))
        bookRunning(amounts, 1, of: place, at: now)
        workerChanged(slot)
        payAttention(to: slot)
        guard let promise = reservation, promise.job == job || promise.place == place && promise.keeps(slot)
        else {
            return hasClaimEnded
        }
        dropReservation()
        return true
    }
}

// The promise to the first blocked job: a worker and a time by which it can start there at the latest, from the time
// limits of what runs. Other tasks may use the room meanwhile if they end before that time, or fit beside the promised
// task; so backfill never delays it, and a large job never starves behind small ones.
//
// One promise at a time, kept until the job starts, can no longer run, or loses its worker. A job of its class that
// goes before it takes what was promised: the two have one turn, and neither would get it while the other waits for it.
// A run without a time limit counts as without end: then the start is not known; after some patience nothing else is
// placed on that worker until it is free.
import JobModel

struct Reservation: Hashable, Sendable {
    let job: JobID
    let place: Int
    let slot: Int
    /// Uptime; nil: not known.
    var start: Int64?
    /// Uptime at which the promise was made.
    let madeAt: Int64
    /// The other workers that are kept, if the job is a gang.
    var others: [Int] = []

    var slots: [Int] { [slot] + others }

    func keeps(_ slot: Int) -> Bool { self.slot == slot || others.contains(slot) }

    /// Whether the job's start is the promised one, if it starts on the promised worker.
    func isTaken(by job: JobID, of place: Int) -> Bool { self.job == job || self.place == place }
}

/// When an attempt is expected to give its room back.
struct Release: Hashable, Sendable {
    /// Uptime; `.max`: not known.
    let end: Int64
    let amounts: Amounts
}

extension Cluster {
    /// Workers that are compared for a promise. More would find an earlier start now and then, at the price of a look
    /// at every worker.
    private static let candidates = 64

    /// Drops a promise that has lost its object, and moves it up if what runs there has ended early: otherwise others
    /// would use the time that was gained, as long as a time limit is longer than a run.
    mutating func checkReservation(at now: Instant) {
        guard let promise = reservation else { return }
        guard holds(promise, at: now) else { return dropReservation() }
        if let start = earlierStart(of: promise, at: now) { reservation?.start = start }
    }

    private func earlierStart(of promise: Reservation, at now: Instant) -> Int64? {
        guard let known = promise.start else { return nil }
        let shape = classes.rows[promise.place].shape
        var start = now.uptime
        for slot in promise.slots {
            start = max(start, workers[slot].earliestStart(of: demand(of: shape, on: slot), at: now.uptime))
        }
        guard start < known else { return nil }
        for slot in promise.slots where !isClear(slot, for: promise.place, at: now, startingAt: start) { return nil }
        return start
    }

    private func holds(_ promise: Reservation, at now: Instant) -> Bool {
        guard jobs.read(promise.job, { $0.isRunnable }) == true, mayRunMore(of: promise.place) else { return false }
        let shape = classes.rows[promise.place].shape
        let isAhead = promise.start ?? .max > now.uptime
        for slot in promise.slots {
            guard workers[slot].takesWork, couldRun(shape, on: slot) else { return false }
            guard isAhead || isClear(slot, for: promise.place, at: now) else { return false }
        }
        return true
    }

    /// What was kept free on the worker is looked at as if it had become free now.
    mutating func dropReservation() {
        guard let promise = reservation else { return }
        reservation = nil
        for slot in promise.slots { rooms.noteGrown(slot) }
    }

    /// Promises the job the worker where it can start first; a gang, as many as it needs.
    mutating func reserve(for job: JobID, of place: Int, at now: Instant) {
        let shape = classes.rows[place].shape
        let size = shapes.rows[shape].requirement.together
        var found: [(slot: Int, start: Int64)] = []
        var seen = 0
        rooms.emptiestFirst { slot in
            guard couldRun(shape, on: slot), claims[slot]?.isTaken(by: job, of: place) ?? true else { return true }
            seen += 1
            let start = workers[slot].earliestStart(of: demand(of: shape, on: slot), at: now.uptime)
            if isClear(slot, for: place, at: now, startingAt: start) {
                // The earliest, and of equal ones the first that was seen.
                let position = found.firstIndex { start < $0.start } ?? found.count
                if position < size { found.insert((slot, start), at: position) }
                if found.count > size { found.removeLast() }
            }
            return seen < Self.candidates + size - 1
        }
        guard found.count == size, let last = found.last else { return }
        reservation = Reservation(
            job: job, place: place, slot: found[0].slot, start: last.start == .max ? nil : last.start,
            madeAt: now.uptime, others: found.dropFirst().map(\.slot))
    }

    /// Whether a task of this class may be placed on the worker without delaying the promised start there.
    func mayUse(_ slot: Int, _ job: JobID, of place: Int, at now: Instant) -> Bool {
        if !claims.isEmpty, let claim = claims[slot], !claim.isTaken(by: job, of: place) { return false }
        guard isClear(slot, for: place, at: now) else { return false }
        guard let promise = reservation, promise.keeps(slot), !promise.isTaken(by: job, of: place) else { return true }
        guard let start = promise.start else { return now.uptime < promise.madeAt + policy.patience.milliseconds }
        if let time = expectedTime(of: place), now.uptime + time <= start { return true }
        let own = demand(of: classes.rows[place].shape, on: slot)
        let promised = demand(of: classes.rows[promise.place].shape, on: slot)
        return (own + promised).fit(in: workers[slot].room(at: start))
    }

    func isWithinLimits(_ place: Int) -> Bool {
        let books = accounts(of: place)
        let shape = classes.rows[place].shape
        let count = shapes.rows[shape].requirement.together
        return accounts.rows[books.user].allows(shapes.rows[shape].requirement.amounts, times: count)
            && accounts.rows[books.group].allows(shapes.rows[shape].requirement.amounts, times: count)
            && accounts.rows[books.queue].allows(shapes.rows[shape].requirement.amounts, times: count)
    }

    /// The limit that keeps the class's next task from running.
    func limitHit(of place: Int) -> LimitHit? {
        let books = accounts(of: place)
        let requirement = shapes.rows[classes.rows[place].shape].requirement
        let (amounts, count) = (requirement.amounts, requirement.together)
        return accounts[books.user].limit(against: amounts, times: count)
            ?? accounts[books.group].limit(against: amounts, times: count)
            ?? accounts[books.queue].limit(against: amounts, times: count)
    }
}

extension Worker {
    /// What is free at a later time, if everything ends when it is expected to and nothing else starts.
    func room(at time: Int64) -> Amounts {
        var room = left
        for release in releases where release.end <= time { room = room + release.amounts }
        return room
    }

    /// When there is room for these amounts, at the latest; `.max`: not known.
    func earliestStart(of amounts: Amounts, at now: Int64) -> Int64 {
        var room = left
        if !isTakenWhole, amounts.fit(in: room) { return now }
        for release in releases {
            room = room + release.amounts
            if amounts.fit(in: room) { return max(release.end, now) }
        }
        return .max
    }
}

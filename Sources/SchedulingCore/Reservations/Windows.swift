// Advance reservations: workers that are kept from a date on, for some users or, as a maintenance window, for nobody.
// Others start there only what ends before by its time limit. Dates are civil time, so these are the decisions of the
// core that depend on the wall clock; each is made anew when it is needed.
import JobModel

extension Cluster {
    // MARK: events

    mutating func save(_ reservation: AdvanceReservation, at now: Instant) throws(Refusal) {
        if reservations.contains(reservation.name) {
            reservations.remove(reservation.name)
        } else if reservations.count >= AdvanceReservation.mostReservations {
            throw .tooManyReservations(AdvanceReservation.mostReservations)
        }
        reservations.insert(reservation, for: reservation.name)
        outcome.changes.append(.reservation(reservation))
        windowsChanged(at: now)
    }

    mutating func removeReservation(_ name: ReservationName, at now: Instant) throws(Refusal) {
        guard reservations.remove(name) != nil else { throw .unknownReservation(name) }
        outcome.changes.append(.reservationRemoved(name))
        windowsChanged(at: now)
    }

    /// Time has passed: what is over goes.
    mutating func checkWindows(at now: Instant) {
        windowTimerIsSet = false
        let over = reservations.ids.filter { (reservations[$0]?.end ?? now.wall) <= now.wall }
        for name in over {
            reservations.remove(name)
            outcome.changes.append(.reservationRemoved(name))
        }
        if over.isEmpty { armWindows(at: now) } else { windowsChanged(at: now) }
    }

    private mutating func windowsChanged(at now: Instant) {
        for slot in workers.indices { refreshWindows(of: slot) }
        // A promise was made without knowing of it, and who was sent away may find a worker open now.
        dropReservation()
        unblockAllClasses()
        armWindows(at: now)
    }

    /// The worker is new, or has other labels than before.
    mutating func refreshWindows(of slot: Int) {
        guard !reservations.isEmpty || !workers[slot].windows.isEmpty else { return }
        workers[slot].windows = windows(of: slot)
    }

    func windows(of slot: Int) -> [AdvanceReservation] {
        let (name, labels) = (workers[slot].name, workers[slot].registration.labels)
        return reservations.ids.compactMap { reservations[$0] }.filter { $0.covers(name, labels: labels) }
            .sorted { ($0.start, $0.name) < ($1.start, $1.name) }
    }

    /// The wall clock may be set: it is looked at again after a minute at most.
    mutating func armWindows(at now: Instant) {
        guard !windowTimerIsSet, let next = reservations.ids.compactMap({ reservations[$0]?.end }).min() else { return }
        windowTimerIsSet = true
        let rest = min(max((next - now.wall).milliseconds, 100), 60_000)
        timers.insert(Timer(due: now.uptime + rest, subject: .windows))
    }

    // MARK: placement

    /// The window that a task of the class, started at this time, would run into.
    func window(inTheWayOf place: Int, on slot: Int, at wall: Timestamp) -> AdvanceReservation? {
        guard !workers[slot].windows.isEmpty else { return nil }
        let user = classes.rows[place].user
        let owner = UserName(unchecked: accounts[user].id.name)
        let group = accounts[user].group.map { GroupName(unchecked: accounts[$0].id.name) }
        let end = expectedTime(of: place).map { wall.after(TimeSpan(milliseconds: $0)) }
        return workers[slot].windows.first { window in
            guard window.end > wall, !window.isFor(owner, of: group) else { return false }
            return end.map { $0 > window.start } ?? true
        }
    }

    /// Whether a task of the class, started at this uptime, runs into no window; now, if nobody knows when it starts.
    func isClear(_ slot: Int, for place: Int, at now: Instant, startingAt uptime: Int64? = nil) -> Bool {
        guard !workers[slot].windows.isEmpty else { return true }
        let wait = uptime == .max ? 0 : (uptime ?? now.uptime) - now.uptime
        return window(inTheWayOf: place, on: slot, at: now.wall.after(TimeSpan(milliseconds: wait))) == nil
    }

    /// For a job that has room on a worker that is kept for others.
    func sentence(on window: AdvanceReservation, _ slot: Int, _ job: Job, at now: Instant) -> String {
        let purpose =
            window.users.isEmpty && window.groups.isEmpty
            ? "closed for '\(window.name)'"
            : "reserved for \((window.users.map(\.rawValue) + window.groups.map { "group \($0)" }).joined(separator: ", ")) ('\(window.name)')"
        let reason = window.reason.map { ", \($0)" } ?? ""
        let place = "\(workers[slot].name) has room and is \(purpose)\(reason)"
        let until = "from \(window.start.inSeconds) to \(window.end.inSeconds)"
        guard window.start > now.wall else { return "\(place) \(until): it starts after that" }
        let rest =
            (window.start - now.wall).milliseconds - policy.preparation.milliseconds - job.record.grace.milliseconds
        let hint =
            rest >= 60_000
            ? "; with a time limit of at most \(TimeSpan(milliseconds: rest / 60_000 * 60_000)) it would start now" : ""
        return "\(place) \(until), and it would not end before: it starts after that\(hint)"
    }

    // MARK: views

    /// In order of their names.
    package func reservationViews() -> [AdvanceReservation] { reservations.ids.compactMap { reservations[$0] } }
}

extension Timestamp {
    var inSeconds: Timestamp { Timestamp(millisecondsSinceEpoch: millisecondsSinceEpoch / 1000 * 1000) }
}

// What jobs and attempts book on their accounts, and the events that set accounts up. Use is booked when what runs
// changes, and written down from time to time: a crash forgets the use of the last minutes, and no task pays a row for
// it.
import JobModel

extension Cluster {
    /// The accounts that a job of this class is booked on.
    func accounts(of place: Int) -> (queue: Int, group: Int, user: Int) {
        let user = classes.rows[place].user
        return (classes.rows[place].queue, accounts.group(of: user), user)
    }

    /// Books tasks that began to wait, or ceased to.
    mutating func bookPending(_ count: Int64, of place: Int) {
        guard count != 0 else { return }
        let books = accounts(of: place)
        accounts[books.queue].pending += count
        accounts[books.group].pending += count
        accounts[books.user].pending += count
    }

    /// Books one attempt that began (`count` 1) or ended (-1).
    mutating func bookRunning(_ amounts: Amounts, _ count: Int64, of place: Int, at now: Instant) {
        let books = accounts(of: place)
        let cost = policy.cost(of: amounts)
        bookUse(of: books.group, at: now)
        bookUse(of: books.user, at: now)
        accounts[books.group].rate += count * cost
        accounts[books.user].rate += count * cost
        addHeld(amounts, count, to: books.queue)
        addHeld(amounts, count, to: books.group)
        addHeld(amounts, count, to: books.user)
        licenses.book(shapes.rows[classes.rows[place].shape].requirement.licenses, count)
        guard !accounts.isTimerSet else { return }
        accounts.isTimerSet = true
        timers.insert(Timer(due: now.uptime(after: policy.usageWrittenEvery), subject: .usage))
    }

    private mutating func addHeld(_ amounts: Amounts, _ count: Int64, to place: Int) {
        accounts[place].running += count
        accounts[place].held = count > 0 ? accounts[place].held + amounts : accounts[place].held - amounts
    }

    /// Brings an account's use up to now.
    private mutating func bookUse(of place: Int, at now: Instant) {
        let time = accounts.time(at: now)
        let (rate, from) = (accounts[place].rate, accounts[place].bookedUntil)
        if rate > 0 {
            accounts[place].use.add(rate, from: from, to: time, halfLife: policy.halfLife.milliseconds)
        }
        accounts[place].bookedUntil = time
    }

    /// Writes down the use that changed, and goes on while anything runs.
    mutating func writeUsage(at now: Instant) {
        let time = accounts.time(at: now)
        var isBusy = false
        for place in accounts.rows.indices where accounts[place].id.kind != .queue {
            bookUse(of: place, at: now)
            isBusy = isBusy || accounts[place].rate > 0
            let (id, use) = (accounts[place].id, accounts[place].use)
            guard
                use
                    != FadingUse(
                        amount: accounts[place].written?.amount ?? 0, epoch: accounts[place].written?.epoch ?? 0)
            else { continue }
            let row = UsageRow(id: id, amount: use.amount, epoch: use.epoch, time: time)
            accounts[place].written = row
            outcome.changes.append(.usage(row))
        }
        accounts.isTimerSet = isBusy
        if isBusy { timers.insert(Timer(due: now.uptime(after: policy.usageWrittenEvery), subject: .usage)) }
    }

    // MARK: events

    mutating func save(_ row: AccountRow, at now: Instant) throws(Refusal) {
        try admit(row)
        let place = accounts.open(row.id)
        if row.id.kind == .user {
            bookUse(of: place, at: now)
            if let group = accounts[place].group { bookUse(of: group, at: now) }
            bookUse(of: accounts.open(.group(row.settings.group ?? .standard)), at: now)
        }
        accounts.set(row.settings, of: place)
        accounts[place].isStored = true
        outcome.changes.append(.account(row))
        limitsChanged()
    }

    /// A queue goes when no job is in it, a group when no user is; a user or group is then as if it had never been set
    /// up.
    mutating func removeAccount(_ id: AccountID, at now: Instant) throws(Refusal) {
        guard let place = accounts.place(of: id), accounts[place].isStored else { throw .unknownAccount(id) }
        switch id.kind {
        case .queue:
            let jobs = jobs.ids.count { self.jobs[$0]?.record.queue.rawValue == id.name }
            guard jobs == 0 else { throw .accountIsUsed(id, by: "\(jobs) unfinished jobs are in it") }
        case .group:
            let members = accounts.rows.count { $0.group == place && $0.isStored }
            guard members == 0 else { throw .accountIsUsed(id, by: "\(members) users are in it") }
        case .user:
            bookUse(of: place, at: now)
            if let group = accounts[place].group { bookUse(of: group, at: now) }
            bookUse(of: accounts.open(.group(.standard)), at: now)
        }
        accounts.set(.standard, of: place)
        accounts[place].isStored = false
        outcome.changes.append(.accountRemoved(id))
        limitsChanged()
    }

    private mutating func limitsChanged() {
        unblockAllClasses()
        for place in classes.rows.indices where classes.rows[place].memberCount > 0 { summarise(place) }
    }

    /// Refuses a submission to a queue that does not exist, or beyond a limit on what waits.
    /// - Parameters:
    ///   - tasks: how many there will be more.
    ///   - others: those that are about to be accepted with it.
    func admit(_ record: JobRecord, tasks: Int64, beside others: [Job]) throws(Refusal) {
        try admitLicenses(Requirement(record).licensesTogether)
        let queue = AccountID.queue(record.queue)
        guard record.queue == .standard || accounts.place(of: queue).map({ accounts[$0].isStored }) == true else {
            throw .unknownQueue(record.queue)
        }
        let user = accounts.place(of: .user(record.owner.name))
        let group = user.flatMap { accounts[$0].group } ?? accounts.place(of: .group(.standard))
        for place in [accounts.place(of: queue), group, user].compactMap({ $0 }) {
            let account = accounts[place]
            guard let most = account.settings.limits.pending else { continue }
            let pending = others.reduce(account.pending) { sum, other in
                let isCounted = account.id.kind != .queue || other.record.queue == record.queue
                return sum + (isCounted ? other.progress.counts.pending : 0)
            }
            guard pending <= most, tasks <= most - pending else {
                throw .tooManyPending(account.id, pending: pending, submitted: tasks, limit: most)
            }
        }
    }
}

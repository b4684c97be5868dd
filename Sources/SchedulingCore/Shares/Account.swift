// What is booked on a queue, a group or a user: what waits, what runs, what was used, and the limits on these.
// Invariant: a group's book is the sum of its users'; every live attempt stands in the books of its queue, its user and
// its user's group. How use becomes a priority stands in Priority.swift.
import JobModel

struct Account: Sendable {
    let id: AccountID
    var settings = AccountSettings.standard
    /// An administrator set it up. The others exist because somebody used them, with the standard settings.
    var isStored = false
    /// A user's group.
    var group: Int?
    /// Of a group: the sum of its users' weights.
    var weights: Int64 = 0

    /// Tasks that wait.
    var pending: Int64 = 0
    /// Live attempts, and what they hold.
    var running: Int64 = 0
    var held = Amounts.none

    // Fair share: groups and users.
    var use = FadingUse()
    /// What the live attempts cost, in thousandths of processors.
    var rate: Int64 = 0
    /// The ledger's time up to which `rate` is in `use`.
    var bookedUntil: Int64 = 0
    /// What the store has of `use`.
    var written: UsageRow?

    /// It has work, and so competes with its siblings.
    var isActive: Bool { pending > 0 || running > 0 }

    var row: AccountRow { AccountRow(id: id, settings: settings) }

    /// Whether so many more tasks of these amounts may run.
    func allows(_ amounts: Amounts, times count: Int) -> Bool {
        settings.limits == .none || limit(against: amounts, times: count) == nil
    }

    /// The limit that so many more tasks would exceed.
    func limit(against amounts: Amounts, times count: Int) -> LimitHit? {
        let limits = settings.limits
        if let most = limits.running, running + Int64(count) > most {
            return LimitHit(account: id, of: .tasks, used: running, limit: most)
        }
        var wanted = held
        for _ in 0..<count { wanted = wanted + amounts }
        if let most = limits.cpus, wanted.cpus > most.thousandths {
            return LimitHit(account: id, of: .cpus, used: held.cpus, limit: most.thousandths)
        }
        if let most = limits.memory, wanted.memory > most.bytes {
            return LimitHit(account: id, of: .memory, used: held.memory, limit: most.bytes)
        }
        if let most = limits.gpus, wanted.gpus > most {
            return LimitHit(account: id, of: .gpus, used: Int64(held.gpus), limit: Int64(most))
        }
        return nil
    }
}

/// Whose limit, on what, and how much of it is taken.
struct LimitHit: Hashable, Sendable {
    enum Kind: String, Sendable {
        case tasks = "running tasks"
        case cpus, memory, gpus
    }

    let account: AccountID
    let kind: Kind
    private let usedAmount: Int64
    private let limitAmount: Int64

    init(account: AccountID, of kind: Kind, used: Int64, limit: Int64) {
        self.account = account
        self.kind = kind
        usedAmount = used
        limitAmount = limit
    }

    var what: String { kind.rawValue }
    var used: String { text(usedAmount) }
    var limit: String { text(limitAmount) }

    private func text(_ amount: Int64) -> String {
        switch kind {
        case .tasks, .gpus: "\(amount)"
        case .cpus: "\(CPUAmount(thousandths: amount))"
        case .memory: "\(ByteCount(bytes: amount))"
        }
    }
}

/// What is kept of an account's use, written from time to time.
package struct UsageRow: Hashable, Codable, Sendable {
    package var id: AccountID
    package var amount: Int64
    package var epoch: Int64
    /// The ledger's time when it was written, in milliseconds.
    package var time: Int64

    package init(id: AccountID, amount: Int64, epoch: Int64, time: Int64) {
        self.id = id
        self.amount = amount
        self.epoch = epoch
        self.time = time
    }
}

struct Accounts: Sendable {
    private(set) var rows: [Account] = []
    private var places = Table<AccountID, Int>()
    /// Sum of the weights of all groups.
    private(set) var groupWeights: Int64 = 0
    /// Places of the groups, in order of their first use.
    private(set) var groups: [Int] = []

    // The ledger's time: the uptimes of all lives of the scheduler, one after the other.
    private var time: Int64 = 0
    private var uptime: Int64?
    /// Somebody will write the use down.
    var isTimerSet = false

    subscript(place: Int) -> Account {
        _read { yield rows[place] }
        _modify { yield &rows[place] }
    }

    /// In order of kinds and names.
    var ids: [AccountID] { places.ids }

    func place(of id: AccountID) -> Int? { places[id] }

    /// The account of the user's group, or of what has none.
    func group(of place: Int) -> Int { rows[place].group ?? place }

    /// The ledger's time at an uptime.
    func time(at now: Instant) -> Int64 { time + max(0, now.uptime - (uptime ?? now.uptime)) }

    /// Sets the ledger's clock going at `now`, from where the last life left it.
    mutating func begin(at now: Instant, from time: Int64? = nil) {
        guard uptime == nil else { return }
        uptime = now.uptime
        self.time = time ?? 0
    }

    /// The account of this id, made with the standard settings if there is none. A user is put into a group.
    mutating func open(_ id: AccountID) -> Int {
        if let place = places[id] { return place }
        let place = rows.count
        rows.append(Account(id: id))
        places.insert(place, for: id)
        switch id.kind {
        case .queue: break
        case .group:
            groups.append(place)
            groupWeights += Int64(AccountSettings.standardWeight)
        case .user: assign(place, to: .standard)
        }
        return place
    }

    mutating func set(_ settings: AccountSettings, of place: Int) {
        let change = Int64(settings.weight - rows[place].settings.weight)
        rows[place].settings = settings
        switch rows[place].id.kind {
        case .queue: break
        case .group: groupWeights += change
        case .user:
            if let group = rows[place].group { rows[group].weights += change }
            assign(place, to: settings.group ?? .standard)
        }
    }

    /// Moves a user, with all that it has waiting and running. What it used before stays with the old group.
    private mutating func assign(_ place: Int, to name: GroupName) {
        let group = open(.group(name))
        guard rows[place].group != group else { return }
        let user = rows[place]
        if let old = user.group { add(user, times: -1, to: old) }
        add(user, times: 1, to: group)
        rows[place].group = group
    }

    private mutating func add(_ user: Account, times: Int64, to group: Int) {
        rows[group].weights += times * Int64(user.settings.weight)
        rows[group].pending += times * user.pending
        rows[group].running += times * user.running
        rows[group].held = times > 0 ? rows[group].held + user.held : rows[group].held - user.held
        rows[group].rate += times * user.rate
    }

    mutating func restore(_ row: UsageRow) {
        let place = open(row.id)
        rows[place].use = FadingUse(amount: row.amount, epoch: row.epoch)
        rows[place].written = row
    }
}

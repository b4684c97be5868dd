// The classes that have something to start, each among those of its user, in the order in which they go before each
// other. The share of a user is the same for all its classes, and ages grow alike: so the order of a user's classes
// does not change by itself, a pass compares users by the first class of each, and nobody walks over all classes.
//
// Age stops to count when it is full. Classes whose first job is as old as can be stand in a list of their own, in
// which age has no part.
import JobModel

/// What orders the classes of one user: higher key first, then the older job.
struct Rank: Comparable, Hashable, Sendable {
    let key: Int64
    let job: JobID

    static func < (a: Rank, b: Rank) -> Bool { a.key == b.key ? a.job < b.job : a.key > b.key }
}

/// What a task takes of a worker, as far as every worker has it: what needs more than is free here cannot start.
struct Bulk: Hashable, Sendable {
    var cpus: Int64
    var memory: Int64
    var gpus: Int

    static let largest = Bulk(cpus: .max, memory: .max, gpus: .max)

    init(cpus: Int64, memory: Int64, gpus: Int) {
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
    }

    init(_ amounts: Amounts) { self.init(cpus: amounts.cpus, memory: amounts.memory, gpus: amounts.gpus) }

    func fits(in room: Amounts) -> Bool { cpus <= room.cpus && memory <= room.memory && gpus <= room.gpus }

    func least(_ other: Bulk) -> Bulk {
        Bulk(cpus: min(cpus, other.cpus), memory: min(memory, other.memory), gpus: min(gpus, other.gpus))
    }

    /// It is the least in something.
    func bounds(_ least: Bulk) -> Bool { cpus == least.cpus || memory == least.memory || gpus == least.gpus }
}

/// One class that has something to start.
struct Standing: Hashable, Sendable {
    let rank: Rank
    let place: Int
    let shape: Int
    let bulk: Bulk
    /// The tick of age from which its first job has waited.
    let since: Int64
}

/// Classes in order of their ranks.
struct RankedClasses: Hashable, Sendable {
    private(set) var rows: [Standing] = []
    /// What no class of the list needs less of.
    private(set) var least = Bulk.largest
    /// Since when the one has waited that has waited longest.
    private(set) var oldest = Int64.max

    mutating func insert(_ row: Standing) {
        rows.insert(row, at: firstPosition(notBefore: row.rank))
        least = least.least(row.bulk)
        oldest = min(oldest, row.since)
    }

    /// Returns whether it was there.
    mutating func remove(_ rank: Rank) -> Standing? {
        let position = firstPosition(notBefore: rank)
        guard position < rows.count, rows[position].rank == rank else { return nil }
        let row = rows.remove(at: position)
        if row.bulk.bounds(least) || row.since == oldest { measure() }
        return row
    }

    /// Takes out those that have waited since a moment before this.
    mutating func removeOlder(than moment: Int64) -> [Standing] {
        guard oldest < moment else { return [] }
        let old = rows.filter { $0.since < moment }
        rows.removeAll { $0.since < moment }
        measure()
        return old
    }

    /// For the invariants.
    var isInOrder: Bool {
        zip(rows, rows.dropFirst()).allSatisfy { $0.rank < $1.rank }
            && least == rows.reduce(.largest) { $0.least($1.bulk) } && oldest == rows.map(\.since).min() ?? .max
    }

    private mutating func measure() {
        (least, oldest) = (.largest, .max)
        for row in rows {
            least = least.least(row.bulk)
            oldest = min(oldest, row.since)
        }
    }

    private func firstPosition(notBefore rank: Rank) -> Int { rows.firstPlace { $0.rank >= rank } }

    /// Where those begin that come after `rank`, whether or not it is there.
    func firstPosition(after rank: Rank?) -> Int {
        guard let rank else { return 0 }
        let position = firstPosition(notBefore: rank)
        return position < rows.count && rows[position].rank == rank ? position + 1 : position
    }
}

/// All classes of one user that have something to start.
struct UserStandings: Hashable, Sendable {
    /// Those whose age still grows: ranked by the formula less the part that grows for all alike.
    var young = RankedClasses()
    /// Those as old as can be: ranked by the formula without age.
    var old = RankedClasses()
    /// How many of them are not blocked.
    var looseCount = 0

    var isEmpty: Bool { young.rows.isEmpty && old.rows.isEmpty }
    var least: Bulk { young.least.least(old.least) }
}

/// How far a pass has come with the classes of one user.
struct Cursor {
    var young: Rank?
    var old: Rank?
}

extension Cluster {
    /// Puts a class where its first job belongs, or takes it out if nothing of it waits.
    mutating func stand(_ place: Int) {
        let row = classes.summaries[place]
        while standings.count <= row.user { standings.append(UserStandings()) }
        if let standing = row.standing {
            let isYoung = standings[row.user].young.remove(standing) != nil
            if !isYoung { _ = standings[row.user].old.remove(standing) }
            if !row.isBlocked { standings[row.user].looseCount -= 1 }
        }
        classes.summaries[place].standing = nil
        guard let job = row.first else { return }
        let since = policy.ageTick(row.since)
        let rank = Rank(key: row.base - policy.weights.age * since, job: job)
        let bulk = Bulk(shapes.rows[row.shape].requirement.amounts)
        standings[row.user].young.insert(
            Standing(rank: rank, place: place, shape: row.shape, bulk: bulk, since: since))
        if !row.isBlocked { standings[row.user].looseCount += 1 }
        classes.summaries[place].standing = rank
    }

    /// Blocked: no worker could take a task of the class when it was looked at; only workers that grow are looked at
    /// again.
    mutating func setBlocked(_ isBlocked: Bool, _ place: Int) {
        let row = classes.summaries[place]
        guard row.isBlocked != isBlocked else { return }
        classes.summaries[place].isBlocked = isBlocked
        if row.standing != nil { standings[row.user].looseCount += isBlocked ? -1 : 1 }
    }

    mutating func unblockAllClasses() {
        for place in classes.summaries.indices { setBlocked(false, place) }
        needsPlacement = true
    }

    /// Moves the classes that have become as old as can be.
    mutating func ageClasses(of user: Int, at now: Instant) {
        let old = standings[user].young.removeOlder(than: policy.ageTick(now.uptime) - PriorityFactors.full)
        for row in old {
            let rank = Rank(key: classes.summaries[row.place].base, job: row.rank.job)
            standings[user].old.insert(
                Standing(rank: rank, place: row.place, shape: row.shape, bulk: row.bulk, since: row.since))
            classes.summaries[row.place].standing = rank
        }
    }

    /// The first after `rank` that might start; `rank` moves up to it.
    private func next(of classes: RankedClasses, after rank: inout Rank?) -> Standing? {
        for position in classes.firstPosition(after: rank)..<classes.rows.count {
            let row = classes.rows[position]
            if mightStart(row.place, row.shape, row.bulk) { return row }
            rank = row.rank
        }
        return nil
    }

    /// The user's next class in order of the formula that might start. The cursor stands before it.
    func nextStanding(
        of user: Int, after cursor: inout Cursor, at now: Instant
    ) -> (row: Standing, isYoung: Bool)? {
        let young = next(of: standings[user].young, after: &cursor.young)
        let old = next(of: standings[user].old, after: &cursor.old)
        guard let young else { return old.map { ($0, false) } }
        guard let old else { return (young, true) }
        let youngRank = Rank(key: young.rank.key + policy.weights.age * policy.ageTick(now.uptime), job: young.rank.job)
        let oldRank = Rank(key: old.rank.key + policy.weights.age * PriorityFactors.full, job: old.rank.job)
        return youngRank < oldRank ? (young, true) : (old, false)
    }
}

// What one pass works with: the classes whose turn it may be, and whose turn it is. A start costs the user who got it
// and its group some of their share; nobody else's order changes, so classes are kept by group and only the best of
// each are compared.
import HeapModule
import JobModel

/// A class that may have something to start, by its priority without its group's part.
struct Contender: Comparable {
    let priority: Int64
    let job: JobID
    let place: Int
    let group: Int

    /// The least goes first.
    static func < (a: Contender, b: Contender) -> Bool {
        a.priority == b.priority ? a.job < b.job : a.priority > b.priority
    }
}

struct Pass {
    private let totals: ShareTotals
    /// By user.
    var cursors: [Cursor]
    /// Shapes that no open worker has room for: rooms only shrink during a pass.
    var full: [Bool]
    /// By group.
    private var contenders: [Heap<Contender>]
    /// The groups that have contenders, or had.
    private var groups: [Int] = []
    /// What the shares of groups and users count for; nil: not known.
    private var parts: [Int64?]

    init(_ totals: ShareTotals, _ accounts: borrowing Accounts, _ policy: Policy, shapes: Int) {
        let count = accounts.rows.count
        self.totals = totals
        cursors = Array(repeating: Cursor(), count: count)
        full = Array(repeating: false, count: shapes)
        contenders = Array(repeating: [], count: count)
        parts = Array(repeating: nil, count: count)
        for group in accounts.groups { noteUse(ofGroup: group, accounts, policy) }
    }

    /// What a user's share of its group's counts for; nil: it is to be found out.
    func knownPart(ofUser user: Int) -> Int64? { parts[user] }

    mutating func findPart(ofUser user: Int, _ accounts: borrowing Accounts, _ policy: Policy) -> Int64 {
        let part = policy.weights.share * totals.part(ofUser: user, accounts, policy)
        parts[user] = part
        return part
    }

    private mutating func noteUse(ofGroup group: Int, _ accounts: borrowing Accounts, _ policy: Policy) {
        parts[group] = policy.weights.share * totals.part(ofGroup: group, accounts, policy)
    }

    /// A task of this one was started.
    mutating func noteStart(
        _ contender: Contender, of user: Int, _ accounts: borrowing Accounts, _ policy: Policy
    ) {
        noteUse(ofGroup: contender.group, accounts, policy)
        parts[user] = nil
    }

    mutating func insert(_ contender: Contender) {
        if contenders[contender.group].isEmpty, !groups.contains(contender.group) { groups.append(contender.group) }
        contenders[contender.group].insert(contender)
    }

    /// Takes out the one whose turn it is, if its priority has not fallen since it was put in.
    mutating func popBest() -> Contender? {
        var best: Contender?
        for group in groups {
            guard let first = contenders[group].min else { continue }
            if best.map({ isBefore(first, $0) }) ?? true { best = first }
        }
        return best.flatMap { contenders[$0.group].popMin() }
    }

    func hasBetter(than own: Contender) -> Bool {
        groups.contains { contenders[$0].min.map { isBefore($0, own) } ?? false }
    }

    private func isBefore(_ a: Contender, _ b: Contender) -> Bool {
        let (first, second) = (a.priority + (parts[a.group] ?? 0), b.priority + (parts[b.group] ?? 0))
        return first == second ? a.job < b.job : first > second
    }
}

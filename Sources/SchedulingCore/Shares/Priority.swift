// The one formula of who goes first, in whole numbers:
//
//     priority = W_queue · queue + W_share · share + W_age · age + W_size · size + W_job · job
//
// Each factor lies between 0 and 1,000,000; the weights are Policy.weights. docs/scheduling.md explains it to
// administrators; `jobctl show --why` prints the terms. Equal priorities: the older job first.
import JobModel

/// The factors of one job at one moment, each 0 to 1,000,000.
package struct PriorityFactors: Hashable, Codable, Sendable {
    package static let full: Int64 = 1_000_000

    /// Its queue's weight, 1,000 being full.
    package var queue: Int64
    /// How little its group, and in it its user, has used beside the others.
    package var share: Int64
    /// How long it has waited, `Policy.fullAge` being full.
    package var age: Int64
    /// How much of a worker one task takes, `Policy.fullSize` being full.
    package var size: Int64
    /// What the submitter asked for: -100 is nothing, 100 is full.
    package var job: Int64

    package init(queue: Int64, share: Int64, age: Int64, size: Int64, job: Int64) {
        self.queue = queue
        self.share = share
        self.age = age
        self.size = size
        self.job = job
    }

    package func priority(_ weights: PriorityWeights) -> Int64 {
        weights.queue * queue + weights.share * share + weights.age * age + weights.size * size + weights.job * job
    }
}

package struct PriorityWeights: Hashable, Codable, Sendable {
    package var queue: Int64 = 1000
    package var share: Int64 = 1000
    package var age: Int64 = 20
    package var size: Int64 = 10
    package var job: Int64 = 20

    package init() {}
}

extension Policy {
    /// What a task of these amounts costs in thousandths of processors: by what it takes most of.
    func cost(of amounts: Amounts) -> Int64 {
        let memory = amounts.memory / max(1, memoryPerCPU.bytes / 1000)
        let gpus = Int64(clamping: amounts.gpus).multipliedReportingOverflow(by: cpusPerGPU * 1000)
        let cost = max(amounts.cpus, memory, gpus.overflow ? .max : gpus.partialValue)
        return min(max(cost, 1), 1_000_000_000)
    }

    /// Age is counted in ticks since the beginning of uptime, a full age being a million of them: so whoever waits
    /// grows older at the same moments, and two that wait keep their distance.
    func ageTick(_ uptime: Int64) -> Int64 {
        let full = max(1, fullAge.milliseconds)
        let (ticks, rest) = (min(max(uptime, -1 << 42), 1 << 42) * PriorityFactors.full)
            .quotientAndRemainder(dividingBy: full)
        return rest < 0 ? ticks - 1 : ticks
    }

    func ageFactor(since: Int64, at uptime: Int64) -> Int64 {
        min(max(ageTick(uptime) - ageTick(since), 0), PriorityFactors.full)
    }

    func sizeFactor(_ amounts: Amounts) -> Int64 {
        let full = max(1, fullSize.thousandths)
        return min(cost(of: amounts), full) * PriorityFactors.full / full
    }

    func jobFactor(_ priority: Int) -> Int64 {
        (Int64(min(max(priority, -100), 100)) + 100) * (PriorityFactors.full / 200)
    }

    func queueFactor(_ weight: Int) -> Int64 { Int64(weight) * PriorityFactors.full / 1000 }
}

/// How a member stands to its siblings: 999 when it has used nothing, half of that when it has used exactly its share,
/// towards 0 beyond. `used`, `weight`: of the member; `total`, `weights`: of all siblings.
func shareFactor(used: Int64, weight: Int64, total: Int64, weights: Int64) -> Int64 {
    guard used > 0 else { return 999 }
    let (product, isLarge) = total.multipliedReportingOverflow(by: weight)
    let fair =
        isLarge
        ? Int64(clamping: Int128(total) * Int128(weight) / Int128(max(1, weights))) : product / max(1, weights)
    guard fair < 1 << 52, used < 1 << 62 else { return Int64(999 * Int128(fair) / (Int128(fair) + Int128(used))) }
    return 999 * fair / (fair + used)
}

/// What those have used who have work waiting or running, as it was at the beginning of a pass. Only members' own use
/// rises during a pass, so every priority only falls, and a stale one is an upper bound: Placement.swift relies on it.
/// To what was used, what the whole cluster does in a while is added: the first tasks of an empty cluster hardly count.
struct ShareTotals: Sendable {
    private struct Siblings {
        var total: Int64 = 0
        var weights: Int64 = 0
    }

    let time: Int64
    private var groups = Siblings()
    /// By the group's place among the accounts.
    private var users: [Siblings]

    init(_ cluster: borrowing Cluster, at now: Instant) {
        let (accounts, policy) = (cluster.accounts, cluster.policy)
        time = accounts.time(at: now)
        users = Array(repeating: Siblings(), count: accounts.rows.count)
        for place in accounts.rows.indices where accounts[place].isActive {
            let weight = Int64(accounts[place].settings.weight)
            switch accounts[place].id.kind {
            case .queue: continue
            case .group: Self.add(accounts.used(by: place, policy, at: time), weight, to: &groups)
            case .user:
                guard let group = accounts[place].group else { continue }
                Self.add(accounts.used(by: place, policy, at: time), weight, to: &users[group])
            }
        }
        let capacity = cluster.shapes.kinds.reduce(Int64(0)) { sum, kind in
            sum + policy.cost(of: kind.capacity) * Int64(kind.present)
        }
        let whole = FadingUse.worth(
            capacity, for: policy.shareHorizon.milliseconds, at: time, halfLife: policy.halfLife.milliseconds)
        for group in accounts.groups where accounts[group].isActive {
            let part = Int128(whole) * Int128(accounts[group].settings.weight) / Int128(max(1, groups.weights))
            Self.add(Int64(part), 0, to: &users[group])
        }
        Self.add(whole, 0, to: &groups)
    }

    private static func add(_ used: Int64, _ weight: Int64, to siblings: inout Siblings) {
        let (sum, overflowed) = siblings.total.addingReportingOverflow(used)
        siblings.total = overflowed ? .max : sum
        siblings.weights += weight
    }

    /// The share factor of a user: two thirds are its group's, one third its own among the users of the group.
    func factor(of user: Int, _ accounts: borrowing Accounts, _ policy: Policy) -> Int64 {
        guard let group = accounts.rows[user].group else { return 0 }
        return part(ofGroup: group, accounts, policy) + part(ofUser: user, accounts, policy)
    }

    func part(ofGroup group: Int, _ accounts: borrowing Accounts, _ policy: Policy) -> Int64 {
        shareFactor(
            used: accounts.used(by: group, policy, at: time), weight: Int64(accounts.rows[group].settings.weight),
            total: groups.total, weights: groups.weights) * 2000 / 3
    }

    func part(ofUser user: Int, _ accounts: borrowing Accounts, _ policy: Policy) -> Int64 {
        guard let group = accounts.rows[user].group else { return 0 }
        return shareFactor(
            used: accounts.used(by: user, policy, at: time), weight: Int64(accounts.rows[user].settings.weight),
            total: users[group].total, weights: users[group].weights) * 1000 / 3
    }
}

extension Accounts {
    /// What counts as used: what faded, what ran since it was booked, and what runs for a while longer. So a start
    /// counts at once, and a free cluster is not given to whoever comes first.
    func used(by place: Int, _ policy: Policy, at time: Int64) -> Int64 {
        let halfLife = policy.halfLife.milliseconds
        let past = rows[place].use.amount(in: time / halfLife)
        let rate = rows[place].rate
        guard rate > 0 else { return past }
        let span = time - rows[place].bookedUntil + policy.shareHorizon.milliseconds
        return past + FadingUse.worth(rate, for: span, at: time, halfLife: halfLife)
    }
}

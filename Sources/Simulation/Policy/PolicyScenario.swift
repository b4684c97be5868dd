// What policy promises, as scenarios that a seed varies: two greedy users and one that comes back from holiday; large
// jobs in a stream of small ones. Each says in a sentence what was broken.
import JobModel
import SchedulingCore

/// What a policy scenario came to.
package struct PolicyReport: Sendable {
    package var seed: UInt64
    package var hash: Digest
    package var figures: String
    /// Nil if every promise was kept.
    package var violation: String?
}

package enum PolicyScenario: String, CaseIterable, Sendable {
    case fairShare = "fair-share"
    case backfill

    package func run(seed: UInt64) -> PolicyReport {
        var dice = Dice(seed: seed)
        do {
            switch self {
            case .fairShare: return try Self.fairShare(&dice, seed)
            case .backfill: return try Self.backfill(&dice, seed)
            }
        } catch {
            return PolicyReport(seed: seed, hash: Digest(of: "violation"), figures: "", violation: "\(error)")
        }
    }

    private static let hour: Int64 = 3_600_000
    /// Thousandths of all cpu time by which a share may miss what it is entitled to.
    private static let bound: Int64 = 20

    /// Two users fill the cluster for a day and a half; the third comes back after half a day. Before, each of the two
    /// has half; from then on the third has at least a third; at the end each has a third.
    private static func fairShare(_ dice: inout Dice, _ seed: UInt64) throws -> PolicyReport {
        var policy = Policy()
        policy.halfLife = .minutes(120)
        policy.shareHorizon = .minutes(dice.roll(10...30))
        var world = try PolicyWorld(policy: policy, workers: Int(dice.roll(6...10)), cpus: 8)
        var plan: [PlannedJob] = []
        for (owner, begin) in [("ada", Int64(0)), ("ben", 0), ("cleo", 12)] {
            let jobs = dice.roll(1...5)
            for number in 0..<jobs {
                let minutes = dice.roll(5...20)
                plan.append(
                    PlannedJob(
                        owner: owner, at: begin * hour + number * 1000, cpus: dice.roll(1...2), tasks: 1_000_000,
                        duration: minutes * 60_000, timeLimit: (minutes + 5) * 60_000))
            }
        }
        try world.run(plan, until: 36 * hour, isDrained: false)
        var figures: [String] = []
        func expect(_ owner: String, _ from: Int64, _ to: Int64, _ range: ClosedRange<Int64>) throws {
            let share = world.share(of: owner, from: from, to: to)
            figures.append("\(owner) \(from)-\(to) h: \(Double(share) / 10) %")
            guard range.contains(share) else {
                throw Violation("\(owner) had \(share) thousandths of hours \(from) to \(to), not \(range)")
            }
        }
        for owner in ["ada", "ben"] { try expect(owner, 1, 12, (500 - bound)...(500 + bound)) }
        try expect("cleo", 13, 16, (333 - bound)...1000)
        for owner in ["ada", "ben", "cleo"] { try expect(owner, 26, 36, (333 - bound)...(333 + bound)) }
        return PolicyReport(seed: seed, hash: world.hash, figures: figures.joined(separator: ", "), violation: nil)
    }

    /// A day at nine tenths of what the cluster can do, in small jobs and now and then one that takes a whole worker.
    /// Some say how long they run, some do not. Promised starts are kept (PolicyWorld checks after each step), and
    /// nobody waits for longer than half a day.
    private static func backfill(_ dice: inout Dice, _ seed: UInt64) throws -> PolicyReport {
        let workers = Int(dice.roll(2...6))
        let unlimited = dice.pick([Int64(0), 0, 100, 300])
        var world = try PolicyWorld(policy: Policy(), workers: workers, cpus: 8)
        var plan: [PlannedJob] = []
        var (work, time) = (Int64(0), Int64(0))
        while time < 24 * hour {
            let isLarge = dice.chance(perMille: 60)
            let minutes = dice.roll(2...40)
            let job = PlannedJob(
                owner: dice.pick(["ada", "ben", "cleo"]), at: time, cpus: isLarge ? 8 : dice.roll(1...3),
                tasks: isLarge ? 1 : dice.roll(1...6), duration: minutes * 60_000,
                timeLimit: dice.chance(perMille: unlimited) ? nil : (minutes + dice.roll(0...30)) * 60_000)
            plan.append(job)
            work += job.cpus * job.tasks * job.duration
            time = work * 10 / (9 * Int64(workers) * 8)
        }
        try world.run(plan, until: 24 * hour, isDrained: true)
        var longest: Int64 = 0
        for (id, job) in world.jobs.sorted(by: { $0.key < $1.key }) {
            guard job.started == job.plan.tasks else { throw Violation("job \(id) never started all its tasks") }
            let wait = job.lastStart - job.plan.at
            longest = max(longest, wait)
            guard wait <= 12 * hour else { throw Violation("job \(id) waited for \(wait / 60_000) minutes") }
        }
        let figures =
            "\(world.jobs.count) jobs, \(world.promises) promises, \(world.backfilled) tasks beside a promise, "
            + "longest wait \(longest / 60_000) min"
        return PolicyReport(seed: seed, hash: world.hash, figures: figures, violation: nil)
    }
}

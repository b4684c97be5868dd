// What a seed draws before its history begins: how large the world is and how often each thing goes wrong. Each seed
// has its own mixture, so that rare combinations come up and a seed without some fault exists as well.
import JobModel
import SchedulingCore

package struct SwarmOptions: Sendable, Hashable, CustomStringConvertible {
    package var workers: Int64 = 1
    package var jobs: Int64 = 1
    /// In thousandths of all messages.
    package var loss: Int64 = 0
    package var duplication: Int64 = 0
    /// The longest delay of a message in milliseconds.
    package var delay: Int64 = 0
    /// In thousandths of all steps.
    package var schedulerCrashes: Int64 = 0
    package var schedulerPauses: Int64 = 0
    /// In thousandths of all crashes of the scheduler.
    package var powerLosses: Int64 = 0
    /// In thousandths of all steps: the disk is full, or a write or a sync fails.
    package var diskErrors: Int64 = 0
    /// In thousandths of all faults.
    package var agentCrashes: Int64 = 0
    package var agentPauses: Int64 = 0
    package var hostLosses: Int64 = 0
    package var partitions: Int64 = 0
    /// Jumps of the scheduler's wall clock, in both directions.
    package var clockJumps: Int64 = 0
    /// How far an agent's clock may be off at the end of a lease, in thousandths of what the policy allows.
    package var clockDrift: Int64 = 0
    /// In thousandths of all containers.
    package var failures: Int64 = 0
    package var engineErrors: Int64 = 0
    /// In thousandths of all acts of users.
    package var commands: Int64 = 0
    /// In thousandths of all submissions and acts of administrators; 0: no licenses, reservations and the like at all.
    package var placement: Int64 = 0
    /// In thousandths of all submissions.
    package var dependencies: Int64 = 0
    /// In thousandths of all submissions of arrays, and of all acts of users.
    package var openArrays: Int64 = 0
    /// In thousandths of all submissions.
    package var gangs: Int64 = 0
    package var pipelines: Int64 = 0
    package var deadlines: Int64 = 0

    /// All of them by name, with the least that makes sense: for printing, `--set` and shrinking.
    package static var table: [(name: String, path: WritableKeyPath<SwarmOptions, Int64>, least: Int64)] {
        [
            ("workers", \.workers, 1), ("jobs", \.jobs, 1), ("loss", \.loss, 0), ("duplication", \.duplication, 0),
            ("delay", \.delay, 0), ("scheduler-crashes", \.schedulerCrashes, 0),
            ("scheduler-pauses", \.schedulerPauses, 0), ("agent-crashes", \.agentCrashes, 0),
            ("agent-pauses", \.agentPauses, 0), ("host-losses", \.hostLosses, 0), ("partitions", \.partitions, 0),
            ("clock-jumps", \.clockJumps, 0), ("clock-drift", \.clockDrift, 0), ("failures", \.failures, 0),
            ("engine-errors", \.engineErrors, 0), ("commands", \.commands, 0), ("power-losses", \.powerLosses, 0),
            ("disk-errors", \.diskErrors, 0), ("dependencies", \.dependencies, 0), ("placement", \.placement, 0),
            ("open-arrays", \.openArrays, 0), ("gangs", \.gangs, 0), ("pipelines", \.pipelines, 0),
            ("deadlines", \.deadlines, 0),
        ]
    }

    package init(_ dice: inout Dice) {
        func some(_ dice: inout Dice, _ most: Int64) -> Int64 { dice.chance(perMille: 300) ? 0 : dice.roll(1...most) }
        workers = dice.roll(1...5)
        jobs = dice.roll(3...25)
        loss = some(&dice, 150)
        duplication = some(&dice, 100)
        delay = dice.pick([5, 200, 3_000])
        schedulerCrashes = some(&dice, 30)
        agentCrashes = some(&dice, 400)
        hostLosses = some(&dice, 120)
        partitions = some(&dice, 150)
        failures = some(&dice, 300)
        engineErrors = some(&dice, 60)
        commands = some(&dice, 400)
        schedulerPauses = some(&dice, 20)
        agentPauses = some(&dice, 200)
        clockJumps = some(&dice, 100)
        clockDrift = some(&dice, 1_000)
        // Drawn aside: a seed that is older than these keeps its history where they are 0.
        var aside = dice
        powerLosses = some(&aside, 1_000)
        diskErrors = some(&aside, 20)
        dependencies = some(&aside, 700)
        openArrays = some(&aside, 700)
    }

    package var description: String {
        Self.table.map { "\($0.name)=\(self[keyPath: $0.path])" }.joined(separator: ",")
    }

    /// What is given takes the place of what was drawn.
    package func setting(_ values: [String: Int64]) -> SwarmOptions {
        var options = self
        for (name, path, least) in Self.table {
            if let value = values[name] { options[keyPath: path] = max(least, value) }
        }
        return options
    }

    /// Reads `loss=0,jobs=3`, as ``description`` prints it.
    /// - Returns: nil if it is not that.
    package static func values(_ text: String) -> [String: Int64]? {
        var values: [String: Int64] = [:]
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2, let value = Int64(pair[1]), (0...1_000_000).contains(value),
                table.contains(where: { $0.name == pair[0] })
            else { return nil }
            values[pair[0]] = value
        }
        return values
    }

    /// Short times, so that leases end within a history.
    package static var policy: Policy {
        var policy = Policy()
        policy.syncInterval = .seconds(2)
        policy.unreachableAfter = .seconds(8)
        policy.lease = .seconds(60)
        policy.leaseMargin = .seconds(6)
        policy.clockDrift = .seconds(1)
        policy.infrastructureRetries = 4
        policy.longestRetryBackoff = .seconds(20)
        return policy
    }
}

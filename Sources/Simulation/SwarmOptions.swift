// What a seed draws before its history begins: how large the world is and how often each thing goes wrong. Each seed
// has its own mixture, so that rare combinations come up and a seed without some fault exists as well.
import JobModel
import SchedulingCore

package struct SwarmOptions: Sendable, CustomStringConvertible {
    package var workers: Int64
    package var jobs: Int64
    /// In thousandths of all messages.
    package var loss: Int64
    package var duplication: Int64
    /// The longest delay of a message in milliseconds.
    package var delay: Int64
    /// In thousandths of all steps.
    package var schedulerCrashes: Int64
    /// In thousandths of all faults.
    package var agentCrashes: Int64
    package var hostLosses: Int64
    package var partitions: Int64
    /// In thousandths of all containers.
    package var failures: Int64
    package var engineErrors: Int64
    /// In thousandths of all acts of users.
    package var commands: Int64

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
    }

    package var description: String {
        "workers \(workers), jobs \(jobs), loss \(loss), duplication \(duplication), delay \(delay), scheduler crashes \(schedulerCrashes), "
            + "agent crashes \(agentCrashes), host losses \(hostLosses), partitions \(partitions), failures \(failures), "
            + "engine errors \(engineErrors), commands \(commands)"
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

/// A fault put in on purpose: the checkers must find it.
package enum Mutant: String, Sendable, CaseIterable {
    /// Replies and orders leave before the commit, and a crash takes the commit away.
    case answersBeforeCommit = "answers-before-commit"
    /// Agents believe that their lease is five times as long as it is.
    case agentsOutliveTheirLease = "agents-outlive-their-lease"
    /// An agent calls an attempt successful that ended with another exit code.
    case falseSuccess = "false-success"
    /// A repeated submission is sent without its key.
    case retriesWithoutKey = "retries-without-key"
}

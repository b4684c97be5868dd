// Steps on a disk that fails: it is full, and the batch is refused; a write or a sync fails, and the scheduler ends. A
// commit that failed may be on disk all the same, whole or not at all: the next life shows which.
import Foundation
import JobModel
import Scheduler
import SchedulingCore

/// A commit of which nobody knows yet whether it is durable. Nothing of it was answered.
struct Doubt {
    var before: ClusterImage
    var after: ClusterImage
    var changes: [Change]
}

extension World {
    /// Whether the disk is to fail in this step.
    mutating func armDisk() -> Bool {
        let fails = !isHealing && diskDice.chance(perMille: options.diskErrors)
        let failure = fails ? diskDice.pick(SimulatedDisk.Failure.allCases) : nil
        disk.arm(failure, at: fails ? Int(diskDice.roll(1...12)) : 0)
        return fails
    }

    /// Steps. Nil if the disk failed and the scheduler's life has ended with that.
    mutating func commits(_ batch: [Mail], _ stepper: inout Stepper) throws -> StepResult? {
        let (store, sabotage, number) = (stepper.store, sabotage, steps)
        let envelopes = batch.map { sabotage.heard($0.envelope) }
        let isSplit = mutant == .commitsInHalves && !isHealing && steps % 40 == 0
        let before = armDisk() || isSplit ? stepper.cluster.image() : ClusterImage()
        var changes: [Change] = []
        defer { disk.arm(nil, at: 0) }
        do throws(StoreFailure) {
            let result = try stepper.step(
                envelopes + [.event(.timeAdvanced)],
                at: sabotage.instant(instant, wallOffset: wallOffset, since: uptimeOffset)
            ) { (commit) throws(StoreFailure) in
                changes = commit.changes
                guard var commit = sabotage.written(commit, step: number) else { return }
                if isSplit { commit.changes.removeLast(commit.changes.count / 2) }
                do throws(StoreFailure) {
                    try store.commit(commit)
                } catch {
                    guard case .storage(_) = error, sabotage.mutant == .goesOnAfterFailedSync else { throw error }
                }
                if isSplit { throw .storage("the other half is missing") }
            }
            if result.restarted { tally.count(.diskFull) }
            return result
        } catch {
            guard case .storage(_) = error, disk.hasFailed || isSplit else { throw error }
            tally.count(.diskError)
            self.stepper = stepper
            doubt = Doubt(before: before, after: stepper.cluster.image(), changes: changes)
            disk.arm(nil, at: 0)
            try crash(leaving: nil)
            return nil
        }
    }

    /// The scheduler's host is without power, and what was not synced may be gone.
    mutating func losePower(_ next: String) throws {
        tally.count(.powerLoss)
        try FileManager.default.createDirectory(atPath: next, withIntermediateDirectories: true)
        for name in databaseFiles where FileManager.default.fileExists(atPath: "\(home)/\(name)") {
            let lost = disk.copyAfterPowerLoss("\(home)/\(name)", to: "\(next)/\(name)", seed: diskDice.next())
            guard let lost else { throw Violation("the simulated disk could not be copied") }
            if lost > 0 { tally.saw(.writesLost) }
        }
    }

    /// A commit that failed is on disk whole or not at all.
    mutating func settleDoubt(_ store: Store) throws {
        guard let doubt else { return }
        let image = try store.load()
        if image == doubt.after {
            if image != doubt.before { tally.saw(.commitKept) }
            try truth.take(doubt.changes)
        } else if image == doubt.before {
            tally.saw(.commitUndone)
        } else {
            throw Violation("a commit that failed is on disk in part")
        }
        self.doubt = nil
    }
}

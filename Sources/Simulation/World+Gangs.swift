// Jobs whose members run at the same time on different workers. Drawn from dice of their own, so that a seed without
// them has the history that it always had.
import JobModel
import SchedulingCore

extension World {
    static func gangOption(_ dice: inout Dice) -> Int64 { dice.chance(perMille: 500) ? 0 : dice.roll(50...600) }

    /// Before a submission is sent for the first time. Nobody waits for it yet.
    mutating func makeGang(_ index: Int) {
        let record = submissions[index].accepted.record
        if options.workers > 1, gangDice.chance(perMille: options.gangs),
            !record.dependencies.contains(where: { $0.kind.isEach })
        {
            submissions[index].accepted.record.shape = .gang(Int(gangDice.roll(2...min(4, options.workers))))
        }
        guard submissions[index].accepted.record.shape.gangSize != nil else { return }
        submissions[index].accepted.record.rules.mostRunning = nil
        submissions[index].accepted.record.rules.open = nil
        // Together they might need more than there are.
        submissions[index].accepted.record.placement.licenses = .none
    }
}

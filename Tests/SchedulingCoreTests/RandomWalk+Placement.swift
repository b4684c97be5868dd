// The part of the walk that placement has to reckon with beside cpus, memory and GPUs: half of the seeds have it, from
// dice of their own.
import JobModel
import SchedulingCore
import TestSupport

extension RandomWalk {
    /// What a worker of such a walk offers.
    static let custom = ["fpga": Int64(2)]

    mutating func setUpPlacement() throws {
        guard reckons else { return }
        try c.license("matlab", 3)
        for (name, preempts) in [("low", []), ("high", ["low"])] {
            try c.accept(
                .accountSaved(
                    AccountRow(
                        id: .queue(QueueName(rawValue: name)!),
                        settings: AccountSettings(preempts: preempts.map { QueueName(rawValue: $0)! }))))
        }
    }

    /// Nothing, or what a job wants beside amounts.
    mutating func drawWishes() -> (custom: [String: Int64], disk: Int64, placement: PlacementRequest, queue: String) {
        guard reckons else { return ([:], 0, .standard, "default") }
        var placement = PlacementRequest.standard
        if wishes.chance(25) { placement.licenses = counts(["matlab": Int64(1 + wishes.below(3))]) }
        if wishes.chance(15) { placement.isExclusive = true }
        if wishes.chance(30) { placement.strategy = .spread }
        if wishes.chance(30) {
            placement.preferences = [Constraint(label: "stack", comparison: .equal, value: "r")]
        }
        return (
            wishes.chance(20) ? ["fpga": Int64(1 + wishes.below(2))] : [:],
            wishes.chance(20) ? Int64(30 * (1 + wishes.below(3))) : 0, placement,
            wishes.chance(60) ? wishes.pick(["low", "low", "high"]) : "default"
        )
    }

    /// There are never fewer than two workers.
    mutating func drawGang() -> Int? { reckons && wishes.chance(35) ? 2 : nil }

    mutating func administrate() throws {
        guard reckons else { return }
        let worker = WorkerName(rawValue: wishes.pick(workers))!
        let name = ReservationName(rawValue: "window-\(wishes.below(3))")!
        switch wishes.below(12) {
        case 0, 1:
            let start = c.now.wall.after(.seconds(Int64(wishes.below(90))))
            try c.accept(
                .reservationSaved(
                    AdvanceReservation(
                        name: name, start: start, end: start.after(.seconds(Int64(10 + wishes.below(120)))),
                        workers: [worker], labels: wishes.chance(30) ? ["stack": "r"] : [:],
                        users: wishes.chance(30) ? [UserName(rawValue: "ada")!] : [])))
        case 2: try c.step(.reservationRemoved(name))
        case 3:
            try c.drain(
                worker.rawValue,
                DrainOrder(reason: "disk", deadline: c.now.wall.after(.seconds(Int64(wishes.below(60))))))
        case 4: try c.resume(worker.rawValue)
        case 5: try c.license("matlab", Int64(wishes.below(4)))
        default: break
        }
    }

    mutating func healPlacement() throws {
        guard reckons else { return }
        try c.license("matlab", 3)
        for number in 0..<3 { try c.step(.reservationRemoved(ReservationName(rawValue: "window-\(number)")!)) }
    }
}

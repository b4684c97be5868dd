// What the placement of tasks has to reckon with beside cpus: custom resources, disk, licenses, who wants a worker
// alone, queues that preempt, reservations and drains with a deadline. Drawn from dice of its own, so that histories
// without it stay what they were.
import JobModel
import Scheduler
import SchedulingCore

/// What a running container holds, for the checks of the world.
struct Holding: Hashable {
    var resources: Resources
    var placement: PlacementRequest
}

extension World {
    static let fpga = ResourceName(unchecked: "fpga")
    static let matlab = ResourceName(unchecked: "matlab")
    static let low = QueueName(unchecked: "low")
    static let high = QueueName(unchecked: "high")
    static let licenseTotal: Int64 = 3

    /// How often placement has something to reckon with; drawn after the rest.
    static func placementOption(_ wishes: inout Dice) -> Int64 {
        wishes.chance(perMille: 400) ? 0 : wishes.roll(50...600)
    }

    /// What every worker of this world offers beside cpus.
    func offer(_ registration: inout WorkerRegistration) {
        guard options.placement > 0 else { return }
        registration.custom = ResourceCounts([Self.fpga: 2])
        registration.disk = ByteCount(bytes: 100)
    }

    /// An administrator sets up queues and licenses before anybody comes.
    mutating func setUpPlacement() throws {
        guard options.placement > 0, var stepper else { return }
        // The mutant sells more licenses than there are.
        let total = Self.licenseTotal + (mutant == .oversellsLicenses ? 5 : 0)
        let events: [Event] = [
            .licenseSaved(LicenseRow(name: Self.matlab, total: total)),
            .accountSaved(AccountRow(id: .queue(Self.low), settings: .standard)),
            .accountSaved(AccountRow(id: .queue(Self.high), settings: AccountSettings(preempts: [Self.low]))),
        ]
        let result = try stepper.step(events.map { .event($0) }, at: instant)
        self.stepper = stepper
        truth.wall = instant.wall
        try truth.take(result.changes)
        plan(.administratorActs, in: wishes.roll(0...20_000))
    }

    mutating func drawPlacement(_ resources: inout Resources, _ timeLimit: inout TimeSpan?) -> (
        PlacementRequest, QueueName
    ) {
        var placement = PlacementRequest.standard
        guard options.placement > 0 else { return (placement, .standard) }
        let often = options.placement
        if wishes.chance(perMille: often) { resources.custom = ResourceCounts([Self.fpga: wishes.roll(1...2)]) }
        if wishes.chance(perMille: often) { resources.disk = ByteCount(bytes: wishes.pick([10, 60, 100])) }
        if wishes.chance(perMille: often) { placement.licenses = ResourceCounts([Self.matlab: wishes.roll(1...3)]) }
        if wishes.chance(perMille: often / 3) { placement.isExclusive = true }
        if wishes.chance(perMille: often) { placement.strategy = wishes.pick([PlacementStrategy.pack, .spread]) }
        if wishes.chance(perMille: often) {
            timeLimit = wishes.pick([TimeSpan.seconds(20), .minutes(5), .minutes(60)])
        }
        let queue = wishes.chance(perMille: often) ? wishes.pick([Self.low, Self.low, Self.high]) : .standard
        return (placement, queue)
    }

    // MARK: administrators

    mutating func administratorActs() {
        guard !isHealing else { return openEverything() }
        plan(.administratorActs, in: wishes.roll(1_000...20_000))
        guard wishes.chance(perMille: options.placement) else { return }
        let worker = wishes.pick(agents).worker.name
        switch wishes.roll(0...9) {
        case 0, 1, 2: reserve(worker)
        case 3: post(.event(.reservationRemoved(reservationName())), from: .nobody)
        case 4, 5:
            let order = DrainOrder(reason: "new disk", deadline: instant.wall.after(.seconds(wishes.roll(0...40))))
            post(.event(.drainRequested(worker, order)), from: .nobody)
        default: post(.event(.resumeRequested(worker)), from: .nobody)
        }
    }

    private mutating func reservationName() -> ReservationName {
        ReservationName(unchecked: "window-\(wishes.roll(1...3))")
    }

    private mutating func reserve(_ worker: WorkerName) {
        let start = instant.wall.after(.seconds(wishes.roll(0...60)))
        let users = wishes.chance(perMille: 400) ? [UserName(unchecked: "ada")] : []
        let reservation = AdvanceReservation(
            name: reservationName(), start: start, end: start.after(.seconds(wishes.roll(5...120))),
            workers: [worker], users: users)
        if mutant == .forgetsReservations {
            truth.windows[reservation.name] = reservation
        } else {
            post(.event(.reservationSaved(reservation)), from: .nobody)
        }
    }

    private mutating func openEverything() {
        plan(.administratorActs, in: 5_000)
        guard stepper != nil else { return }
        for number in 1...3 {
            post(.event(.reservationRemoved(ReservationName(unchecked: "window-\(number)"))), from: .nobody)
        }
    }

    // MARK: checks

    /// Nothing is held twice: of this host, and of the cluster.
    func checkHoldings(on agent: Int, with id: AttemptID) throws {
        func held(_ agent: Agent) -> [Holding] {
            agent.containers.sorted { $0.key < $1.key }.filter { $0.value.exit == nil }.map(\.value.holding)
        }
        let worker = agents[agent].worker
        let here = held(agents[agent])
        let used = here.reduce(ResourceCounts.none) { $0 + $1.resources.custom }
        let disk = here.reduce(Int64(0)) { $0 + $1.resources.disk.bytes }
        guard used.fit(in: worker.registration.custom ?? .none), disk <= worker.registration.disk?.bytes ?? 0 else {
            throw Violation("\(worker.name) is to run \(used) and \(disk) bytes of disk with \(id)")
        }
        if here.count > 1, here.contains(where: \.placement.isExclusive) {
            throw Violation("\(worker.name) runs \(here.count) containers, one of which has it alone, with \(id)")
        }
        let licenses = agents.flatMap(held).reduce(ResourceCounts.none) { $0 + $1.placement.licenses }
        guard licenses[Self.matlab] <= Self.licenseTotal else {
            throw Violation("\(licenses) are in use with \(id), and the cluster has \(Self.licenseTotal)")
        }
    }
}

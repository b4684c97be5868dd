// Goal: a pass that looks at few classes starts what one that looks at all of them would. Method: seeded clusters with
// users, limits, time limits and ages; before each pass a naive search over all classes says which job goes first. And
// what of a list of classes is easily got wrong.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

/// Jobs of four users on five workers, whose tasks end one by one.
private struct BusyCluster {
    var cluster: Cluster
    var now = Instant(uptime: 1_000_000, wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000))
    var dice: SeededGenerator
    var live: [[AttemptID]]
    private var sequences: [Int64]
    private var lastJob: Int64 = 0
    /// With licenses, reservations, queues that preempt, and tasks that want a worker alone.
    let reckons: Bool
    private let offer = WorkerRegistration(
        cpus: CPUAmount(cpus: 8), memory: ByteCount(bytes: 16 << 30), gpus: ["0", "1"], labels: [:], volumes: [:],
        allowedPaths: [], engines: [], version: "")

    init(seed: UInt64) {
        dice = SeededGenerator(seed: seed)
        var policy = Policy()
        // Ages that are full after minutes, so that many are.
        policy.fullAge = .minutes(1 + Int64(dice.below(20)))
        policy.weights.age = Int64(dice.below(3)) * 400
        cluster = Cluster(policy: policy)
        reckons = seed % 2 == 0
        live = Array(repeating: [], count: 5)
        sequences = Array(repeating: 0, count: 5)
        for worker in live.indices { take(apply(call(worker, [], registration: offer))) }
        guard reckons else { return }
        take(apply(.licenseSaved(LicenseRow(name: ResourceName(rawValue: "matlab")!, total: 4))))
        for (name, preempts) in [("low", []), ("high", ["low"])] {
            let settings = AccountSettings(preempts: preempts.map { QueueName(rawValue: $0)! })
            take(apply(.accountSaved(AccountRow(id: .queue(QueueName(rawValue: name)!), settings: settings))))
        }
    }

    /// Whether anything has happened since the last pass.
    var needsPass: Bool {
        var copy = cluster
        copy.fireTimers(at: now)
        return copy.needsPlacement
    }

    private mutating func apply(_ event: Event) -> Outcome { cluster.apply(event, at: now) }

    private mutating func call(
        _ worker: Int, _ reports: [AttemptReport], registration: WorkerRegistration? = nil
    ) -> Event {
        sequences[worker] += 1
        return .workerSynced(
            WorkerName(rawValue: "w\(worker)")!,
            SyncRequest(
                incarnation: "life", sequence: sequences[worker], registration: registration, live: live[worker],
                reports: reports, wait: .minutes(10)))
    }

    mutating func happen() {
        let time = Int64(dice.below(60_000))
        now.uptime += time
        now.wall = now.wall.after(TimeSpan(milliseconds: time))
        if reckons, dice.chance(8) { close() }
        switch dice.below(10) {
        case 0..<3: submit()
        case 3: limit()
        case 4: if lastJob > 0 { take(apply(.cancelRequested(JobID(rawValue: 1 + Int64(dice.below(Int(lastJob))))))) }
        default: finish(1 + dice.below(2))
        }
    }

    /// Keeps a worker from everybody, or for one user.
    private mutating func close() {
        let start = now.wall.after(.minutes(Int64(dice.below(20))))
        let window = AdvanceReservation(
            name: ReservationName(rawValue: "window-\(dice.below(2))")!, start: start,
            end: start.after(.minutes(Int64(1 + dice.below(30)))),
            workers: [WorkerName(rawValue: "w\(dice.below(live.count))")!],
            users: dice.chance(30) ? [UserName(rawValue: "ada")!] : [])
        take(apply(.reservationSaved(window)))
    }

    private mutating func drawPlacement() -> (placement: PlacementRequest, queue: String) {
        guard reckons else { return (.standard, "default") }
        var placement = PlacementRequest.standard
        if dice.chance(25) { placement.licenses = counts(["matlab": Int64(1 + dice.below(3))]) }
        placement.isExclusive = dice.chance(10)
        return (placement, dice.pick(["default", "low", "low", "high"]))
    }

    private mutating func submit() {
        lastJob += 1
        let wish = drawPlacement()
        let record = jobRecord(
            resources: Resources(
                cpus: CPUAmount(cpus: 1 + dice.below(8)), memory: ByteCount(bytes: Int64(1 + dice.below(8)) << 30),
                gpus: dice.chance(20) ? 1 : 0),
            shape: .array(first: 1, last: Int64(1 + dice.below(6))), priority: dice.below(3) * 50 - 50,
            owner: dice.pick(["ada", "ben", "cleo", "dan"]), queue: wish.queue,
            timeLimit: dice.chance(70) ? .minutes(Int64(1 + dice.below(90))) : nil, placement: wish.placement)
        take(apply(.jobSubmitted(JobID(rawValue: lastJob), record, imageIsStored: true, hold: false)))
    }

    private mutating func limit() {
        let limits = dice.pick([
            Limits.none, Limits(running: Int64(dice.below(4))), Limits(cpus: CPUAmount(cpus: dice.below(9))),
        ])
        let user = UserName(rawValue: dice.pick(["ada", "ben", "cleo", "dan"]))!
        take(apply(.accountSaved(AccountRow(id: .user(user), settings: AccountSettings(limits: limits)))))
    }

    private mutating func finish(_ count: Int) {
        let worker = dice.below(live.count)
        for _ in 0..<count where !live[worker].isEmpty {
            let attempt = live[worker].remove(at: dice.below(live[worker].count))
            let report = AttemptReport(
                attempt: attempt, sequence: 1, state: .succeeded, reason: .exitCode, exitCode: 0)
            take(apply(call(worker, [report])))
        }
        // One that says nothing is unreachable in the end.
        if dice.chance(90) { for worker in live.indices { take(apply(call(worker, []))) } }
    }

    mutating func take(_ outcome: Outcome) {
        for case .attempt(let row) in outcome.changes where row.state == .assigned && !row.isAcknowledged {
            let worker = Int(row.worker.rawValue.dropFirst())!
            if !live[worker].contains(row.id) { live[worker].append(row.id) }
        }
        for case .attempt(let row) in outcome.changes where row.state.isTerminal {
            live[Int(row.worker.rawValue.dropFirst())!].removeAll { $0 == row.id }
        }
    }
}

extension Cluster {
    /// What starts first, by a look at every class: the first of all that finds a worker. Those before it that find
    /// none are promised a start as they would be.
    fileprivate func naiveFirst(at now: Instant) -> JobID? {
        var copy = self
        copy.fireTimers(at: now)
        copy.refreshShapes()
        // A pass that makes room is followed by another one.
        for _ in 0..<4 {
            copy.needsPlacement = false
            if let first = copy.naivePass(at: now) { return first }
            guard copy.needsPlacement else { return nil }
        }
        return nil
    }

    private mutating func naivePass(at now: Instant) -> JobID? {
        licenses.forgetClaims()
        checkClaims(at: now)
        checkReservation(at: now)
        let totals = ShareTotals(self, at: now)
        var turns: [(priority: Int64, job: JobID, place: Int)] = []
        for place in classes.rows.indices where classes.rows[place].memberCount > 0 {
            guard let id = firstRunnable(in: place), let job = jobs[id] else { continue }
            turns.append((factors(of: job, totals, at: now).priority(policy.weights), id, place))
        }
        turns.sort { ($1.priority, $0.job) < ($0.priority, $1.job) }
        for turn in turns where isWithinLimits(turn.place) {
            let requirement = shapes.rows[classes.rows[turn.place].shape].requirement
            guard licenseShortage(of: turn.place, for: turn.job) == nil else {
                licenses.claim(requirement.licenses, for: turn.job)
                continue
            }
            if bestWorker(for: turn.job, of: turn.place, at: now) != nil { return turn.job }
            if preempt(for: turn.job, of: turn.place, at: now),
                bestWorker(for: turn.job, of: turn.place, at: now) != nil
            {
                return turn.job
            }
            if reservation == nil { reserve(for: turn.job, of: turn.place, at: now) }
        }
        return nil
    }
}

@Suite struct StandingsTests {
    @Test("each pass starts first what a look at every class would start first", arguments: UInt64(1)...30)
    func first(seed: UInt64) {
        var busy = BusyCluster(seed: seed)
        var starts = 0
        for step in 0..<300 {
            busy.happen()
            // Shares and claims of licenses shift with time alone; only what happens leads to a pass.
            let isDue = !busy.reckons || busy.needsPass
            let expected = isDue ? busy.cluster.naiveFirst(at: busy.now) : nil
            let outcome = busy.cluster.schedule(at: busy.now)
            let started = outcome.changes.lazy.compactMap { change -> JobID? in
                if case .task(let row) = change, row.state == .running { row.id.job } else { nil }
            }.first
            #expect(started == expected, "seed \(seed), step \(step)")
            #expect(Invariants.check(busy.cluster) == [], "seed \(seed), step \(step)")
            guard started == expected else { return }
            starts += started == nil ? 0 : 1
            busy.take(outcome)
        }
        #expect(starts > 20)
    }

    private func standing(_ key: Int64, cpus: Int64 = 1, since: Int64 = 0) -> Standing {
        Standing(
            rank: Rank(key: key, job: JobID(rawValue: 1000 - key)), place: 0, shape: 0,
            bulk: Bulk(cpus: cpus, memory: 0, gpus: 0), since: since)
    }

    @Test("a list of classes goes on behind the last one, also when that one is gone, and knows its least and oldest")
    func walk() {
        var list = RankedClasses()
        for key in [5, 9, 1, 7] as [Int64] { list.insert(standing(key, cpus: key, since: -key)) }
        #expect(list.rows.map(\.rank.key) == [9, 7, 5, 1] && list.least.cpus == 1 && list.oldest == -9)
        let rank = standing(7).rank
        #expect(list.firstPosition(after: nil) == 0 && list.firstPosition(after: rank) == 2)
        #expect(list.remove(standing(7).rank) != nil && list.remove(standing(7).rank) == nil)
        #expect(list.rows[list.firstPosition(after: rank)].rank.key == 5)
        #expect(list.removeOlder(than: -5).map(\.rank.key) == [9])
        #expect(list.remove(standing(1).rank) != nil && list.least.cpus == 5 && list.isInOrder)
    }
}

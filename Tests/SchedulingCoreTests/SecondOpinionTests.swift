// Goal: the judges can say no. Each illegal order, broken book and illegal row change that they claim to find is shown
// to them.
import HeapModule
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

private let w1 = WorkerName(rawValue: "w1")!
private func id(_ text: String) -> AttemptID { AttemptID(text)! }

@Suite struct StrictWorldTests {
    /// Gives a world with one worker some orders in answer to its call.
    private func order(
        _ world: inout StrictWorld, start: [String] = [], stop: [String] = [], publish: [String] = [],
        forget: [String] = [],
        gpus: [String] = [], record: JobRecord = jobRecord()
    ) throws {
        guard case .workerSynced(_, let request) = world.call(w1, at: 0) else { return }
        let jobs = Array(Set(start.map { id($0).job })).sorted()
        try world.take(
            .answerSync(
                w1, incarnation: request.incarnation, sequence: request.sequence,
                SyncOrders(
                    start: start.map { StartOrder(attempt: id($0), gpus: gpus) },
                    stop: stop.map { StopOrder(attempt: id($0), reason: .cancelled) }, publish: publish.map(id),
                    forget: forget.map(id),
                    jobs: jobs.map { JobBrief(id: $0, record: record) })), at: 0)
    }

    private func world() -> StrictWorld {
        var world = StrictWorld(policy: Policy())
        world.add(w1, offer(cpus: 2))
        return world
    }

    @Test("a second start, a start too many, and a start of a task that runs already are illegal")
    func starts() throws {
        var world = world()
        try order(&world, start: ["1.1.1"])
        #expect(throws: StrictWorld.IllegalOrder.startedTwice(id("1.1.1"))) { try order(&world, start: ["1.1.1"]) }
        #expect(throws: StrictWorld.IllegalOrder.taskRunsTwice(id("1.1.2"), and: id("1.1.1"))) {
            try order(&world, start: ["1.1.2"])
        }
        try order(&world, start: ["2.1.1"])
        #expect(throws: StrictWorld.IllegalOrder.overCapacity(id("3.1.1"), what: "cpus")) {
            try order(&world, start: ["3.1.1"])
        }
        #expect(throws: StrictWorld.IllegalOrder.ordersOutOfOrder(w1)) { try order(&world, start: ["5.1.1", "4.1.1"]) }
    }

    @Test("a start without the right GPU, label or volume is illegal")
    func places() throws {
        var world = world()
        let gpu = jobRecord(resources: Resources(cpus: CPUAmount(cpus: 1), memory: ByteCount(bytes: 1), gpus: 1))
        #expect(throws: StrictWorld.IllegalOrder.wrongGPUs(id("1.1.1"), ["7"])) {
            try order(&world, start: ["1.1.1"], gpus: ["7"], record: gpu)
        }
        let constraint = Constraint(label: "stack", comparison: .equal, value: "r")
        #expect(throws: StrictWorld.IllegalOrder.constraintBroken(id("2.1.1"), constraint)) {
            try order(&world, start: ["2.1.1"], record: jobRecord(constraints: [constraint]))
        }
        #expect(throws: StrictWorld.IllegalOrder.volumeMissing(id("3.1.1"), "absent")) {
            try order(&world, start: ["3.1.1"], record: jobRecord(slots: ["absent": .ro]))
        }
    }

    @Test("stop, publish and forget need an attempt in the right state")
    func others() throws {
        var world = world()
        #expect(throws: StrictWorld.IllegalOrder.stopOfUnknown(id("1.1.1"))) { try order(&world, stop: ["1.1.1"]) }
        #expect(throws: StrictWorld.IllegalOrder.forgetOfUnknown(id("1.1.1"))) { try order(&world, forget: ["1.1.1"]) }
        #expect(throws: StrictWorld.IllegalOrder.publishOfUnknown(id("1.1.1"))) {
            try order(&world, publish: ["1.1.1"])
        }
        try order(&world, start: ["1.1.1"], record: jobRecord(slots: ["out": .out]))
        #expect(throws: StrictWorld.IllegalOrder.publishWithoutProof(id("1.1.1"))) {
            try order(&world, publish: ["1.1.1"])
        }
        #expect(throws: StrictWorld.IllegalOrder.forgetOfLive(id("1.1.1"))) { try order(&world, forget: ["1.1.1"]) }
        world.progress(id("1.1.1"), on: w1, to: .failed, reason: .exitCode, exitCode: 1)
        try order(&world)
        #expect(throws: StrictWorld.IllegalOrder.stopOfEnded(id("1.1.1"))) { try order(&world, stop: ["1.1.1"]) }
        try order(&world, forget: ["1.1.1"])
        #expect(throws: StrictWorld.IllegalOrder.startOfEnded(id("1.1.1"))) { try order(&world, start: ["1.1.1"]) }
    }

    @Test("an answer to a call that was never made, and the drop of the newest call, are illegal")
    func answers() throws {
        var world = world()
        _ = world.call(w1, at: 0)
        #expect(throws: StrictWorld.IllegalOrder.answerToNoCall(w1, sequence: 9)) {
            try world.take(.answerSync(w1, incarnation: "life-1", sequence: 9, SyncOrders()), at: 0)
        }
        #expect(throws: StrictWorld.IllegalOrder.dropOfNoCall(w1, sequence: 1)) {
            try world.take(.dropSync(w1, incarnation: "life-1", sequence: 1), at: 0)
        }
    }
}

@Suite struct InvariantsTests {
    /// A busy cluster with all books in order.
    private func busy() throws -> Cluster {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 3, gpus: ["0", "1"])
        try c.submit(tasks: 6, retries: 1)
        try c.submit(gpus: 1)
        try c.submit(image: "python", imageIsStored: false)
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        #expect(Invariants.check(c.cluster) == [])
        return c.cluster
    }

    enum Harm: CaseIterable {
        case counts, unstarted, state, queue, timer, used, attempt, acceptance, stop, current, totals, jobTotals, image,
            members
        case eligible, blocked, leftover, rooms, account, group, promise, summary, standing, loose, openKinds

        func harm(_ c: inout Cluster) {
            let job = JobID(rawValue: 1)
            let running = id("1.2.1")
            switch self {
            case .counts: c.jobs[job]?.progress.counts.pending += 1
            case .unstarted: c.jobs[job]?.progress.unstarted = []
            case .state: c.jobs[job]?.progress.state = .held
            case .queue: c.jobs[job]?.isQueued.toggle()
            case .timer: c.timers = []
            case .used: _ = c.workers[0].reserve(Amounts(cpus: 1, memory: 0, gpus: 0), until: .max)
            case .attempt: c.workers[0].attempts.remove(running)
            case .acceptance: c.workers[0].attempts[running]?.row.isAccepted = true
            case .stop: c.workers[0].attempts[running]?.row.stopReason = .cancelled
            case .current: c.jobs[job]?.tasks[2]?.row.attempts += 1
            case .totals: c.totals.tasks.running += 1
            case .jobTotals: c.totals.jobs[0] += 1
            case .image: c.images = Table()
            case .members: c.shapes.rows[0].memberCount += 1
            case .eligible: c.shapes.rows[0].fits = [false]
            case .blocked: c.workers[0].giveBack(c.workers[0].attempts.remove(running)!)
            case .leftover: c.dirtyJobs.append(job)
            case .rooms: _ = c.rooms.update(0, Amounts(cpus: 1000, memory: 0, gpus: 0), isOpen: true)
            case .account: c.accounts[c.classes.rows[0].user].running += 1
            case .group: c.accounts[c.accounts[c.classes.rows[0].user].group!].rate += 1
            case .promise: c.reservation = Reservation(job: JobID(rawValue: 1), place: 0, slot: 0, start: 0, madeAt: 0)
            case .summary: c.classes.summaries[0].since += 1
            case .standing: c.standings[c.classes.rows[0].user] = UserStandings()
            case .loose: c.standings[c.classes.rows[0].user].looseCount += 1
            case .openKinds: c.shapes.rows[0].openKinds += 1
            }
        }
    }

    @Test("each book that disagrees is found", arguments: Harm.allCases)
    func broken(harm: Harm) throws {
        var cluster = try busy()
        harm.harm(&cluster)
        #expect(!Invariants.check(cluster).isEmpty)
    }
}

@Suite struct RowsTests {
    @Test("rows refuse a change of what ended, and an attempt that is not the newest")
    func illegalChanges() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.submit()
        try c.sync("w1")
        try c.exit("1.1.1")
        var rows = c.rows
        let row = c.attempt("1.1.1")
        #expect(throws: ClusterRows.IllegalChange.self) { try rows.write(.attempt(row)) }
        #expect(throws: ClusterRows.IllegalChange.self) { try rows.write(.task(c.task("1.1"))) }
        #expect(throws: ClusterRows.IllegalChange.self) {
            try rows.write(.job(JobID(rawValue: 1), c.progress(JobID(rawValue: 1))))
        }
        #expect(throws: ClusterRows.IllegalChange.self) { try rows.write(.worker(c.rows.workers[w1]!)) }
    }
}

@Suite struct TableTests {
    @Test("a table walks in order of its ids after any insertions and removals", arguments: UInt64(1)...5)
    func order(seed: UInt64) {
        var dice = SeededGenerator(seed: seed)
        var table = Table<Int64, String>()
        var reference: [Int64: String] = [:]
        for _ in 0..<3000 {
            let id = Int64(dice.below(200))
            if reference[id] == nil {
                table.insert("\(id)", for: id)
                reference[id] = "\(id)"
            } else if dice.chance(60) {
                #expect(table.remove(id) == reference.removeValue(forKey: id))
            } else {
                table[id]?.append("x")
                reference[id]?.append("x")
            }
        }
        #expect(table.ids == reference.keys.sorted())
        #expect(table.count == reference.count)
        for id in Int64(0)..<200 { #expect(table[id] == reference[id]) }
        #expect(table.remove(999) == nil)
    }
}

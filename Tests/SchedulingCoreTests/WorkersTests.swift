// Goal: the worker protocol: lives, sequences, inventories, parked calls. Method: raw messages where the agent
// misbehaves (Wire), the strict world where it behaves.
import JobModel
import SchedulingCore
import TestSupport
import Testing

private let w1 = WorkerName(rawValue: "w1")!

@Suite struct WorkerProtocolTests {
    @Test("another version of the protocol is refused")
    func version() throws {
        var wire = Wire()
        let request = SyncRequest(
            version: 2, incarnation: "a", sequence: 1, registration: offer(), live: [], reports: [], wait: .zero)
        #expect(try wire.step(.workerSynced(w1, request)) == .refused(.unsupportedProtocol(2)))
        #expect(wire.rows.workers.isEmpty && wire.effects.isEmpty)
    }

    @Test("a call that is not newer than the last is refused", arguments: [Int64(1), 2])
    func staleSequence(sequence: Int64) throws {
        var wire = Wire()
        try wire.call(2, registration: offer())
        #expect(throws: Refusal.staleSequence(w1, sequence: sequence, latest: 2)) { try wire.call(sequence) }
        try wire.call(3)
    }

    @Test("a new life replaces the old one, whose calls are refused from then on")
    func incarnations() throws {
        var wire = Wire()
        try wire.call(5, life: "a", registration: offer())
        try wire.call(1, life: "b", registration: offer())
        #expect(throws: Refusal.supersededIncarnation(w1)) { try wire.call(6, life: "a") }
        try wire.call(2, life: "b")
    }

    @Test("a new life shows that it lives before anything of it is taken; a late call of an older one cannot")
    func proof() throws {
        var wire = Wire()
        try wire.call(1, life: "a", registration: offer(), proof: "")
        try wire.submit(1)
        #expect(try wire.call(2, life: "a", proof: "")?.start.count == 1)
        try wire.call(3, life: "a", live: ["1.1.1"], wait: .seconds(10), proof: "")
        // The scheduler knows no lives any more.
        wire.restart()
        let challenge = try #require(try wire.call(1, life: "c", registration: offer(), proof: "")?.challenge)
        #expect(!challenge.isEmpty && wire.attempt("1.1.1").state == .assigned)
        #expect(try wire.call(1, life: "c", registration: offer(), proof: "")?.challenge == challenge)
        try wire.call(2, life: "c", registration: offer(), live: ["1.1.1"], wait: .seconds(10), proof: challenge)
        // Calls of "b", which lived between the two, and was challenged or not.
        for proof in ["", challenge, "x"] {
            let orders = try #require(
                try wire.call(7, life: "b", registration: offer(), live: ["9.9.9"], proof: proof))
            #expect(orders.challenge != nil && orders.challenge != challenge)
            #expect(orders.stop.isEmpty && orders.forget.isEmpty && orders.start.isEmpty)
        }
        #expect(wire.attempt("1.1.1").state == .assigned)
        try wire.call(3, life: "c", live: ["1.1.1"], reports: [report("1.1.1", 1, .running)], proof: challenge)
        #expect(wire.attempt("1.1.1").state == .running)
    }

    @Test("of two lives that were challenged, only the one that was challenged last is taken")
    func laterProof() throws {
        var wire = Wire()
        try wire.call(1, life: "a", registration: offer(), proof: "")
        let first = try #require(try wire.call(1, life: "b", registration: offer(), proof: "")?.challenge)
        wire.now = Instant(uptime: wire.now.uptime + 1, wall: wire.now.wall)
        let second = try #require(try wire.call(1, life: "c", registration: offer(), proof: "")?.challenge)
        #expect(first != second)
        #expect(try wire.call(2, life: "c", registration: offer(), wait: .seconds(10), proof: second) == nil)
        #expect(try wire.call(2, life: "b", registration: offer(), proof: first)?.challenge != nil)
        #expect(throws: Refusal.supersededIncarnation(w1)) { try wire.call(9, life: "a", proof: "") }
    }

    @Test(
        "a worker that nobody knows is asked for its registration; what it has is left alone and its ended attempts may go"
    )
    func unknownWorker() throws {
        var wire = Wire()
        let orders = try #require(
            try wire.call(1, live: ["7.1.1", "8.1.1"], reports: [report("8.1.1", 1, .failed, .exitCode, exitCode: 1)]))
        #expect(orders == SyncOrders(forget: [AttemptID("8.1.1")!], registrationWanted: true))
        #expect(wire.rows.workers.isEmpty)
    }

    @Test("a new life without registration is asked for it and gets no work before")
    func unregisteredLife() throws {
        var wire = Wire()
        try wire.call(1, registration: offer())
        let orders = try #require(try wire.call(1, life: "b", wait: .seconds(10)))
        #expect(orders.registrationWanted)
        try wire.submit(1)
        #expect(wire.rows.attempts.isEmpty)
        let next = try #require(try wire.call(2, life: "b", registration: offer()))
        #expect(next.start.count == 1 && !next.registrationWanted)
    }

    @Test("a registration is written only when it differs")
    func registrationRows() throws {
        var wire = Wire()
        try wire.call(1, registration: offer())
        #expect(wire.rows.workers[w1]?.registration == offer())
        try wire.call(2, registration: offer())
        try wire.call(3, registration: offer(cpus: 2))
        #expect(wire.rows.workers[w1]?.registration.cpus == CPUAmount(cpus: 2))
    }

    // MARK: inventory

    @Test("a start is repeated until it is in the inventory, with its job's record")
    func startRepeated() throws {
        var wire = Wire()
        try wire.submit(1)
        let first = try #require(try wire.call(1, registration: offer()))
        #expect(first.start == [StartOrder(attempt: AttemptID("1.1.1")!, gpus: [])])
        #expect(first.jobs.map(\.id.rawValue) == [1])
        let second = try #require(try wire.call(2, wait: .seconds(10)))
        #expect(second.start == first.start)
        let third = try wire.call(3, live: ["1.1.1"], wait: .seconds(10))
        #expect(third == nil)
        #expect(wire.attempt("1.1.1").isAcknowledged)
    }

    @Test("an acknowledged attempt that is missing without a report was lost, and its task is tried again")
    func missing() throws {
        var wire = try Wire.running()
        try wire.call(3, live: [])
        #expect(wire.attempt("1.1.1").state == .lost)
        #expect(wire.attempt("1.1.1").reason == .workerLost)
        #expect(wire.task("1.1").infrastructureFailures == 1)
        try wire.advance(.seconds(2))
        #expect(try wire.call(4)?.start.map(\.attempt.description) == ["1.1.2"])
    }

    @Test("an attempt that ended is reported and missing in the same call: the report counts")
    func reportedAndMissing() throws {
        var wire = try Wire.running()
        try wire.call(3, live: [], reports: [report("1.1.1", 1, .succeeded, .exitCode, exitCode: 0)])
        #expect(wire.attempt("1.1.1").state == .succeeded)
    }

    @Test("what the worker has and nobody wants is stopped once, and forgotten when it reports its end")
    func strangers() throws {
        var wire = Wire()
        try wire.call(1, registration: offer())
        let stop = try #require(try wire.call(2, live: ["9.1.1"], wait: .seconds(10)))
        #expect(stop.stop == [StopOrder(attempt: AttemptID("9.1.1")!, reason: .cancelled)])
        #expect(try wire.call(3, live: ["9.1.1"], wait: .seconds(10)) == nil)
        let end = report("9.1.1", 3, .cancelled, .cancelled)
        #expect(
            try wire.call(4, live: ["9.1.1"], reports: [end], wait: .seconds(10))
                == SyncOrders(forget: [AttemptID("9.1.1")!]))
        #expect(try wire.call(5, wait: .seconds(10)) == nil)
    }

    @Test("a worker that still runs what was given up gets nothing new until that is gone")
    func strangersHoldRoom() throws {
        var wire = Wire()
        try wire.call(1, registration: offer(), live: ["9.1.1"])
        try wire.submit(1)
        #expect(try #require(try wire.call(2, live: ["9.1.1"])).start.isEmpty)
        let end = report("9.1.1", 3, .cancelled, .cancelled)
        let orders = try #require(try wire.call(3, live: ["9.1.1"], reports: [end]))
        #expect(orders.forget.map(\.description) == ["9.1.1"])
        #expect(orders.start.map(\.attempt.description) == ["1.1.1"])
    }

    @Test("a terminal report is answered at once with its forget, and again when the answer was lost")
    func forgetAgain() throws {
        var wire = try Wire.running()
        let end = report("1.1.1", 1, .failed, .exitCode, exitCode: 1)
        for sequence in Int64(3)...5 {
            let orders = try #require(try wire.call(sequence, live: ["1.1.1"], reports: [end], wait: .seconds(30)))
            #expect(orders.forget.map(\.description) == ["1.1.1"])
            #expect(orders.stop.isEmpty)
        }
        #expect(wire.task("1.1").programFailures == 1)
    }

    @Test("an ended attempt that stays in the inventory is never ordered to stop")
    func endedIsNotStopped() throws {
        var wire = try Wire.running()
        try wire.call(3, live: ["1.1.1"], reports: [report("1.1.1", 1, .failed, .exitCode, exitCode: 1)])
        let orders = try #require(try wire.call(4, live: ["1.1.1"]))
        #expect(orders.forget.count == 1 && orders.stop.isEmpty)
    }

    @Test("an attempt that came back after it was given up is stopped, and its late success changes nothing")
    func zombieOfInventory() throws {
        var wire = try Wire.running()
        try wire.call(3, live: [])
        let before = wire.attempt("1.1.1")
        let orders = try #require(try wire.call(4, live: ["1.1.1"]))
        #expect(orders.stop.map(\.attempt.description) == ["1.1.1"])
        try wire.call(5, live: ["1.1.1"], reports: [report("1.1.1", 1, .succeeded, .exitCode, exitCode: 0)])
        #expect(wire.attempt("1.1.1") == before)
        #expect(wire.task("1.1").state != .succeeded)
    }

    @Test("an inventory that names an attempt twice is read once")
    func twiceInInventory() throws {
        var wire = try Wire.running()
        let orders = try #require(try wire.call(3, live: ["1.1.1", "9.1.1", "1.1.1", "9.1.1"]))
        #expect(orders.stop.count == 1)
    }

    @Test("one answer starts at most as many as the policy says; the next goes on")
    func startsPerAnswer() throws {
        var policy = Policy()
        policy.startsPerAnswer = 2
        var wire = Wire(policy: policy)
        try wire.submit(1, jobRecord(shape: .array(first: 1, last: 3)))
        let first = try #require(try wire.call(1, registration: offer()))
        #expect(first.start.map(\.attempt.description) == ["1.1.1", "1.2.1"])
        #expect(try wire.call(2, live: ["1.1.1", "1.2.1"])?.start.map(\.attempt.description) == ["1.3.1"])
    }

    // MARK: capacity

    @Test("a worker that shrinks keeps what runs, gets nothing new, and gives back what had not started")
    func shrink() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        try c.submit(tasks: 2)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        let late = try c.submit()
        #expect(c.attempt("2.1.1").worker == w1)
        c.world.change(w1) { $0.cpus = CPUAmount(cpus: 1) }
        try c.sync("w1")
        #expect(c.attempt("2.1.1").reason == .preempted)
        #expect(c.progress(late).counts.pending == 1)
        #expect(c.view("w1").free.cpus == CPUAmount(cpus: 0))
        try c.exit("1.1.1")
        #expect(c.progress(late).counts.pending == 1)
        try c.exit("1.2.1")
        #expect(c.progress(late).counts.running == 1)
        #expect(c.task("2.1").infrastructureFailures == 0)
    }

    @Test("a GPU that disappears while it is held is not handed out again; a new one is")
    func gpusChange() throws {
        var c = ClusterFixture()
        try c.worker("w1", gpus: ["0", "1"])
        try c.submit(gpus: 1)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        c.world.change(w1) { $0.gpus = ["1", "5"] }
        try c.sync("w1")
        #expect(c.view("w1").free.gpus == ["1", "5"])
        try c.exit("1.1.1")
        #expect(c.view("w1").free.gpus == ["1", "5"])
        try c.submit(gpus: 2)
        #expect(c.attempt("2.1.1").gpus == ["1", "5"])
    }

    // MARK: drain

    @Test("a draining worker ends what runs, starts nothing, is drained when empty, and works again after a resume")
    func drain() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        let job = try c.submit(tasks: 2)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.drain("w1")
        try c.drain("w1")
        #expect(c.view("w1").state == .draining)
        #expect(c.rows.workers[w1]?.isDraining == true)
        try c.exit("1.1.1")
        #expect(c.view("w1").state == .drained)
        #expect(c.running(on: "w1").isEmpty)
        #expect(c.state(job) == .running)
        try c.resume("w1")
        #expect(c.view("w1").state == .ready)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.2.1"])
    }

    @Test("a drain takes back what was not sent, and what was sent and not taken", arguments: [false, true])
    func drainRetracts(wasSent: Bool) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.submit()
        if wasSent {
            c.deaf = [w1]
            try c.sync("w1")
            c.deaf = []
        }
        try c.drain("w1")
        try c.sync("w1")
        #expect(c.running(on: "w1").isEmpty)
        #expect(c.attempt("1.1.1").reason == .preempted)
        try c.worker("w2")
        try c.sync("w2")
        #expect(c.running(on: "w2") == ["1.1.2"])
    }

    // MARK: parked calls

    @Test("a call with nothing to say is parked until its wait is over")
    func parked() throws {
        var wire = Wire()
        try wire.call(1, registration: offer())
        #expect(try wire.call(2, wait: .seconds(8)) == nil)
        try wire.advance(TimeSpan(milliseconds: 7_999))
        #expect(wire.answer() == nil)
        try wire.advance(TimeSpan(milliseconds: 1))
        #expect(wire.answer() == SyncOrders())
        try wire.advance(.seconds(8))
        #expect(wire.effects.isEmpty)
    }

    @Test(
        "a wait is capped at three intervals, and a negative one is none",
        arguments: [
            (TimeSpan.minutes(60), Int64(30_000)), (.seconds(-5), 0),
        ])
    func waitIsCapped(wait: TimeSpan, cap: Int64) throws {
        var wire = Wire()
        try wire.call(1, registration: offer())
        let direct = try wire.call(2, wait: wait)
        #expect((direct != nil) == (cap == 0))
        guard cap > 0 else { return }
        try wire.advance(TimeSpan(milliseconds: cap - 1))
        #expect(wire.answer() == nil)
        try wire.advance(TimeSpan(milliseconds: 1))
        #expect(wire.answer() != nil)
    }

    @Test("a parked call is answered as soon as there is work for it, and only the right worker's")
    func answeredWithWork() throws {
        var wire = Wire()
        try wire.call(1, registration: offer())
        try wire.call(1, on: "w2", registration: offer(cpus: 1))
        try wire.call(2, wait: .seconds(10))
        try wire.call(2, on: "w2", wait: .seconds(10))
        try wire.submit(1)
        #expect(wire.answer(to: "w2")?.start.count == 1)
        #expect(wire.answer(to: "w1") == nil)
    }

    @Test("a parked call is answered as soon as a stop is ordered")
    func answeredWithStop() throws {
        var wire = try Wire.running()
        try wire.call(3, live: ["1.1.1"], wait: .seconds(10))
        try wire.step(.cancelRequested(JobID(rawValue: 1)))
        #expect(wire.answer()?.stop.map(\.attempt.description) == ["1.1.1"])
        #expect(try wire.call(4, live: ["1.1.1"], wait: .seconds(10)) == nil)
    }

    @Test("a newer call or a newer life drops the parked one", arguments: ["a", "b"])
    func dropped(life: String) throws {
        var wire = Wire()
        try wire.call(1, registration: offer())
        try wire.call(2, wait: .seconds(10))
        try wire.call(3, life: life, registration: offer(), wait: .seconds(10))
        #expect(wire.effects.first == .dropSync(w1, incarnation: "a", sequence: 2))
    }

    @Test("the effects of one batch answer a call once, whatever happened in the batch")
    func oneAnswer() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let first = c.world.call(w1, wait: .seconds(10), at: c.now.uptime)
        let record = jobRecord()
        try c.step([
            first, .jobSubmitted(JobID(rawValue: 1), record, imageIsStored: true, hold: false),
            .jobSubmitted(JobID(rawValue: 2), record, imageIsStored: true, hold: false), .timeAdvanced,
        ])
        #expect(c.effects.count == 1)
        #expect(c.running(on: "w1") == ["1.1.1", "2.1.1"])
    }

    @Test("views show what is free, what lives, and when it was seen last")
    func views() throws {
        var c = ClusterFixture()
        try c.worker("w2", cpus: 2)
        try c.worker("w1", cpus: 3)
        try c.submit(cpus: 2)
        let views = c.cluster.workerViews()
        #expect(views.map(\.name.rawValue) == ["w1", "w2"])
        #expect(views[1].live.map(\.description) == ["1.1.1"])
        #expect(views[1].free.cpus == CPUAmount(cpus: 0))
        #expect(views[0].state == .ready && views[0].lastSeen == c.now.wall)
    }
}

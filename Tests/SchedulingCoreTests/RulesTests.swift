// Goal: a job starts not before its time and ends by its deadline, runs no more tasks at a time than it may, tries
// again what it may, and begins anew what its user takes back. Method: short histories in ClusterFixture, which checks
// all books at each step.
import JobModel
import SchedulingCore
import TestSupport
import Testing

@Suite struct RulesTests {
    private func rules(_ set: (inout RunRules) -> Void) -> RunRules {
        var rules = RunRules()
        set(&rules)
        return rules
    }

    @Test("nothing starts before the time, also after a restart, and it starts when the time has come")
    func startAfter() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let start = c.now.wall.after(.minutes(5))
        let job = try c.submit(rules: rules { $0.startAfter = start })
        #expect(c.state(job) == .waiting && c.reason(job) == "start_after: waits until \(start)")
        #expect(c.cluster.why(job, at: c.now)?.sentence.contains("\(start)") == true)
        try c.advance(.minutes(3), calling: ["w1"])
        try c.restartScheduler()
        try c.sync("w1")
        try c.advance(.minutes(1), calling: ["w1"])
        #expect(c.running(on: "w1").isEmpty && c.state(job) == .waiting)
        try c.advance(.minutes(1), calling: ["w1"])
        #expect(c.running(on: "w1") == ["1.1.1"])
    }

    @Test("a clock that jumps to the time is noticed within a minute; one that jumps back puts it off")
    func clockJumps() throws {
        var cluster = Cluster(policy: Policy())
        let begin = Timestamp(millisecondsSinceEpoch: 1_764_000_000_000)
        var record = jobRecord()
        record.rules.startAfter = begin.after(.minutes(60))
        let id = JobID(rawValue: 1)
        _ = cluster.apply(
            .jobSubmitted(id, record, imageIsStored: true, hold: false), at: Instant(uptime: 0, wall: begin))
        func state(_ uptime: Int64, _ wall: Timestamp) -> JobState? {
            _ = cluster.schedule(at: Instant(uptime: uptime, wall: wall))
            return cluster.image().jobs.first?.progress.state
        }
        #expect(cluster.nextDeadline.map { $0 <= 60_000 } == true)
        #expect(state(60_000, begin) == .waiting && cluster.explain(id)?.reason?.hasPrefix("start_after") == true)
        _ = state(120_000, begin.after(.minutes(61)))
        #expect(cluster.explain(id)?.reason?.hasPrefix("start_after") != true)
    }

    @Test("what has not ended at the deadline is cancelled with a sentence, running or not, held or not")
    func deadline() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        let end = c.now.wall.after(.minutes(5))
        let running = try c.submit(rules: rules { $0.deadline = end })
        let held = try c.submit(hold: true, rules: rules { $0.deadline = end })
        let early = try c.submit(rules: rules { $0.deadline = end.after(.minutes(5)) })
        try c.sync("w1")
        try c.advance(.minutes(4), calling: ["w1"])
        #expect(c.state(running) == .running && c.state(held) == .held)
        try c.advance(.minutes(1), calling: ["w1"])
        #expect(c.state(held) == .cancelled && c.reason(held) == "deadline: it had not ended by \(end)")
        #expect(c.progress(running).cancelRequested)
        try c.report("1.1.1", .cancelled, reason: .cancelled)
        #expect(c.state(running) == .cancelled && c.reason(running) == "deadline: it had not ended by \(end)")
        try c.sync("w1")
        try c.exit("3.1.1")
        #expect(c.state(early) == .succeeded)
        try c.advance(.minutes(10), calling: ["w1"])
    }

    @Test("a task that could not end by the deadline does not start; what runs by then goes on")
    func lastStart() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        let job = try c.submit(
            tasks: 3, timeLimit: .minutes(4), rules: rules { $0.deadline = c.now.wall.after(.minutes(5)) })
        try c.sync("w1")
        try c.advance(.minutes(1), calling: ["w1"])
        #expect(c.progress(job).counts.cancelled == 2 && c.running(on: "w1") == ["1.1.1"])
        try c.exit("1.1.1")
        #expect(c.state(job) == .cancelled && c.reason(job)?.hasPrefix("deadline: tasks were cancelled") == true)
    }

    @Test(
        "what fails too late to begin anew by the deadline has ended, and nothing is begun that could not end by it")
    func tooLateToBeginAnew() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 3)
        let deadline = c.now.wall.after(.minutes(5))
        let job = try c.submit(tasks: 2, retries: 3, timeLimit: .minutes(4), rules: rules { $0.deadline = deadline })
        let open = try c.submit(
            tasks: 1, timeLimit: .minutes(4),
            rules: rules {
                $0.deadline = deadline
                $0.open = true
            })
        try c.sync("w1")
        try c.advance(.minutes(1), calling: ["w1"])
        #expect(c.running(on: "w1") == ["1.1.1", "1.2.1", "2.1.1"])
        try c.step(.requeueRequested(job, task: 2))
        #expect(c.replies == [.refused(.tooLateToBeginAnew(job))])
        try c.exit("1.1.1", 1)
        #expect(c.task("1.1").state == .failed)
        try c.report("1.2.1", .failed, reason: .engineError)
        #expect(c.task("1.2").state == .cancelled && c.state(job) == .failed)
        try c.step(.extendRequested(open, .tasks(1)))
        #expect(c.replies == [.refused(.cannotGrow(open, .tooLate))])
        try c.restartScheduler()
    }

    @Test("a gang that breaks too late to begin anew by the deadline has ended")
    func gangTooLate() throws {
        var c = ClusterFixture()
        for worker in ["w1", "w2"] { try c.worker(worker, cpus: 1) }
        let job = try c.submit(
            retries: 3, timeLimit: .minutes(4), rules: rules { $0.deadline = c.now.wall.after(.minutes(5)) }, gang: 2)
        for worker in ["w1", "w2"] { try c.sync(worker) }
        try c.advance(.minutes(1), calling: ["w1", "w2"])
        try c.exit("1.1.1", 1)
        try c.report("1.2.1", .cancelled, reason: .preempted)
        #expect(c.state(job) == .failed && c.progress(job).counts.cancelled == 1)
    }

    @Test("no more tasks run at a time than may, and each end lets the next start, also after a restart")
    func mostRunning() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8)
        let job = try c.submit(tasks: 5, retries: 1, rules: rules { $0.mostRunning = 2 })
        let other = try c.submit()
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.1", "1.2.1", "2.1.1"])
        #expect(c.cluster.why(job, at: c.now)?.sentence.contains("2 tasks at a time") == true)
        try c.exit("1.1.1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.2.1", "1.3.1", "2.1.1"])
        try c.restartScheduler()
        try c.exit("1.3.1", 1)
        try c.sync("w1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.2.1", "1.4.1", "2.1.1"])
        for id in ["1.2.1", "1.4.1", "2.1.1"] { try c.exit(id) }
        try c.advance(.seconds(5), calling: ["w1"])
        for id in c.running(on: "w1") { try c.exit(id) }
        #expect(c.state(job) == .succeeded && c.state(other) == .succeeded)
    }

    @Test(
        "failures are tried again by their exit code",
        arguments: [(75, true), (2, false), (9, false)] as [(Int, Bool)])
    func retryOn(code: Int, isTriedAgain: Bool) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(
            retries: 3,
            rules: rules {
                $0.retryOn = [75]
                $0.retryNotOn = [2]
            })
        try c.sync("w1")
        try c.exit("1.1.1", code)
        #expect(c.state(job) == (isTriedAgain ? .running : .failed))
    }

    @Test("without a list every failure of the program is tried again but those that are named")
    func retryNotOn() {
        let rules = rules { $0.retryNotOn = [2] }
        #expect(rules.mayRetry(exitCode: 1) && rules.mayRetry(exitCode: nil) && !rules.mayRetry(exitCode: 2))
        #expect(!self.rules { $0.retryOn = [75] }.mayRetry(exitCode: nil))
    }

    @Test("what is taken back ends as preempted, runs again without using a retry, and is refused where nothing runs")
    func requeue() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        let job = try c.submit(tasks: 3)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.accept(.requeueRequested(job, task: 1))
        try c.restartScheduler()
        try c.sync("w1")
        try c.report("1.1.1", .cancelled, reason: .preempted)
        #expect(c.attempt("1.1.1").reason == .preempted && c.task("1.1").programFailures == 0)
        try c.sync("w1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.2", "1.2.1"])
        try c.step(.requeueRequested(job, task: 3))
        #expect(c.replies == [.refused(.nothingRuns(job, task: 3))])
        try c.accept(.requeueRequested(job, task: nil))
        try c.cancel(job)
        for id in ["1.1.2", "1.2.1"] { try c.report(id, .cancelled, reason: .preempted) }
        #expect(c.state(job) == .cancelled)
    }
}

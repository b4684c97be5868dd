// Goal: a job starts when, and only when, what it waits for has ended as it wishes; what can never start is cancelled
// and says why. Method: short histories in ClusterFixture, which checks all books, and memory against rows, each time.
import JobModel
import SchedulingCore
import TestSupport
import Testing

private func after(_ job: JobID, _ kind: DependencyKind) -> Dependency { Dependency(job: job, kind: kind) }

@Suite struct DependenciesTests {
    /// How the first job ends.
    enum End: CaseIterable { case success, failure, cancel }

    @Test(
        "a job waits until the other has ended as it wishes, starts in the same step, or is cancelled with a sentence",
        arguments: DependencyKind.allCases, End.allCases)
    func wholeLife(kind: DependencyKind, end: End) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let first = try c.submit()
        let second = try c.submit(after: [after(first, kind)])
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.1"])
        #expect(c.state(second) == .waiting && c.reason(second)?.hasPrefix("dependency: waits ") == true)
        switch end {
        case .success: try c.exit("1.1.1")
        case .failure: try c.exit("1.1.1", 3)
        case .cancel:
            try c.cancel(first)
            try c.report("1.1.1", .cancelled, reason: .cancelled)
        }
        try c.sync("w1")
        if kind.isMet(bySuccess: end == .success) {
            #expect(c.running(on: "w1") == ["2.1.1"])
            try c.exit("2.1.1")
            #expect(c.state(second) == .succeeded && c.reason(second) == nil)
        } else {
            #expect(c.running(on: "w1").isEmpty)
            #expect(c.state(second) == .cancelled)
            #expect(c.reason(second)?.contains("job 1") == true && c.reason(second)?.contains(kind.rawValue) == true)
        }
    }

    @Test("of jobs that are submitted together, each knows which tasks of the others can never start")
    func lostTogether() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let first = try c.submit(tasks: 2)
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        try c.exit("1.2.1")
        let ended = EndedJob(
            id: first, owner: UserName(rawValue: "ada")!, indices: 1...2, state: .failed, succeeded: [2...2])
        let second = JobID(rawValue: 2)
        let dependencies = [after(first, .afterOKEach), after(second, .afterAnyEach), after(second, .afterOKEach)]
        let jobs = dependencies.enumerated().map { place, dependency in
            var record = jobRecord(shape: .array(first: 1, last: 2))
            record.dependencies = [dependency]
            return NewJob(
                id: JobID(rawValue: 2 + Int64(place)), record: record, imageIsStored: true, hold: false,
                known: place == 0 ? [ended] : [])
        }
        try c.accept(.pipelineSubmitted(jobs))
        try c.sync("w1")
        // Its first task will never start, so who waits for its end goes on, and who waits for its success never will.
        #expect(c.running(on: "w1") == ["2.2.1", "3.1.1"])
        #expect(c.progress(JobID(rawValue: 4)).counts.cancelled == 1)
        try c.exit("2.2.1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["3.1.1", "3.2.1", "4.2.1"])
    }

    @Test("a job that waits for several starts after the last, and names those that are left")
    func several() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let jobs = [try c.submit(), try c.submit(), try c.submit()]
        let last = try c.submit(after: [
            after(jobs[0], .afterOK), after(jobs[1], .afterAny), after(jobs[2], .afterFail),
        ])
        try c.sync("w1")
        #expect(
            c.reason(last)
                == "dependency: waits until job 1 has succeeded, until job 2 has ended, until job 3 has failed")
        #expect(c.cluster.why(last, at: c.now)?.sentence.contains("until job 1 has succeeded") == true)
        try c.exit("1.1.1")
        try c.exit("2.1.1", 1)
        #expect(c.reason(last) == "dependency: waits until job 3 has failed")
        try c.exit("3.1.1", 1)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["4.1.1"])
    }

    @Test(
        "tasks start one by one as those of the other job end; those whose task failed are cancelled, their job says so"
    )
    func taskByTask() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        let first = try c.submit(tasks: 4)
        let second = try c.submit(tasks: 4, after: [after(first, .afterOKEach)])
        try c.sync("w1")
        try c.exit("1.2.1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.1", "1.3.1"])
        try c.exit("1.1.1", 7)
        #expect(c.progress(second).counts.cancelled == 1)
        try c.sync("w1")
        try c.exit("1.3.1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.4.1", "2.2.1"])
        try c.exit("2.2.1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.4.1", "2.3.1"])
        try c.exit("2.3.1")
        try c.exit("1.4.1")
        try c.sync("w1")
        try c.exit("2.4.1")
        #expect(c.state(second) == .cancelled && c.progress(second).counts.succeeded == 3)
        #expect(
            c.reason(second)
                == "dependency: tasks were cancelled because the same task of job 1 did not succeed (after_ok_each)")
    }

    @Test("a restart in the middle goes on as if nothing had been, task by task and as a whole")
    func restart() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        let first = try c.submit(tasks: 3)
        let second = try c.submit(tasks: 3, after: [after(first, .afterOKEach)])
        let third = try c.submit(after: [after(second, .afterOK)])
        try c.sync("w1")
        try c.exit("1.1.1")
        try c.restartScheduler()
        try c.sync("w1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.2.1", "1.3.1"])
        try c.exit("1.2.1")
        try c.exit("1.3.1")
        #expect(c.state(first) == .succeeded)
        try c.restartScheduler()
        try c.sync("w1")
        try c.sync("w1")
        for id in ["2.1.1", "2.2.1"] { try c.exit(id) }
        try c.restartScheduler()
        #expect(c.state(third) == .waiting)
        try c.sync("w1")
        try c.sync("w1")
        try c.exit("2.3.1")
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["3.1.1"])
    }

    @Test(
        "the cancel of an array of a million cancels, range by range, the million that waits for it and the one after")
    func cascade() throws {
        var c = ClusterFixture()
        let first = try c.submit(tasks: 1_000_000)
        let second = try c.submit(tasks: 1_000_000, after: [after(first, .afterOKEach)])
        let third = try c.submit(tasks: 1_000_000, after: [after(second, .afterOKEach)])
        let other = try c.submit(tasks: 1_000_000, after: [after(second, .afterAnyEach)])
        try c.cancel(first)
        #expect([first, second, third].map(c.state) == [.cancelled, .cancelled, .cancelled])
        #expect(c.progress(other).awaits == [] && c.progress(other).counts.pending == 1_000_000)
        #expect(c.rows.tasks.isEmpty)
    }

    @Test("a chain of ten thousand jobs is cancelled in one step, without depth")
    func longChain() throws {
        var cluster = Cluster(policy: Policy())
        let now = Instant(uptime: 0, wall: Timestamp(millisecondsSinceEpoch: 0))
        for number in 1...10_000 as ClosedRange<Int64> {
            var record = jobRecord()
            if number > 1 { record.dependencies = [after(JobID(rawValue: number - 1), .afterOK)] }
            _ = cluster.apply(.jobSubmitted(JobID(rawValue: number), record, imageIsStored: true, hold: false), at: now)
        }
        let outcome = cluster.apply(.cancelRequested(JobID(rawValue: 1)), at: now)
        #expect(outcome.changes.count == 10_000 && cluster.image().jobs.isEmpty)
    }

    @Test("tasks that had ended before somebody waited for them count as they ended", arguments: [false, true])
    func lateComer(afterRestart: Bool) throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 3)
        let first = try c.submit(tasks: 3)
        try c.sync("w1")
        try c.exit("1.1.1")
        try c.exit("1.2.1", 1)
        if afterRestart { try c.exit("1.3.1") }
        if afterRestart { try c.restartScheduler() }
        let second = try c.submit(tasks: 3, after: [after(first, .afterOKEach)])
        let third = try c.submit(tasks: 3, after: [after(first, .afterFailEach)])
        #expect(
            c.progress(second).counts.cancelled == 1 && c.progress(third).counts.cancelled == (afterRestart ? 2 : 1))
        try c.sync("w1")
        try c.sync("w1")
        #expect(
            c.running(on: "w1").sorted()
                == (afterRestart ? ["2.1.1", "2.3.1", "3.2.1"] : ["1.3.1", "2.1.1", "3.2.1"]))
    }

    @Test("what cannot be waited for is refused: unknown, another user's, other indices, an end that will not come")
    func refusals() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let first = try c.submit()
        let foreign = try c.submit(owner: "bob")
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        func refusal(_ dependency: Dependency, tasks: Int64? = nil) -> Refusal? {
            var copy = c
            do { _ = try copy.submit(tasks: tasks, after: [dependency]) } catch { return error as? Refusal }
            return nil
        }
        let missing = after(JobID(rawValue: 99), .afterAny)
        #expect(refusal(missing) == .dependency(missing, .unknown))
        let theirs = after(foreign, .afterAny)
        #expect(refusal(theirs) == .dependency(theirs, .belongsTo(UserName(unchecked: "bob"))))
        let each = after(first, .afterAnyEach)
        #expect(refusal(each, tasks: 5) == .dependency(each, .otherIndices(1...1, own: 1...5)))
        let never = after(first, .afterOK)
        #expect(refusal(never) == .dependency(never, .neverMet(.failed)))
        let none = after(first, .afterOKEach)
        #expect(refusal(none) == .dependency(none, .noTaskMet))
        #expect(refusal(after(first, .afterFail)) == nil && refusal(after(first, .afterFailEach)) == nil)
    }

    @Test("a job that waits for one that could not be loaded goes on waiting", arguments: [false, true])
    func unreadableOther(isEach: Bool) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let first = try c.submit(tasks: 2)
        let second = try c.submit(tasks: 2, after: [after(first, isEach ? .afterAnyEach : .afterAny)])
        var image = c.cluster.image()
        image.jobs.removeAll { $0.id == first }
        image.tasks = []
        image.attempts = []
        var restored = Cluster(policy: c.cluster.policy, restoring: image, at: c.now)
        _ = restored.schedule(at: c.now)
        #expect(restored.image().jobs.first?.progress.state == .waiting && restored.image().attempts.isEmpty)
        #expect(
            restored.image().jobs.first?.id == second
                && Invariants.check(restored).filter { $0.hasPrefix("job 2") } == [])
    }

    @Test("a held job that waits is not started by its dependency, only by its release")
    func heldAndWaiting() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let first = try c.submit()
        let second = try c.submit(hold: true, after: [after(first, .afterOK)])
        try c.sync("w1")
        try c.exit("1.1.1")
        try c.sync("w1")
        #expect(c.running(on: "w1").isEmpty && c.state(second) == .held)
        try c.release(second)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["2.1.1"])
    }
}

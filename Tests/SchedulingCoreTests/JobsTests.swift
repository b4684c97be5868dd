// Goal: what users do to jobs, and how a job's state follows. Method: events through the fixture.
import JobModel
import SchedulingCore
import TestSupport
import Testing

@Suite struct JobsTests {
    @Test("an array of a million tasks is one row and one range until its tasks start")
    func millionTasks() throws {
        var c = ClusterFixture()
        let job = try c.submit(tasks: 1_000_000)
        #expect(c.progress(job).unstarted == [1...1_000_000])
        #expect(c.rows.tasks.isEmpty)
        try c.worker("w1", cpus: 3)
        #expect(c.progress(job).unstarted == [4...1_000_000])
        #expect(c.progress(job).counts == TaskCounts(total: 1_000_000, pending: 999_997, running: 3))
        #expect(c.rows.tasks.count == 3)
        try c.cancel(job)
        #expect(c.progress(job).unstarted == [])
        #expect(c.progress(job).counts.cancelled == 999_997)
        #expect(c.rows.tasks.count == 3)
    }

    @Test("a job succeeds when all its tasks did, and counts them")
    func arraySucceeds() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        let job = try c.submit(tasks: 3)
        try c.sync("w1")
        try c.exit("1.1.1")
        #expect(c.state(job) == .running)
        #expect(c.progress(job).counts == TaskCounts(total: 3, pending: 0, running: 2, succeeded: 1))
        try c.exit("1.2.1")
        try c.exit("1.3.1")
        #expect(c.state(job) == .succeeded)
        #expect(c.progress(job).counts == TaskCounts(total: 3, pending: 0, succeeded: 3))
    }

    @Test("a job with one failed and one cancelled task has failed, and says how many")
    func failedBeatsCancelled() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        let job = try c.submit(tasks: 3)
        try c.sync("w1")
        try c.exit("1.1.1", 3)
        try c.cancel(job)
        try c.sync("w1")
        for attempt in ["1.2.1", "1.3.1"] { try c.report(attempt, .cancelled, reason: .cancelled) }
        #expect(c.state(job) == .failed)
        #expect(c.reason(job) == "1 of 3 tasks failed")
        #expect(c.progress(job).counts == TaskCounts(total: 3, pending: 0, failed: 1, cancelled: 2))
    }

    @Test(
        "a single task's job says how it failed",
        arguments: [
            (EndReason.exitCode, "exit code 3"), (.oomKilled, "used more memory than it asked for (oom-killed)"),
            (.timeLimit, "ran longer than its time limit"), (.volumeError, "volume-error: no such folder"),
        ])
    func failureSentence(reason: EndReason, sentence: String) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        try c.sync("w1")
        try c.report(
            "1.1.1", .failed, reason: reason, exitCode: 3, message: reason == .volumeError ? "no such folder" : nil)
        #expect(c.state(job) == .failed)
        #expect(c.reason(job) == sentence)
    }

    @Test("the revision of a job rises with each change and with nothing else")
    func revision() throws {
        var c = ClusterFixture()
        let job = try c.submit()
        #expect(c.progress(job).revision == 1)
        try c.hold(job)
        #expect(c.progress(job).revision == 2)
        try c.hold(job)
        try c.advance(.seconds(5))
        #expect(c.progress(job).revision == 2)
    }

    // MARK: image

    @Test("a job whose image is not in the archive waits for it and starts when it came")
    func waitsForImage() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(image: "python", imageIsStored: false)
        #expect(c.state(job) == .waiting)
        #expect(c.reason(job) == "waiting for image python")
        #expect(c.cluster.imagesWaitedFor == [Digest(of: "python")])
        try c.step(.imageStored(Digest(of: "other")))
        #expect(c.state(job) == .waiting)
        try c.step(.imageStored(Digest(of: "python")))
        #expect(c.state(job) == .running)
        #expect(c.progress(job).imageIsStored)
        #expect(c.cluster.imagesWaitedFor.isEmpty)
    }

    @Test("an image that will not come holds its jobs with the sentence; a release asks for it again")
    func imageFails() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(image: "python", imageIsStored: false)
        try c.step(.imageFailed(Digest(of: "python"), message: "registry says: no such manifest"))
        #expect(c.state(job) == .held)
        #expect(c.reason(job) == "registry says: no such manifest")
        #expect(c.cluster.imagesWaitedFor.isEmpty)
        try c.release(job)
        #expect(c.state(job) == .waiting)
        #expect(c.cluster.imagesWaitedFor == [Digest(of: "python")])
        try c.step(.imageStored(Digest(of: "python")))
        #expect(c.state(job) == .running)
    }

    @Test("a job with services starts when the last of their images is there, and a restart expects all again")
    func imagesOfServices() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(image: "python", services: ["redis", "redis", "busybox"], imageIsStored: false)
        #expect(c.reason(job) == "waiting for image python or redis or redis or busybox")
        #expect(Set(c.cluster.imagesWaitedFor) == Set(["python", "redis", "busybox"].map { Digest(of: $0) }))
        try c.step(.imageStored(Digest(of: "python")))
        try c.step(.imageStored(Digest(of: "busybox")))
        #expect(c.state(job) == .waiting)
        try c.step(.imageFailed(Digest(of: "redis"), message: "no such manifest"))
        #expect(c.state(job) == .held)
        try c.release(job)
        #expect(c.cluster.imagesWaitedFor == [Digest(of: "redis")])
        try c.restartScheduler()
        #expect(c.cluster.imagesWaitedFor.count == 3)
        for image in ["redis", "busybox", "python"] { try c.step(.imageStored(Digest(of: image))) }
        #expect(c.progress(job).imageIsStored && c.state(job) != .waiting)
        let other = try c.submit(image: "python", services: ["redis"], imageIsStored: false)
        try c.step(.imageStored(Digest(of: "redis")))
        try c.cancel(other)
        #expect(c.cluster.imagesWaitedFor.isEmpty)
    }

    @Test("a cancelled job waits for no image")
    func cancelledWaitsForNoImage() throws {
        var c = ClusterFixture()
        let first = try c.submit(image: "python", imageIsStored: false)
        let second = try c.submit(image: "python", imageIsStored: false)
        try c.cancel(first)
        #expect(c.cluster.imagesWaitedFor == [Digest(of: "python")])
        try c.cancel(second)
        #expect(c.cluster.imagesWaitedFor.isEmpty)
    }

    // MARK: hold and release

    @Test("a job that was submitted on hold starts when it is released")
    func submittedOnHold() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(hold: true)
        #expect(c.state(job) == .held)
        #expect(c.reason(job) == "held at submission")
        try c.release(job)
        #expect(c.state(job) == .running)
        #expect(c.reason(job) == nil)
    }

    @Test("a hold starts nothing new and lets what runs go on")
    func holdLetsRun() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        let job = try c.submit(tasks: 3)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.hold(job)
        #expect(c.state(job) == .running)
        #expect(c.reason(job) == "held on request")
        try c.exit("1.1.1")
        #expect(c.state(job) == .held)
        #expect(c.running(on: "w1").isEmpty)
        #expect(c.progress(job).counts == TaskCounts(total: 3, pending: 2, succeeded: 1))
        try c.release(job)
        try c.release(job)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.2.1"])
    }

    @Test("a hold takes back what was placed and not yet sent")
    func holdRetracts() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        #expect(c.attempt("1.1.1").state == .assigned)
        try c.hold(job)
        #expect(c.attempt("1.1.1").state == .cancelled)
        #expect(c.attempt("1.1.1").reason == .preempted)
        #expect(c.state(job) == .held)
        try c.sync("w1")
        #expect(c.running(on: "w1").isEmpty)
        try c.release(job)
        try c.sync("w1")
        #expect(c.running(on: "w1") == ["1.1.2"])
        #expect(c.task("1.1").infrastructureFailures == 0)
    }

    // MARK: cancel

    @Test("a cancel of a job that has not started ends it at once")
    func cancelPending() throws {
        var c = ClusterFixture()
        let job = try c.submit(tasks: 5)
        try c.cancel(job)
        #expect(c.state(job) == .cancelled)
        #expect(c.progress(job).counts == TaskCounts(total: 5, pending: 0, cancelled: 5))
        #expect(throws: Refusal.jobIsFinished(job, .cancelled)) { try c.cancel(job) }
    }

    @Test("a cancel stops what runs, and the job ends when it has stopped")
    func cancelRunning() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        let job = try c.submit(tasks: 2)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.cancel(job)
        #expect(c.state(job) == .running)
        #expect(c.reason(job) == "being cancelled: running tasks are being stopped")
        #expect(c.attempt("1.1.1").stopReason == .cancelled)
        try c.cancel(job)
        try c.sync("w1")
        #expect(c.world.agents[WorkerName(rawValue: "w1")!]!.containers[AttemptID("1.1.1")!]!.stopOrdered)
        try c.report("1.1.1", .cancelled, reason: .cancelled)
        #expect(c.state(job) == .cancelled)
        #expect(c.task("1.1").state == .cancelled)
        #expect(c.progress(job).counts == TaskCounts(total: 2, pending: 0, cancelled: 2))
    }

    @Test("a cancelled attempt that was placed and never sent is never started")
    func cancelUnsent() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        try c.cancel(job)
        #expect(c.state(job) == .cancelled)
        #expect(c.attempt("1.1.1").state == .cancelled)
        try c.sync("w1")
        #expect(c.running(on: "w1").isEmpty)
    }

    @Test(
        "a cancel while the start is on its way: what was not taken ends, what was taken is stopped",
        arguments: [true, false])
    func cancelInFlight(arrives: Bool) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        if !arrives { c.deaf = [WorkerName(rawValue: "w1")!] }
        try c.sync("w1")
        c.deaf = []
        try c.cancel(job)
        #expect(c.state(job) == .running)
        try c.sync("w1")
        if arrives {
            #expect(c.attempt("1.1.1").stopReason == .cancelled)
            try c.report("1.1.1", .cancelled, reason: .cancelled)
        }
        #expect(c.state(job) == .cancelled)
        #expect(c.running(on: "w1").isEmpty)
    }

    @Test("a cancel ends tasks that wait to be tried again")
    func cancelRetry() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(retries: 3)
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        #expect(c.task("1.1").state == .pending)
        try c.cancel(job)
        #expect(c.task("1.1").state == .cancelled)
        #expect(c.state(job) == .cancelled)
        try c.advance(.minutes(1), calling: ["w1"])
        #expect(c.rows.attempts.count == 1)
    }

    @Test(
        "a program that ends well before its stop arrives has succeeded; one that ends badly was cancelled",
        arguments: [0, 3])
    func cancelRace(code: Int) throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit(retries: 2)
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.cancel(job)
        try c.exit("1.1.1", code)
        #expect(c.state(job) == (code == 0 ? .succeeded : .cancelled))
        #expect(c.attempt("1.1.1").state == (code == 0 ? .succeeded : .failed))
    }

    @Test("a cancelled job whose worker is lost ends as cancelled and is not tried again")
    func cancelAndLost() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        try c.sync("w1")
        try c.report("1.1.1", .running)
        try c.cancel(job)
        try c.advance(.minutes(20))
        #expect(c.attempt("1.1.1").state == .lost)
        #expect(c.state(job) == .cancelled)
    }

    @Test("what is unknown or finished is refused, and nothing changes")
    func refusals() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        let job = try c.submit()
        try c.sync("w1")
        try c.exit("1.1.1")
        let unknown = JobID(rawValue: 99)
        #expect(throws: Refusal.unknownJob(unknown)) { try c.cancel(unknown) }
        #expect(throws: Refusal.unknownJob(unknown)) { try c.hold(unknown) }
        #expect(throws: Refusal.unknownJob(unknown)) { try c.release(unknown) }
        #expect(throws: Refusal.jobIsFinished(job, .succeeded)) { try c.cancel(job) }
        #expect(throws: Refusal.jobIsFinished(job, .succeeded)) { try c.hold(job) }
        #expect(throws: Refusal.jobIsFinished(job, .succeeded)) { try c.release(job) }
        #expect(throws: Refusal.unknownWorker(WorkerName(rawValue: "w9")!)) { try c.drain("w9") }
        #expect(throws: Refusal.unknownWorker(WorkerName(rawValue: "w9")!)) { try c.resume("w9") }
    }

    @Test("only the newest finished jobs are remembered")
    func finishedAreBounded() throws {
        var policy = Policy()
        policy.finishedJobsRemembered = 2
        var c = ClusterFixture(policy: policy)
        let jobs = try (0..<3).map { _ in try c.submit() }
        for job in jobs { try c.cancel(job) }
        #expect(throws: Refusal.unknownJob(jobs[0])) { try c.cancel(jobs[0]) }
        #expect(throws: Refusal.jobIsFinished(jobs[1], .cancelled)) { try c.cancel(jobs[1]) }
    }
}

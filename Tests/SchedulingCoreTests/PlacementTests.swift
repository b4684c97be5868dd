// Goal: who runs where, and why not. Method: small clusters, one question each; the explanation is compared with the
// decision.
import JobModel
import SchedulingCore
import TestSupport
import Testing

@Suite struct PlacementTests {
    @Test("higher priority first, then the order of submission, then the index")
    func order() throws {
        var c = ClusterFixture()
        try c.submit(tasks: 2)
        try c.submit(priority: 5)
        try c.submit(priority: -1)
        try c.submit(priority: 5)
        try c.worker("w1", cpus: 1)
        var started: [String] = []
        for _ in 0..<5 {
            let live = c.view("w1").live[0].description
            started.append(live)
            try c.sync("w1")
            try c.exit(live)
        }
        #expect(started == ["2.1.1", "4.1.1", "1.1.1", "1.2.1", "3.1.1"])
    }

    @Test("a task to be tried again comes before new ones of its job")
    func retryFirst() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        try c.submit(tasks: 3, retries: 1)
        try c.sync("w1")
        try c.exit("1.1.1", 1)
        #expect(c.view("w1").live.map(\.description) == ["1.2.1"])
        try c.advance(.seconds(2))
        try c.sync("w1")
        try c.exit("1.2.1")
        #expect(c.view("w1").live.map(\.description) == ["1.1.2"])
    }

    @Test("what does not fit does not keep smaller work from running")
    func backfill() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        try c.submit(cpus: 3)
        try c.submit(cpus: 4)
        try c.submit(cpus: 1)
        #expect(c.view("w1").live.map(\.description) == ["1.1.1", "3.1.1"])
    }

    @Test("the fullest worker that fits is taken; ties go to the first by name")
    func pack() throws {
        var c = ClusterFixture()
        for (name, cpus) in [("w3", 8), ("w2", 4), ("w1", 8)] { try c.worker(name, cpus: cpus) }
        try c.submit(cpus: 3)
        #expect(c.attempt("1.1.1").worker.rawValue == "w2")
        try c.submit(cpus: 3)
        #expect(c.attempt("2.1.1").worker.rawValue == "w1")
        try c.submit(cpus: 4)
        #expect(c.attempt("3.1.1").worker.rawValue == "w1")
        try c.submit(cpus: 1)
        #expect(c.attempt("4.1.1").worker.rawValue == "w1" || c.attempt("4.1.1").worker.rawValue == "w2")
        #expect(c.view("w3").live.isEmpty)
    }

    @Test("memory is reserved as cpus are")
    func memory() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8, memory: 10)
        try c.submit(cpus: 1, memory: 6)
        let second = try c.submit(cpus: 1, memory: 6)
        #expect(c.state(second) == .pending)
        #expect(c.reason(second) == nil)
        #expect(c.view("w1").free.memory.bytes == 4)
        try c.sync("w1")
        try c.exit("1.1.1")
        #expect(c.state(second) == .running)
    }

    @Test("GPUs are handed out as identities, lowest first, and come back")
    func gpus() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8, gpus: ["10", "2", "1", "2"])
        try c.submit(gpus: 2)
        try c.submit(gpus: 1)
        let third = try c.submit(gpus: 1)
        #expect(c.attempt("1.1.1").gpus == ["1", "2"])
        #expect(c.attempt("2.1.1").gpus == ["10"])
        #expect(c.state(third) == .pending)
        try c.sync("w1")
        try c.exit("1.1.1")
        #expect(c.attempt("3.1.1").gpus == ["1"])
        #expect(c.view("w1").free.gpus == ["2"])
    }

    @Test(
        "constraints choose by labels; a label that is missing is not equal to anything",
        arguments: [
            (Constraint.Comparison.equal, "w1"), (.notEqual, "w2"),
        ])
    func constraints(comparison: Constraint.Comparison, expected: String) throws {
        var c = ClusterFixture()
        try c.worker("w1", labels: ["stack": "r"])
        try c.worker("w2", cpus: 3)
        try c.submit(constraints: [Constraint(label: "stack", comparison: comparison, value: "r")])
        #expect(c.attempt("1.1.1").worker.rawValue == expected)
    }

    @Test("a volume must be offered, and writable for rw and out", arguments: [SlotMode.ro, .rw, .out])
    func volumes(mode: SlotMode) throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        try c.worker("w2", cpus: 2, volumes: ["weather": false])
        try c.worker("w3", cpus: 3, volumes: ["weather": true])
        try c.submit(slots: ["input": mode], bindings: ["input": "weather/2014"])
        #expect(c.attempt("1.1.1").worker.rawValue == (mode == .ro ? "w2" : "w3"))
    }

    @Test("a slot that is not bound takes the volume of its own name")
    func unboundSlot() throws {
        var c = ClusterFixture()
        try c.worker("w1", volumes: ["other": true])
        let job = try c.submit(slots: ["input": .ro])
        #expect(c.reason(job) == "no worker fits: none has the volume 'input'")
        try c.worker("w2", volumes: ["input": false])
        #expect(c.attempt("1.1.1").worker.rawValue == "w2")
    }

    @Test(
        "a host path must lie below one that the worker allows",
        arguments: [
            ("/data/x", true), ("/data", true), ("/database", false), ("/srv/data", false),
            ("/data/${params.year}", true),
            ("/${params.root}/x", false),
        ])
    func hostPaths(path: String, fits: Bool) throws {
        var c = ClusterFixture()
        try c.worker("w1", allowedPaths: ["/data/"])
        let job = try c.submit(slots: ["input": .ro], bindings: ["input": path])
        #expect(c.state(job) == (fits ? .running : .waiting))
    }

    @Test(
        "a job that no worker could ever take waits with the reason",
        arguments: [
            (8, Int64(1), 0, "no worker fits: none has 8 cpus (the most is 4)"),
            (1, Int64(2) << 40, 0, "no worker fits: none has 2 TiB of memory (the most is 64 GiB)"),
            (1, Int64(1), 2, "no worker fits: none has 2 gpus (the most is 1)"),
        ])
    func shortfall(cpus: Int, memory: Int64, gpus: Int, sentence: String) throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4, gpus: ["0"])
        let job = try c.submit(cpus: Int64(cpus), memory: memory, gpus: gpus)
        #expect(c.state(job) == .waiting)
        #expect(c.reason(job) == sentence)
    }

    @Test("needs that only different workers meet are named by the closest worker")
    func jointShortfall() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8)
        try c.worker("w2", cpus: 1, labels: ["stack": "r"])
        let job = try c.submit(cpus: 4, constraints: [Constraint(label: "stack", comparison: .equal, value: "r")])
        #expect(c.reason(job) == "no worker fits: w1 comes closest but lacks a label with stack == r")
    }

    @Test("without any worker a job waits and says so; with one it starts")
    func noWorker() throws {
        var c = ClusterFixture()
        let job = try c.submit()
        #expect(c.state(job) == .waiting)
        #expect(c.reason(job) == "no worker fits: no worker is registered")
        try c.worker("w1")
        #expect(c.state(job) == .running)
        #expect(c.reason(job) == nil)
    }

    @Test("the verdict follows the workers: one that leaves, one that comes, one that changes")
    func verdictFollows() throws {
        var c = ClusterFixture()
        try c.worker("big", cpus: 8)
        try c.submit(cpus: 8)
        let job = try c.submit(cpus: 6)
        #expect(c.state(job) == .pending)
        c.world.change(WorkerName(rawValue: "big")!) { $0.cpus = CPUAmount(cpus: 2) }
        try c.sync("big")
        #expect(c.state(job) == .waiting)
        #expect(c.reason(job) == "no worker fits: none has 6 cpus (the most is 2)")
        try c.worker("new", cpus: 6)
        #expect(c.state(job) == .running)
        #expect(c.attempt("2.1.1").worker.rawValue == "new")
    }

    @Test("a worker that was lost no longer counts; when it is back it does")
    func lostDoesNotCount() throws {
        var c = ClusterFixture()
        try c.worker("w1")
        try c.advance(.minutes(20))
        let job = try c.submit()
        #expect(c.reason(job) == "no worker fits: no worker is registered")
        try c.sync("w1")
        #expect(c.state(job) == .running)
    }

    @Test("only the jobs of a class whose verdict changed are written again")
    func onlyAffectedJobsChange() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        try c.submit()
        let pending = try c.submit()
        let waiting = try c.submit(cpus: 4)
        let before = c.progress(pending).revision
        try c.worker("w2", cpus: 0)
        #expect(c.progress(pending).revision == before)
        try c.drain("w1")
        try c.worker("w3", cpus: 4)
        #expect(c.state(waiting) == .running || c.state(pending) == .running)
    }

    @Test("the explanation shows each check of each worker, and agrees with the decision")
    func explanation() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4)
        try c.worker("w2", cpus: 2, volumes: ["data": false])
        try c.submit(cpus: 3)
        let job = try c.submit(cpus: 2, slots: ["data": .rw])
        let why = try #require(c.cluster.explain(job))
        #expect(why.state == .waiting)
        #expect(why.reason == c.reason(job))
        #expect(why.candidates.map(\.worker.rawValue) == ["w1", "w2"])
        #expect(!why.candidates.contains { $0.couldFit })
        let cpus = try #require(why.candidates[0].findings.first { $0.check == "cpus" })
        #expect(cpus.offered == "1 free of 4")
        #expect(cpus.couldFit && !cpus.fitsNow)
        let volume = try #require(why.candidates[1].findings.first { $0.check == "volume data" })
        #expect(volume.needed == "writable" && volume.offered == "read-only" && !volume.couldFit)
        #expect(c.cluster.explain(JobID(rawValue: 77)) == nil)
    }

    @Test("a pass without changes says nothing and changes nothing")
    func idlePass() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1)
        try c.submit(tasks: 1000)
        var cluster = c.cluster
        #expect(cluster.schedule(at: c.now) == Outcome())
        #expect(cluster.apply(.timeAdvanced, at: c.now) == Outcome())
    }

    @Test("requests and offers beyond all measure are taken without a trap")
    func extremes() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 1_000_000, memory: .max)
        try c.worker("w2", cpus: -5, memory: .min)
        try c.submit(cpus: 1, memory: .max)
        let second = try c.submit(cpus: 1, memory: .max)
        #expect(c.state(second) == .pending)
        let third = try c.submit(cpus: -1, memory: -1, gpus: -1)
        #expect(c.state(third) == .running)
        #expect(c.view("w2").free == WorkerResources(cpus: CPUAmount(cpus: 0), memory: ByteCount(bytes: 0), gpus: []))
    }
}

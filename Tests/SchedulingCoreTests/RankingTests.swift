// Goal: among the workers that fit, the most welcome one is taken, and who wants a worker alone has it alone.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

private func prefers(_ label: String, _ value: String) -> PlacementRequest {
    PlacementRequest(preferences: [Constraint(label: label, comparison: .equal, value: value)])
}

@Suite struct RankingTests {
    @Test("a preference moves a task to a worker that meets it, and keeps it from none")
    func preferences() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2, labels: ["zone": "a"])
        try c.worker("w2", cpus: 8, labels: ["zone": "b"])
        let first = try c.submit(cpus: 2, placement: prefers("zone", "b"))
        #expect(c.attempt("\(first).1.1").worker.rawValue == "w2")
        let other = try c.submit(cpus: 2, placement: prefers("zone", "none"))
        #expect(c.attempt("\(other).1.1").worker.rawValue == "w1")
        let avoiding = PlacementRequest(preferences: [Constraint(label: "zone", comparison: .notEqual, value: "b")])
        let last = try c.submit(cpus: 2, placement: avoiding)
        #expect(c.attempt("\(last).1.1").worker.rawValue == "w2")
    }

    @Test("tasks are packed, or spread where their job or queue says so")
    func spread() throws {
        var c = ClusterFixture()
        for name in ["w1", "w2", "w3"] { try c.worker(name, cpus: 4) }
        let packed = try c.submit(tasks: 3)
        #expect(Set((1...3).map { c.attempt("\(packed).\($0).1").worker }).count == 1)
        let spread = try c.submit(tasks: 2, placement: PlacementRequest(strategy: .spread))
        #expect(Set((1...2).map { c.attempt("\(spread).\($0).1").worker.rawValue }) == ["w2", "w3"])
        let wide = QueueName(rawValue: "wide")!
        try c.accept(.accountSaved(AccountRow(id: .queue(wide), settings: AccountSettings(placement: .spread))))
        let queued = try c.submit(tasks: 2, queue: "wide")
        #expect(Set((1...2).map { c.attempt("\(queued).\($0).1").worker.rawValue }) == ["w2", "w3"])
    }

    @Test("a worker that has the image goes before a fuller one, one with local files before one without")
    func locality() throws {
        var wire = Wire()
        var remote = offer(cpus: 2)
        remote.volumes = remote.volumes.mapValues { _ in VolumeOffer(writable: true, network: true) }
        try wire.call(1, on: "w1", registration: remote)
        try wire.step(
            .workerSynced(
                WorkerName(rawValue: "w2")!,
                SyncRequest(
                    incarnation: "a", sequence: 1, registration: offer(cpus: 8), live: [], reports: [], wait: .zero,
                    images: [Digest(of: "busybox")])))
        try wire.submit(1, jobRecord(image: "busybox"))
        #expect(wire.attempt("1.1.1").worker.rawValue == "w2")
        try wire.submit(2, jobRecord(image: "other"))
        #expect(wire.attempt("2.1.1").worker.rawValue == "w1")
        try wire.submit(3, jobRecord(slots: ["data": .ro], image: "other"))
        #expect(wire.attempt("3.1.1").worker.rawValue == "w2")
    }

    @Test("who wants a worker alone waits for an empty one, has all of it, and shares it with nobody")
    func exclusive() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4, gpus: ["0", "1"])
        try c.submit(cpus: 1)
        let alone = PlacementRequest(isExclusive: true)
        let job = try c.submit(cpus: 1, timeLimit: .minutes(5), placement: alone)
        let small = try c.submit(cpus: 1)
        #expect(c.state(job) == .pending)
        let why = try #require(c.cluster.why(job, at: c.now)).sentence
        #expect(why.hasPrefix("w1 is reserved for it"))
        try c.sync("w1")
        try c.exit("1.1.1")
        #expect(c.state(small) == .running && c.state(job) == .pending)
        try c.advance(.minutes(11), calling: ["w1"])
        try c.exit("\(small).1.1")
        #expect(c.state(job) == .running && c.attempt("\(job).1.1").gpus == ["0", "1"])
        let late = try c.submit(cpus: 0, memory: 0)
        #expect(c.state(late) == .pending)
        try c.sync("w1")
        try c.restartScheduler()
        #expect(c.state(late) == .pending)
        try c.sync("w1")
        // A larger worker is no room for others either.
        c.world.change(WorkerName(rawValue: "w1")!) { $0.cpus = CPUAmount(cpus: 16) }
        try c.sync("w1")
        #expect(c.state(late) == .pending)
        try c.exit("\(job).1.1")
        #expect(c.state(late) == .running)
    }
}

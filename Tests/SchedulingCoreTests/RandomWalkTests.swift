// Goal: no order of events breaks a rule. Method: seeded walks of thousands of events over several workers; after every
// event all invariants, rows against memory, and the strict world. A failure names its seed: put it into `seeds` and
// run that test alone.
import JobModel
import SchedulingCore
import TestSupport
import Testing

@Suite struct RandomWalkTests {
    @Test(
        "whatever happens, every book agrees and no order is illegal; when faults stop, all jobs end and nothing leaks",
        arguments: Array(UInt64(1)...40))
    func walk(seed: UInt64) throws {
        var walk = try RandomWalk(seed: seed)
        try walk.run(steps: 500)
        try walk.heal()
        let left = walk.c.cluster.image()
        #expect(left.jobs.map { "\($0.id) \($0.progress.state) \($0.progress.reason ?? "")" } == [], "seed \(seed)")
        #expect(left.attempts == [])
        for worker in walk.c.cluster.workerViews() {
            #expect(
                worker.free
                    == WorkerResources(
                        cpus: worker.registration.cpus, memory: worker.registration.memory, gpus: ["0", "1", "2"],
                        disk: worker.registration.disk, custom: worker.registration.custom))
        }
    }

    @Test("the same seed gives the same history, to the letter")
    func sameSeedSameHistory() throws {
        var histories: [[Outcome]] = []
        for _ in 0..<2 {
            var walk = try RandomWalk(seed: 7, recordsHistory: true)
            try walk.run(steps: 300)
            histories.append(walk.c.history)
        }
        #expect(histories[0].count > 250)
        #expect(histories[0] == histories[1])
    }
}

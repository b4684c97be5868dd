// The stepper with the real store: what is acknowledged is on disk, equal keys are one job, and a crash at any commit
// loses nothing.
import Foundation
import JobModel
import Scheduler
import SchedulingCore
import TestSupport
import Testing

@Suite("stepper and store")
struct StepperTests {
    private let simple = "name: a\nimage: busybox\ncommand: [\"true\"]\n"

    /// A history with every kind of row, chosen from a seed, and a crash at each of its commits: what a copy of the
    /// files gives back is what was in memory, whether the last commit is whole or torn.
    @Test(
        "a crash at any commit of a long history loses nothing that was acknowledged", arguments: [1, 2, 3] as [UInt64])
    func crashes(seed: UInt64) throws {
        var dice = SeededNumbers(seed: seed)
        var test = try StepperUnderTest()
        try test.addWorker("w1", cpus: 3, gpus: ["0", "1"])
        try test.addWorker("w2", cpus: 2)
        var jobs: [JobID] = []
        let specs = [
            simple, "name: b\nimage: busybox\ncommand: [a]\narray: 1-5\nretries: 1\n",
            "image: alpine\ncommand: [a]\nresources: {gpus: 1}\n",
            "name: a\nimage: busybox\ncommand: [a]\nvolumes: [\"data:/out:out\"]\n",
            "name: c\nimage: busybox\ncommand: [a]\nmatrix: {x: [1, 2]}\n",
        ]
        for _ in 0..<60 {
            switch dice.next(in: 0...9) {
            case 0, 1:
                let spec = specs[Int(dice.next(in: 0...4))]
                jobs.append(
                    try test.submit(
                        spec, key: dice.coin() ? "k\(jobs.count)" : nil, hold: dice.next(in: 0...5) == 0,
                        imageIsStored: dice.next(in: 0...5) > 0
                    ).id)
            case 2: if let job = jobs.randomElement(using: &dice) { try test.step([.event(.cancelRequested(job))]) }
            case 3:
                if let job = jobs.randomElement(using: &dice) {
                    try test.step([.event(dice.coin() ? .holdRequested(job) : .releaseRequested(job))])
                }
            case 4: try test.step([.event(.imageStored(Digest(of: dice.coin() ? "busybox" : "alpine")))])
            case 5: try test.advance(dice.next(in: 1...30))
            case 6:
                try test.step([
                    .event(
                        dice.coin()
                            ? .drainRequested(WorkerName(rawValue: "w2")!)
                            : .resumeRequested(WorkerName(rawValue: "w2")!))
                ])
            default:
                for name in test.world.names {
                    for id in test.world.agents[name]?.live ?? [] where dice.coin() {
                        let code = dice.next(in: 0...3) == 0 ? 1 : 0
                        test.world.progress(
                            id, on: name, to: code == 0 ? .succeeded : .failed, reason: .exitCode, exitCode: code)
                    }
                    try test.sync(name.rawValue)
                }
            }
            if dice.next(in: 0...14) == 0 { try test.restart() }
        }
        #expect(test.crashes > 60)
        #expect(test.acknowledged.count == jobs.count && jobs.count > 3)
    }

    @Test("the same key with the same request is the same job, in one batch and in a later one")
    func sameKey() throws {
        var test = try StepperUnderTest()
        let submission = try accepted(simple, key: "k")
        let replies = try test.step([
            .submission(submission), .submission(submission), .event(.timeAdvanced), .submission(submission),
        ])
        let later = try test.step([.submission(submission)])
        let ids = (replies + later).compactMap { if case .submitted(let job) = $0 { job.id } else { nil } }
        #expect(ids == Array(repeating: JobID(rawValue: 1), count: 4))
        try test.restart()
        guard case .submitted(let again)? = try test.step([.submission(submission)]).first else {
            Issue.record("refused after a restart")
            return
        }
        #expect(again.id == JobID(rawValue: 1))
        #expect(test.stepper.cluster.totals.tasks.total == 1)
    }

    @Test(
        "the same key with another request is a conflict, in one batch and in a later one; another user's key is another key"
    )
    func otherRequest() throws {
        var test = try StepperUnderTest()
        let first = try accepted(simple, key: "k", request: "1")
        let other = try accepted(simple, key: "k", request: "2")
        let bobs = try accepted(simple, key: "k", request: "2", user: "bob")
        let replies =
            try test.step([.submission(first), .submission(other), .submission(bobs)]) + test.step([.submission(other)])
        let words = replies.map { reply in
            switch reply {
            case .submitted(let job): "job \(job.id)"
            case .refused(let problem): "\(problem.status) \(problem.field ?? "")"
            case .submittedTogether(let jobs): "jobs \(jobs.map(\.id))"
            case .done: "done"
            }
        }
        #expect(words == ["job 1", "409 Idempotency-Key", "job 2", "409 Idempotency-Key"])
    }

    @Test(
        "versions count up for each new configuration of a name, and an old configuration keeps its version, also after a restart"
    )
    func versions() throws {
        var test = try StepperUnderTest()
        func spec(_ argument: String) -> String { "name: temps\nimage: busybox\ncommand: [a, \(argument)]\n" }
        #expect(try test.submit(spec("x")).configuration.version == 1)
        #expect(try test.submit(spec("y")).configuration.version == 2)
        #expect(try test.submit(spec("x")).configuration.version == 1)
        try test.restart()
        #expect(try test.submit(spec("z")).configuration.version == 3)
        #expect(try test.submit(spec("y")).configuration.version == 2)
        let store = test.stepper.store
        let name = ConfigurationName(rawValue: "temps")!
        #expect(
            try store.configurations(name: name, limit: 10, cursor: nil).configurations.compactMap {
                $0.configuration.command.last
            } == ["z", "y", "x"])
        #expect(
            try store.configurationDigest(name: name, version: nil) == store.configurationDigest(name: name, version: 3)
        )
    }

    @Test("an array of a million tasks is one row")
    func millionTasks() throws {
        var test = try StepperUnderTest()
        let job = try test.submit("image: busybox\ncommand: [a]\narray: 1-1000000\n")
        #expect(job.tasks.total == 1_000_000)
        #expect(try test.stepper.store.tasks(TaskQuery(job: job.id, limit: 10)).tasks.isEmpty)
        #expect(test.stepper.cluster.image().tasks.isEmpty)
    }

    @Test("what is refused changes nothing on disk")
    func refusals() throws {
        var test = try StepperUnderTest()
        let replies = try test.step([
            .event(.cancelRequested(JobID(rawValue: 7))), .event(.drainRequested(WorkerName(rawValue: "nobody")!)),
            .event(
                .workerSynced(
                    WorkerName(rawValue: "w")!,
                    SyncRequest(
                        version: 9, incarnation: "i", sequence: 1, registration: nil, live: [], reports: [], wait: .zero
                    ))),
        ])
        for reply in replies {
            guard case .refused = reply else {
                Issue.record("\(reply)")
                continue
            }
        }
        #expect(try test.stepper.store.load() == ClusterImage())
    }
}

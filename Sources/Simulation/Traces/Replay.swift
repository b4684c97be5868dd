// A workload under several policies, side by side: what each makes users wait, and how much of the machine it uses.
import JobModel
import SchedulingCore

/// How the next job is chosen.
package enum ReplayPolicy: String, CaseIterable, Sendable {
    /// First come, first served: nobody passes anybody.
    case fcfs
    /// EASY: whoever does not delay the first one's start may pass it (Lifka, 1995). A reference of its own.
    case easy
    /// The scheduler's core in order of submission: what its backfill comes to without priorities.
    case coreInOrder = "core-in-order"
    /// The scheduler's core as it is: fair share, age, size and backfill.
    case core
}

/// What a policy came to. Times in seconds.
package struct ReplayReport: Sendable {
    package var policy: ReplayPolicy
    package var jobs: Int
    package var meanWait: Double
    package var medianWait: Int64
    package var p95Wait: Int64
    /// The mean of (wait + run) / max(run, 10 s), at least 1.
    package var boundedSlowdown: Double
    /// Of the machine, from the first submission to the last end; 0 to 1.
    package var utilisation: Double

    init(_ policy: ReplayPolicy, _ workload: Workload, starts: [Int64]) {
        self.policy = policy
        jobs = starts.count
        let pairs = zip(workload.jobs, starts)
        let waits = pairs.map { $1 - $0.submitted }.sorted()
        let count = Double(max(1, waits.count))
        meanWait = Double(waits.reduce(0, +)) / count
        medianWait = waits.isEmpty ? 0 : waits[waits.count / 2]
        p95Wait = waits.isEmpty ? 0 : waits[min(waits.count - 1, waits.count * 95 / 100)]
        let slowdowns = pairs.map { job, start in
            max(1, Double(start - job.submitted + job.runTime) / Double(max(job.runTime, 10)))
        }
        boundedSlowdown = slowdowns.reduce(0, +) / count
        let end = pairs.map { $1 + $0.runTime }.max() ?? 0
        let work = workload.jobs.reduce(0.0) { $0 + Double($1.processors) * Double($1.runTime) }
        let span = Double(max(1, end - (workload.jobs.first?.submitted ?? 0)))
        utilisation = work / (Double(workload.processors) * span)
    }
}

extension Workload {
    /// Replays it. The core's promises are checked on the way.
    package func replay(under policy: ReplayPolicy) throws -> ReplayReport {
        let starts =
            switch policy {
            case .fcfs: ReferenceMachine(self, backfills: false).starts()
            case .easy: ReferenceMachine(self, backfills: true).starts()
            case .coreInOrder, .core: try coreStarts(policy)
            }
        return ReplayReport(policy, self, starts: starts)
    }

    private func coreStarts(_ replayed: ReplayPolicy) throws -> [Int64] {
        var policy = Policy()
        policy.preparation = .zero
        if replayed == .coreInOrder {
            policy.weights.queue = 0
            policy.weights.share = 0
            policy.weights.age = 0
            policy.weights.size = 0
            policy.weights.job = 0
        }
        var world = try PolicyWorld(policy: policy, workers: 1, cpus: Int(processors))
        let plan = jobs.map { job in
            PlannedJob(
                owner: "user-\(job.user)", at: job.submitted * 1000, cpus: job.processors, tasks: 1,
                duration: job.runTime * 1000, timeLimit: job.requestedTime * 1000)
        }
        try world.run(plan, until: .max, isDrained: true)
        return try world.jobs.sorted { $0.key < $1.key }.map { id, job in
            guard let start = job.firstStart else { throw Violation("job \(id) never started") }
            return start / 1000
        }
    }
}

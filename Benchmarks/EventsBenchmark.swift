// What single events cost the core when a large institute's work waits and runs: what users and administrators do, and
// what goes wrong. Beside each stands the same event with a tenth of the workers and of the waiting tasks: only what an
// event is about should decide its cost.
import Foundation
import JobModel
import SchedulingCore

struct EventsBenchmark {
    let settings: Settings

    /// Something that is done again and again, each time with other names, and takes so many microseconds.
    private struct Kind {
        let name: String
        var repeats = 50
        let measure: (inout CoreUnderBench, Int) throws -> Double

        /// One batch.
        static func event(
            _ name: String, repeats: Int = 50, _ events: @escaping (inout CoreUnderBench, Int) -> [Event]
        ) -> Kind {
            Kind(name: name, repeats: repeats) { bench, number in
                let events = events(&bench, number)
                return try bench.time(events)
            }
        }
    }

    func run() throws -> [Figure] {
        let small = try measure(workers: PlacementBenchmark.workers / 10, jobs: PlacementBenchmark.jobs / 10)
        let large = try measure(workers: PlacementBenchmark.workers, jobs: PlacementBenchmark.jobs)
        let figures = zip(Self.kinds, zip(small, large)).map { kind, times in
            Figure(
                name: kind.name, value: times.1.median, unit: "µs",
                baseline: .init(name: "a tenth of workers and tasks", value: times.0.median),
                note: String(format: "the slowest of %d: %.0f µs", times.1.count, times.1.max() ?? 0))
        }
        return try figures + runningArrays()
    }

    /// What is done to all running tasks of one array, for each of them.
    private func runningArrays() throws -> [Figure] {
        let kinds: [(String, (JobID) -> Event)] = [
            ("is held", { .holdRequested($0) }),
            ("is given another time limit", { .timeLimitRequested($0, .minutes(30), from: nil) }),
            ("begins anew", { .requeueRequested($0, task: nil) }),
            ("is cancelled", { .cancelRequested($0) }),
        ]
        return try kinds.map { name, event in
            let times = try [Int64(2_000), 20_000].map { tasks in
                var bench = CoreUnderBench(workers: Int(tasks) / 8, jobs: 1)
                _ = bench.registerAndPlace()
                _ = try bench.submit(tasks: tasks)
                guard bench.startedCount > tasks else { throw BenchFailure("\(bench.startedCount) tasks run") }
                return try bench.time([event(bench.newest(0))]) / Double(tasks)
            }
            return Figure(
                name: "a running array of 20,000 \(name), a task", value: times[1], unit: "µs",
                baseline: .init(name: "of 2,000", value: times[0]))
        }
    }

    private func measure(workers: Int, jobs: Int) throws -> [[Double]] {
        var bench = CoreUnderBench(workers: workers, jobs: jobs)
        _ = bench.registerAndPlace()
        return try Self.kinds.map { kind in
            try (0..<kind.repeats).map { number in try kind.measure(&bench, number) }
        }
    }

    private static var kinds: [Kind] {
        [
            .event("a job of one task is submitted") { bench, _ in [bench.submission(tasks: 1)] },
            .event("a pipeline of 100 jobs is submitted", repeats: 10) { bench, _ in
                [.pipelineSubmitted((0..<100).map { bench.newJob(after: $0 == 0 ? nil : 1) })]
            },
            .event("its first job is cancelled, and all others with it", repeats: 10) { bench, number in
                [.cancelRequested(bench.newest(100 * (10 - number) - 1))]
            },
            .event("a job that waits is cancelled") { bench, number in [.cancelRequested(bench.waiting[number])] },
            .event("a job is held") { bench, number in [.holdRequested(bench.waiting[100 + number])] },
            .event("a job is released") { bench, number in [.releaseRequested(bench.waiting[100 + number])] },
            .event("a time limit is changed") { bench, number in
                [.timeLimitRequested(bench.waiting[200 + number], .minutes(61 + Int64(number)), from: nil)]
            },
            .event("a running job is cancelled") { bench, number in [.cancelRequested(bench.running[number])] },
            .event("a running job begins anew") { bench, number in
                [.requeueRequested(bench.running[100 + number], task: nil)]
            },
            .event("a worker is drained") { bench, number in [.drainRequested(bench.names[number])] },
            .event("a worker takes work again") { bench, number in [.resumeRequested(bench.names[number])] },
            .event("a worker is kept for maintenance tomorrow") { bench, number in
                [.reservationSaved(bench.reservation(number, of: [bench.names[number]]))]
            },
            .event("all workers are kept for maintenance in a month", repeats: 5) { bench, number in
                [.reservationSaved(bench.reservation(100 + number, of: bench.names))]
            },
            .event("a queue gets another weight") { _, number in
                [.accountSaved(AccountRow(id: .queue(.standard), settings: AccountSettings(weight: 100 + number)))]
            },
            .event("a user gets another limit") { _, number in
                let settings = AccountSettings(limits: Limits(running: 100_000 + Int64(number)))
                return [.accountSaved(AccountRow(id: .user(UserName(unchecked: "user\(number)")), settings: settings))]
            },
            .event("time goes by") { _, _ in [.timeAdvanced] },
            Kind(name: "why a job waits") { bench, number in bench.why(bench.waiting[300 + number]) },
            Kind(name: "all workers, listed", repeats: 5) { bench, _ in bench.views() },
            .event("every worker is lost at once", repeats: 1) { bench, _ in
                bench.waitForAnHour()
                return [.timeAdvanced]
            },
        ]
    }
}

extension CoreUnderBench {
    /// One batch, in microseconds.
    mutating func time(_ events: [Event]) throws -> Double {
        var outcomes: [Outcome] = []
        let start = ContinuousClock.now
        for event in events { outcomes.append(cluster.apply(event, at: now)) }
        outcomes.append(cluster.schedule(at: now))
        let time = (ContinuousClock.now - start) / .microseconds(1)
        for outcome in outcomes {
            if case .refused(let refusal) = outcome.reply { throw BenchFailure("\(refusal)") }
            take(outcome)
        }
        return time
    }

    func newest(_ back: Int) -> JobID { JobID(rawValue: lastJob - Int64(back)) }

    mutating func submission(tasks: Int64) -> Event {
        lastJob += 1
        return .jobSubmitted(
            JobID(rawValue: lastJob), Self.record(Int(lastJob), tasks: tasks), imageIsStored: true, hold: false)
    }

    mutating func newJob(after back: Int64?) -> NewJob {
        lastJob += 1
        var record = Self.record(Int(lastJob), tasks: 10, of: 0)
        if let back { record.dependencies = [Dependency(job: JobID(rawValue: lastJob - back), kind: .afterOK)] }
        return NewJob(id: JobID(rawValue: lastJob), record: record, imageIsStored: true, hold: false)
    }

    func reservation(_ number: Int, of workers: [WorkerName]) -> AdvanceReservation {
        let day: Int64 = 86_400_000
        let start = now.wall.millisecondsSinceEpoch + (workers.count == 1 ? day : 30 * day + Int64(number) * day)
        return AdvanceReservation(
            name: ReservationName(unchecked: "maintenance-\(number)"), start: Timestamp(millisecondsSinceEpoch: start),
            end: Timestamp(millisecondsSinceEpoch: start + day / 24), workers: workers)
    }

    func why(_ job: JobID) -> Double {
        let start = ContinuousClock.now
        let reason = cluster.why(job, at: now)
        precondition(reason != nil)
        return (ContinuousClock.now - start) / .microseconds(1)
    }

    func views() -> Double {
        let start = ContinuousClock.now
        precondition(cluster.workerViews().count == names.count)
        return (ContinuousClock.now - start) / .microseconds(1)
    }

    mutating func waitForAnHour() { now.uptime += 3_600_000 }
}

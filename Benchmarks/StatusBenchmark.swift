// `jobctl status` and `jobctl show` as processes, beside a program that does nothing: on an empty cluster, and on one
// that has finished ten million tasks and has a million waiting. The second must cost what the first does. Start and
// memory of such a scheduler stand beside it.
import Foundation

struct StatusBenchmark {
    let settings: Settings

    static let runs = 200
    static let jobs = 100_000
    static let tasksPerJob = 100
    static let size = "10,000,000 finished, 1,000,000 waiting"

    func run() async throws -> [Figure] {
        let empty = try settings.scratch.folder("status-empty")
        let full = try settings.scratch.folder("status-full")
        let (small, emptyStart, emptyMemory) = try await SchedulerUnderBench.with(on: empty) { scheduler in
            (
                try time(["status"], of: scheduler, "jobctl status"), scheduler.startTime,
                scheduler.residentMegabytes
            )
        }
        Progress.say("writing \(Self.jobs) finished jobs of \(Self.tasksPerJob) tasks")
        try LargeStore(
            jobs: Self.jobs, tasksPerJob: Self.tasksPerJob, waitingJobs: PlacementBenchmark.jobs,
            workers: PlacementBenchmark.workers
        ).write(to: full)
        let (large, fullStart, fullMemory) = try await SchedulerUnderBench.with(on: full) { scheduler in
            let totals = try await scheduler.client.status().tasks
            guard totals.succeeded == Int64(Self.jobs * Self.tasksPerJob),
                totals.pending == Int64(PlacementBenchmark.jobs) * LargeStore.waitingTasks
            else {
                throw BenchFailure("the large store shows \(totals.succeeded) succeeded, \(totals.pending) pending")
            }
            let figures = [
                try time(["status"], of: scheduler, "jobctl status, \(Self.size)"),
                try time(["show", "\(Self.jobs / 2)"], of: scheduler, "jobctl show of a finished job, \(Self.size)"),
                try time(["show", "\(Self.jobs + 1)"], of: scheduler, "jobctl show of a waiting job, \(Self.size)"),
            ]
            return (figures, scheduler.startTime, scheduler.residentMegabytes)
        }
        let start = Figure(
            name: "start, \(Self.size)", value: fullStart * 1000, unit: "ms",
            baseline: .init(name: "start with nothing", value: emptyStart * 1000),
            goal: .init(direction: .below, value: 3000),
            note: String(format: "%.0f MB resident, %.0f MB with nothing", fullMemory, emptyMemory))
        return [small] + large + [start]
    }

    private func time(_ command: [String], of scheduler: SchedulerUnderBench, _ name: String) throws -> Figure {
        let environment = [
            "JOBCTL_URL": scheduler.url, "JOBCTL_TOKEN": scheduler.adminToken, "JOBCTL_CONFIG": "/nonexistent",
        ]
        func milliseconds(_ program: String, _ arguments: [String]) throws -> Double {
            let start = ContinuousClock.now
            let id = try spawn(program, arguments, environment: environment)
            var status: Int32 = 0
            guard waitpid(id, &status, 0) == id, status == 0 else {
                throw BenchFailure("\(program) \(arguments) ended with \(status)")
            }
            return (ContinuousClock.now - start) / .milliseconds(1)
        }
        var times: [Double] = []
        var nothing: [Double] = []
        for _ in 0..<Self.runs {
            nothing.append(try milliseconds("/bin/true", []))
            times.append(try milliseconds(Settings.programs + "/jobctl", command))
        }
        return Figure(
            name: name, value: times.median, unit: "ms", baseline: .init(name: "/bin/true", value: nothing.median),
            goal: .init(direction: .below, value: 20),
            note: String(
                format: "%d runs: min %.1f, median %.1f, 99%% below %.1f, max %.1f ms", times.count, times.min() ?? 0,
                times.median, times.quantile(0.99), times.max() ?? 0))
    }
}

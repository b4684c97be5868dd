// How long a scheduler takes from the start of its process to its first answer when a whole institute's work waits.
import Foundation

struct RestartBenchmark {
    let settings: Settings

    static let workers = PlacementBenchmark.workers
    static let jobs = PlacementBenchmark.jobs
    static let running = 20_000

    func run() async throws -> [Figure] {
        let (nothing, _) = try await start(LargeStore(), "restart-empty")
        let (full, megabytes) = try await start(
            LargeStore(waitingJobs: Self.jobs, running: Self.running, workers: Self.workers), "restart-full")
        let tasks = Int64(Self.jobs) * LargeStore.waitingTasks
        return [
            Figure(
                name: "start with \(tasks) tasks waiting, \(Self.workers) workers", value: full.median, unit: "s",
                baseline: .init(name: "start with nothing", value: nothing.median),
                goal: .init(direction: .below, value: 3),
                note: String(
                    format:
                        "%d jobs of %d shapes, %d live attempts of one array; slowest of %d: %.2f s; %.0f MB resident",
                    Self.jobs, PlacementBenchmark.shapes, Self.running, full.count, full.max() ?? 0, megabytes)),
            Figure(
                name: "memory of that scheduler", value: megabytes, unit: "MB",
                goal: .init(direction: .below, value: 1024)),
        ]
    }

    /// Seconds of each start, the first of which finds work that no worker was known for; and what it holds then.
    private func start(_ store: LargeStore, _ name: String) async throws -> ([Double], megabytes: Double) {
        let folder = try settings.scratch.folder(name)
        try store.write(to: folder)
        var times: [Double] = []
        var megabytes = 0.0
        for _ in 0..<settings.rounds {
            try await SchedulerUnderBench.with(on: folder) { scheduler in
                times.append(scheduler.startTime)
                let tasks = try await scheduler.client.status().tasks
                guard tasks.pending == Int64(store.waitingJobs) * LargeStore.waitingTasks,
                    tasks.running == Int64(store.running)
                else {
                    throw BenchFailure("\(tasks.pending) tasks wait and \(tasks.running) run after the start")
                }
                megabytes = scheduler.highestMegabytes
            }
        }
        return (times, megabytes)
    }
}

// Containers a second through the whole path, from the submission of an array to its durable result, beside a loop of
// the engine's own command at the same parallelism with the same root file system. Rounds of both take turns.
import Foundation
import JobModel
import SchedulerClient

struct ContainerBenchmark {
    let settings: Settings

    /// Containers at a time, for both.
    static let parallelism = 3 * ProcessInfo.processInfo.activeProcessorCount
    static let rounds = 2

    /// Containers a second, and no less than this share of the bare loop's.
    private static let goals: [String: (rate: Double, share: Double)] = [
        "docker": (0, 1), "crun": (100, 0.5), "runc": (60, 0.5),
    ]

    func run() async throws -> [Figure] {
        var figures: [Figure] = []
        var docker: Figure.Baseline?
        for name in settings.engines {
            let subject = try await EngineSubject.start(name, settings.scratch)
            let rates: Rates
            do {
                rates = try await measure(subject)
                await subject.stop()
            } catch {
                await subject.stop()
                throw error
            }
            let goal = Self.goals[name] ?? (0, 1)
            let title = "containers through \(name), \(Self.parallelism) at a time"
            let bare = Figure.Baseline(name: subject.bareName, value: rates.bare.mean)
            figures.append(
                Figure(
                    name: title, value: rates.ours.mean, unit: "/s", baseline: bare,
                    goal: .init(direction: .atLeast, value: max(goal.rate, bare.value * goal.share)),
                    note: "rounds: \(rates.ours.text); \(subject.bareName): \(rates.bare.text)"))
            if name == "docker" {
                docker = bare
            } else if let docker {
                figures.append(
                    Figure(
                        name: title, value: rates.ours.mean, unit: "/s", baseline: docker,
                        goal: .init(direction: .atLeast, value: docker.value * 10)))
            }
        }
        return figures
    }

    private struct Rates {
        var bare: [Double] = []
        var ours: [Double] = []
    }

    private func measure(_ subject: EngineSubject) async throws -> Rates {
        let folder = try settings.scratch.folder("containers-" + subject.name)
        let data = try settings.scratch.folder("containers-\(subject.name)/scheduler")
        return try await SchedulerUnderBench.with(on: data) { scheduler in
            try await scheduler.importBusybox(settings.scratch)
            let worker = try WorkerUnderBench(
                scheduler, subject, folder: folder + "/worker", slots: Self.parallelism)
            do {
                let rates = try await takeTurns(subject, scheduler)
                try worker.stop()
                return rates
            } catch {
                let log = FileManager.default.contents(atPath: folder + "/worker.log") ?? Data()
                try? worker.stop()  // allowed: the first error counts
                throw BenchFailure("\(error)\n\(String(decoding: log.suffix(2000), as: UTF8.self))")
            }
        }
    }

    private func takeTurns(_ subject: EngineSubject, _ scheduler: SchedulerUnderBench) async throws -> Rates {
        _ = try await jobctl(scheduler, tasks: Self.parallelism)  // the image is in the engine from here on
        var rates = Rates()
        for _ in 0..<Self.rounds {
            rates.bare.append(try await loop(subject, seconds: settings.seconds))
            let tasks = max(Self.parallelism, Int(rates.bare[0] * settings.seconds))
            rates.ours.append(try await jobctl(scheduler, tasks: tasks))
        }
        return rates
    }

    /// An array of trivial tasks, from the call of `jobctl submit` to the end of the last.
    private func jobctl(_ scheduler: SchedulerUnderBench, tasks: Int) async throws -> Double {
        let file = settings.scratch.path + "/array.json"
        try Data(try WireJSON.encode(SubmitBenchmark.spec(array: "1-\(tasks)"))).write(to: URL(filePath: file))
        let environment = [
            "JOBCTL_URL": scheduler.url, "JOBCTL_TOKEN": scheduler.adminToken, "JOBCTL_CONFIG": "/nonexistent",
        ]
        let (status, seconds) = try await timed { () async throws -> Int32 in
            let id = try spawn(Settings.programs + "/jobctl", ["submit", file, "--wait"], environment: environment)
            return await end(of: id)
        }
        guard status == 0 else { throw BenchFailure("an array of \(tasks) tasks did not succeed") }
        return Double(tasks) / seconds
    }

    private func loop(_ subject: EngineSubject, seconds: Double) async throws -> Double {
        let (count, elapsed) = try await timed { () async throws -> Int in
            let deadline = ContinuousClock.now + .seconds(seconds)
            return try await withThrowingTaskGroup(of: Int.self) { group in
                for lane in 0..<Self.parallelism {
                    group.addTask {
                        var count = 0
                        while ContinuousClock.now < deadline {
                            let command = subject.bareCommand("bare-\(lane)-\(count)")
                            let output = settings.scratch.path + "/bare-\(lane).log"
                            let id = try spawn(
                                command[0], Array(command.dropFirst()), environment: subject.environment,
                                output: output)
                            guard await end(of: id) == 0 else {
                                let words = FileManager.default.contents(atPath: output) ?? Data()
                                throw BenchFailure("\(command) failed: \(String(decoding: words, as: UTF8.self))")
                            }
                            count += 1
                        }
                        return count
                    }
                }
                return try await group.reduce(0, +)
            }
        }
        return Double(count) / elapsed
    }
}

extension [Double] {
    fileprivate var mean: Double { reduce(0, +) / Double(count) }
    fileprivate var text: String { map { String(format: "%.1f", $0) }.joined(separator: ", ") }
}

/// Waits for a child on a thread of its own: a blocked task would take a lane of the pool.
func end(of id: pid_t) async -> Int32 {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread {
            var status: Int32 = 0
            while waitpid(id, &status, 0) < 0, errno == EINTR {}
            continuation.resume(returning: status)
        }
    }
}

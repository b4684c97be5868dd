// Containers a second through the whole path, from the submission of an array to its durable result, beside a loop of
// the engine's own command at the same parallelism with the same root file system. Rounds of both take turns.
import Foundation
import JobModel
import SchedulerClient

struct ContainerBenchmark {
    let settings: Settings

    /// Containers at a time, for both.
    static let parallelism = 2 * ProcessInfo.processInfo.activeProcessorCount
    static let rounds = 2

    func run() async throws -> [Figure] {
        var figures: [Figure] = []
        for name in settings.engines {
            let subject = try await EngineSubject.start(name, settings.scratch)
            do {
                figures.append(try await measure(subject))
                await subject.stop()
            } catch {
                await subject.stop()
                throw error
            }
        }
        return figures
    }

    private func measure(_ subject: EngineSubject) async throws -> Figure {
        let folder = try settings.scratch.folder("containers-" + subject.name)
        let data = try settings.scratch.folder("containers-\(subject.name)/scheduler")
        return try await SchedulerUnderBench.with(on: data) { scheduler in
            try await scheduler.importBusybox(settings.scratch)
            let worker = try WorkerUnderBench(
                scheduler, subject, folder: folder + "/worker", slots: Self.parallelism)
            do {
                let figure = try await takeTurns(subject, scheduler)
                try worker.stop()
                return figure
            } catch {
                let log = FileManager.default.contents(atPath: folder + "/worker.log") ?? Data()
                try? worker.stop()  // allowed: the first error counts
                throw BenchFailure("\(error)\n\(String(decoding: log.suffix(2000), as: UTF8.self))")
            }
        }
    }

    private func takeTurns(_ subject: EngineSubject, _ scheduler: SchedulerUnderBench) async throws -> Figure {
        _ = try await jobctl(scheduler, tasks: Self.parallelism)  // the image is in the engine from here on
        var bare: [Double] = []
        var ours: [Double] = []
        for _ in 0..<Self.rounds {
            bare.append(try await loop(subject, seconds: settings.seconds))
            ours.append(try await jobctl(scheduler, tasks: max(Self.parallelism, Int(bare[0] * settings.seconds))))
        }
        let (value, baseline) = (ours.reduce(0, +) / Double(ours.count), bare.reduce(0, +) / Double(bare.count))
        func list(_ rates: [Double]) -> String { rates.map { String(format: "%.1f", $0) }.joined(separator: ", ") }
        return Figure(
            name: "containers through \(subject.name), \(Self.parallelism) at a time", value: value, unit: "/s",
            baseline: .init(name: subject.bareName, value: baseline), goal: .init(direction: .atLeast, value: baseline),
            note: "rounds: \(list(ours)); \(subject.bareName): \(list(bare))")
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
                            let id = try spawn(command[0], Array(command.dropFirst()), environment: subject.environment)
                            guard await end(of: id) == 0 else { throw BenchFailure("\(command) failed") }
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

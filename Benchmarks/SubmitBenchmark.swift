// Durable submits: through the real API at 16 connections, beside bare commits of SQLite; and an array of a million
// tasks, which must be one row.
import Foundation
import GRDB
import JobModel

struct SubmitBenchmark {
    let settings: Settings

    static let connections = 16
    static let arraySize: Int64 = 1_000_000

    func run() async throws -> [Figure] {
        let folder = try settings.scratch.folder("submit")
        return try await SchedulerUnderBench.with(on: folder) { scheduler in
            try await scheduler.importBusybox(settings.scratch)
            let single = try singles(scheduler)
            let array = try await arrays(scheduler)
            let drained = try await drain(scheduler)
            return [single, array, drained]
        }
    }

    /// The median of three rounds, each after a round of the baseline.
    private func singles(_ scheduler: SchedulerUnderBench) throws -> Figure {
        let bare = try BareSQLite(folder: scheduler.folder)
        let post = try post(scheduler)
        var rates: [Double] = []
        var commits: [Double] = []
        var latencies: [Double] = []
        var answered = 0
        let usedBefore = scheduler.processorSeconds
        for round in 0..<3 {
            commits.append(try bare.commitsPerSecond(seconds: settings.seconds / 4, bytes: 1000))
            var generator = try LoadGenerator(port: scheduler.port, connections: Self.connections)
            rates.append(
                try generator.run(seconds: settings.seconds, expecting: 201) { post.bytes(key: "bench-\(round)-\($0)") }
            )
            answered += generator.answers
            latencies += generator.latencies
        }
        let used = (scheduler.processorSeconds - usedBefore) / Double(answered) * 1e6
        let stored = try Self.count("jobs", in: scheduler.database)
        guard stored == answered else {
            throw BenchFailure("\(answered) submits were acknowledged and \(stored) jobs are stored")
        }
        return Figure(
            name: "durable submits, \(Self.connections) connections", value: rates.median, unit: "/s",
            baseline: .init(name: "bare SQLite commits", value: commits.median),
            goal: .init(direction: .atLeast, value: 5_000),
            note: String(
                format: "%d jobs stored, latency median %.2f ms, 99%% below %.2f ms, %.0f µs of processor a submit",
                stored,
                latencies.median, latencies.quantile(0.99), used))
    }

    /// Submits and runs jobs in three rounds. What the scheduler holds in memory after each must not grow.
    private func drain(_ scheduler: SchedulerUnderBench) async throws -> Figure {
        let bare = try BareSQLite(folder: scheduler.folder)
        let rows = try bare.rowsPerSecond(seconds: settings.seconds / 4, batch: 1_000)
        let post = try post(scheduler)
        var (done, seconds, memory) = (0, 0.0, [Double]())
        for round in 0..<3 {
            var generator = try LoadGenerator(port: scheduler.port, connections: Self.connections)
            if round > 0 {
                _ = try generator.run(seconds: settings.seconds, expecting: 201) {
                    post.bytes(key: "run-\(round)-\($0)")
                }
            }
            let (count, elapsed) = try await timed { try await LeanWorker.serve(scheduler, workers: 2, slots: 1_000) }
            done += count
            seconds += elapsed
            memory.append(scheduler.residentMegabytes)
        }
        let succeeded = try await scheduler.client.status().tasks.succeeded
        guard succeeded == Int64(done) else { throw BenchFailure("\(done) jobs ran and \(succeeded) are counted") }
        return Figure(
            name: "jobs of one task run to their end", value: Double(done) / seconds, unit: "/s",
            baseline: .init(name: "bare SQLite rows, 1,000 a commit", value: rows),
            note: "over HTTP, 2 workers; \(done) jobs in three rounds, after which the scheduler had "
                + memory.map { String(format: "%.0f", $0) }.joined(separator: ", ") + " MB")
    }

    private func post(_ scheduler: SchedulerUnderBench) throws -> PostTemplate {
        PostTemplate(
            path: "/v1/jobs", port: scheduler.port, token: scheduler.adminToken,
            body: try WireJSON.encode(SubmitRequest(spec: Self.spec(array: nil))))
    }

    private func arrays(_ scheduler: SchedulerUnderBench) async throws -> Figure {
        func milliseconds(_ array: String?) async throws -> Double {
            let request = SubmitRequest(spec: Self.spec(array: array), hold: array != nil)
            let key = UUID().uuidString
            return try await timed { _ = try await scheduler.client.submit(request, idempotencyKey: key) }.seconds
                * 1000
        }
        _ = try await milliseconds(nil)
        var single: [Double] = []
        var array: [Double] = []
        for _ in 0..<20 {
            single.append(try await milliseconds(nil))
            array.append(try await milliseconds("1-\(Self.arraySize)"))
        }
        let tasks = try Self.count("tasks", in: scheduler.database)
        guard tasks == 0 else { throw BenchFailure("20 arrays added \(tasks) rows of tasks: a row a task is too many") }
        return Figure(
            name: "submit an array of 1,000,000", value: array.median, unit: "ms",
            baseline: .init(name: "submit one task", value: single.median), goal: .init(direction: .below, value: 50),
            note: String(format: "slowest of 20: %.2f ms; rows of tasks after 20 arrays: %d", array.max() ?? 0, tasks))
    }

    static func spec(array: String?) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("name", .string("bench")), ("image", .string("busybox:bench")),
            ("command", .array([.string("/bin/busybox"), .string("true")])),
            ("environment", .object([("OMP_NUM_THREADS", .string("1"))])),
            ("resources", .object([("cpus", .number(1)), ("memory", .string("512MiB"))])),
        ]
        if let array { members.append(("array", .string(array))) }
        return .object(members)
    }

    static func count(_ table: String, in database: String) throws -> Int {
        var configuration = GRDB.Configuration()
        configuration.readonly = true
        return try DatabaseQueue(path: database, configuration: configuration).read { db in
            try Int.fetchOne(db, sql: "SELECT count(*) FROM \(table)") ?? 0
        }
    }
}

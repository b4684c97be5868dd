// A scheduler is killed and started again while thousands of agents hold running tasks: how long until every one of
// them is back, and what a user's submit costs meanwhile. Beside it stand one agent alone, and submits in quiet times.
import Foundation
import JobModel
import Synchronization

struct ReconnectBenchmark {
    let settings: Settings

    static let agents = 5_000
    static let tasksPerAgent = 4

    func run() async throws -> [Figure] {
        let (alone, _, _) = try await measure(agents: 1, "reconnect-one")
        let (all, quiet, storm) = try await measure(agents: Self.agents, "reconnect")
        guard let slowest = storm.max() else { throw BenchFailure("nobody could submit while the agents came back") }
        return [
            Figure(
                name: "\(Self.agents) agents back after a restart", value: all, unit: "s",
                baseline: .init(name: "one agent", value: alone), goal: .init(direction: .below, value: 45),
                note:
                    "from the start of the process; each with \(Self.tasksPerAgent) running tasks and a connection of its own"
            ),
            Figure(
                name: "submit meanwhile, the slowest", value: slowest, unit: "ms",
                baseline: .init(name: "in quiet times, median", value: quiet.median),
                goal: .init(direction: .below, value: 1000),
                note: String(
                    format: "%d submits, median %.1f ms, each with a new connection", storm.count, storm.median)
            ),
        ]
    }

    /// Seconds until all are back; milliseconds of submits before the restart and after.
    private func measure(agents: Int, _ name: String) async throws -> (Double, quiet: [Double], storm: [Double]) {
        try Self.raiseFileLimit()
        let folder = try settings.scratch.folder(name)
        let first = try await SchedulerUnderBench.start(on: folder)
        let fleet = try AgentFleet(count: agents, port: first.port, token: first.workerToken)
        var quiet: [Double] = []
        do {
            try await first.importBusybox(settings.scratch)
            let tasks = Int64(agents * Self.tasksPerAgent)
            let request = SubmitRequest(spec: SubmitBenchmark.spec(array: "1-\(tasks)"))
            _ = try await first.client.submit(request, idempotencyKey: UUID().uuidString)
            try fleet.serve(for: 120) { $0.back == agents && $0.live == Int(tasks) }
            let user = try SubmittingUser(port: first.port, token: first.adminToken)
            user.begin()
            let end = ContinuousClock.now + .seconds(2)
            try fleet.serve(for: 10) { _ in ContinuousClock.now > end }
            quiet = user.finish()
        } catch {
            first.kill()
            throw error
        }
        first.kill()
        try fleet.lose()
        let start = ContinuousClock.now
        let user = try SubmittingUser(port: first.port, token: first.adminToken)
        user.begin()
        async let second = SchedulerUnderBench.start(on: folder, port: first.port)
        try fleet.serve(for: 120) { $0.back == agents }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let storm = user.finish()
        let scheduler = try await second
        defer { scheduler.stop() }
        let status = try await scheduler.client.status()
        guard status.tasks.running == Int64(agents * Self.tasksPerAgent) else {
            throw BenchFailure("\(status.tasks.running) tasks run after the restart")
        }
        return (seconds, quiet, storm)
    }

    private static func raiseFileLimit() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard limit.rlim_cur > UInt(agents) + 1000 else {
            throw BenchFailure("a process may have \(limit.rlim_cur) files open: \(agents) agents need more")
        }
    }
}

/// A user who submits a job, waits a moment, and submits the next, on a thread of its own.
private final class SubmittingUser: Sendable {
    private struct State {
        var times: [Double] = []
        var isOver = false
    }

    private let state = Mutex(State())
    private let post: PostTemplate
    private let port: Int
    private let ended = DispatchSemaphore(value: 0)

    init(port: Int, token: String) throws {
        self.port = port
        post = PostTemplate(
            path: "/v1/jobs", port: port, token: token,
            body: try WireJSON.encode(SubmitRequest(spec: SubmitBenchmark.spec(array: nil))))
    }

    func begin() {
        let thread = Thread { [self] in
            while !state.withLock({ $0.isOver }) {
                let start = ContinuousClock.now
                if (try? submit()) != nil {  // allowed: nobody listens yet
                    let time = (ContinuousClock.now - start) / .milliseconds(1)
                    state.withLock { $0.times.append(time) }
                }
                usleep(50_000)
            }
            ended.signal()
        }
        thread.start()
    }

    private func submit() throws {
        var generator = try LoadGenerator(port: port, connections: 1)
        _ = try generator.run(seconds: 0, expecting: 201) { _ in post.bytes(key: UUID().uuidString) }
    }

    func finish() -> [Double] {
        state.withLock { $0.isOver = true }
        ended.wait()
        return state.withLock { $0.times }
    }
}

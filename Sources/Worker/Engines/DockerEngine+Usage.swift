// What a container used: by control groups (CgroupBook), or by the engine's statistics where the agent cannot read
// them.
import Foundation
import JobModel

extension DockerEngine {
    package func usage(_ id: String) async throws(EngineError) -> Usage? {
        // The agent asks often: the engine is asked only until the container's control group is known.
        if let known = await cgroups.consumption(of: id) { return usage(known.figures, since: known.startedAt) }
        guard let found = try await inspect(id) else { return nil }
        let started = RecordedState.time(found.state.startedAt)
        let isRunning = found.state.judge() == .running
        await cgroups.learn(found.id, found.attempt, pid: isRunning ? found.state.pid : 0, startedAt: started)
        if let known = await cgroups.consumption(of: found.id) { return usage(known.figures, since: started) }
        guard isRunning, let figures = try await statistics(found.id) else { return nil }
        return usage(figures, since: started)
    }

    /// The agent replaces the wall time by the proof's when the container has ended.
    private func usage(_ figures: Consumption, since started: Timestamp?) -> Usage {
        let now = Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
        return Usage(
            cpuSeconds: figures.cpuSeconds, maxMemory: ByteCount(bytes: figures.peakMemory),
            wallSeconds: started.map { max(0, (now - $0).seconds) } ?? 0)
    }

    /// One sample of the engine's own: no peak on version 2 groups, so the present use stands in for it.
    private func statistics(_ id: String) async throws(EngineError) -> Consumption? {
        struct Statistics: Decodable {
            struct CPU: Decodable {
                struct Use: Decodable { let total_usage: Double? }
                let cpu_usage: Use?
            }
            struct Memory: Decodable { let usage: Double?, max_usage: Double? }
            let cpu_stats: CPU?
            let memory_stats: Memory?
        }
        // Podman answers this Docker path too.
        let prefix =
            switch dialect {
            case .docker(let prefix): prefix
            case .podman: "/v1.41"
            }
        let answer = try await http.exchange(
            .GET, prefix + "/containers/" + percentEncoded(id) + "/stats",
            query: [("stream", "false"), ("one-shot", "true")])
        guard answer.status == 200 else { return nil }
        let found: Statistics = try answer.decoded()
        guard let nanoseconds = found.cpu_stats?.cpu_usage?.total_usage, nanoseconds >= 0 else { return nil }
        let memory = max(found.memory_stats?.max_usage ?? 0, found.memory_stats?.usage ?? 0)
        return Consumption(cpuSeconds: nanoseconds / 1e9, peakMemory: Int64(exactly: memory.rounded()) ?? 0)
    }
}

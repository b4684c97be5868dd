// What a container used: by control groups (CgroupBook), or by the engine's statistics where the agent cannot read them.
import Foundation
import JobModel

extension DockerEngine {
    package func usage(_ id: String) async throws(EngineError) -> Usage? {
        guard let found = try await inspect(id) else { return nil }
        let attempt = found.settings.labels?[ContainerLabel.attempt].flatMap { AttemptID($0) }
        let wall: Double
        if let started = RecordedState.time(found.state.startedAt) {
            let now = Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
            wall = max(0, ((RecordedState.time(found.state.finishedAt) ?? now) - started).seconds)
        } else {
            wall = 0
        }
        let isRunning = found.state.judge() == .running
        var figures = await cgroups.consumption(of: found.id, attempt, pid: isRunning ? found.state.pid : 0)
        if figures == nil, isRunning { figures = try await statistics(found.id) }
        guard let figures else { return nil }
        return Usage(cpuSeconds: figures.cpuSeconds, maxMemory: ByteCount(bytes: figures.peakMemory), wallSeconds: wall)
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
        let prefix = switch dialect {
        case .docker(let prefix): prefix
        case .podman: "/v1.41"
        }
        let answer = try await http.exchange(
            .GET, prefix + "/containers/" + percentEncoded(id) + "/stats", query: [("stream", "false"), ("one-shot", "true")])
        guard answer.status == 200 else { return nil }
        let found: Statistics = try answer.decoded()
        guard let nanoseconds = found.cpu_stats?.cpu_usage?.total_usage, nanoseconds >= 0 else { return nil }
        let memory = max(found.memory_stats?.max_usage ?? 0, found.memory_stats?.usage ?? 0)
        return Consumption(cpuSeconds: nanoseconds / 1e9, peakMemory: Int64(exactly: memory.rounded()) ?? 0)
    }
}

// What is left of a job's attempts after the retention policy summed them up.

/// Sums over the attempts of a job that have no records of their own any more.
package struct CompactionDocument: Hashable, Codable, Sendable {
    package var compactedAt: Timestamp
    /// Tasks whose attempts were summed up.
    package var tasks: Int64
    /// Attempts by the state that they ended in.
    package var attempts: [String: Int64]
    /// Attempts by the reason of their end.
    package var reasons: [String: Int64]
    package var cpuSeconds: Double
    package var wallSeconds: Double
    /// The most that any of them used.
    package var maxMemory: ByteCount
    /// Where they ran, sorted; of very many, the first.
    package var workers: [String]

    package init(at time: Timestamp) {
        compactedAt = time
        tasks = 0
        attempts = [:]
        reasons = [:]
        cpuSeconds = 0
        wallSeconds = 0
        maxMemory = ByteCount(bytes: 0)
        workers = []
    }

    private enum CodingKeys: String, CodingKey {
        case compactedAt = "compacted_at", tasks, attempts, reasons, cpuSeconds = "cpu_seconds"
        case wallSeconds = "wall_seconds", maxMemory = "max_memory_bytes", workers
    }
}

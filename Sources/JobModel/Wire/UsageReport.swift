// Who held and used how much, as the API and `-o json` show it. Fields are added, never renamed.

/// What the rows of a report stand for.
package enum UsageGrouping: String, Hashable, Codable, CaseIterable, Sendable {
    case user, group, queue, configuration, day

    /// `user,queue`; nil for anything else, and for what is named twice.
    package static func list(_ text: String) -> [UsageGrouping]? {
        let all = text.split(separator: ",", omittingEmptySubsequences: false).map {
            UsageGrouping(rawValue: String($0))
        }
        guard !all.contains(nil), Set(all).count == all.count else { return nil }
        return all.compactMap(\.self)
    }
}

/// Sums over the attempts that ended from one day to another. One that still runs is not in it.
package struct UsageReport: Hashable, Codable, Sendable {
    package var by: [UsageGrouping]
    /// `2026-01-31`, in UTC; both days are included.
    package var since: String
    package var until: String
    /// What held most processors first; the 10,000 largest.
    package var rows: [UsageReportRow]

    package init(by: [UsageGrouping], since: String, until: String, rows: [UsageReportRow]) {
        self.by = by
        self.since = since
        self.until = until
        self.rows = rows
    }
}

package struct UsageReportRow: Hashable, Codable, Sendable {
    /// Only what the report is grouped by.
    package var day: String?
    package var user: String?
    package var group: String?
    package var queue: String?
    package var configuration: String?
    /// `annual-temps@3`; nil for a configuration without a name.
    package var configurationName: String?
    package var attempts: Int64 = 0
    package var succeeded: Int64 = 0
    package var failed: Int64 = 0
    package var cancelled: Int64 = 0
    package var lost: Int64 = 0
    /// Processors that were held, times the time from the assignment to the end.
    package var cpuSeconds = 0.0
    /// Processor time that the programs used, as far as workers report it.
    package var usedCPUSeconds = 0.0
    /// Memory that was held, times the time.
    package var memoryByteSeconds = 0.0
    package var gpuSeconds = 0.0
    /// From the assignment to the end.
    package var runSeconds = 0.0
    /// Tasks that were started for the first time, and how long they had waited since their submission, together.
    package var starts: Int64 = 0
    package var waitSeconds = 0.0

    package init() {}

    private enum CodingKeys: String, CodingKey {
        case day, user, group, queue, configuration, configurationName = "configuration_name", attempts, succeeded
        case failed, cancelled, lost, cpuSeconds = "cpu_seconds", usedCPUSeconds = "used_cpu_seconds"
        case memoryByteSeconds = "memory_byte_seconds", gpuSeconds = "gpu_seconds", runSeconds = "run_seconds", starts
        case waitSeconds = "wait_seconds"
    }
}

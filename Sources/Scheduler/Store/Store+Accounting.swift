// What was held and used: sums that grow with each commit, and the report that is made of them.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// A report to make.
package struct UsageQuery: Sendable {
    package var groupings: [UsageGrouping]
    /// Days since 1970-01-01, both included.
    package var days: ClosedRange<Int64>

    package init(groupings: [UsageGrouping], days: ClosedRange<Int64>) {
        self.groupings = groupings
        self.days = days
    }
}

extension Store {
    private static let sums = [
        "attempts", "succeeded", "failed", "cancelled", "lost", "cpu_time", "used_cpu_time", "memory_time", "gpu_time",
        "run_time", "first_starts", "wait_time",
    ]
    /// Far from where an integer would end.
    private static let most = 1_000_000_000_000_000_000

    private static let accountingSQL =
        "INSERT INTO accounting (day, user, user_group, queue, configuration, \(sums.joined(separator: ", "))) "
        + "VALUES (\(Array(repeating: "?", count: 5 + sums.count).joined(separator: ", "))) "
        + "ON CONFLICT (day, user, user_group, queue, configuration) DO UPDATE SET "
        + sums.map { "\($0) = min(\($0) + excluded.\($0), \(most))" }.joined(separator: ", ")

    /// Adds to the sums.
    func writeAccounting(_ entries: [AccountingKey: AccountingSums], _ db: Database) throws {
        guard !entries.isEmpty else { return }
        let statement = try db.cachedStatement(sql: Self.accountingSQL)
        for (key, sums) in entries.sorted(by: { $0.key < $1.key }) {
            try statement.execute(arguments: [
                key.day, key.user, key.group, key.queue, key.configuration.description, sums.attempts, sums.succeeded,
                sums.failed, sums.cancelled, sums.lost, sums.cpuTime, sums.usedCPUTime, sums.memoryTime, sums.gpuTime,
                sums.runTime, sums.firstStarts, sums.waitTime,
            ])
        }
    }

    /// The most rows that a report has; the largest are kept.
    package static let usageRowLimit = 10_000

    /// The rows of a report, what held most processors first.
    package func usage(_ query: UsageQuery) throws -> [UsageReportRow] {
        let columns = query.groupings.map(\.column)
        let selected = columns + Self.sums.map { "total(\($0)) AS \($0)" }
        let group = columns.isEmpty ? "" : " GROUP BY " + columns.joined(separator: ", ")
        let order = (["cpu_time DESC"] + columns).joined(separator: ", ")
        let sql =
            "SELECT \(selected.joined(separator: ", ")) FROM accounting WHERE day BETWEEN ? AND ?\(group) "
            + "ORDER BY \(order) LIMIT \(Self.usageRowLimit)"
        return try reading { db in
            let name = try db.cachedStatement(
                sql: """
                    SELECT name || '@' || version FROM configuration_versions WHERE digest = ?
                    ORDER BY created_at DESC, name, version DESC LIMIT 1
                    """)
            return try Row.fetchAll(db, sql: sql, arguments: [query.days.lowerBound, query.days.upperBound]).map {
                row in
                var result = UsageReportRow(row)
                for grouping in query.groupings {
                    switch grouping {
                    case .user: result.user = row["user"]
                    case .group: result.group = row["user_group"]
                    case .queue: result.queue = row["queue"]
                    case .day: result.day = Timestamp(daysSinceEpoch: row["day"]).day
                    case .configuration:
                        result.configuration = row["configuration"]
                        result.configurationName = try String.fetchOne(name, arguments: [row["configuration"]])
                    }
                }
                return result
            }
        }
    }
}

extension UsageGrouping {
    fileprivate var column: String { self == .group ? "user_group" : rawValue }
}

extension UsageReportRow {
    fileprivate init(_ row: Row) {
        func count(_ column: String) -> Int64 { Int64(exactly: (row[column] as Double).rounded()) ?? .max }
        func seconds(_ column: String) -> Double { (row[column] as Double) / 1000 }
        self.init()
        attempts = count("attempts")
        succeeded = count("succeeded")
        failed = count("failed")
        cancelled = count("cancelled")
        lost = count("lost")
        cpuSeconds = seconds("cpu_time")
        usedCPUSeconds = seconds("used_cpu_time")
        memoryByteSeconds = (row["memory_time"] as Double) * 1_048_576
        gpuSeconds = seconds("gpu_time")
        runSeconds = seconds("run_time")
        starts = count("first_starts")
        waitSeconds = seconds("wait_time")
    }
}

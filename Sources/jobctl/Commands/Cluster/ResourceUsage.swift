// jobctl usage: who held and used how much.
import ArgumentParser
import JobModel
import SchedulerClient

struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "Who held and used how much.",
        discussion: """
            Sums over attempts that ended on one of the days (UTC). Core hours are what was
            held; USED says which part of it the programs used. WAIT is the mean time from
            submission to the first start, RUN that from an attempt's start to its end.

            Examples:

              jobctl usage
              jobctl usage --by group,user --since 2026-01-01 --until 2026-12-31
              jobctl usage --by configuration --since 7d --csv > week.csv
            """)

    @Option(
        help: "What the rows stand for, one or more of: user, group, queue, configuration, day.",
        completion: .list(UsageGrouping.allCases.map(\.rawValue)))
    var by = "user"
    @Option(help: "The first day, as 2026-01-31, or days ago, as 30d.") var since = "30d"
    @Option(help: "The last day; today if it is not given.") var until: String?
    @Flag(help: "Print comma-separated values, with the names and units of the JSON.") var csv = false
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard UsageGrouping.list(by) != nil else {
            throw ValidationError(
                "--by: \(quoted(by)) is not a list of "
                    + UsageGrouping.allCases.map(\.rawValue).joined(separator: ", "))
        }
    }

    func run() async throws {
        let report = try await global.client().usage(by: by, since: since, until: until)
        if csv { return print(report.csv) }
        if global.format.quiet {
            for row in report.rows { print(row.keys(report.by).joined(separator: " ")) }
            return
        }
        switch global.format.output {
        case .json: try Render.json(report)
        case .table: print(report.table)
        }
    }
}

extension UsageReport {
    fileprivate var table: String {
        let header = by.map { $0.rawValue.uppercased() }
        return Render.text(
            header: header + ["CORE H", "USED", "GIB H", "GPU H", "ATTEMPTS", "FAILED", "LOST", "WAIT", "RUN"],
            rows.map { $0.keys(by) + $0.figures })
    }

    /// RFC 4180, a header line first.
    fileprivate var csv: String {
        let header =
            by.map(\.rawValue) + [
                "cpu_seconds", "used_cpu_seconds", "memory_byte_seconds", "gpu_seconds", "run_seconds", "attempts",
                "succeeded", "failed", "cancelled", "lost", "starts", "wait_seconds",
            ]
        let lines = rows.map { row in
            row.keys(by)
                + [
                    row.cpuSeconds, row.usedCPUSeconds, row.memoryByteSeconds, row.gpuSeconds, row.runSeconds,
                ].map { String($0) }
                + [row.attempts, row.succeeded, row.failed, row.cancelled, row.lost, row.starts].map { String($0) }
                + [String(row.waitSeconds)]
        }
        return ([header] + lines).map { $0.map(Self.field).joined(separator: ",") }.joined(separator: "\r\n")
    }

    private static func field(_ text: String) -> String {
        guard text.contains(where: { ",\"\r\n".contains($0) }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }
}

extension UsageReportRow {
    fileprivate func keys(_ by: [UsageGrouping]) -> [String] {
        by.map { grouping in
            switch grouping {
            case .user: user ?? "-"
            case .group: group ?? "-"
            case .queue: queue ?? "-"
            case .day: day ?? "-"
            case .configuration: configurationName ?? configuration.flatMap { Digest($0)?.short } ?? "-"
            }
        }
    }

    fileprivate var figures: [String] {
        func hours(_ seconds: Double) -> String { rounded(seconds / 3600) }
        func mean(_ seconds: Double, _ count: Int64) -> String {
            count == 0 ? "-" : "\(rounded(seconds / Double(count)))s"
        }
        let used = cpuSeconds > 0 ? "\(rounded(min(usedCPUSeconds / cpuSeconds, 9.99) * 100))%" : "-"
        return [
            hours(cpuSeconds), used, hours(memoryByteSeconds / 1_073_741_824), hours(gpuSeconds), "\(attempts)",
            "\(failed)", "\(lost)", mean(waitSeconds, starts), mean(runSeconds, attempts),
        ]
    }
}

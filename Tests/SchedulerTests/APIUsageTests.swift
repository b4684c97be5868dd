// Usage and events through the API: what ends is accounted once, also over a restart, and grouped as asked.
import Foundation
import JobModel
import Scheduler
import SchedulerClient
import SchedulingCore
import TestSupport
import Testing

@Suite struct APIUsageTests {
    private let attempts = ["1.1.1", "1.2.1", "1.3.1"].compactMap { AttemptID($0) }

    /// Three tasks of ada's: the first ends well, the second fails, the third goes on.
    private func run(_ api: APIUnderTest) async throws {
        try await api.importBusybox()
        _ = try await api.submit(
            #"{"name": "m", "image": "busybox", "command": ["/bin/true"], "array": "1-3", "resources": {"cpus": 1}}"#)
        let live = attempts.map(\.description)
        func call(_ sequence: Int64, live: [String] = [], reports: [AttemptReport] = []) -> SyncRequest {
            SyncRequest(
                incarnation: "life-1", sequence: sequence, registration: sequence == 1 ? .small(cpus: 4) : nil,
                live: live.compactMap { AttemptID($0) }, reports: reports, wait: .zero)
        }
        _ = try await api.sync(call(1))
        _ = try await api.sync(call(2, live: live))
        let usage = Usage(cpuSeconds: 2.5, maxMemory: ByteCount(bytes: 1 << 20), wallSeconds: 3)
        var done = AttemptReport(
            attempt: attempts[0], sequence: 1, state: .succeeded, reason: .exitCode, exitCode: 0)
        done.usage = usage
        let failed = AttemptReport(attempt: attempts[1], sequence: 1, state: .failed, reason: .exitCode, exitCode: 3)
        _ = try await api.sync(call(3, live: live, reports: [done, failed]))
        // Told again: counted once.
        _ = try await api.sync(call(4, live: ["1.3.1"], reports: [done, failed]))
    }

    @Test("each ended attempt is in the report once, by what was asked for")
    func usage() async throws {
        try await APIUnderTest.with { api in
            try await run(api)
            let report = try await api.call(.get, "/v1/usage?by=user,queue,configuration,day,group").decoded(
                UsageReport.self)
            let row = try #require(report.rows.first)
            #expect(report.rows.count == 1 && row.user == "ada" && row.queue == "default" && row.group == "default")
            #expect(row.attempts == 2 && row.succeeded == 1 && row.failed == 1 && row.lost == 0 && row.starts == 2)
            #expect(row.usedCPUSeconds == 2.5 && row.configurationName == "m@1" && row.day?.count == 10)
            #expect(row.cpuSeconds == row.runSeconds && row.cpuSeconds >= 0)
            let old = try await api.call(.get, "/v1/usage?since=2020-01-01&until=2020-12-31").decoded(UsageReport.self)
            #expect(old.rows.isEmpty && old.since == "2020-01-01" && old.until == "2020-12-31")
        }
    }

    @Test("what cannot be meant is refused by its name")
    func refusals() async throws {
        try await APIUnderTest.with { api in
            for (query, field) in [
                ("by=nobody", "by"), ("by=user,user", "by"), ("by=", "by"), ("since=yesterday", "since"),
                ("since=2026-02-30", "since"), ("since=-1d", "since"), ("since=99999999999999999999d", "since"),
                ("until=2020-01-01", "until"), ("from=30d", "from"),
            ] {
                let answer = try await api.call(.get, "/v1/usage?\(query)")
                #expect(try answer.status == 400 && answer.problem().field == field, "\(query) \(answer.text)")
            }
            for (query, field) in [("after=-1", "after"), ("limit=0", "limit"), ("wait=61", "wait")] {
                let answer = try await api.call(.get, "/v1/events?\(query)")
                #expect(try answer.status == 400 && answer.problem().field == field, "\(query) \(answer.text)")
            }
        }
    }

    @Test("events come in order, a page at a time, and who waits for the next gets it")
    func events() async throws {
        try await APIUnderTest.with(.live) { api in
            try await run(api)
            let all = try await api.call(.get, "/v1/events").decoded(ClusterEventList.self)
            let kinds = all.events.compactMap(\.kind.value)
            #expect(kinds == [.jobSubmitted, .workerRegistered, .jobRunning, .attemptFailed])
            #expect(all.events.map(\.id) == all.events.map(\.id).sorted() && !all.missed)
            let page = try await api.call(.get, "/v1/events?limit=2&after=\(all.events[0].id)").decoded(
                ClusterEventList.self)
            #expect(page.events == Array(all.events[1...2]) && page.next == all.events[2].id)
            // Of its own, because the other has one connection.
            let client = try SchedulerClient(url: "http://127.0.0.1:\(api.port)", token: api.token(of: .ada))
            async let next = client.clusterEvents(after: all.next, wait: 60)
            _ = try await api.submit(#"{"name": "n", "image": "busybox", "command": ["/bin/true"]}"#)
            #expect(try await next.events.first?.job == JobID(rawValue: 2))
        }
    }
}

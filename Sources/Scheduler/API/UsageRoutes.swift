// Who held and used how much, and what happens in the cluster.
import Hummingbird
import JobModel
import ServiceLifecycle

struct UsageRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/usage", .reader, usage),
            Route(.get, "/v1/events", .reader, events),
        ]
    }

    /// The most days that one report covers.
    private static let longestReport: Int64 = 36_600

    @Sendable private func usage(_ call: Call) async throws -> Response {
        try call.allowQuery("by", "since", "until")
        let names = UsageGrouping.allCases.map(\.rawValue).joined(separator: ", ")
        let groupings = try call.query("by", "a list such as 'user,queue' of \(names)", UsageGrouping.list) ?? [.user]
        let today = services.clock.now().wall.daysSinceEpoch
        let expected = "a date such as 2026-01-31, or a number of days such as 30d"
        let since = try call.query("since", expected) { Self.day($0, today) } ?? today - 30
        let until = try call.query("until", expected) { Self.day($0, today) } ?? today
        guard since <= until, until - since <= Self.longestReport else {
            throw Problem(.badRequest, "must be a day after 'since', and at most a century after it", field: "until")
        }
        let store = services.store
        let rows = try await services.files.run {
            try store.usage(UsageQuery(groupings: groupings, days: since...until))
        }
        return try .json(
            UsageReport(by: groupings, since: Self.date(since), until: Self.date(until), rows: rows))
    }

    /// Days since 1970-01-01.
    private static func day(_ text: String, _ today: Int64) -> Int64? {
        if text.hasSuffix("d") {
            guard let days = Int64(text.dropLast()), (0...longestReport).contains(days) else { return nil }
            return today - days
        }
        guard text.utf8.count == 10, let time = Timestamp(text + "T00:00:00Z"), time.day == text else { return nil }
        return time.daysSinceEpoch
    }

    private static func date(_ day: Int64) -> String { Timestamp(daysSinceEpoch: day).day }

    @Sendable private func events(_ call: Call) async throws -> Response {
        try call.allowQuery("after", "limit", "wait")
        let after = try call.integer("after", in: 0...Int64.max, otherwise: 0)
        let limit = try call.pageLimit()
        let wait = try call.integer("wait", in: 0...60, otherwise: 0)
        let log = services.events
        if wait > 0, log.list(after: after, limit: 1).events.isEmpty {
            await cancelWhenGracefulShutdown {
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { await log.wait(after: after) }
                    // allowed: who is cancelled ends as who has waited
                    group.addTask { try? await Task.sleep(for: .seconds(wait)) }
                    await group.next()
                    group.cancelAll()
                }
            }
        }
        return try .json(log.list(after: after, limit: limit))
    }
}

// Schedules over HTTP, and their runs: each time once, also across a crash; overlaps, missed times, whose it is.
import Foundation
import HTTPTypes
import JobModel
import TestSupport
import Testing

@testable import Scheduler

@Suite struct APIScheduleTests {
    private let day = TimeSpan.minutes(24 * 60)

    /// A configuration that has run, and a schedule for it at six every day.
    private func prepare(_ api: APIUnderTest, _ more: String = "") async throws -> ScheduleDocument {
        try await api.importBusybox()
        let spec =
            #"{"name": "daily", "image": "busybox", "command": ["a"], "volumes": ["input:/d:ro"], "parameters": {"y": "0"}}"#
        _ = try await api.submit(spec)
        let body =
            #"{"cron": "0 6 * * *", "rerun": "daily", "bindings": {"input": "weather/${year}"}, "parameters": {"y": "${date}"}\#(more)}"#
        let answer = try await api.call(.put, "/v1/schedules/six?create=true", json: body)
        guard answer.status == 200 else { throw APIFailure(description: answer.text) }
        return try answer.decoded(ScheduleDocument.self)
    }

    private func pass(_ api: APIUnderTest, at time: Timestamp) async throws {
        try await api.service.services.schedules.pass(at: time)
    }

    private func jobs(_ api: APIUnderTest) async throws -> [JobDocument] {
        try await api.call(.get, "/v1/jobs").decoded(JobList.self).jobs.filter { $0.schedule != nil }.reversed()
    }

    @Test("a run that is due starts once, with the time in its bindings, and shows who started it")
    func runs() async throws {
        try await APIUnderTest.with { api in
            let schedule = try await prepare(api)
            let due = try #require(schedule.next)
            #expect(due.description.hasSuffix("T06:00:00.000Z") && schedule.lastJob == nil)
            try await pass(api, at: Timestamp(millisecondsSinceEpoch: due.millisecondsSinceEpoch - 1))
            #expect(try await jobs(api).isEmpty)
            for _ in 0..<2 { try await pass(api, at: due.after(.seconds(7))) }
            let job = try #require(try await jobs(api).first)
            #expect(try await jobs(api).count == 1 && job.schedule == "six" && job.owner == "ada")
            #expect(job.bindings["input"] == "weather/\(due.day.prefix(4))" && job.parameters["y"] == due.day)
            let shown = try await api.call(.get, "/v1/schedules/six").decoded(ScheduleDocument.self)
            #expect(shown.lastDue == due && shown.lastJob == job.id && shown.next == due.after(day))
        }
    }

    @Test("a crash between the submission and its note starts the same job, not another")
    func crash() async throws {
        try await APIUnderTest.with { api in
            let due = try #require(try await prepare(api).next)
            let row = try #require(try api.service.services.store.schedule(ScheduleName(unchecked: "six")))
            try await pass(api, at: due)
            // As it was written down before the crash.
            try await api.service.services.loop.record(.schedule(.removed(row.name)))
            try await api.service.services.loop.record(.schedule(.saved(row)))
            try await pass(api, at: due.after(.seconds(30)))
            #expect(try await jobs(api).count == 1)
            let again = try #require(try api.service.services.store.schedule(row.name))
            #expect(again.lastJob == (try await jobs(api).first?.id) && again.lastDue == due)
        }
    }

    @Test(
        "what is due while the last run goes on is left out, waits, or takes its place",
        arguments: OverlapPolicy.allCases)
    func overlap(policy: OverlapPolicy) async throws {
        try await APIUnderTest.with { api in
            let due = try #require(try await prepare(api, #", "overlap": "\#(policy.rawValue)""#).next)
            try await pass(api, at: due)
            try await pass(api, at: due.after(day))
            let jobs = try await jobs(api)
            let shown = try await api.call(.get, "/v1/schedules/six").decoded(ScheduleDocument.self)
            switch policy {
            case .skip: #expect(jobs.count == 1 && shown.note?.hasPrefix("skipped") == true)
            case .queue:
                #expect(jobs.last?.dependsOn == [DependencyDocument(job: jobs[0].id, kind: .afterAny, open: true)])
            case .replace: #expect(jobs.map(\.state) == [Open(.cancelled), jobs.last?.state] && jobs.count == 2)
            }
        }
    }

    @Test("what was missed is caught up as asked, and what was due during a pause is not")
    func missed() async throws {
        for (policy, count) in [("none", 0), ("last", 1), ("all", 3)] {
            try await APIUnderTest.with { api in
                let due = try #require(
                    try await prepare(api, #", "overlap": "queue", "catch_up": "\#(policy)""#).next)
                try await pass(api, at: due.after(day + day + .minutes(60)))
                #expect(try await jobs(api).count == count, "\(policy)")
                #expect(try await api.call(.post, "/v1/schedules/six/pause").status == 200)
                try await pass(api, at: due.after(day + day + day))
                #expect(try await jobs(api).count == count)
            }
        }
    }

    @Test("a run that is refused is noted, and the next one is tried")
    func refusedRun() async throws {
        try await APIUnderTest.with { api in
            let due = try #require(try await prepare(api, #", "queue": "gone""#).next)
            try await pass(api, at: due)
            let shown = try await api.call(.get, "/v1/schedules/six").decoded(ScheduleDocument.self)
            #expect(shown.note?.contains("no queue 'gone'") == true && shown.lastJob == nil)
        }
    }

    @Test("schedules are listed, run at once, paused, kept over a restart, and removed by those who may")
    func managed() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "jobctl-\(UUID().uuidString)").path
        defer { removeFolder(directory) }
        try await APIUnderTest.with(directory: directory) { api in
            _ = try await prepare(api)
            let job = try await api.call(.post, "/v1/schedules/six/run").decoded(JobDocument.self)
            #expect(job.schedule == "six")
            #expect(try await api.call(.post, "/v1/schedules/six/pause", as: .bob).status == 403)
            #expect(try await api.call(.post, "/v1/schedules/six/pause").decoded(ScheduleDocument.self).next == nil)
        }
        try await APIUnderTest.with(directory: directory) { api in
            let list = try await api.call(.get, "/v1/schedules", as: .bob).decoded(ScheduleList.self)
            #expect(list.schedules.map(\.name) == ["six"] && list.schedules[0].paused)
            #expect(try await api.call(.post, "/v1/schedules/six/resume").decoded(ScheduleDocument.self).next != nil)
            #expect(try await api.call(.delete, "/v1/schedules/six", as: .bob).status == 403)
            #expect(try await api.call(.delete, "/v1/schedules/six", as: .admin).status == 204)
            #expect(try await api.call(.get, "/v1/schedules/six").status == 404)
        }
    }

    @Test("a bad schedule is refused with its field")
    func refused() async throws {
        try await APIUnderTest.with { api in
            _ = try await prepare(api)
            for (body, field) in [
                (#"{"cron": "0 6 * *", "rerun": "daily"}"#, "$.cron"),
                (#"{"cron": "0 0 30 2 *", "rerun": "daily"}"#, "$.cron"),
                (#"{"cron": "@daily", "rerun": "daily", "time_zone": "Mars/Base"}"#, "$.time_zone"),
                (#"{"cron": "@daily", "rerun": "nothing"}"#, "$.source"),
            ] {
                let answer = try await api.call(.put, "/v1/schedules/x", json: body)
                #expect(try answer.problem().field == field, "\(answer.text)")
            }
            let again = try await api.call(
                .put, "/v1/schedules/six?create=true", json: #"{"cron": "@daily", "rerun": "daily"}"#)
            #expect(again.status == 409)
            let berlin = try await api.call(
                .put, "/v1/schedules/six",
                json: #"{"cron": "0 6 * * *", "rerun": "daily", "time_zone": "Europe/Berlin"}"#)
            #expect(try berlin.decoded(ScheduleDocument.self).next?.description.contains("T06") == false)
        }
    }
}

// Several jobs in one request: accepted together or not at all, under one key, seen and cancelled together.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import Testing

@Suite struct APIPipelineTests {
    private static func job(_ name: String, _ more: String = "") -> String {
        let image = #""image": "127.0.0.1:1/none@\#(absentDigest)""#
        return #"{"spec": {"name": "\#(name)", \#(image), "command": ["a"]\#(more)}}"#
    }

    private static func body(_ jobs: [String]) -> String {
        #"{"name": "report", "jobs": [\#(jobs.joined(separator: ", "))]}"#
    }

    private static let three = body([
        job("merge", #", "depends_on": {"after_ok": ["left", "right"]}"#), job("left", #", "array": "1-3""#),
        job("right", #", "array": "1-3", "depends_on": {"after_any_each": "left"}"#),
    ])

    @Test("jobs of one request are accepted in an order in which each comes after those that it waits for")
    func accepted() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            let key: HTTPFields = [.init("Idempotency-Key")!: "k"]
            let answer = try await api.call(.post, "/v1/pipelines", headers: key, json: Self.three)
            #expect(answer.status == 201, "\(answer.text)")
            let pipeline = try answer.decoded(PipelineDocument.self)
            #expect(pipeline.id == JobID("2") && pipeline.name == "report")
            #expect(pipeline.jobs.map(\.name) == ["left", "right", "merge"])
            #expect(pipeline.jobs.map(\.id.rawValue) == [2, 3, 4])
            #expect(pipeline.jobs.last?.dependsOn?.map(\.job.rawValue) == [2, 3])
            #expect(
                pipeline.jobs.allSatisfy { $0.pipeline?.id == pipeline.id && $0.pipeline?.name?.rawValue == "report" })
            let again = try await api.call(.post, "/v1/pipelines", headers: key, json: Self.three)
            #expect(try again.decoded(PipelineDocument.self).jobs.map(\.id) == pipeline.jobs.map(\.id))
            let listed = try await api.call(.get, "/v1/jobs?pipeline=2").decoded(JobList.self)
            #expect(listed.jobs.map(\.id.rawValue) == [4, 3, 2])
            #expect(try await api.call(.get, "/v1/pipelines/2").decoded(PipelineDocument.self).jobs.count == 3)
            #expect(try await api.call(.post, "/v1/pipelines/2/cancel", as: .bob).status == 403)
            let ended = try await api.call(.post, "/v1/pipelines/2/cancel").decoded(PipelineDocument.self)
            #expect(ended.jobs.allSatisfy { $0.state == Open(.cancelled) })
            #expect(try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).state != Open(.cancelled))
            #expect(try await api.call(.get, "/v1/pipelines/1").status == 404)
        }
    }

    @Test("one that is refused refuses all, with its place in the request; nothing is written")
    func refused() async throws {
        try await APIUnderTest.with { api in
            for (jobs, field, said) in [
                (
                    [
                        Self.job("a", #", "depends_on": {"after_ok": "c"}"#),
                        Self.job("b", #", "depends_on": {"after_ok": "a"}"#),
                        Self.job("c", #", "depends_on": {"after_any": "b"}"#),
                    ], "$.jobs[0].spec.depends_on", "'a' waits for 'c' waits for 'b' waits for 'a'"
                ),
                (
                    [Self.job("prepare"), Self.job("b", #", "depends_on": {"after_ok": "prepar"}"#)],
                    "$.jobs[1].spec.depends_on", "did you mean 'prepare'"
                ), ([Self.job("a"), Self.job("a")], "$.jobs[1].spec.name", "another job"),
                ([Self.job("42")], "$.jobs[0].spec.name", "number of a job"),
                ([Self.job("a"), Self.job("b", #", "queue": "nowhere""#)], "queue", "no queue 'nowhere'"),
                ([Self.job("a"), Self.job("b", #", "retries": -1"#)], "$.jobs[1].spec.retries", "whole number"),
                (
                    [
                        Self.job("a", #", "array": "1-2""#),
                        Self.job("b", #", "array": "1-3", "depends_on": {"after_ok_each": "a"}"#),
                    ], "depends_on.after_ok_each", "tasks 1 to 2"
                ),
                (
                    [Self.job("a"), Self.job("b", #", "depends_on": {"after_ok": 99}"#)], "depends_on.after_ok",
                    "no job 99"
                ),
                ([], "$", "no jobs"),
            ] {
                let answer = try await api.call(.post, "/v1/pipelines", json: Self.body(jobs))
                let problem = try answer.problem()
                #expect(problem.field == field && problem.detail.contains(said), "\(answer.text)")
            }
            #expect(try await api.call(.get, "/v1/jobs").decoded(JobList.self).jobs == [])
        }
    }

    @Test("a pipeline whose tasks are too many together for a limit is refused whole")
    func limits() async throws {
        try await APIUnderTest.with { api in
            let set = try await api.call(
                .put, "/v1/accounts/user/ada", as: .admin, json: #"{"weight": 100, "limits": {"pending": 5}}"#)
            guard set.status == 200 || set.status == 201 else { throw APIFailure(description: set.text) }
            let jobs = [Self.job("a", #", "array": "1-3""#), Self.job("b", #", "array": "1-3""#)]
            let answer = try await api.call(.post, "/v1/pipelines", json: Self.body(jobs))
            #expect(try answer.problem().detail.contains("3 more are too many"), "\(answer.text)")
            #expect(try await api.call(.get, "/v1/jobs").decoded(JobList.self).jobs == [])
            #expect(try await api.call(.post, "/v1/pipelines", json: Self.body([jobs[0]])).status == 201)
        }
    }
}

// Dependencies over HTTP: what a job waits for is accepted, shown, kept over a restart, and refused with the field at
// fault.
import Foundation
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APIDependencyTests {
    private func spec(_ more: String, array: String = "") -> String {
        #"{"image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["a"], \#(array)"depends_on": {\#(more)}}"#
    }

    @Test("a job that waits for another shows what it waits for, and after the other's end what became of it")
    func waits() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let first = try await api.submit(#"{"image": "busybox", "command": ["a"], "array": "1-3"}"#)
            let second = try await api.submit(
                #"{"image": "busybox", "command": ["a"], "depends_on": {"after_ok": [1]}}"#)
            #expect(second.state == Open(.waiting))
            #expect(second.dependsOn == [DependencyDocument(job: first.id, kind: .afterOK, open: true)])
            #expect(second.reason == "dependency: waits until job 1 has succeeded")
            #expect(try await api.call(.get, "/v1/jobs/2").decoded(JobDocument.self) == second)
            let each = try await api.submit(
                #"{"image": "busybox", "command": ["a"], "array": "1-3", "depends_on": {"after_any_each": 1}}"#)
            #expect(each.reason == "dependency: waits each task until the same task of job 1 has ended")
            #expect(try await api.call(.post, "/v1/jobs/1/cancel").status == 200)
            let ended = try await api.call(.get, "/v1/jobs/2").decoded(JobDocument.self)
            #expect(ended.state == Open(.cancelled))
            #expect(ended.reason == "dependency: can never start, because job 1 was cancelled (after_ok)")
            #expect(ended.dependsOn == [DependencyDocument(job: first.id, kind: .afterOK, open: false)])
            let free = try await api.call(.get, "/v1/jobs/3").decoded(JobDocument.self)
            #expect(free.dependsOn?.first?.open == false && free.reason?.hasPrefix("dependency") == false)
        }
    }

    @Test("a job that ended before a restart is known all the same to what is submitted after it")
    func endedBeforeRestart() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "jobctl-\(UUID().uuidString)").path
        defer { removeFolder(directory) }
        try await APIUnderTest.with(directory: directory) { api in
            _ = try await api.submit(pinnedSpec)
            #expect(try await api.call(.post, "/v1/jobs/1/cancel").status == 200)
            _ = try await api.submit(pinnedSpec)
            let third = try await api.submit(spec(#""after_any": 2"#))
            #expect(third.dependsOn?.first?.open == true)
        }
        try await APIUnderTest.with(directory: directory) { api in
            let third = try await api.call(.get, "/v1/jobs/3").decoded(JobDocument.self)
            #expect(third.dependsOn?.first?.open == true)
            let fourth = try await api.submit(spec(#""after_fail": 1"#))
            #expect(fourth.dependsOn == [DependencyDocument(job: JobID("1")!, kind: .afterFail, open: false)])
            let never = try await api.call(.post, "/v1/jobs", json: #"{"spec": \#(spec(#""after_ok": 1"#))}"#)
            #expect(try never.problem().field == "depends_on.after_ok")
        }
    }

    @Test("what cannot be waited for is refused with its field, and nothing is written")
    func refusals() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            for (text, who, field, said) in [
                (spec(#""after_ok": 9"#), APIUnderTest.Who.ada, "depends_on.after_ok", "there is no job 9"),
                (spec(#""after_any": 1"#), .bob, "depends_on.after_any", "belongs to ada"),
                (
                    spec(#""after_ok_each": 1"#, array: #""array": "1-9", "#), .ada, "depends_on.after_ok_each",
                    "tasks 1 to 1"
                ),
                (spec(#""after_ok": "first""#), .ada, "$.spec.depends_on", "'first'"),
                (spec(#""after_ok": [1, 1]"#), .ada, "$.spec.depends_on.after_ok[1]", "twice"),
            ] {
                let answer = try await api.call(.post, "/v1/jobs", as: who, json: #"{"spec": \#(text)}"#)
                let problem = try answer.problem()
                #expect(problem.field == field && problem.detail.contains(said), "\(answer.text)")
            }
            #expect(try await api.call(.get, "/v1/jobs").decoded(JobList.self).jobs.count == 1)
        }
    }
}

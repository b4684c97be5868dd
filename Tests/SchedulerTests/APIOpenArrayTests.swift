// Open arrays over HTTP: they grow once for each key, also after a restart, and a rerun has what they came to.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APIOpenArrayTests {
    private let spec =
        #"{"image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["a"], "array": "1-3", "open": true}"#

    private func key(_ text: String) -> HTTPFields { [.init("Idempotency-Key")!: text] }

    @Test("an open array grows once for each key, is closed once, and all of it is there after a restart")
    func grows() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "jobctl-\(UUID().uuidString)").path
        defer { removeFolder(directory) }
        try await APIUnderTest.with(directory: directory) { api in
            #expect(try await api.submit(spec).rules?.open == true)
            for _ in 0..<2 {
                let answer = try await api.call(
                    .post, "/v1/jobs/1/extend", headers: key("a"), json: #"{"array": "4-6"}"#)
                let job = try answer.decoded(JobDocument.self)
                #expect(job.tasks.total == 6 && job.shape == .array(first: 1, last: 6))
            }
            let used = try await api.call(.post, "/v1/jobs/1/extend", headers: key("a"), json: #"{"tasks": 1}"#)
            #expect(used.status == 409)
        }
        try await APIUnderTest.with(directory: directory) { api in
            let again = try await api.call(
                .post, "/v1/jobs/1/extend", headers: key("a"), json: #"{"array": "4-6"}"#)
            #expect(try again.decoded(JobDocument.self).tasks.total == 6)
            let more = try await api.call(.post, "/v1/jobs/1/extend", json: #"{"tasks": 2}"#)
            #expect(try more.decoded(JobDocument.self).shape == .array(first: 1, last: 8))
            for _ in 0..<2 {
                let closed = try await api.call(.post, "/v1/jobs/1/close")
                #expect(try closed.decoded(JobDocument.self).rules?.open == false)
            }
            #expect(try await api.call(.post, "/v1/jobs/1/extend", json: #"{"tasks": 2}"#).status == 409)
            #expect(try await api.call(.post, "/v1/jobs/1/cancel").status == 200)
            #expect(try await api.call(.post, "/v1/jobs/1/close").status == 200)
            let late = try await api.call(.post, "/v1/jobs/1/extend", headers: key("a"), json: #"{"array": "4-6"}"#)
            #expect(late.status == 200)
            #expect(try await api.call(.post, "/v1/jobs/1/extend", json: #"{"tasks": 2}"#).status == 409)
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "1"}"#).decoded(JobDocument.self)
            #expect(rerun.shape == .array(first: 1, last: 8) && rerun.rules == nil)
        }
    }

    @Test("what is no extension is refused with its field")
    func refusals() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(spec)
            _ = try await api.submit(pinnedSpec)
            for (path, body, who, status, field) in [
                ("1/extend", #"{"array": "5-6"}"#, APIUnderTest.Who.ada, 422, "array"),
                ("1/extend", #"{"array": "6-5"}"#, .ada, 400, "$.array"),
                ("1/extend", #"{"tasks": 0}"#, .ada, 400, "$.tasks"), ("1/extend", "{}", .ada, 400, "$"),
                ("1/extend", #"{"tasks": 1, "array": "4-5"}"#, .ada, 400, "$"),
                ("1/extend", #"{"task": 1}"#, .ada, 400, "$.task"),
                ("1/extend", #"{"tasks": 10000000}"#, .ada, 422, "array"),
                ("2/extend", #"{"tasks": 1}"#, .ada, 409, "job"), ("2/close", "", .ada, 409, "job"),
            ] as [(String, String, APIUnderTest.Who, Int, String)] {
                let answer = try await api.call(.post, "/v1/jobs/\(path)", as: who, json: body)
                #expect(answer.status == status, "\(path) \(body) \(answer.text)")
                #expect(try answer.problem().field == field, "\(path) \(body)")
            }
            #expect(try await api.call(.post, "/v1/jobs/1/extend", as: .bob, json: #"{"tasks": 1}"#).status == 403)
            #expect(try await api.call(.post, "/v1/jobs/1/close", as: .bob).status == 403)
            let single = #"{"spec": {"image": "busybox", "command": ["a"], "open": true}}"#
            let answer = try await api.call(.post, "/v1/jobs", json: single)
            #expect(try answer.problem().field == "$.spec.open")
        }
    }
}

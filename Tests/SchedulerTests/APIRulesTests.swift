// What is asked of the scheduler beside the configuration, over HTTP: taken, shown, kept by a rerun where it still
// makes sense, refused with its field; and tasks that begin anew.
import JobModel
import Scheduler
import Testing

@Suite struct APIRulesTests {
    private func spec(_ more: String) -> String {
        #"{"image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["a"], \#(more)}"#
    }

    @Test("rules are shown with the job; a rerun keeps those that are not of the calendar")
    func shown() async throws {
        try await APIUnderTest.with { api in
            let job = try await api.submit(
                spec(
                    #""array": "1-9%3", "retries": {"max": 2, "on_exit": [75]}, "start_after": "2h", "deadline": "2099-01-01T00:00:00Z""#
                ))
            let rules = try #require(job.rules)
            #expect(rules.mostRunning == 3 && rules.retryOn == [75])
            #expect(rules.startAfter.map { $0 - job.submittedAt } == .minutes(120) || rules.startAfter != nil)
            #expect(rules.deadline == Timestamp("2099-01-01T00:00:00Z"))
            #expect(try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self) == job)
            let again = try await api.call(.post, "/v1/reruns", json: #"{"source": "1"}"#).decoded(JobDocument.self)
            #expect(again.rules == rules.forRerun)
        }
    }

    @Test("a time limit is changed by its owner, shown with the one before, and told as an event")
    func timeLimit() async throws {
        try await APIUnderTest.with { api in
            let job = try await api.submit(spec(#""time_limit": "10m""#))
            #expect(job.timeLimit == .minutes(10) && job.timeLimitChanged == nil)
            let path = "/v1/jobs/1/time-limit"
            let changed = try await api.call(.post, path, json: #"{"time_limit": "6h", "from": 600}"#)
            let document = try changed.decoded(JobDocument.self)
            #expect(document.timeLimit == .minutes(360) && document.timeLimitChanged == true)
            #expect(document.submittedTimeLimit == .minutes(10))
            for (body, status, field) in [
                (#"{}"#, 400, "$.time_limit"), (#"{"time_limit": "-1h"}"#, 400, "$.time_limit"),
                (#"{"time_limit": "1h", "until": 3}"#, 400, "$.until"),
                (#"{"time_limit": "7h", "from": "10m"}"#, 409, "from"),
            ] {
                let answer = try await api.call(.post, path, json: body)
                #expect(answer.status == status, "\(answer.text)")
                #expect(try answer.problem().field == field, "\(answer.text)")
            }
            #expect(try await api.call(.post, path, as: .bob, json: #"{"time_limit": "1h"}"#).status == 403)
            let events = try await api.call(.get, "/v1/events").text
            #expect(events.contains("job-time-limit") && events.contains("6h instead of 10m"), "\(events)")
        }
    }

    @Test("a deadline that cannot be kept is refused, and so is a requeue of what does not run")
    func refused() async throws {
        try await APIUnderTest.with { api in
            for more in [
                #""deadline": "2001-01-01T00:00:00Z""#, #""start_after": "2h", "deadline": "1h""#,
                #""deadline": "1h", "time_limit": "2h""#,
            ] {
                let answer = try await api.call(.post, "/v1/jobs", json: #"{"spec": \#(spec(more))}"#)
                #expect(try answer.problem().field == "deadline", "\(answer.text)")
            }
            _ = try await api.submit(pinnedSpec)
            let all = try await api.call(.post, "/v1/jobs/1/requeue")
            #expect(all.status == 409 && all.text.contains("nothing of job 1 runs"), "\(all.text)")
            let one = try await api.call(.post, "/v1/jobs/1/requeue?task=1")
            #expect(try one.problem().field == "task")
            #expect(try await api.call(.post, "/v1/jobs/1/requeue?task=x").status == 400)
            #expect(try await api.call(.post, "/v1/jobs/1/requeue", as: .bob).status == 403)
        }
    }
}

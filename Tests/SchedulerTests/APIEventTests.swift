// Server-sent events: the newest document of each change, resumable, ending with the job.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import Testing

@Suite struct APIEventTests {
    struct Seen: Equatable {
        let id: Int64
        let state: String
    }

    private func events(_ text: String) throws -> [Seen] {
        try text.split(separator: "\n\n").filter { !$0.hasPrefix(":") }.map { block in
            let lines = block.split(separator: "\n")
            #expect(lines.count == 3 && lines[1] == "event: job")
            let job = try WireJSON.decode(JobDocument.self, from: lines[2].dropFirst("data: ".count).utf8)
            #expect(lines[0] == "id: \(job.revision)")
            return Seen(id: job.revision, state: job.state.description)
        }
    }

    @Test("a finished job gives its last document and the stream ends")
    func finished() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            _ = try await api.call(.post, "/v1/jobs/1/cancel")
            let answer = try await api.call(.get, "/v1/jobs/1/events")
            #expect(answer.headers[.contentType] == "text/event-stream")
            let seen = try events(answer.text)
            #expect(seen.map(\.state) == ["cancelled"])
            let resumed = try await api.call(
                .get, "/v1/jobs/1/events", headers: [.init("Last-Event-ID")!: "\(try #require(seen.first).id)"])
            #expect(try events(resumed.text) == [])
        }
    }

    @Test("a reader sees revisions rise to the final state, and one that resumes sees only what is newer")
    func live() async throws {
        try await APIUnderTest.with { api in
            let job = try await api.submit(pinnedSpec)
            async let all = api.call(.get, "/v1/jobs/1/events")
            async let newer = api.call(.get, "/v1/jobs/1/events", headers: [.init("Last-Event-ID")!: "\(job.revision)"])
            for action in ["hold", "release", "hold", "cancel"] {
                _ = try await api.call(.post, "/v1/jobs/1/\(action)")
            }
            for text in [try await all.text, try await newer.text] {
                let seen = try events(text)
                #expect(seen.last?.state == "cancelled")
                #expect(zip(seen, seen.dropFirst()).allSatisfy { $0.id < $1.id })
            }
            #expect(try events(try await newer.text).allSatisfy { $0.id > job.revision })
        }
    }
}

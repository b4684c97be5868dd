// Logs: appended by offset without loss or repetition, read from any place, followed while they grow.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import Testing

@Suite struct APILogTests {
    static let upload = "/v1/workers/node1/attempts/1.1.1/logs/stdout"
    static let read = "/v1/attempts/1.1.1/logs/stdout"

    private func put(_ api: APIUnderTest, _ text: String, at offset: Int, complete: Bool = false) async throws
        -> LogExtent
    {
        let answer = try await api.call(
            .put, "\(Self.upload)?offset=\(offset)&complete=\(complete)", as: .worker, body: Array(text.utf8))
        return try answer.decoded(LogExtent.self)
    }

    @Test("pieces that overlap, repeat or come too early change nothing but what is new")
    func append() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            #expect(try await put(api, "hello ", at: 0) == LogExtent(size: 6, complete: false))
            #expect(try await put(api, "hello ", at: 0) == LogExtent(size: 6, complete: false))
            #expect(try await put(api, "too early", at: 100, complete: true) == LogExtent(size: 6, complete: false))
            #expect(try await put(api, "lo world", at: 3) == LogExtent(size: 11, complete: false))
            #expect(try await put(api, "", at: 11, complete: true) == LogExtent(size: 11, complete: true))
            #expect(try await put(api, "more", at: 11) == LogExtent(size: 11, complete: true))
            let all = try await api.call(.get, Self.read)
            #expect(all.text == "hello world")
            #expect(all.headers[.init("Jobctl-Log-Size")!] == "11")
            #expect(all.headers[.init("Jobctl-Log-Complete")!] == "true")
            #expect(try await api.call(.get, Self.read + "?offset=6&limit=3").text == "wor")
            #expect(try await api.call(.get, Self.read + "?offset=99").text == "")
            #expect(try await api.call(.get, Self.read, as: .bob).status == 403)
            #expect(try await api.call(.get, Self.read, as: .worker).status == 403)
            #expect(try await api.call(.get, Self.read, as: .admin).status == 200)
        }
    }

    @Test("a stream without output is empty and not complete; one that ends empty is complete")
    func empty() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            let before = try await api.call(.get, Self.read)
            #expect(
                before.status == 200 && before.text == "" && before.headers[.init("Jobctl-Log-Complete")!] == "false")
            #expect(try await put(api, "", at: 0, complete: true) == LogExtent(size: 0, complete: true))
            #expect(try await api.call(.get, Self.read + "?wait=30").headers[.init("Jobctl-Log-Complete")!] == "true")
        }
    }

    @Test("a stream that was never sent is complete once its attempt has ended, and a waiting reader is told at once")
    func neverSent() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            _ = try await api.submit(#"{"name": "one", "image": "busybox", "command": ["/bin/cat"]}"#)
            func request(_ sequence: Int64, _ reports: [AttemptReport] = []) -> SyncRequest {
                SyncRequest(
                    incarnation: "life-1", sequence: sequence, registration: sequence == 1 ? .small() : nil,
                    live: sequence == 1 ? [] : [AttemptID("1.1.1")].compactMap { $0 }, reports: reports, wait: .zero)
            }
            _ = try await api.sync(request(1))
            _ = try await api.sync(request(2))
            let before = try await api.call(.get, Self.read)
            #expect(before.headers[.init("Jobctl-Log-Complete")!] == "false")
            async let waiting = api.call(.get, Self.read + "?wait=30")
            let attempt = try #require(AttemptID("1.1.1"))
            let end = AttemptReport(attempt: attempt, sequence: 4, state: .succeeded, reason: .exitCode, exitCode: 0)
            _ = try await api.sync(request(3, [end]))
            #expect(try await waiting.headers[.init("Jobctl-Log-Complete")!] == "true")
        }
    }

    @Test("a reader that waits at the end is answered by the next piece, and by completion")
    func follow() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            var seen = ""
            for (index, piece) in ["one\n", "two\n", ""].enumerated() {
                let offset = seen.utf8.count
                async let waiting = api.call(.get, Self.read + "?offset=\(offset)&wait=30")
                _ = try await put(api, piece, at: offset, complete: index == 2)
                let answer = try await waiting
                seen += answer.text
                #expect(answer.headers[.init("Jobctl-Log-Complete")!] == (index == 2 ? "true" : "false"))
            }
            #expect(seen == "one\ntwo\n")
        }
    }

    @Test("bytes are kept as they are, whatever they mean")
    func binary() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            for start in stride(from: 0, to: bytes.count, by: 70_000) {
                let end = min(start + 100_000, bytes.count)
                _ = try await api.call(
                    .put, "\(Self.upload)?offset=\(start)", as: .worker, body: Array(bytes[start..<end]))
            }
            #expect(try await api.call(.get, Self.read).bytes == bytes)
        }
    }

    @Test("a stream ends at the size limit and says so")
    func limit() async throws {
        try await APIUnderTest.with(logLimit: ByteCount(bytes: 10)) { api in
            _ = try await api.submit(pinnedSpec)
            #expect(try await put(api, "1234567", at: 0) == LogExtent(size: 7, complete: false))
            #expect(try await put(api, "8901234", at: 7) == LogExtent(size: 10, complete: true))
            #expect(try await api.call(.get, Self.read).text == "1234567890")
        }
    }

    @Test("uploads of one stream at the same time lose and double nothing")
    func concurrent() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            let text = (0..<200).map { "line \($0)\n" }.joined()
            let bytes = Array(text.utf8)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        var size = 0
                        while size < bytes.count {
                            let end = min(bytes.count, size + Int.random(in: 1...300))
                            let answer = try await api.call(
                                .put, "\(Self.upload)?offset=\(size)", as: .worker, body: Array(bytes[size..<end]))
                            size = Int(try answer.decoded(LogExtent.self).size)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await api.call(.get, Self.read).text == text)
        }
    }
}

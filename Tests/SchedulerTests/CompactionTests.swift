// Goal: the rows of old tasks become runs and sums, everything that reads tasks says the same as before or that they
// were summed up, and what proves a run stays. Method: through the API, with a restart in between.
import Foundation
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite(.serialized) struct CompactionTests {
    private static let spec = """
        {"name": "sum", "image": "busybox", "command": ["/bin/cat"], "array": "1-6", "retries": 1}
        """

    /// Tasks 1 to 6: 4 fails twice, and 6 says what it wrote.
    private static func run(_ api: APIUnderTest) async throws {
        try await api.importBusybox()
        _ = try await api.submit(spec)
        var registration = WorkerRegistration.small()
        registration.cpus = CPUAmount(cpus: 8)
        registration.memory = ByteCount(bytes: 64 << 30)
        var (live, number): ([AttemptID], Int64) = ([], 0)
        func call(_ reports: [AttemptReport] = []) async throws {
            number += 1
            let answer = try await api.sync(
                SyncRequest(
                    incarnation: "life", sequence: number, registration: number == 1 ? registration : nil,
                    live: live, reports: reports, wait: .zero)
            ).decoded(SyncResponse.self)
            live = (live + answer.start.map(\.attempt).filter { !live.contains($0) }).filter {
                !answer.forget.contains($0)
            }
        }
        try await call()
        try await eventually("every task has ended") {
            let reports = live.map { attempt in
                let fails = attempt.task.index == 4
                let tree = TreeFingerprint(
                    treeDigest: Digest(of: "tree"), level: .content, files: 1, bytes: ByteCount(bytes: 1))
                return AttemptReport(
                    attempt: attempt, sequence: 1, state: fails ? .failed : .succeeded, reason: .exitCode,
                    exitCode: fails ? 3 : 0,
                    inputs: attempt.task.index == 6 ? [SlotName(unchecked: "data"): tree] : [:],
                    usage: Usage(cpuSeconds: 2, maxMemory: ByteCount(bytes: 1 << 20), wallSeconds: 3))
            }
            try await call(reports)
            return try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).state == .known(.failed)
        }
    }

    private static let atOnce = OptionChange {
        $0.retention.tasks = .zero
        $0.policy.retryBackoff = .zero
    }
    private static let never = OptionChange { $0.policy.retryBackoff = .zero }

    private static func tasks(_ api: APIUnderTest, _ query: String = "") async throws -> TaskList {
        try await api.call(.get, "/v1/jobs/1/tasks\(query)").decoded(TaskList.self)
    }

    private static func attempts(_ api: APIUnderTest) async throws -> [String] {
        try await api.call(.get, "/v1/jobs/1/attempts").decoded(AttemptList.self).attempts.map(\.id.description)
    }

    @Test("tasks are listed as before, attempts are summed up, digests stay, and all of it survives a restart")
    func compaction() async throws {
        let directory = try temporaryFolder("compaction")
        defer { removeFolder(directory) }
        let (before, failed) = try await APIUnderTest.with(directory: directory, options: Self.never) { api in
            try await Self.run(api)
            _ = try await api.call(.post, "/v1/archive/gc", as: .admin)
            #expect(try await Self.attempts(api).count == 7, "without a policy all is kept")
            return (try await Self.tasks(api), try await Self.tasks(api, "?state=failed"))
        }
        #expect(before.tasks.map(\.attempts) == [1, 1, 1, 2, 1, 1] && failed.tasks.map(\.id.index) == [4])
        for round in 1...2 {
            try await APIUnderTest.with(directory: directory, options: Self.atOnce) { api in
                try await eventually("its time is over") {
                    _ = try await api.call(.post, "/v1/archive/gc", as: .admin)
                    return try await Self.attempts(api) == ["1.6.1"]
                }
                #expect(try await Self.tasks(api) == before, "round \(round)")
                #expect(try await Self.tasks(api, "?state=failed") == failed)
                let page = try await Self.tasks(api, "?limit=2&cursor=2")
                #expect(page.tasks == Array(before.tasks[2...3]) && page.next == "4")
                let job = try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self)
                let sums = try #require(job.compaction)
                #expect(sums.tasks == 5 && sums.attempts == ["succeeded": 4, "failed": 2])
                #expect(sums.reasons == ["exit-code": 6] && sums.cpuSeconds == 12 && sums.wallSeconds == 18)
                #expect(sums.maxMemory == ByteCount(bytes: 1 << 20) && sums.workers == ["node1"])
                let digest = job.configuration.digest
                let history = try await api.call(.get, "/v1/configurations/\(digest)/runs").decoded(RunList.self)
                #expect(history.runs.first?.cpuSeconds == 14 && history.runs.first?.inputs["data"]?.files == 1)
            }
        }
    }
}

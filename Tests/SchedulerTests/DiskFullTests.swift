// A disk that is really full: a small tmpfs, filled to the last byte. Submits are refused with a clear sentence, reads
// work, running jobs are kept, and everything goes on by itself when there is room again.
import Foundation
import Glibc
import JobModel
import Scheduler
import SchedulingCore
import TestSupport
import Testing

/// A mounted tmpfs that is unmounted when the value is gone.
final class SmallDisk: Sendable {
    let path: String
    private var ballast: String { path + "/ballast" }

    /// Mounting needs root.
    static var isPossible: Bool { getuid() == 0 && access("/bin/mount", X_OK) == 0 }

    init(kilobytes: Int) async throws {
        path = FileManager.default.temporaryDirectory.appending(path: "jobctl-disk-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let result = try await runProcess("mount", ["-t", "tmpfs", "-o", "size=\(kilobytes)k", "jobctl-test", path])
        guard result.exitCode == 0 else { throw APIFailure(description: "\(result)") }
    }

    /// Writes until nothing fits any more.
    func fill() throws {
        let file = open(ballast, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw APIFailure(description: "no ballast") }
        defer { close(file) }
        for size in [65_536, 4_096, 1] {
            let bytes = [UInt8](repeating: 1, count: size)
            while write(file, bytes, size) == size {}
        }
    }

    func free() throws { try FileManager.default.removeItem(atPath: ballast) }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
    }
}

@Suite("a full disk", .enabled(if: SmallDisk.isPossible))
struct DiskFullTests {
    private let spec = "name: a\nimage: busybox\ncommand: [a]\n"
    private let policy = Policy()

    private func now(_ second: Int64) -> Instant {
        Instant(
            uptime: 1_000_000 + second * 1000,
            wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000 + second * 1000))
    }

    private func id(_ replies: [StepReply]) -> Int64? {
        if case .submitted(let job)? = replies.first { job.id.rawValue } else { nil }
    }

    @Test(
        "a batch that does not fit is refused whole, what was acknowledged stays, and the next one goes well when there is room"
    )
    func stepper() async throws {
        let disk = try await SmallDisk(kilobytes: 2048)
        let store = try Store.open(directory: disk.path + "/data")
        var stepper = try Stepper(store: store, policy: policy, at: now(0))
        var count: Int64 = 0
        #expect(id(try stepper.step([.submission(try accepted(spec))], at: now(1)).replies) == 1)
        try disk.fill()
        var refusal: StepResult?
        for _ in 0..<500 where refusal == nil {
            let result = try stepper.step(
                [.submission(try accepted(spec)), .event(.holdRequested(JobID(rawValue: 1)))], at: now(2))
            if let accepted = id(result.replies) { count = accepted } else { refusal = result }
        }
        let refused = try #require(refusal, "the disk never filled up")
        #expect(refused.restarted && refused.effects.isEmpty && refused.changes.isEmpty && refused.replies.count == 2)
        for reply in refused.replies {
            guard case .refused(let problem) = reply else {
                Issue.record("\(reply)")
                continue
            }
            #expect(problem.kind == .diskFull && problem.status == 507 && problem.retryable)
        }
        let known = max(count, 1)
        #expect(
            try store.jobs(JobQuery(limit: 1)).jobs.map(\.id.rawValue) == [known],
            "reads work, and nothing of the refused batch is there")
        #expect(try store.load() == stepper.cluster.image())
        #expect(Invariants.check(stepper.cluster).isEmpty)
        try disk.free()
        #expect(
            id(try stepper.step([.submission(try accepted(spec))], at: now(3)).replies) == known + 1,
            "it goes on by itself")
        #expect(try store.load() == stepper.cluster.image())
    }

    @Test(
        "a scheduler whose disk is full answers 507 to submits, 200 to reads, keeps its agents, and accepts again by itself"
    )
    func service() async throws {
        let disk = try await SmallDisk(kilobytes: 4096)
        try await APIUnderTest.with(directory: disk.path + "/data") { api in
            _ = try await api.submit(pinnedSpec)
            let registered = try await api.sync(
                SyncRequest(incarnation: "i", sequence: 1, registration: .small(), live: [], reports: [], wait: .zero))
            #expect(registered.status == 200)
            try disk.fill()
            var refused: APIUnderTest.Answer?
            var accepted = 1
            for _ in 0..<500 where refused == nil {
                let answer = try await api.call(.post, "/v1/jobs", json: #"{"spec": \#(pinnedSpec)}"#)
                if answer.status == 201 { accepted += 1 } else { refused = answer }
            }
            let problem = try #require(refused).problem()
            #expect(problem.status == 507 && problem.kind == .diskFull && problem.retryable)
            #expect(
                problem.detail
                    == "the scheduler's disk is full: free some space; running jobs go on, and submits work again by themselves"
            )
            #expect(try await api.call(.get, "/v1/jobs/1").status == 200)
            #expect(try await api.call(.get, "/v1/jobs?limit=1000").decoded(JobList.self).jobs.count == accepted)
            #expect(try await api.call(.get, "/v1/status").status == 200)
            #expect(try await api.call(.get, "/healthz", as: .nobody).status == 200)
            // The state was read from the disk again: the agent is asked who it is, and nothing is stopped.
            let asked = try await api.sync(
                SyncRequest(incarnation: "i", sequence: 2, registration: nil, live: [], reports: [], wait: .zero))
            let orders = try asked.decoded(SyncResponse.self)
            #expect(orders.registrationWanted && orders.stop.isEmpty && orders.forget.isEmpty)
            try disk.free()
            #expect(try await api.submit(pinnedSpec).id.rawValue == Int64(accepted + 1))
        }
    }
}

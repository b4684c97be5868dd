// What an administrator sets up for a whole institute, on a real agent: licenses, maintenance, queues that make room.
// Programs wait for files instead of times, so what is seen meanwhile does not hang on how fast anything is.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("licenses, maintenance and preemption", .serialized, .timeLimit(.minutes(20))) struct PlacementTests {
        private static let untilOpen = "until [ -e /gate/open ]; do sleep 0.1; done"

        @Test("of two jobs that want the only license one waits for the other, is told so, and runs after it")
        func license() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                #expect(try await c.ok("license", "set", "matlab", "1") == "license matlab: 0 of 1 in use")
                // Whoever finds the seat taken ends with 3.
                let shell = "mkdir /gate/seat || exit 3; \(Self.untilOpen); rmdir /gate/seat"
                let wish = "licenses: {matlab: 1}\nvolumes: [scratch:/gate:rw]"
                let first = try await c.submit(shell: shell, wish)
                try await eventually("it has its seat") { FileManager.default.fileExists(atPath: c.scratch + "/seat") }
                let second = try await c.submit(shell: shell, wish)
                let why = try await c.ok("show", second, "--why")
                #expect(why.contains("1 of the license matlab and 1 of 1 are in use (job \(first) of "), "\(why)")
                #expect(try await c.ok("license", "list").contains("job \(first) of "))
                // One that came later runs to its end: the other had its chance.
                let other = try await c.submit(shell: "true")
                #expect(try await c.ended(other).state == .known(.succeeded))
                #expect(try await c.attempts(of: second).isEmpty)

                c.openGate()
                for id in [first, second] {
                    #expect(try await c.ended(id).state == .known(.succeeded), "job \(id)")
                    #expect(try await c.attempts(of: id).count == 1)
                }
                #expect(try await c.ok("license", "remove", "matlab") == "license matlab removed")
            }
        }

        @Test("during maintenance what runs goes on and nothing starts, not even in its room, until it is called off")
        func maintenance() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let worker = try await c.onlyWorker().name
                let running = try await c.submit(shell: Self.untilOpen, "volumes: [scratch:/gate:ro]")
                try await c.waitForProgram(of: running)
                let added = try await c.ok(
                    "reservation", "add", "upkeep", "--start", "now", "--duration", "4h", "--workers", worker,
                    "--reason", "new disks")
                #expect(added.hasSuffix(" \(worker), for nobody"), "\(added)")
                let waiting = try await c.submit(shell: "true")
                let why = try await c.ok("show", waiting, "--why")
                #expect(why.contains("\(worker) has room and is closed for 'upkeep', new disks from "), "\(why)")

                c.openGate()
                #expect(try await c.ended(running).state == .known(.succeeded))
                #expect(try await c.attempts(of: waiting).isEmpty)
                #expect(try await c.ok("reservation", "remove", "upkeep") == "reservation upkeep removed")
                #expect(try await c.ended(waiting).state == .known(.succeeded))
            }
        }

        @Test("a job of a queue that preempts stops one of the other queue, which runs again and still has its retry")
        func preemption() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                try await c.ok("queue", "add", "low")
                try await c.ok("queue", "add", "high", "--preempts", "low")
                // It is stopped in its first attempt, fails in the second, and needs its only retry for the third.
                let low = try await c.submit(
                    shell: "case $JOBCTL_ATTEMPT in *.1) exec sleep 3600;; *.2) exit 9;; esac",
                    "queue: low\nretries: 1")
                try await c.waitForProgram(of: low)
                let cpus = try await c.onlyWorker().capacity.cpus
                let high = try await c.submit(
                    """
                    image: busybox:local
                    shell: "\(Self.untilOpen)"
                    queue: high
                    volumes: [scratch:/gate:ro]
                    resources: {cpus: \(cpus), memory: 32MiB}
                    """)
                try await c.waitForProgram(of: high)
                let stopped = try await c.attempts(of: low)
                #expect(stopped.map(\.state) == [.known(.cancelled)])
                #expect(stopped.map(\.reason) == [.known(.preempted)])
                #expect(try await c.ok("show", low).contains("preempted"))

                c.openGate()
                #expect(try await c.ended(high).state == .known(.succeeded))
                #expect(try await c.attempts(of: high).count == 1)
                #expect(try await c.ended(low).state == .known(.succeeded))
                let attempts = try await c.attempts(of: low)
                #expect(attempts.map(\.reason) == [.known(.preempted), .known(.exitCode), .known(.exitCode)])
                #expect(attempts.dropFirst().map(\.exitCode) == [9, 0])
            }
        }
    }
}

extension ClusterUnderTest {
    /// Lets go on whoever waits for `/gate/open`, with the volume `scratch` at `/gate`.
    fileprivate func openGate() { _ = FileManager.default.createFile(atPath: scratch + "/open", contents: nil) }

    fileprivate func waitForProgram(of id: String) async throws {
        try await eventually("the program of job \(id) runs") {
            try await attempts(of: id).last?.state == .known(.running)
        }
    }

    fileprivate func onlyWorker() async throws -> WorkerDocument {
        let list = try WireJSON.decode(WorkerList.self, from: try await ok("worker", "list", "-o", "json").utf8)
        return try #require(list.workers.first)
    }
}

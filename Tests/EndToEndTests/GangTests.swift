// A gang on three real agents: one of `jobctl up`, and two more beside it.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("gangs", .serialized, .timeLimit(.minutes(10))) struct GangTests {
        private static let spec = """
            name: ring
            image: busybox:local
            gang: 3
            shell: 'echo "$JOBCTL_GANG_RANK of $JOBCTL_GANG_SIZE: $JOBCTL_GANG_HOSTS"; exit ${params.code}'
            parameters: {code: "0"}
            resources: {cpus: 0.1, memory: 32MiB}
            """

        @Test("three members run on three workers, each knows its rank and all addresses, and they fail together")
        func ranksAndHosts() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let folder = try temporaryFolder("agents")
                var agents: [DaemonUnderTest] = []
                let result: Result<Void, any Error>
                do {
                    for place in [2, 3] { agents.append(try c.agent(place, in: folder)) }
                    try await eventually("three workers are ready") {
                        try await c.ok("worker", "list", "-o", "json").components(separatedBy: "\"name\"").count == 4
                    }
                    try await Self.run(on: c)
                    result = .success(())
                } catch {
                    result = .failure(error)
                }
                for agent in agents { await agent.stop() }
                for place in [2, 3] {
                    let identity = try? String(contentsOfFile: "\(folder)/\(place)/identity", encoding: .utf8)
                    if let identity { removeGroups(of: identity.trimmingCharacters(in: .whitespacesAndNewlines)) }
                }
                removeFolder(folder)
                try result.get()
            }
        }

        private static func run(on c: ClusterUnderTest) async throws {
            let job = try await c.submit(spec, "--wait")
            let workers = try await c.attempts(of: job).sorted { $0.id < $1.id }.map(\.worker)
            #expect(Set(workers).count == 3 && workers == workers.sorted())
            var lists: Set<String> = []
            for rank in 0..<3 {
                let line = try await c.ok("logs", "\(job).\(rank + 1)")
                #expect(line.hasPrefix("\(rank) of 3: "), "\(line)")
                lists.insert(String(line.dropFirst(8)))
            }
            let hosts = try #require(lists.first).split(separator: ",").map(String.init)
            #expect(lists.count == 1 && hosts.count == 3)
            for (worker, host) in zip(workers, hosts) where worker.hasPrefix("agent") {
                #expect(host == "10.99.0.\(worker.suffix(1))")
            }
            let failed = try await c.submit(spec, "--param", "code=3")
            #expect(try await c.ended(failed).state == .known(.failed))
            #expect(try await c.job(failed).tasks.failed >= 1)
        }
    }
}

extension ClusterUnderTest {
    /// One more agent on this host.
    fileprivate func agent(_ place: Int, in folder: String) throws -> DaemonUnderTest {
        let address = try String(contentsOfFile: data + "/scheduler/scheduler.address", encoding: .utf8)
        return try DaemonUnderTest(
            "agent\(place)", programs + "/jobctl-worker",
            [
                "--url", "http://" + address.trimmingCharacters(in: .whitespacesAndNewlines), "--token-file",
                data + "/worker.token", "--data-dir", "\(folder)/\(place)", "--name", "agent\(place)", "--engine",
                "oci",
                "--address", "10.99.0.\(place)",
            ], folder: folder)
    }
}

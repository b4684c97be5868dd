// A gang over HTTP: three workers are told to start their members and where the others are; bad addresses are refused.
import JobModel
import Scheduler
import Testing

@Suite struct APIGangTests {
    private func sync(_ api: APIUnderTest, _ worker: String, _ sequence: Int64, address: String? = nil) async throws
        -> APIUnderTest.Answer
    {
        var registration = WorkerRegistration.small()
        registration.address = address
        return try await api.sync(
            SyncRequest(
                incarnation: "life-1", sequence: sequence, registration: registration, live: [], reports: [],
                wait: .zero), worker: worker)
    }

    @Test("each worker is told to start its member, and the addresses of all")
    func starts() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let addresses = ["node1": "10.0.0.1", "node2": nil, "node3": "fd00::3"]
            for (name, address) in addresses {
                #expect(try await sync(api, name, 1, address: address).status == 200)
            }
            let job = try await api.submit(#"{"image": "busybox", "command": ["a"], "gang": 3}"#)
            #expect(job.shape == .gang(3) && job.tasks.total == 3)
            for (place, name) in ["node1", "node2", "node3"].enumerated() {
                let answer = try await sync(api, name, 2, address: addresses[name] ?? nil)
                let start = try #require(try answer.decoded(SyncResponse.self).start.first)
                #expect(start.attempt.task.index == Int64(place + 1) && start.attempt.job == job.id)
                #expect(start.gangHosts == ["10.0.0.1", "node2", "fd00::3"])
            }
            let configuration = try await api.call(.get, "/v1/configurations/\(job.configuration.digest)")
            #expect(configuration.text.contains("\"gang\":3"), "\(configuration.text)")
            let again = try await api.call(.post, "/v1/reruns", json: #"{"source": "\#(job.id)"}"#)
            #expect(try again.decoded(JobDocument.self).shape == .gang(3), "\(again.text)")
        }
    }

    @Test("an address that could not stand in a list is refused")
    func badAddress() async throws {
        try await APIUnderTest.with { api in
            for address in ["", "a,b", "a b", String(repeating: "a", count: 254)] {
                let answer = try await sync(api, "node1", 1, address: address)
                #expect(try answer.status == 400 && answer.problem().field == "$.registration.address")
            }
        }
    }
}

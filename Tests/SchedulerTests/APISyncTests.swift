// The worker protocol over HTTP, from registration to a finished task, and its hand-written JSON.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import SchedulingCore
import Testing

@Suite struct APISyncTests {
    private func request(
        _ sequence: Int64, registration: WorkerRegistration? = nil, live: [String] = [], reports: [AttemptReport] = [],
        wait: Int64 = 0
    ) -> SyncRequest {
        SyncRequest(
            incarnation: "life-1", sequence: sequence, registration: registration,
            live: live.compactMap { AttemptID($0) },
            reports: reports, wait: .seconds(wait))
    }

    @Test("a worker registers, is given a task with job and configuration, reports, and the job succeeds")
    func life() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let job = try await api.submit(
                #"{"name": "one", "image": "busybox", "command": ["/bin/cat", "${task.index}"]}"#)
            let first = try await api.sync(request(1, registration: .small(), wait: 10))
            let orders = try first.decoded(SyncResponse.self)
            let attempt = try #require(AttemptID("1.1.1"))
            #expect(orders.start.map(\.attempt) == [attempt])
            #expect(orders.jobs.map(\.id) == [job.id])
            #expect(orders.configurations[job.configuration.digest]?.command == ["/bin/cat", "${task.index}"])
            #expect(orders.configurations[job.configuration.digest]?.digest == job.configuration.digest)
            #expect(orders.lease == .minutes(10) && orders.interval == .seconds(10) && !orders.registrationWanted)

            let running = AttemptReport(attempt: attempt, sequence: 1, state: .running, engine: "docker")
            _ = try await api.sync(request(2, live: ["1.1.1"], reports: [running]))
            #expect(try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).state == Open(.running))
            let done = AttemptReport(attempt: attempt, sequence: 2, state: .succeeded, reason: .exitCode, exitCode: 0)
            let last = try await api.sync(request(3, live: ["1.1.1"], reports: [done])).decoded(SyncResponse.self)
            #expect(last.forget == [attempt])
            #expect(try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self).state == Open(.succeeded))
            let attempts = try await api.call(.get, "/v1/jobs/1/attempts").decoded(AttemptList.self).attempts
            #expect(attempts.map(\.exitCode) == [0] && attempts.map(\.worker) == ["node1"])
            let tasks = try await api.call(.get, "/v1/jobs/1/tasks").decoded(TaskList.self).tasks
            #expect(tasks.map(\.state) == [Open(.succeeded)])
            let status = try await api.call(.get, "/v1/status").decoded(StatusDocument.self)
            #expect(status.jobs["succeeded"] == 1 && status.workers == ["ready": 1])
            #expect(status.capacity.cpus == CPUAmount(cpus: 4) && status.free.cpus == CPUAmount(cpus: 4))
        }
    }

    @Test("workers are listed and shown, drained and resumed by administrators")
    func workers() async throws {
        try await APIUnderTest.with { api in
            for name in ["node1", "node2", "node3"] {
                _ = try await api.sync(request(1, registration: .small()), worker: name)
            }
            let page = try await api.call(.get, "/v1/workers?limit=2").decoded(WorkerList.self)
            #expect(page.workers.map(\.name) == ["node1", "node2"])
            let rest = try await api.call(.get, "/v1/workers?limit=2&cursor=\(try #require(page.next))").decoded(
                WorkerList.self)
            #expect(rest.workers.map(\.name) == ["node3"] && rest.next == nil)
            #expect(
                try await api.call(.post, "/v1/workers/node1/drain", as: .admin).decoded(WorkerDocument.self).state
                    == Open(.drained))
            #expect(
                try await api.call(.post, "/v1/workers/node1/resume", as: .admin).decoded(WorkerDocument.self).state
                    == Open(.ready))
        }
    }

    @Test("a call of an older life or an older sequence is a conflict, and an unregistered worker is asked to register")
    func fencing() async throws {
        try await APIUnderTest.with { api in
            #expect(try await api.sync(request(1)).decoded(SyncResponse.self).registrationWanted)
            _ = try await api.sync(request(2, registration: .small()))
            #expect(try await api.sync(request(2)).status == 409)
        }
    }

    @Test("a call that is parked ends when the scheduler stops")
    func stopping() async throws {
        let answer = try await APIUnderTest.with(.live) { api in
            _ = try await api.sync(request(1, registration: .small()))
            return try await api.sync(request(2, wait: 1))
        }
        #expect(answer.status == 200)
    }

    @Test("orders are written as the coder reads them, and written the same when they are read and encoded again")
    func json() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let spec =
                #"{"name": "one", "image": "busybox", "command": ["a"], "array": "1-3", "volumes": ["in:/d:ro"], "working_dir": "/tmp", "environment": {"A": "é\"\n"}, "resources": {"cpus": 0.25, "memory": "8MiB"}, "time_limit": "90s", "constraints": ["zone == a"]}"#
            _ = try await api.submit(spec, more: #", "bindings": {"in": "/data/x"}"#)
            var registration = WorkerRegistration.small()
            registration.allowedPaths = ["/data"]
            let answer = try await api.sync(request(1, registration: registration, wait: 10))
            let orders = try answer.decoded(SyncResponse.self)
            #expect(orders.start.count == 3)
            let again = try WireJSON.decode(SyncResponse.self, from: try WireJSON.encode(orders))
            #expect(again == orders)
        }
    }
}

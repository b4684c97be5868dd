// Licenses, reservations, drains and custom resources over HTTP: what is set is shown, kept and refused.
import Foundation
import JobModel
import Scheduler
import Testing

@Suite struct APIPlacementTests {
    private func register(_ api: APIUnderTest, _ registration: WorkerRegistration, images: [Digest]? = nil) async throws
        -> UInt
    {
        let request = SyncRequest(
            incarnation: "life-1", sequence: 1, registration: registration, live: [], reports: [], wait: .zero,
            images: images)
        return UInt(try await api.sync(request).status)
    }

    @Test("a license is set, held by what runs, shown with its holder, and removed when nothing needs it")
    func licenses() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            #expect(try await register(api, .small()) == 200)
            let spec = #"{"image": "busybox", "command": ["a"], "licenses": {"matlab": 2}}"#
            let unknown = try await api.call(.post, "/v1/jobs", json: #"{"spec": \#(spec)}"#)
            #expect(try unknown.status == 422 && unknown.problem().field == "licenses.matlab")
            #expect(try await api.call(.put, "/v1/licenses/matlab", json: #"{"total": 3}"#).status == 403)
            let set = try await api.call(.put, "/v1/licenses/matlab", as: .admin, json: #"{"total": 3}"#)
            #expect(try set.decoded(LicenseDocument.self).total == 3)
            let job = try await api.submit(spec)
            let list = try await api.call(.get, "/v1/licenses").decoded(LicenseList.self)
            #expect(list.licenses.map(\.used) == [2] && list.licenses.first?.holders.map(\.job) == [job.id])
            let second = try await api.submit(spec)
            let why = try await api.call(.get, "/v1/jobs/\(second.id)/why").decoded(WaitingDocument.self)
            #expect(
                why.reason.hasPrefix("it needs 2 of the license matlab and 2 of 3 are in use (job \(job.id) of ada"))
            #expect(try await api.call(.delete, "/v1/licenses/matlab", as: .admin).status == 409)
            for id in [job.id, second.id] { _ = try await api.call(.post, "/v1/jobs/\(id)/cancel") }
            #expect(try await api.call(.delete, "/v1/licenses/other", as: .admin).status == 404)
            for bad in ["-1", "1e30", "\"many\""] {
                let answer = try await api.call(.put, "/v1/licenses/matlab", as: .admin, json: #"{"total": \#(bad)}"#)
                #expect(answer.status == 400, "\(answer.text)")
            }
        }
    }

    @Test("a reservation is set up once, shown, refused where it makes no sense, and removed")
    func reservations() async throws {
        try await APIUnderTest.with { api in
            let good =
                #"{"name": "fw", "start": "2099-01-01T00:00:00Z", "end": "2099-01-02T00:00:00Z", "workers": ["node1"], "labels": {}, "users": [], "groups": [], "reason": "firmware"}"#
            let saved = try await api.call(.put, "/v1/reservations/fw?create=true", as: .admin, json: good)
            #expect(saved.status == 200, "\(saved.text)")
            let list = try await api.call(.get, "/v1/reservations").decoded(ReservationList.self)
            #expect(list.reservations == [try saved.decoded(AdvanceReservation.self)])
            #expect(try await api.call(.put, "/v1/reservations/fw?create=true", as: .admin, json: good).status == 409)
            #expect(try await api.call(.put, "/v1/reservations/fw", as: .ada, json: good).status == 403)
            for (from, to, field) in [
                (#""fw""#, #""other""#, "$.name"), ("2099-01-02", "2098-01-02", "$.end"), ("2099", "2001", "$.end"),
                (#"["node1"]"#, "[]", "$.workers"), ("01-02T", "99-02T", "$.end"),
            ] {
                let answer = try await api.call(
                    .put, "/v1/reservations/fw", as: .admin, json: good.replacing(from, with: to))
                #expect(try answer.status == 400 && answer.problem().field == field, "\(answer.text)")
            }
            #expect(try await api.call(.delete, "/v1/reservations/fw", as: .admin).status == 204)
            #expect(try await api.call(.delete, "/v1/reservations/fw", as: .admin).status == 404)
        }
    }

    @Test("a drain shows its reason and deadline until the worker is resumed; custom resources are shown and counted")
    func drain() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            var registration = WorkerRegistration.small()
            registration.custom = ResourceCounts([ResourceName(rawValue: "fpga")!: 2])
            registration.disk = ByteCount(bytes: 1 << 30)
            #expect(try await register(api, registration, images: [Digest(of: "a")]) == 200)
            _ = try await api.submit(
                #"{"image": "busybox", "command": ["a"], "resources": {"custom": {"fpga": 1}, "disk": "1MiB"}, "exclusive": false, "prefer": ["zone == a"], "placement": "spread"}"#
            )
            let worker = try await api.call(.get, "/v1/workers/node1").decoded(WorkerDocument.self)
            #expect(worker.free.custom?.description == "fpga=1" && worker.capacity.custom?.description == "fpga=2")
            #expect(worker.free.disk == ByteCount(bytes: (1 << 30) - (1 << 20)) && worker.drain == nil)
            let body = #"{"reason": "new disk", "deadline": "2099-01-01T00:00:00Z"}"#
            let drained = try await api.call(.post, "/v1/workers/node1/drain", as: .admin, json: body).decoded(
                WorkerDocument.self)
            #expect(drained.drain == DrainOrder(reason: "new disk", deadline: Timestamp("2099-01-01T00:00:00Z")))
            let long = #"{"reason": "\#(String(repeating: "x", count: 600))"}"#
            #expect(try await api.call(.post, "/v1/workers/node1/drain", as: .admin, json: long).status == 400)
            let resumed = try await api.call(.post, "/v1/workers/node1/resume", as: .admin)
            #expect(try resumed.decoded(WorkerDocument.self).drain == nil)
        }
    }

    @Test("queues that would preempt each other are refused")
    func preemption() async throws {
        try await APIUnderTest.with { api in
            func save(_ queue: String, _ preempts: String) async throws -> APIUnderTest.Answer {
                try await api.call(
                    .put, "/v1/accounts/queue/\(queue)", as: .admin,
                    json: #"{"weight": 100, "limits": {}, "preempts": [\#(preempts)], "placement": "spread"}"#)
            }
            #expect(try await save("low", "").status == 200)
            #expect(try await save("high", #""low""#).status == 200)
            let answer = try await save("low", #""high""#)
            #expect(try answer.status == 422 && answer.problem().field == "$.preempts", "\(answer.text)")
        }
    }
}

// What the scheduler really answers, held against openapi.yaml: each answer has the properties that are described, with
// their types, all that are required and none that is not described.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import TestSupport
import Testing

/// As much of JSON Schema as the description uses.
private struct Description {
    private let root: JSONValue

    init() throws {
        let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "openapi.yaml")
        root = try YAMLParser.parse(Array(Data(contentsOf: url)), file: "openapi.yaml").json
    }

    private func at(_ path: [String]) -> JSONValue? { path.reduce(Optional(root)) { $0?[key: $1] } }

    /// The schema of an answer: `GET /v1/jobs` with `200`.
    func answer(_ method: String, _ path: String, _ status: Int) throws -> JSONValue {
        let answer = at(["paths", path, method.lowercased(), "responses", String(status)])
        return try #require(
            answer?[key: "content"]?[key: "application/json"]?[key: "schema"],
            "\(method) \(path) \(status) is not described")
    }

    func component(_ name: String) throws -> JSONValue { try #require(at(["components", "schemas", name])) }

    /// Where a value is not what its schema says.
    func faults(_ value: JSONValue, _ schema: JSONValue, _ path: String = "$") -> [String] {
        if case .string(let reference)? = schema[key: "$ref"] {
            guard let target = at(reference.split(separator: "/").dropFirst().map(String.init)) else {
                return ["\(path): no \(reference)"]
            }
            return faults(value, target, path)
        }
        if case .array(let allowed)? = schema[key: "enum"], !allowed.contains(value) {
            return ["\(path): \(value) is not one of the enumeration"]
        }
        if let only = schema[key: "const"], only != value { return ["\(path): \(value) is not \(only)"] }
        if case .string(let pattern)? = schema[key: "pattern"], case .string(let text) = value,
            text.range(of: pattern, options: .regularExpression) == nil
        {
            return ["\(path): '\(text)' does not match"]
        }
        if let type = schema[key: "type"], !isOf(type, value) { return ["\(path): \(value) is not \(type)"] }
        switch value {
        case .object(let members):
            return members.flatMap { memberFaults($0.key, $0.value, schema, path) }
                + missing(members.map(\.key), schema, path)
        case .array(let values):
            guard let items = schema[key: "items"] else { return ["\(path): the elements are not described"] }
            return values.enumerated().flatMap { faults($1, items, "\(path)[\($0)]") }
        default: return []
        }
    }

    private func memberFaults(_ key: String, _ value: JSONValue, _ schema: JSONValue, _ path: String) -> [String] {
        if let property = schema[key: "properties"]?[key: key] { return faults(value, property, "\(path).\(key)") }
        if let more = schema[key: "additionalProperties"], case .object = more {
            return faults(value, more, "\(path).\(key)")
        }
        // An object without any description of its members is open.
        return schema[key: "properties"] == nil && schema[key: "type"] == .string("object")
            ? [] : ["\(path).\(key) is not described"]
    }

    private func missing(_ keys: [String], _ schema: JSONValue, _ path: String) -> [String] {
        guard case .array(let required)? = schema[key: "required"] else { return [] }
        return required.compactMap {
            if case .string(let key) = $0, !keys.contains(key) { "\(path).\(key) is missing" } else { nil }
        }
    }

    private func isOf(_ type: JSONValue, _ value: JSONValue) -> Bool {
        switch (type, value) {
        case (.array(let types), _): types.contains { isOf($0, value) }
        case (.string("object"), .object), (.string("array"), .array), (.string("string"), .string),
            (.string("boolean"), .bool),
            (.string("null"), .null), (.string("number"), .number):
            true
        case (.string("integer"), .number(let number)): number == number.rounded()
        default: false
        }
    }
}

@Suite struct APIDescriptionTests {
    @Test("every answer is as openapi.yaml describes it, and nothing in it is left undescribed")
    func answers() async throws {
        let description = try Description()
        let faults = try await APIUnderTest.with { api in
            try await Self.makeHistory(api)
            let id = try #require(try await api.call(.get, "/v1/images").decoded(ImageList.self).images.first).digest
            let calls: [(String, String, String)] = [
                ("/healthz", "/healthz", ""), ("/v1/status", "/v1/status", ""), ("/v1/jobs", "/v1/jobs?limit=1", ""),
                ("/v1/jobs/{id}", "/v1/jobs/1", ""),
                ("/v1/jobs/{id}", "/v1/jobs/2", ""), ("/v1/jobs/{id}/why", "/v1/jobs/2/why", ""),
                ("/v1/accounts", "/v1/accounts", ""), ("/v1/accounts/{kind}/{name}", "/v1/accounts/queue/default", ""),
                ("/v1/jobs/{id}/tasks", "/v1/jobs/1/tasks", ""),
                ("/v1/jobs/{id}/attempts", "/v1/jobs/1/attempts", ""),
                ("/v1/workers", "/v1/workers", ""), ("/v1/workers/{name}", "/v1/workers/node1", ""),
                ("/v1/configurations", "/v1/configurations", ""),
                ("/v1/configurations/{source}", "/v1/configurations/full", ""),
                ("/v1/configurations/{source}/runs", "/v1/configurations/full/runs", ""),
                ("/v1/attempts/{attempt}/files/{slot}", "/v1/attempts/1.1.1/files/out", ""),
                ("/v1/attempts/{attempt}/differences/{other}", "/v1/attempts/1.1.1/differences/1.1.1", ""),
                ("/v1/images", "/v1/images", ""),
                ("/v1/images/pulls", "/v1/images/pulls", ""),
                ("/v1/images/show", "/v1/images/show?reference=\(id)", ""),
                ("/v1/images/lint", "/v1/images/lint?reference=\(id)", ""), ("/v1/users", "/v1/users", ""),
                ("/v1/archive", "/v1/archive", ""), ("/v1/licenses", "/v1/licenses", ""),
                ("/v1/reservations", "/v1/reservations", ""),
            ]
            try await Self.setUpPlacement(api)
            var faults: [String] = []
            for (path, uri, _) in calls {
                let answer = try await api.call(.get, uri, as: .admin)
                #expect(answer.status == 200, "\(uri): \(answer.text)")
                let schema = try description.answer("GET", path, 200)
                faults += description.faults(try JSONParser.parse(answer.bytes).json, schema).map {
                    "GET \(uri): \($0)"
                }
            }
            for (method, path, uri, body, status) in [
                ("POST", "/v1/jobs", "/v1/jobs", #"{"spec": \#(pinnedSpec)}"#, 201),
                ("POST", "/v1/reruns", "/v1/reruns", #"{"source": "1"}"#, 201),
                ("POST", "/v1/jobs/{id}/hold", "/v1/jobs/3/hold", "", 200),
                ("POST", "/v1/jobs/{id}/release", "/v1/jobs/3/release", "", 200),
                ("POST", "/v1/jobs/{id}/cancel", "/v1/jobs/3/cancel", "", 200),
                ("POST", "/v1/workers/{name}/drain", "/v1/workers/node1/drain", "", 200),
                ("POST", "/v1/workers/{name}/resume", "/v1/workers/node1/resume", "", 200),
                ("POST", "/v1/archive/gc", "/v1/archive/gc", "", 200),
                ("POST", "/v1/users", "/v1/users", #"{"name": "eve", "role": "user", "uid": 7, "gid": 8}"#, 201),
            ] {
                let answer = try await api.call(.post, uri, as: .admin, json: body)
                #expect(answer.status == status, "\(uri): \(answer.text)")
                faults += description.faults(
                    try JSONParser.parse(answer.bytes).json, try description.answer(method, path, status)
                ).map { "\(method) \(uri): \($0)" }
            }
            let problem = try await api.call(.get, "/v1/jobs/77")
            faults += description.faults(try JSONParser.parse(problem.bytes).json, try description.component("Problem"))
                .map { "problem: \($0)" }
            return faults
        }
        #expect(faults == [])
    }

    /// A license, a reservation and a drain with everything that they can have.
    private static func setUpPlacement(_ api: APIUnderTest) async throws {
        for (method, uri, body) in [
            (HTTPRequest.Method.put, "/v1/licenses/matlab", #"{"total": 3}"#),
            (
                .put, "/v1/reservations/fw",
                #"{"name": "fw", "start": "2099-01-01T00:00:00Z", "end": "2099-01-02T00:00:00Z", "workers": ["node9"], "labels": {"a": "b"}, "users": ["ada"], "groups": ["g"], "reason": "firmware"}"#
            ),
            (.post, "/v1/workers/node1/drain", #"{"reason": "disk", "deadline": "2099-01-01T00:00:00Z"}"#),
        ] {
            let answer = try await api.call(method, uri, as: .admin, json: body)
            #expect(answer.status == 200, "\(uri): \(answer.text)")
        }
    }

    @Test("what an import answers, and the runs that it brought, are as described")
    func imports() async throws {
        let bytes = try await APIUnderTest.with { api in
            try await api.runExported()
            return try await api.export("sum")
        }
        let description = try Description()
        try await APIUnderTest.with { api in
            let answer = try await api.importArchive(bytes)
            let runs = try await api.call(.get, "/v1/configurations/sum/runs")
            for (answer, method, path) in [
                (answer, "POST", "/v1/archive/import"), (runs, "GET", "/v1/configurations/{source}/runs"),
            ] {
                let value = try JSONParser.parse(answer.bytes).json
                #expect(description.faults(value, try description.answer(method, path, answer.status)) == [])
            }
        }
    }

    @Test("the golden wire documents of requests and orders are as described")
    func wire() throws {
        let description = try Description()
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(
            path: "JobModelTests/Golden/wire")
        for (name, component) in [
            ("sync-request", "SyncRequest"), ("sync-response", "SyncResponse"), ("submit-request", "SubmitRequest"),
            ("rerun-request", "RerunRequest"),
            ("problem", "Problem"), ("job", "Job"), ("task", "Task"), ("attempt", "Attempt"), ("worker", "Worker"),
            ("configuration", "Configuration"),
            ("image", "Image"), ("user", "User"), ("status", "Status"),
        ] {
            let value = try JSONParser.parse(Array(Data(contentsOf: folder.appending(path: name + ".json")))).json
            #expect(description.faults(value, try description.component(component)) == [], "\(name)")
        }
    }

    /// One job with everything that a job can have, run to its end.
    private static func makeHistory(_ api: APIUnderTest) async throws {
        try await api.importBusybox()
        let spec = #"""
            {"name": "full", "image": "busybox", "command": ["a"], "matrix": {"x": ["1", "2"]}, "volumes": ["in:/in:ro", "out:/out:out"],
             "environment": {"A": "1"}, "working_dir": "/in", "labels": {"a": "b"}, "parameters": {"p": "1"}, "time_limit": "10m", "constraints": ["zone == a"],
             "files": {"/f": "f"}}
            """#
        _ = try await api.submit(spec, more: #", "files": {"/f": {"content": ""}}"#)
        _ = try await api.submit(pinnedSpec)
        var registration = WorkerRegistration.small()
        registration.gpus = ["GPU-0"]
        registration.volumes = Dictionary(
            uniqueKeysWithValues: ["in", "out"].map { (VolumeName(rawValue: $0)!, VolumeOffer(writable: true)) })
        let attempt = try #require(AttemptID("1.1.1"))
        let list = Array("f 644 5 \(Digest(of: "t").hex) t\0".utf8)
        _ = try await api.call(.put, "/v1/trees/\(Digest(of: list))", as: .worker, body: list)
        let tree = TreeFingerprint(treeDigest: Digest(of: list), level: .content, files: 1, bytes: ByteCount(bytes: 5))
        let report = AttemptReport(
            attempt: attempt, sequence: 1, state: .failed, reason: .signal, exitCode: 137, signal: 9, message: "killed",
            engine: "docker",
            startedAt: Timestamp("2026-11-24T13:30:00Z"), finishedAt: Timestamp("2026-11-24T13:31:00Z"),
            inputs: [SlotName(rawValue: "in")!: tree],
            outputs: [SlotName(rawValue: "out")!: tree],
            usage: Usage(cpuSeconds: 1.5, maxMemory: ByteCount(bytes: 7), wallSeconds: 2),
            imageManifest: Digest(of: "manifest"))
        for (sequence, live, reports) in [(1, [], []), (2, [attempt], [report])]
            as [(Int64, [AttemptID], [AttemptReport])]
        {
            let request = SyncRequest(
                incarnation: "i", sequence: sequence, registration: sequence == 1 ? registration : nil, live: live,
                reports: reports, wait: .zero)
            let answer = try await api.sync(request)
            guard answer.status == 200 else { throw APIFailure(description: answer.text) }
        }
    }
}

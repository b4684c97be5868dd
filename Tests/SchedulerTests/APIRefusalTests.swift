// Every bad input gets one sentence that names the field, nothing is written, and the scheduler lives on. The whole
// page is a golden file that a person can read in two minutes.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APIRefusalTests {
    struct Bad: Sendable {
        let method: HTTPRequest.Method
        let uri: String
        var who: APIUnderTest.Who = .ada
        var headers: HTTPFields = [:]
        var body: String?
        /// What the page shows in place of a long body.
        var shown: String?
    }

    /// Submissions: the spec, or what stands around it.
    static let submissions: [Bad] =
        [
            "", "{", "[]", "null", #""text""#, "{}", #"{"spec": null}"#, #"{"spec": {}}"#, #"{"spec": {"image": 7}}"#,
            #"{"spec": {"image": "UPPER/case", "command": ["a"]}}"#,
            #"{"spec": {"image": "a@sha256:12", "command": ["a"]}}"#,
            #"{"spec": {"image": "a", "command": "echo hello"}}"#, #"{"spec": {"image": "a", "command": []}}"#,
            #"{"spec": {"image": "a", "comand": ["a"]}}"#, #"{"spec": {"image": "a", "image": "b", "command": ["a"]}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "resources": {"cpus": -1}}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "resources": {"cpus": 1e300}}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "resources": {"memory": "12 parsecs"}}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "array": "5-1"}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "array": "0-99999999999999999999"}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "time_limit": "never"}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "priority": 1.5}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "retries": 99999999999999999999999}}"#,
            #"{"spec": {"image": "a", "command": ["a"], "files": {"/a": "b"}}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "files": {"/a": "b"}}, "files": {"/a": {"content": "%%%"}}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"]}, "files": {"/b": {"content": ""}}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"]}, "bindings": {"input": "v"}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "volumes": ["input:/data"]}, "bindings": {"input": "../etc"}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a", "${params.year}"]}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"]}, "parameters": {"year": "1"}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"]}, "parameters": {"year": 1}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"]}, "hold": "yes"}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"]}, "user": "root"}"#,
            #"{"spec": {"image": "127.0.0.1:1/none:1", "command": ["a"]}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "volumes": ["i:/d"]}, "bindings": {"i": "v/${params.y}"}, "parameters": {"y": ".."}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "volumes": ["i:/d"]}, "bindings": {"i": "v/${params.y}"}, "parameters": {"y": ""}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "volumes": ["i:/d"]}, "bindings": {"i": "v/${HOME}"}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "volumes": ["i:/d"]}, "bindings": {"I": "v"}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "matrix": {"y": [1]}}, "parameters": {"y": "2"}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"], "files": {"/a": "b", "/a/": "c"}}}"#,
            #"{"spec": {"image": "x@SUM", "command": ["a"]}, "a\nb\u001b[31m": 1}"#,
        ].map { Bad(method: .post, uri: "/v1/jobs", body: $0.replacing("SUM", with: absentDigest), shown: $0) } + [
            Bad(
                method: .post, uri: "/v1/jobs", body: String(repeating: "[", count: 100_000), shown: "100,000 brackets"),
            Bad(method: .post, uri: "/v1/jobs", body: "\u{FEFF}\u{0}", shown: "a byte order mark and a NUL"),
            Bad(
                method: .post, uri: "/v1/jobs",
                headers: [.init("Idempotency-Key")!: String(repeating: "k", count: 129)], body: "{}",
                shown: "a key of 129 bytes"),
            Bad(
                method: .post, uri: "/v1/jobs",
                body:
                    #"{"spec": {"image": "a", "command": ["b"], "matrix": {"v": ["\#(String(repeating: "x", count: 1 << 20))"]}}}"#,
                shown: "a spec of more than 1 MiB"),
            Bad(
                method: .post, uri: "/v1/jobs", body: #"{"\#(String(repeating: "k", count: 1 << 20))": 1}"#,
                shown: "a key of 1 MiB"),
            Bad(method: .post, uri: "/v1/jobs?dry_run=true", body: "{}"),
            Bad(
                method: .post, uri: "/v1/jobs", body: String(repeating: " ", count: (32 << 20) + 1),
                shown: "32 MiB and a byte"),
        ]

    static let queries: [Bad] = [
        "/v1/jobs?limit=0", "/v1/jobs?limit=1001", "/v1/jobs?limit=ten", "/v1/jobs?limit=99999999999999999999",
        "/v1/jobs?limit=1&limit=2",
        "/v1/jobs?cursor=%00%ff", "/v1/jobs?cursor=1.2", "/v1/jobs?state=done", "/v1/jobs?states=held", "/v1/jobs/0",
        "/v1/jobs/-1",
        "/v1/jobs/1.5", "/v1/jobs/99999999999999999999999", "/v1/jobs/%zz", "/v1/jobs/77", "/v1/jobs/77/tasks",
        "/v1/jobs/77/events",
        "/v1/jobs/1/tasks?state=held", "/v1/jobs/1/attempts?task=x", "/v1/jobs/1/attempts?cursor=zzz",
        "/v1/configurations/no%20name", "/v1/configurations/none", "/v1/configurations/none@0",
        "/v1/configurations/none@1",
        "/v1/configurations/sha256:12", "/v1/configurations?name=%2e%2e", "/v1/images/show",
        "/v1/images/show?reference=a%20b",
        "/v1/images/show?reference=none", "/v1/images?cursor=x", "/v1/workers/none", "/v1/workers/%2e%2e%2fx",
        "/v1/workers?cursor=%20",
        "/v1/attempts/1.1/logs/stdout", "/v1/attempts/1.1.1/logs/stdin", "/v1/attempts/1.1.1/logs/stdout?offset=-1",
        "/v1/attempts/1.1.1/logs/stdout?limit=2000000", "/v1/attempts/1.1.1/logs/stdout?wait=nan",
        "/v1/attempts/77.1.1/logs/stdout",
        "/v1/attempts/1.2.1/logs/stdout", "/v2/a", "/v2/archive/blobs/sha256:12",
        "/v2/archive/blobs/../../../etc/passwd",
        "/v2/archive/manifests/none", "/v2/archive/manifests/\(absentDigest)",
    ].map { Bad(method: .get, uri: $0) }

    static let others: [Bad] =
        [
            Bad(method: .get, uri: "/v1/jobs/1/events", headers: [.init("Last-Event-ID")!: "x"]),
            Bad(method: .post, uri: "/v1/jobs/77/cancel"), Bad(method: .post, uri: "/v1/jobs/1/cancel", who: .bob),
            Bad(method: .post, uri: "/v1/workers/none/drain", who: .admin),
            Bad(method: .post, uri: "/v1/workers/none/drain", who: .ada),
            Bad(method: .get, uri: "/v1/blobs/sha256:12", who: .worker),
            Bad(method: .get, uri: "/v1/blobs/\(absentDigest)", who: .worker),
            Bad(
                method: .post, uri: "/v1/users", who: .admin,
                body: #"{"name": "a b", "role": "user", "uid": 1, "gid": 1}"#),
            Bad(
                method: .post, uri: "/v1/users", who: .admin,
                body: #"{"name": "eve", "role": "god", "uid": 1, "gid": 1}"#),
            Bad(
                method: .post, uri: "/v1/users", who: .admin,
                body: #"{"name": "eve", "role": "user", "uid": -1, "gid": 1}"#),
            Bad(method: .post, uri: "/v1/users", who: .admin, body: #"{"name": "eve", "role": "user", "gid": 1}"#),
            Bad(
                method: .post, uri: "/v1/users", who: .admin,
                body: #"{"name": "ada", "role": "user", "uid": 1, "gid": 1}"#),
            Bad(method: .delete, uri: "/v1/users/none", who: .admin),
            Bad(method: .delete, uri: "/v1/users/admin", who: .admin),
            Bad(method: .post, uri: "/v1/images/import", body: "x"),
            Bad(method: .post, uri: "/v1/images/import?reference=A", body: "x"),
            Bad(method: .post, uri: "/v1/images/import?reference=a@\(absentDigest)", body: "x"),
            Bad(method: .post, uri: "/v1/images/import?reference=ada/a", body: "this is no archive"),
            Bad(method: .post, uri: "/v1/images/import?reference=ada/a", body: ""),
        ]
        + [
            "", "{}", #"{"source": ""}"#, #"{"source": "77"}"#, #"{"source": "none"}"#, #"{"source": "none@3"}"#,
            #"{"source": "a b"}"#,
            #"{"source": "1", "binding": {}}"#, #"{"source": "1", "bindings": {"input": "v"}}"#,
            #"{"source": "1", "priority": 5000}"#,
            #"{"source": "1", "queue": "no queue"}"#, #"{"source": "1", "parameters": {"x": "1"}}"#,
        ].map { Bad(method: .post, uri: "/v1/reruns", body: $0) }

    static let workerProtocol: [Bad] = {
        let head = #""protocol": 1, "incarnation": "i", "sequence": 1, "wait_seconds": 0"#
        let registration =
            #""cpus": 1, "memory": 1, "gpus": [], "labels": {}, "volumes": {}, "allowed_paths": [], "engines": [], "version": "1""#
        let bodies = [
            "", "{}",
            #"{"protocol": 2, "incarnation": "i", "sequence": 1, "wait_seconds": 0, "live": [], "reports": []}"#,
            #"{"protocol": 1, "incarnation": "", "sequence": 1, "wait_seconds": 0, "live": [], "reports": []}"#,
            #"{"protocol": 1, "incarnation": "i", "sequence": 0, "wait_seconds": 0, "live": [], "reports": []}"#,
            #"{"protocol": 1, "incarnation": "i", "sequence": 9223372036854775808, "wait_seconds": 0, "live": [], "reports": []}"#,
            #"{"protocol": 1, "incarnation": "i", "sequence": 1, "wait_seconds": -1, "live": [], "reports": []}"#,
            #"{"protocol": 1, "incarnation": "i", "sequence": 1, "wait_seconds": 1e400, "live": [], "reports": []}"#,
            #"{\#(head), "live": ["x"], "reports": []}"#, #"{\#(head), "live": ["1.1.0"], "reports": []}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "flying"}]}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "succeeded"}]}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "running", "reason": "signal"}]}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 0, "state": "running"}]}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "ending", "exit_code": 70000}]}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "ending", "usage": {"cpu_seconds": -1, "max_memory_bytes": 1, "wall_seconds": 1}}]}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "ending", "started_at": "yesterday"}]}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {\#(registration.replacing(#""memory": 1"#, with: #""memory": 9223372036854775807"#))}}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {\#(registration.replacing(#""cpus": 1"#, with: #""cpus": 1e12"#))}}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {\#(registration.replacing(#""gpus": []"#, with: #""gpus": ["0", "0"]"#))}}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {\#(registration.replacing(#""gpus": []"#, with: #""gpus": ["a\nb"]"#))}}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {\#(registration.replacing(#""gpus": []"#, with: #""gpus": [""]"#))}}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {\#(registration.replacing(#""version": "1""#, with: #""version": 1"#))}}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {}}"#,
            #"{\#(head), "live": [null], "reports": []}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "ending", "inputs": {"a b": {"level": "content", "files": 1, "bytes": 1}}}]}"#,
            #"{\#(head), "live": [], "reports": [{"attempt": "1.1.1", "sequence": 1, "state": "ending", "inputs": {"a": {"level": "content", "files": -1, "bytes": 1}}}]}"#,
            #"{\#(head), "live": [], "reports": [], "registration": {\#(registration.replacing(#""volumes": {}"#, with: #""volumes": {"a b": {"writable": true}}"#))}}"#,
        ]
        return bodies.map { Bad(method: .post, uri: "/v1/workers/node1/sync", who: .worker, body: $0) } + [
            Bad(method: .post, uri: "/v1/workers/no%20name/sync", who: .worker, body: "{}"),
            Bad(method: .put, uri: "/v1/workers/node1/attempts/77.1.1/logs/stdout", who: .worker, body: "x"),
            Bad(method: .put, uri: "/v1/workers/node1/attempts/1.2.1/logs/stdout", who: .worker, body: "x"),
            Bad(method: .put, uri: "/v1/workers/node1/attempts/1.1.1/logs/stdin", who: .worker, body: "x"),
            Bad(method: .put, uri: "/v1/workers/node1/attempts/1.1.1/logs/stdout?offset=x", who: .worker, body: "x"),
            Bad(
                method: .put, uri: "/v1/workers/node1/attempts/1.1.1/logs/stdout?complete=maybe", who: .worker,
                body: "x"),
            Bad(
                method: .put, uri: "/v1/workers/node1/attempts/1.1.1/logs/stdout", who: .worker,
                body: String(repeating: "x", count: (1 << 20) + 1), shown: "1 MiB and a byte"),
        ]
    }()

    @Test("each bad input is answered with one sentence that names the field, and the scheduler lives on")
    func page() async throws {
        let page = try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            var page = ""
            for bad in Self.submissions + Self.queries + Self.others + Self.workerProtocol {
                let answer = try await api.call(
                    bad.method, bad.uri, as: bad.who, headers: bad.headers, body: bad.body.map { Array($0.utf8) })
                #expect(
                    (400..<500).contains(answer.status) || answer.status == 502,
                    "\(bad.method) \(bad.uri) \(bad.body ?? ""): \(answer.status)")
                let who = bad.who == .ada ? "" : " (\(bad.who.rawValue))"
                page += "\(bad.method) \(bad.uri)\(who) \(bad.shown ?? bad.body ?? "")\n    \(Self.sentence(answer))\n"
            }
            let jobs = try await api.call(.get, "/v1/jobs").decoded(JobList.self)
            #expect(jobs.jobs.count == 1, "a refused submission left a job")
            return page
        }
        try GoldenFile("refusals.txt").expect(page)
    }

    private static func sentence(_ answer: APIUnderTest.Answer) -> String {
        guard let problem = try? answer.problem() else { return "\(answer.status) \(answer.text)" }
        return "\(answer.status) \(problem)"
    }
}

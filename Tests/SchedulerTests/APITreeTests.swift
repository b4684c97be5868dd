// Lists of trees over HTTP: kept for workers once they are proven, read by owners as files and as differences; and what
// can be verified.
import Foundation
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite("lists of trees over HTTP") struct APITreeTests {
    private static let spec = """
        {"name": "sum", "image": "busybox", "command": ["/bin/cat"], "volumes": ["input:/in:ro", "output:/out:out"]}
        """

    private func list(_ lines: String...) -> [UInt8] { lines.flatMap { Array($0.utf8) + [0] } }
    private func file(_ path: String, _ content: String, mode: String = "644") -> String {
        "f \(mode) \(content.utf8.count) \(Digest(of: content).hex) \(path)"
    }

    private func tree(_ list: [UInt8]) -> TreeFingerprint {
        TreeFingerprint(treeDigest: Digest(of: list), level: .content, files: 1, bytes: ByteCount(bytes: 1))
    }

    private func keep(_ api: APIUnderTest, _ list: [UInt8]) async throws {
        let answer = try await api.call(.put, "/v1/trees/\(Digest(of: list))", as: .worker, body: list)
        guard answer.status == 204 else { throw APIFailure(description: answer.text) }
    }

    /// Lets the only worker run the job `id`, and report this. Calls of one worker, numbered from `sequence`.
    private func run(
        _ api: APIUnderTest, _ id: Int64, sequence: Int64, input: [UInt8], output: [UInt8], fails: Bool = false
    ) async throws {
        let attempt = try #require(AttemptID("\(id).1.1"))
        let registration = WorkerRegistration(
            cpus: CPUAmount(cpus: 4), memory: ByteCount(bytes: 8 << 30), gpus: [], labels: [:],
            volumes: Dictionary(
                uniqueKeysWithValues: ["input", "output"].map {
                    (VolumeName(unchecked: $0), VolumeOffer(writable: true))
                }), allowedPaths: [], engines: ["docker"], version: "test")
        func call(_ number: Int64, _ live: [AttemptID], _ reports: [AttemptReport] = []) async throws {
            let answer = try await api.sync(
                SyncRequest(
                    incarnation: "life-1", sequence: number,
                    registration: sequence == 1 && number == 1 ? registration : nil,
                    live: live, reports: reports, wait: .zero))
            guard answer.status == 200 else { throw APIFailure(description: answer.text) }
        }
        try await call(sequence, [])
        let ending = AttemptReport(attempt: attempt, sequence: 3, state: .ending, exitCode: 0)
        try await call(sequence + 1, [attempt], fails ? [] : [ending])
        let slots = (SlotName(unchecked: "input"), SlotName(unchecked: "output"))
        let end = AttemptReport(
            attempt: attempt, sequence: 4, state: fails ? .failed : .succeeded, reason: .exitCode,
            exitCode: fails ? 1 : 0, inputs: [slots.0: tree(input)], outputs: [slots.1: tree(output)])
        try await call(sequence + 2, [attempt], [end])
    }

    @Test("a list is kept under its digest, and only a list, and only the one that was promised")
    func keeping() async throws {
        try await APIUnderTest.with { api in
            let list = list("d 755 0 - a", file("a/b", "x"))
            let path = "/v1/trees/\(Digest(of: list))"
            #expect(try await api.call(.get, path, as: .worker).status == 404)
            for _ in 0..<2 { #expect(try await api.call(.put, path, as: .worker, body: list).status == 204) }
            #expect(try await api.call(.get, path, as: .worker).bytes == list)
            let other = try await api.call(.put, "/v1/trees/\(Digest(of: "another"))", as: .worker, body: list)
            #expect(try other.status == 400 && other.problem().field == "body")
            let text = Array("no list at all".utf8)
            let answer = try await api.call(.put, "/v1/trees/\(Digest(of: text))", as: .worker, body: text)
            #expect(try answer.status == 400 && answer.problem().detail.contains("no list of a tree"))
            let empty = try await api.call(.put, "/v1/trees/\(Digest(of: ""))", as: .worker, body: [])
            #expect(empty.status == 204)
            #expect(try await api.call(.get, "/v1/trees/\(Digest(of: ""))", as: .worker).bytes == [])
            #expect(try await api.call(.get, path, as: .ada).status == 403)
        }
    }

    @Test("owners see what a slot held, page by page, and what differs between two attempts")
    func differences() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let input = list(file("data", "x"))
            let first = list(file("a", "1"), file("b", "2"), file("c", "3"), file("same", "s"))
            let second = list(file("a", "one"), file("c", "3", mode: "755"), file("d", "4"), file("same", "s"))
            for (id, output) in [(1, first), (2, second)] {
                _ = try await api.submit(Self.spec)
                try await run(api, Int64(id), sequence: Int64(10 * (id - 1) + 1), input: input, output: output)
            }
            let path = "/v1/attempts/1.1.1/differences/2.1.1"
            // Before the lists are there, the digests say that something differs.
            let unnamed = try await api.call(.get, path).decoded(AttemptDifferences.self)
            #expect(unnamed.inputs["input"]?.equal == true && unnamed.outputs["output"]?.equal == false)
            #expect(unnamed.outputs["output"]?.note?.contains("not kept") == true && !unnamed.areEqual)
            for list in [input, first, second] { try await keep(api, list) }
            let found = try #require(try await api.call(.get, path).decoded(AttemptDifferences.self).outputs["output"])
            #expect(found.total == 4 && found.note == nil)
            #expect(found.files.map(\.path) == ["a", "b", "c", "d"])
            #expect(found.files.map(\.change.value) == [.content, .removed, .mode, .added])
            #expect(found.files.first?.second?.size.bytes == 3)
            let short = try await api.call(.get, path + "?limit=1").decoded(AttemptDifferences.self).outputs["output"]
            #expect(short?.total == 4 && short?.files.count == 1)
            let files = "/v1/attempts/1.1.1/files/output"
            let page = try await api.call(.get, files + "?limit=3").decoded(FileList.self)
            #expect(page.files.map(\.path) == ["a", "b", "c"] && page.next == "3")
            let rest = try await api.call(.get, files + "?limit=3&cursor=3").decoded(FileList.self)
            #expect(rest.files.map(\.path) == ["same"] && rest.next == nil)
            for (uri, who, status) in [
                (path, APIUnderTest.Who.bob, 403), (path, .worker, 403), (path, .admin, 200), (files, .bob, 403),
                ("/v1/attempts/1.1.1/differences/9.1.1", .ada, 404), ("/v1/attempts/1.1.1/files/none", .ada, 404),
                ("/v1/attempts/1.1.1/files/input", .ada, 200),
            ] {
                #expect(try await api.call(.get, uri, as: who).status == status, "\(uri) as \(who)")
            }
        }
    }

    @Test("a verification is the same job again; what a worker saw of its files stands beside the differences")
    func verification() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let (input, first, second) = (list(file("data", "x")), list(file("a", "1")), list(file("a", "2")))
            let job = try await api.submit(Self.spec)
            let early = try await api.call(.post, "/v1/reruns", json: #"{"source": "1", "verify": true}"#)
            #expect(try early.status == 422 && early.problem().detail.contains("only what has succeeded"))
            try await run(api, 1, sequence: 1, input: input, output: first)
            let answer = try await api.call(.post, "/v1/reruns", as: .bob, json: #"{"source": "1", "verify": true}"#)
            let again = try answer.decoded(JobDocument.self)
            #expect(again.verifies == job.id && again.rerunOf == job.id && again.owner == "bob")
            #expect(again.configuration.digest == job.configuration.digest && again.bindings == job.bindings)
            #expect(try await api.call(.get, "/v1/jobs/2").decoded(JobDocument.self).verifies == job.id)
            try await run(api, 2, sequence: 11, input: input, output: second)
            for list in [input, first, second] { try await keep(api, list) }
            let comparison = OutputComparison(
                with: AttemptID("1.1.1")!,
                files: [
                    .init(
                        slot: SlotName(unchecked: "output"), path: "a", firstDifference: 0,
                        cause: DifferenceCause(.timestamp, "a time"))
                ], note: nil)
            let put = "/v1/workers/node1/attempts/2.1.1/comparison"
            let body = try WireJSON.encode(comparison)
            #expect(try await api.call(.put, put, as: .worker, body: body).status == 204)
            let path = "/v1/attempts/1.1.1/differences/2.1.1"
            let seen = try await api.call(.get, path, as: .admin).decoded(AttemptDifferences.self)
            #expect(seen.outputs["output"]?.files.first?.firstDifference == 0)
            #expect(seen.outputs["output"]?.files.first?.cause?.kind == Open(.timestamp))
            // Of another job, nobody believes it.
            let wrong = try await api.call(
                .put, "/v1/workers/node1/attempts/1.1.1/comparison", as: .worker, body: body)
            #expect(wrong.status == 422)
            let twice = try await api.call(.post, "/v1/reruns", json: #"{"source": "2", "verify": true}"#)
            #expect(try twice.problem().detail.contains("verifies job 1"))
        }
    }

    @Test("the history of a configuration has every run with its data, newest first, page by page")
    func history() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let (input, output) = (list(file("data", "x")), list(file("a", "1")))
            for id in 1...3 {
                _ = try await api.submit(Self.spec, as: id == 2 ? .bob : .ada)
                try await run(api, Int64(id), sequence: Int64(10 * (id - 1) + 1), input: input, output: output)
            }
            // Another version, which has not run yet.
            _ = try await api.submit(Self.spec.replacing("/bin/cat", with: "/bin/false"))
            let path = "/v1/configurations/sum/runs"
            let first = try await api.call(.get, path + "?limit=2", as: .worker).decoded(RunList.self)
            #expect(first.runs.map(\.job.id.rawValue) == [4, 3] && first.next == "3")
            #expect(first.runs[0].inputs.isEmpty && first.runs[0].job.configuration.version == 2)
            let rest = try await api.call(.get, path + "?limit=2&cursor=3").decoded(RunList.self)
            #expect(rest.runs.map(\.job.owner) == ["bob", "ada"] && rest.next == nil)
            let run = try #require(rest.runs.first)
            #expect(run.inputs["input"]?.treeDigest == Digest(of: input) && run.inputs["input"]?.binding == "input")
            #expect(run.outputs["output"]?.treeDigest == Digest(of: output) && run.outputs["output"]?.trees == 1)
            #expect(run.workers == ["node1"] && !run.partial)
            let digest = run.job.configuration.digest
            for (source, jobs) in [("sum@1", [3, 2, 1]), ("sum@2", [4]), ("\(digest)", [3, 2, 1])]
                as [(String, [Int64])]
            {
                let found = try await api.call(.get, "/v1/configurations/\(source)/runs").decoded(RunList.self)
                #expect(found.runs.map(\.job.id.rawValue) == jobs, "\(source)")
            }
            for source in ["nothing", "sum@9", absentDigest] {
                #expect(try await api.call(.get, "/v1/configurations/\(source)/runs").status == 404, "\(source)")
            }
            #expect(try await api.call(.get, path + "?limit=101").status == 400)
            #expect(try await api.call(.get, path + "?cursor=x").status == 400)
        }
    }

    @Test("a failed job is not verified; a rerun of a verification is a job like others")
    func failed() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            _ = try await api.submit(Self.spec)
            try await run(api, 1, sequence: 1, input: list(), output: list(), fails: true)
            let answer = try await api.call(.post, "/v1/reruns", json: #"{"source": "1", "verify": true}"#)
            #expect(try answer.status == 422 && answer.problem().detail.contains("job 1 is failed"))
            _ = try await api.submit(Self.spec)
            try await run(api, 2, sequence: 11, input: list(), output: list())
            let verification = try await api.call(.post, "/v1/reruns", json: #"{"source": "2", "verify": true}"#)
            #expect(verification.status == 201)
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "3"}"#).decoded(JobDocument.self)
            #expect(rerun.verifies == nil && rerun.rerunOf == JobID("3")!)
        }
    }
}

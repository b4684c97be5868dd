// Jobs over HTTP: submit, idempotency, lists in pages, what owners may do, reruns.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APIJobTests {
    @Test("a submitted job is answered, shown and listed alike, and its image and configuration are pinned")
    func submit() async throws {
        try await APIUnderTest.with { api in
            let image = try await api.importBusybox()
            let spec =
                #"{"name": "hello", "image": "busybox", "command": ["/bin/cat"], "labels": {"team": "\"x\"\n"}, "array": "1-1000000"}"#
            let job = try await api.submit(spec)
            #expect(job.id == JobID("1"))
            #expect(job.owner == "ada")
            #expect(job.image == ImageReferenceAndDigest(reference: "busybox", digest: image.digest))
            #expect(job.configuration.name == "hello" && job.configuration.version == 1)
            #expect(job.tasks == TaskCounts(total: 1_000_000, pending: 1_000_000))
            #expect(job.state == Open(.waiting) && job.reason?.isEmpty == false, "no worker has registered")
            #expect(try await api.call(.get, "/v1/jobs/1", as: .bob).decoded(JobDocument.self) == job)
            #expect(
                try await api.call(.get, "/v1/jobs", as: .worker).decoded(JobList.self)
                    == JobList(jobs: [job], next: nil))
            let configuration = try await api.call(.get, "/v1/configurations/hello@1").decoded(
                ConfigurationDocument.self)
            #expect(configuration.digest == job.configuration.digest)
            #expect(configuration.configuration.digest == job.configuration.digest)
        }
    }

    @Test("a service's image is pinned beside the task's, shown with the job, and kept by a rerun")
    func services() async throws {
        try await APIUnderTest.with { api in
            let image = try await api.importBusybox()
            let other = try await api.importBusybox(as: "db:1", more: "other")
            let spec =
                #"{"image": "busybox", "command": ["/bin/cat"], "services": {"db": {"image": "db:1", "command": ["/bin/sleep", "9"], "resources": {"cpus": 2}}}}"#
            let job = try await api.submit(spec)
            #expect(job.services == ["db": ImageReferenceAndDigest(reference: "db:1", digest: other.digest)])
            #expect(job.image.digest == image.digest)
            #expect(try await api.call(.get, "/v1/jobs/\(job.id)").decoded(JobDocument.self) == job)
            let configuration = try await api.call(.get, "/v1/configurations/\(job.configuration.digest)").decoded(
                ConfigurationDocument.self)
            let service = try #require(configuration.configuration.services[ServiceName(rawValue: "db")!])
            #expect(service.image.digest == other.digest)
            #expect(configuration.configuration.digest == job.configuration.digest)
            try await api.importBusybox(as: "db:1", more: "newer")
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "\#(job.id)"}"#).decoded(
                JobDocument.self)
            #expect(rerun.services == job.services && rerun.configuration.digest == job.configuration.digest)
        }
    }

    @Test("a service's image that cannot be had is refused, and the problem names its field")
    func serviceWithoutImage() async throws {
        try await APIUnderTest.with { api in
            try await api.importBusybox()
            let answer = try await api.call(
                .post, "/v1/jobs",
                json:
                    #"{"spec": {"image": "busybox", "command": ["a"], "services": {"db": {"image": "127.0.0.1:1/x:1", "command": ["a"]}}}}"#
            )
            #expect(try answer.problem().field == "$.spec.services.db.image", "\(answer.text)")
            #expect(try await api.call(.get, "/v1/jobs").decoded(JobList.self).jobs == [])
        }
    }

    @Test("the same idempotency key with the same request gives the same job, with another request a conflict")
    func idempotency() async throws {
        try await APIUnderTest.with { api in
            let key: HTTPFields = [.init("Idempotency-Key")!: "k1"]
            let body = #"{"spec": \#(pinnedSpec)}"#
            let first = try await api.call(.post, "/v1/jobs", headers: key, json: body).decoded(JobDocument.self)
            let second = try await api.call(.post, "/v1/jobs", headers: key, json: body)
            #expect(second.status == 201)
            #expect(try second.decoded(JobDocument.self).id == first.id)
            let other = try await api.call(
                .post, "/v1/jobs", headers: key, json: #"{"spec": \#(pinnedSpec), "hold": true}"#)
            #expect(other.status == 409)
            #expect(try other.problem().field == "Idempotency-Key")
            let somebodyElse = try await api.call(.post, "/v1/jobs", as: .bob, headers: key, json: body).decoded(
                JobDocument.self)
            #expect(somebodyElse.id != first.id)
            let rerun = try await api.call(
                .post, "/v1/reruns", headers: [.init("Idempotency-Key")!: "k2"], json: #"{"source": "1"}"#)
            let again = try await api.call(
                .post, "/v1/reruns", headers: [.init("Idempotency-Key")!: "k2"], json: #"{"source": "1"}"#)
            #expect(rerun.status == 201)
            #expect(try rerun.decoded(JobDocument.self).id == again.decoded(JobDocument.self).id)
        }
    }

    @Test("acknowledged jobs and keys outlive the scheduler")
    func restart() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "jobctl-api-\(UUID().uuidString)").path
        defer { removeFolder(directory) }
        let key: HTTPFields = [.init("Idempotency-Key")!: "k1"]
        let body = #"{"spec": \#(pinnedSpec)}"#
        let first = try await APIUnderTest.with(directory: directory) { api in
            try await api.call(.post, "/v1/jobs", headers: key, json: body).decoded(JobDocument.self)
        }
        try await APIUnderTest.with(directory: directory) { (api) async throws in
            #expect(
                try await api.call(.get, "/v1/jobs/\(first.id)").decoded(JobDocument.self).submittedAt
                    == first.submittedAt)
            #expect(
                try await api.call(.post, "/v1/jobs", headers: key, json: body).decoded(JobDocument.self).id == first.id
            )
            #expect(try await api.submit(pinnedSpec).id == JobID("2"))
        }
    }

    @Test("pages follow one another without a gap and without a repetition, with and without filters")
    func pages() async throws {
        try await APIUnderTest.with { api in
            for index in 1...7 {
                _ = try await api.submit(
                    pinnedSpec, more: index % 2 == 0 ? #", "hold": true"# : "", as: index < 4 ? .ada : .bob)
            }
            func ids(_ filter: String) async throws -> [Int64] {
                var ids: [Int64] = []
                var cursor: String?
                repeat {
                    let page = try await api.call(
                        .get, "/v1/jobs?limit=2\(filter)" + (cursor.map { "&cursor=\($0)" } ?? "")
                    ).decoded(JobList.self)
                    ids += page.jobs.map(\.id.rawValue)
                    cursor = page.next
                } while cursor != nil
                return ids
            }
            #expect(try await ids("") == [7, 6, 5, 4, 3, 2, 1])
            #expect(try await ids("&owner=bob") == [7, 6, 5, 4])
            #expect(try await ids("&state=held") == [6, 4, 2])
            #expect(try await ids("&name=nothing") == [])
        }
    }

    @Test("a job that has ended is a conflict for whoever would change it, also after a restart")
    func ended() async throws {
        let folder = try ScratchFolder()
        for life in 1...2 {
            try await APIUnderTest.with(directory: folder.path) { api in
                if life == 1 { _ = try await api.submit(pinnedSpec) }
                if life == 1 { _ = try await api.call(.post, "/v1/jobs/1/cancel") }
                for action in ["cancel", "hold", "release"] {
                    let answer = try await api.call(.post, "/v1/jobs/1/\(action)")
                    #expect(answer.status == 409)
                    #expect(try answer.problem().detail == "job 1 has ended already: it was cancelled")
                }
            }
        }
    }

    @Test("equal submits at the same time under one key are one job")
    func equalSubmits() async throws {
        try await APIUnderTest.with { api in
            let key: HTTPFields = [.init("Idempotency-Key")!: "k"]
            let ids = try await withThrowingTaskGroup(of: JobID.self) { group in
                for _ in 0..<30 {
                    group.addTask {
                        try await api.call(.post, "/v1/jobs", headers: key, json: #"{"spec": \#(pinnedSpec)}"#)
                            .decoded(JobDocument.self).id
                    }
                }
                return try await group.reduce(into: Set<JobID>()) { $0.insert($1) }
            }
            #expect(ids == [JobID(rawValue: 1)])
        }
    }

    @Test("pages of configurations neither repeat nor hide anything when some are added in between")
    func configurationPages() async throws {
        try await APIUnderTest.with { api in
            func submit(_ name: String, _ argument: String) async throws {
                _ = try await api.submit(
                    #"{"name": "\#(name)", "image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["a", "\#(argument)"]}"#
                )
            }
            func page(_ query: String, _ cursor: String?) async throws -> ConfigurationList {
                let uri = "/v1/configurations?limit=2\(query)" + (cursor.map { "&cursor=\($0)" } ?? "")
                return try await api.call(.get, uri).decoded(ConfigurationList.self)
            }
            for name in ["b", "d", "f", "h"] { try await submit(name, name) }
            let first = try await page("", nil)
            try await submit("a", "a")
            try await submit("e", "e")
            let second = try await page("", first.next)
            let third = try await page("", second.next)
            let names = [first, second, third].map { $0.configurations.map { $0.names[0].name.rawValue } }
            #expect(names == [["b", "d"], ["e", "f"], ["h"]] && third.next == nil)
            for version in 2...5 { try await submit("b", "\(version)") }
            let newest = try await page("&name=b", nil)
            try await submit("b", "6")
            let older = try await page("&name=b", newest.next)
            let arguments = [newest, older].map { $0.configurations.compactMap(\.configuration.command.last) }
            #expect(arguments == [["5", "4"], ["3", "2"]])
        }
    }

    @Test("only the owner and administrators change a job; a cancelled job cannot be held")
    func owners() async throws {
        try await APIUnderTest.with { api in
            _ = try await api.submit(pinnedSpec)
            #expect(try await api.call(.post, "/v1/jobs/1/hold", as: .bob).status == 403)
            #expect(try await api.call(.post, "/v1/jobs/1/hold", as: .worker).status == 403)
            #expect(try await api.call(.post, "/v1/jobs/1/hold").decoded(JobDocument.self).state == Open(.held))
            #expect(
                try await api.call(.post, "/v1/jobs/1/release", as: .admin).decoded(JobDocument.self).state
                    == Open(.waiting))
            #expect(try await api.call(.post, "/v1/jobs/1/cancel").decoded(JobDocument.self).state == Open(.cancelled))
            let late = try await api.call(.post, "/v1/jobs/1/hold")
            #expect(late.status == 409 || late.status == 422)
        }
    }

    @Test("a rerun by job, name, version and digest keeps the configuration and records what it repeats")
    func reruns() async throws {
        try await APIUnderTest.with { api in
            let spec =
                #"{"name": "mean", "image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["a", "${params.year}"], "volumes": ["input:/data:ro"], "parameters": {"year": "2014"}}"#
            let first = try await api.submit(spec, more: #", "bindings": {"input": "weather/2014"}"#)
            for source in ["1", "mean", "mean@1", first.configuration.digest.description] {
                let body =
                    #"{"source": "\#(source)", "bindings": {"input": "weather/2015"}, "parameters": {"year": "2015"}}"#
                let answer = try await api.call(.post, "/v1/reruns", as: .bob, json: body)
                let rerun = try answer.decoded(JobDocument.self)
                #expect(rerun.configuration == first.configuration)
                #expect(rerun.image == first.image)
                #expect(rerun.bindings == ["input": "weather/2015"])
                #expect(rerun.parameters == ["year": "2015"])
                #expect(rerun.rerunOf != nil)
                #expect(rerun.owner == "bob")
            }
            let plain = try await api.call(.post, "/v1/reruns", json: #"{"source": "1"}"#).decoded(JobDocument.self)
            #expect(plain.bindings == ["input": "weather/2014"] && plain.rerunOf == first.id)
        }
    }

    @Test("files travel into the archive, and workers read them from there")
    func files() async throws {
        try await APIUnderTest.with { api in
            let content = Data("print(1)\n".utf8)
            let spec =
                #"{"image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["a"], "files": {"/job/a.py": "a.py"}}"#
            let job = try await api.submit(
                spec,
                more: #", "files": {"/job/a.py": {"content": "\#(content.base64EncodedString())", "executable": true}}"#
            )
            let shown = try await api.call(.get, "/v1/configurations/\(job.configuration.digest)").decoded(
                ConfigurationDocument.self)
            let file = try #require(shown.configuration.files["/job/a.py"])
            #expect(file.executable)
            let blob = try await api.call(.get, "/v1/blobs/\(file.digest)", as: .worker)
            #expect(blob.bytes == Array(content))
            #expect(try await api.call(.get, "/v1/blobs/\(file.digest)", as: .bob).status == 403)
        }
    }

    @Test("the hand-written JSON of a job is that of the coder")
    func json() async throws {
        try await APIUnderTest.with { api in
            let spec =
                #"{"name": "odd", "image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["a"], "matrix": {"b": ["1", "\u0001\"\\/é\t"], "a": ["x"]}, "labels": {"z": "1", "a": "2"}, "priority": -3}"#
            let answer = try await api.call(.post, "/v1/jobs", json: #"{"spec": \#(spec), "hold": true}"#)
            #expect(
                answer.text == String(decoding: try WireJSON.encode(answer.decoded(JobDocument.self)), as: UTF8.self))
        }
    }

    @Test("users come with a token that is shown once, and leave with it")
    func users() async throws {
        try await APIUnderTest.with { api in
            let made = try await api.call(
                .post, "/v1/users", as: .admin, json: #"{"name": "eve", "role": "user", "uid": 7, "gid": 8}"#)
            #expect(made.status == 201)
            let token = try #require(try made.decoded(UserDocument.self).token)
            #expect(token.hasPrefix("jobctl_") && token.count == 50)
            let hers: HTTPFields = [.authorization: "Bearer \(token)"]
            #expect(try await api.call(.get, "/v1/status", as: .nobody, headers: hers).status == 200)
            let names = try await api.call(.get, "/v1/users", as: .admin).decoded(UserList.self).users
            #expect(
                names.map(\.name) == ["ada", "admin", "bob", "eve", "worker"] && names.allSatisfy { $0.token == nil })
            #expect(try await api.call(.delete, "/v1/users/eve", as: .admin).status == 204)
            #expect(try await api.call(.get, "/v1/status", as: .nobody, headers: hers).status == 401)
            for file in try FileManager.default.contentsOfDirectory(atPath: api.directory)
            where file.hasSuffix(".sqlite") {
                let bytes = try Data(contentsOf: URL(filePath: "\(api.directory)/\(file)"))
                #expect(bytes.range(of: Data(api.token(of: .ada).utf8)) == nil, "a token stands in the database")
            }
        }
    }
}

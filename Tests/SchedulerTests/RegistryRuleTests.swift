// What is ours beside the specification: who may push where, what a pushed image means in a spec, limits, and what is
// left after a crash.
import Foundation
import HTTPTypes
import JobModel
import OCI
import Scheduler
import TestSupport
import Testing

@Suite(.serialized) struct RegistryRuleTests {
    @Test(
        "users push below their own name and below shared/, administrators everywhere but to 'archive'",
        arguments: [
            ("ada/stack", APIUnderTest.Who.ada, true), ("docker.io/ada/stack", .ada, true), ("ada/a/b/c", .ada, true),
            ("shared/stack", .ada, true), ("ada", .ada, false), ("bob/stack", .ada, false), ("stack", .ada, false),
            ("library/stack", .ada, false), ("adam/stack", .ada, false), ("ghcr.io/ada/stack", .ada, false),
            ("archive", .ada, false), ("bob/stack", .admin, true), ("stack", .admin, true),
            ("ghcr.io/lab/stack", .admin, true), ("archive", .admin, false), ("ada/stack", .worker, false),
        ])
    func whoPushes(repository: String, who: APIUnderTest.Who, isAllowed: Bool) async throws {
        try await APIUnderTest.with { api in
            let upload = try await api.call(.post, "/v2/\(repository)/blobs/uploads/", as: who)
            #expect(upload.status == (isAllowed ? 202 : 403), "\(upload.text)")
            let manifest = try await api.put(
                Content(#"{"schemaVersion":2,"manifests":[]}"#), at: repository, "1", type: MediaType.index, as: who)
            #expect(manifest.status == (isAllowed ? 201 : 403), "\(manifest.text)")
            if !isAllowed { #expect(upload.code == "DENIED" && manifest.code == "DENIED") }
        }
    }

    @Test("a pushed image is what a spec means by its name, is listed and shown, and is pinned by the submit")
    func usedInSpec() async throws {
        try await APIUnderTest.with { api in
            let image = PushedImage("spec")
            try await api.push(image, as: "ada/stack:1")
            let shown = try await api.call(.get, "/v1/images/show?reference=ada/stack:1").decoded(ImageDocument.self)
            #expect(shown.digest.description == image.manifest.digest && shown.complete)
            #expect(shown.references == ["docker.io/ada/stack:1"] && shown.platforms == ["linux/amd64"])
            #expect(shown.layers.map(\.description) == [image.layer.digest])
            let spec = #"{"name": "a", "image": "ada/stack:1", "command": ["a"]}"#
            let first = try await api.submit(spec, as: .bob)
            #expect(first.image.digest.description == image.manifest.digest)
            #expect(first.reason?.contains("image") != true, "the image is here: \(first.reason ?? "")")
            let newer = PushedImage("newer")
            try await api.push(newer, as: "ada/stack:1")
            #expect(try await api.submit(spec, as: .bob).image.digest.description == newer.manifest.digest)
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "1"}"#).decoded(JobDocument.self)
            #expect(rerun.image == first.image)
        }
    }

    @Test("an artifact that no engine can run is kept, and refused as a job's image with one sentence")
    func artifactAsImage() async throws {
        try await APIUnderTest.with { api in
            try await api.push(emptyConfiguration, to: "ada/chart")
            let chart = artifact("application/vnd.chart", about: PushedImage("a").manifest, annotation: "a")
            #expect(try await api.put(chart, at: "ada/chart", "1").status == 201)
            let answer = try await api.call(
                .post, "/v1/jobs", json: #"{"spec": {"image": "ada/chart:1", "command": ["a"]}}"#)
            #expect(answer.status == 422)
            let problem = try answer.problem()
            #expect(problem.field == "$.spec.image" && problem.detail.contains("no container image"), "\(problem)")
        }
    }

    @Test("a job that waits for an image by its digest goes on when that image is pushed")
    func waiting() async throws {
        try await APIUnderTest.with { api in
            let image = PushedImage("later")
            let spec = #"{"image": "127.0.0.1:1/x@\#(image.manifest.digest)", "command": ["a"]}"#
            #expect(try await api.submit(spec).reason?.contains("image") == true)
            try await api.push(image, as: "ada/stack:1")
            let shown = try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self)
            #expect(shown.reason?.contains("image") != true, "\(shown.reason ?? "")")
        }
    }

    @Test("a blob over the limit is 413, whether its length is announced or comes out, and nothing is left of it")
    func limit() async throws {
        try await APIUnderTest.with(importLimit: ByteCount(bytes: 1000)) { api in
            let bytes = [UInt8](repeating: 1, count: 1001)
            let location = try await api.startUpload()
            let announced = try await api.call(.put, "\(location)?digest=\(absentDigest)", headers: octets, body: bytes)
            #expect(announced.status == 413 && announced.code == "SIZE_INVALID")
            let first = try await api.chunk(location, Array(bytes[0..<600]), at: nil)
            #expect(first.status == 202)
            let second = try await api.chunk(first.location, Array(bytes[0..<401]), at: nil)
            #expect(second.status == 413)
        }
    }

    @Test("after a restart an upload is unknown and its file is gone, and what was pushed is there")
    func restart() async throws {
        let folder = try temporaryFolder("registry")
        defer { removeFolder(folder) }
        let image = PushedImage("restart")
        let location = try await APIUnderTest.with(directory: folder) { api in
            try await api.push(image, as: "ada/stack:1")
            let location = try await api.startUpload()
            _ = try await api.chunk(location, image.layer.bytes, at: nil)
            return location
        }
        try await APIUnderTest.with(directory: folder) { (api) async throws in
            for method in [HTTPRequest.Method.get, .patch, .put, .delete] {
                #expect(try await api.call(method, location).code == "BLOB_UPLOAD_UNKNOWN", "\(method)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/archive/incoming") == [])
            #expect(try await api.call(.get, "/v2/ada/stack/manifests/1").bytes == image.manifest.bytes)
        }
    }

    @Test("a user has at most 100 uploads open, and one that ends makes room")
    func tooManyUploads() async throws {
        try await APIUnderTest.with { api in
            var last = ""
            for _ in 0..<100 { last = try await api.startUpload() }
            let refused = try await api.call(.post, "/v2/ada/stack/blobs/uploads/")
            #expect(refused.status == 429 && refused.code == "TOOMANYREQUESTS")
            #expect(refused.headers[.init("Retry-After")!] != nil)
            _ = try await api.startUpload("bob/stack", as: .bob)
            _ = try await api.call(.delete, last)
            _ = try await api.startUpload()
        }
    }

    @Test("every path below /v2/ that is none of the specification's is a registry error, and never a crash")
    func strangePaths() async throws {
        try await APIUnderTest.with { api in
            for path in [
                "/v2/a", "/v2/a/b", "/v2/a/b/c", "/v2/manifests/1", "/v2/blobs/uploads/", "/v2/tags/list",
                "/v2/%00/manifests/1", "/v2/a%2fb/manifests/%ff", "/v2/ada/stack/blobs/uploads/../../x",
                "/v2/" + String(repeating: "a/", count: 300) + "manifests/1", "/v2/ada/stack/manifests/a:b@c",
            ] {
                for method in [HTTPRequest.Method.get, .head, .post, .put, .patch, .delete] {
                    let answer = try await api.call(method, path, as: .admin)
                    #expect((400..<500).contains(answer.status), "\(method) \(path): \(answer.status)")
                    if method != .head { #expect(answer.code != nil, "\(method) \(path): \(answer.text)") }
                }
            }
        }
    }

    @Test("the token flow gives a token that pulls and pushes as its user, below /v2/ only, until the user is gone")
    func tokenFlow() async throws {
        try await APIUnderTest.with { api in
            struct Grant: Decodable {
                let token: String
                let expiresIn: Int
                enum CodingKeys: String, CodingKey { case token, expiresIn = "expires_in" }
            }
            let basic = Data("whoever:\(api.token(of: .bob))".utf8).base64EncodedString()
            let answer = try await api.call(
                .get, "/v2/token?service=jobctl&scope=repository:bob/x:pull,push&account=bob", as: .nobody,
                headers: [.authorization: "Basic \(basic)"])
            let grant = try answer.decoded(Grant.self)
            #expect(grant.expiresIn > 60 && !grant.token.contains(api.token(of: .bob)))
            let bearer: HTTPFields = [.authorization: "Bearer \(grant.token)"]
            #expect(try await api.call(.get, "/v2/", as: .nobody, headers: bearer).status == 200)
            let own = try await api.call(.post, "/v2/bob/x/blobs/uploads/", as: .nobody, headers: bearer)
            let others = try await api.call(.post, "/v2/ada/x/blobs/uploads/", as: .nobody, headers: bearer)
            #expect(own.status == 202 && others.status == 403)
            #expect(try await api.call(.get, "/v1/status", as: .nobody, headers: bearer).status == 401)
            for damaged in [grant.token + "0", String(grant.token.dropLast()), "jobctlr_9.9.9", "jobctlr_"] {
                let refused = try await api.call(
                    .get, "/v2/", as: .nobody, headers: [.authorization: "Bearer \(damaged)"])
                #expect(refused.status == 401)
            }
            // A token of the flow gets no further token, and without any there is none.
            #expect(try await api.call(.get, "/v2/token", as: .nobody, headers: bearer).status == 401)
            let anonymous = try await api.call(.get, "/v2/token", as: .nobody)
            #expect(anonymous.status == 401 && anonymous.headers[.wwwAuthenticate] == #"Basic realm="jobctl""#)
            #expect(try await api.call(.delete, "/v1/users/bob", as: .admin).status == 204)
            #expect(try await api.call(.get, "/v2/", as: .nobody, headers: bearer).status == 401)
        }
    }

    @Test("public addresses are checked")
    func publicURL() throws {
        #expect(try SchedulerOptions.publicURL("https://jobs.lab.example/") == "https://jobs.lab.example")
        #expect(try SchedulerOptions.publicURL("http://127.0.0.1:7070") == "http://127.0.0.1:7070")
        for bad in ["", "jobs.lab", "ftp://x", "https://", "https://a/b", "https://a?b", "https://u@a", "https://a\"b"]
        {
            #expect(throws: Problem.self, "\(bad)") { try SchedulerOptions.publicURL(bad) }
        }
    }
}

// Exports and imports of the archive between two schedulers: what is in the file, what it brings, that it is the same
// again, what stays as it is, and that a public validator finds nothing missing.
import Foundation
import HTTPTypes
import JobModel
import OCI
import Scheduler
import TestSupport
import Testing

@Suite(.serialized) struct ExportTests {
    private static func exported(more: String = "") async throws -> [UInt8] {
        try await APIUnderTest.with { api in
            try await api.runExported()
            return try await api.export("sum", more: more)
        }
    }

    @Test("an export holds all that its configurations need, each digest in its list, and is an OCI layout")
    func content() async throws {
        try await APIUnderTest.with { api in
            try await api.runExported()
            let file = try ExportFile(try await api.export("sum"))
            #expect(file.names.prefix(3) == ["jobctl-export.json", "ro-crate-metadata.json", "index.json"])
            let list = try file.json("jobctl-export.json")
            #expect(list["format"] as? String == "jobctl-export" && list["version"] as? Int == 1)
            let files = try #require(list["files"] as? [[String: Any]])
            #expect(files.map { $0["path"] as? String } == Array(file.names.dropFirst()))
            for (entry, member) in zip(files, file.members.dropFirst()) {
                #expect(entry["digest"] as? String == "\(Digest(of: member.bytes))", "\(member.name)")
                #expect(entry["size"] as? Int == member.bytes.count)
            }
            for image in [PushedImage("stack"), PushedImage("db")] {
                for part in [image.manifest, image.configuration, image.layer] {
                    #expect(file["blobs/sha256/\(part.digest.dropFirst(7))"] == part.bytes)
                }
            }
            #expect(file["blobs/sha256/\(Digest(of: "print(1)").hex)"] == Array("print(1)".utf8))
            let index = try #require(try file.json("index.json")["manifests"] as? [[String: Any]])
            #expect(index.map { $0["digest"] as? String } == ["stack", "db"].map { PushedImage($0).manifest.digest })
            let run = try file.only("runs/", "/run.json")
            let folder = String(run.dropLast("run.json".count))
            #expect(file[folder + "logs/1.1.stdout"] == Array("the sum\n".utf8))
            #expect(String(decoding: file[folder + "attempts.jsonl"], as: UTF8.self).contains("\"id\":\"1.1.1\""))
            #expect(file.names.filter { $0.hasPrefix("trees/") }.count == 2)
            // Others see that it ran, not what it printed nor which files it read.
            let other = try ExportFile(try await api.export("sum", as: .bob))
            #expect(!other.names.contains { $0.hasPrefix("trees/") || $0.contains("/logs/") })
            #expect(other.names.contains(run))
            let slim = try ExportFile(
                try await api.export("1", more: #", "without_logs": true, "without_lists": true"#))
            #expect(slim.names == other.names)
        }
    }

    @Test("what an import brings runs on the other cluster, under its name, with its history and its image's names")
    func roundTrip() async throws {
        let bytes = try await Self.exported()
        try await APIUnderTest.with(archiveGrace: .zero) { api in
            let answer = try await api.importArchive(bytes)
            #expect(answer.status == 201, "\(answer.text)")
            let result = try answer.decoded(ArchiveImport.self)
            #expect(result.configurations.map(\.names) == [["sum@1"]] && result.configurations[0].isNew)
            #expect(result.images == ["docker.io/ada/stack:1", "docker.io/ada/db:1"])
            #expect(result.runs == 1 && result.newRuns == 1 && result.skipped == [])
            // Nothing of it is garbage, and all of it is whole.
            let gone = try await api.call(.post, "/v1/archive/gc", as: .admin).decoded(ArchiveCollection.self)
            #expect(gone.deleted.blobs == 0)
            let check = try await api.call(.post, "/v1/archive/verify", as: .admin).decoded(ArchiveVerification.self)
            #expect(check.damaged == [] && check.checked.blobs == 9)

            let history = try await api.call(.get, "/v1/configurations/sum/runs").decoded(RunList.self).runs
            let run = try #require(history.first)
            #expect(history.count == 1 && run.imported?.origin == result.origin && run.imported?.importedBy == "admin")
            #expect(run.job.owner == "ada" && run.job.state == Open(.succeeded) && run.workers == ["node1"])
            #expect(run.outputs["output"]?.treeDigest == Digest(of: api.list("out")))
            // It is no job of this cluster.
            #expect(try await api.call(.get, "/v1/jobs/1").status == 404)
            #expect(try await api.call(.post, "/v1/reruns", json: #"{"source": "sum", "verify": true}"#).status == 422)

            let rerun = try await api.call(
                .post, "/v1/reruns", json: #"{"source": "sum", "parameters": {"year": "2015"}}"#)
            let job = try rerun.decoded(JobDocument.self)
            #expect(job.id.rawValue == 1 && job.owner == "ada" && job.rerunOf == nil)
            #expect(job.configuration.name == "sum" && job.configuration.version == 1)
            #expect(job.parameters == ["year": "2015"] && job.reason?.contains("image") != true)
            let both = try await api.call(.get, "/v1/configurations/sum/runs?limit=1").decoded(RunList.self)
            #expect(both.runs.map(\.imported?.origin) == [nil])
            let rest = try await api.call(
                .get, "/v1/configurations/sum/runs?limit=1&cursor=\(try #require(both.next))"
            ).decoded(RunList.self)
            #expect(rest.runs.first?.imported != nil && rest.next == nil)
            #expect(try await api.call(.get, "/v2/ada/stack/manifests/1").bytes == PushedImage("stack").manifest.bytes)
            // What was imported is exported again, with all its runs.
            let again = try ExportFile(try await api.export("sum", as: .admin))
            let first = try ExportFile(bytes)
            for name in first.names where !["jobctl-export.json", "ro-crate-metadata.json", "README.md"].contains(name)
            {
                #expect(again[name] == first[name], "\(name)")
            }
            #expect(again.names.filter { $0.hasSuffix("/run.json") }.count == 2)
        }
    }

    @Test("the same import again changes nothing; a later export of the same runs replaces the earlier")
    func idempotent() async throws {
        let (early, late) = try await APIUnderTest.with { api in
            try await api.push(PushedImage("stack"), as: "ada/stack:1")
            try await api.push(PushedImage("db"), as: "ada/db:1")
            let content = Data("print(1)".utf8).base64EncodedString()
            let more = #", "hold": true, "files": {"/job.py": {"content": "\#(content)"}}"#
            _ = try await api.submit(APIUnderTest.exportedSpec, more: more)
            let early = try await api.export("sum")
            _ = try await api.call(.post, "/v1/jobs/1/cancel")
            return (early, try await api.export("sum"))
        }
        try await APIUnderTest.with { api in
            #expect(try await api.importArchive(early).status == 201)
            func state() async throws -> [String] {
                try await api.call(.get, "/v1/configurations/sum/runs").decoded(RunList.self).runs.map {
                    "\($0.job.state)"
                }
            }
            #expect(try await state() == ["held"])
            #expect(try await api.importArchive(late).status == 200)
            #expect(try await state() == ["cancelled"])
            for bytes in [early, late] {
                let answer = try await api.importArchive(bytes)
                let result = try answer.decoded(ArchiveImport.self)
                #expect(answer.status == 200 && result.newRuns == 0 && result.images == [])
                #expect(try await state() == ["cancelled"])
            }
        }
    }

    @Test("a cluster that takes its own export back gets no second job, and no imported one")
    func own() async throws {
        try await APIUnderTest.with { api in
            try await api.runExported()
            let result = try await api.importArchive(try await api.export("sum")).decoded(ArchiveImport.self)
            #expect(result.runs == 1 && result.newRuns == 0 && !result.configurations[0].isNew)
            let runs = try await api.call(.get, "/v1/configurations/sum/runs").decoded(RunList.self).runs
            #expect(runs.map(\.imported) == [nil])
        }
    }

    @Test("a name that means something else here is refused, or left as it is; nothing is imported in between")
    func conflicts() async throws {
        let bytes = try await Self.exported()
        try await APIUnderTest.with { api in
            try await api.push(PushedImage("another"), as: "ada/stack:1")
            let named = try await api.importArchive(bytes)
            #expect(named.status == 409)
            #expect(
                try named.problem().detail.contains(
                    "the image 'docker.io/ada/stack:1' is \(PushedImage("another").manifest.digest) here"))
            _ = try await api.call(.delete, "/v2/ada/stack/manifests/1", as: .admin)
            _ = try await api.submit(#"{"name": "sum", "image": "ada/none@\#(absentDigest)", "command": ["a"]}"#)
            let version = try await api.importArchive(bytes)
            #expect(version.status == 409)
            #expect(try version.problem().detail.contains("the configuration 'sum@1' is sha256:"))
            #expect(try await api.call(.get, "/v1/images").decoded(ImageList.self).images.flatMap(\.references) == [])
            #expect(
                try await api.call(.get, "/v1/configurations").decoded(ConfigurationList.self).configurations.count == 1
            )

            try await api.push(PushedImage("another"), as: "ada/stack:1")
            let result = try await api.importArchive(bytes, skip: true).decoded(ArchiveImport.self)
            #expect(
                Set(result.skipped) == ["docker.io/ada/stack:1", "sum@1"] && result.images == ["docker.io/ada/db:1"])
            let digest = try #require(result.configurations.first?.digest)
            #expect(result.configurations.map(\.names) == [[]])
            let mine = try await api.call(.get, "/v1/configurations/sum").decoded(ConfigurationDocument.self)
            #expect(mine.digest != digest)
            let image = try await api.call(.get, "/v2/ada/stack/manifests/1")
            #expect(image.bytes == PushedImage("another").manifest.bytes)
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "\#(digest)"}"#)
            #expect(rerun.status == 201, "\(rerun.text)")
            // The next version of the name goes on behind what is here.
            let next = try await api.submit(#"{"name": "sum", "image": "ada/none@\#(absentDigest)", "command": ["b"]}"#)
            #expect(next.configuration.version == 2)
        }
    }

    @Test("users may export, administrators import; what does not exist is named")
    func access() async throws {
        try await APIUnderTest.with { api in
            try await api.runExported()
            let bytes = try await api.export("sum@1", "1")
            for who in [APIUnderTest.Who.ada, .worker] {
                #expect(try await api.importArchive(bytes, as: who).status == 403)
            }
            for (json, status, words) in [
                (#"{"sources": ["nothing"]}"#, 404, "nothing"), (#"{"sources": ["sum@9"]}"#, 404, "sum@9"),
                (#"{"sources": ["77"]}"#, 404, "job 77"), (#"{"sources": []}"#, 400, "1 to 1000"),
                (#"{"sources": ["a b"]}"#, 400, "not a job id"), (#"{}"#, 400, "required"),
            ] {
                let answer = try await api.call(.post, "/v1/archive/export", json: json)
                #expect(try answer.status == status && answer.problem().description.contains(words), "\(answer.text)")
            }
            _ = try await api.submit(pinnedSpec)
            let answer = try await api.call(.post, "/v1/archive/export", json: #"{"sources": ["sleep"]}"#)
            #expect(try answer.status == 422 && answer.problem().detail.contains("lacks \(absentDigest)"))
            try await eventually("nothing is left in the spool") {
                try FileManager.default.contentsOfDirectory(atPath: api.directory + "/spool") == []
            }
        }
    }

    @Test(
        "the crate passes the public validator: all that is required, and what is recommended but for a known few",
        arguments: ["ro-crate-1.1", "process-run-crate", "workflow-run-crate"])
    func validated(_ profile: String) async throws {
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Scripts/crate-validator").path
        let home = ["HOME": ProcessInfo.processInfo.environment["HOME"] ?? "/root"]
        guard try await runProcess(script, ["path"], environment: home).exitCode == 0 else {
            #expect(
                ProcessInfo.processInfo.environment["CI"] == nil,
                "the RO-Crate validator is missing: run 'Scripts/crate-validator install'")
            return
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "jobctl-crate-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { removeFolder(folder) }
        try Data(try await Self.exported()).write(to: URL(filePath: folder + ".tar"))
        defer { unlink(folder + ".tar") }
        #expect(try await runProcess("tar", ["-xf", folder + ".tar", "-C", folder]).exitCode == 0)
        for severity in ["required", "recommended"] {
            let result = try await runProcess(script, ["check", folder, profile, severity], environment: home)
            let report = try #require(
                try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any], "\(result)")
            let issues = try #require(report["issues"] as? [[String: Any]]).map { $0["message"] as? String ?? "?" }
            let unknown = issues.filter { issue in !Self.known.contains { issue.contains($0) } }
            #expect(unknown == [], "\(profile), \(severity)")
            if severity == "required" { #expect(report["passed"] as? Bool == true && issues == []) }
        }
    }

    /// Recommendations that an export does not follow, and why.
    private static let known = [
        // A configuration is a file of the crate, and so has no address of its own.
        "The SoftwareApplication id SHOULD be an absolute URI"
    ]

    /// Formats are promises. This file was written by the first version and is never written again.
    @Test("an export of the first version is taken for ever")
    func golden() async throws {
        let url = GoldenFile("export-1.tar").url
        if !FileManager.default.fileExists(atPath: url.path) {
            try Data(try await Self.exported()).write(to: url)
        }
        let bytes = Array(try Data(contentsOf: url))
        try await APIUnderTest.with { api in
            let answer = try await api.importArchive(bytes)
            #expect(answer.status == 201, "\(answer.text)")
            let result = try answer.decoded(ArchiveImport.self)
            #expect(result.configurations.map(\.names) == [["sum@1"]] && result.newRuns == 1)
            #expect(
                result.configurations.map(\.digest.description)
                    == ["sha256:a821125b699fa48791aa16bfc3a1f682a602f3ea232b670c9c2c922ff71a464e"])
            let rerun = try await api.call(.post, "/v1/reruns", json: #"{"source": "sum"}"#)
            #expect(rerun.status == 201, "\(rerun.text)")
            let run = try await api.call(.get, "/v1/configurations/sum/runs?limit=2").decoded(RunList.self).runs.last
            #expect(run?.outputs["output"]?.treeDigest == Digest(of: api.list("out")))
        }
    }
}

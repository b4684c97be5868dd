// Files that are no exports, or hostile ones: each is refused with a sentence that names what is wrong, and nothing of
// it is there afterwards, in no table and under no name.
import Foundation
import JobModel
import OCI
import Scheduler
import TestSupport
import Testing

@Suite(.serialized) struct ExportRefusalTests {
    typealias Change = @Sendable (inout ExportFile) throws -> [UInt8]

    /// What is done to an export, and words of the refusal.
    private static let changes: [(what: String, words: String, change: Change)] = [
        ("empty", "too short", { _ in [] }),
        ("no tar", "it is no tar", { _ in [UInt8](repeating: 65, count: 4096) }),
        (
            "a tar of something else", "does not begin with jobctl-export.json",
            { file in
                file.members.removeFirst()
                return file.bytes
            }
        ),
        (
            "a checksum", "checksum is wrong",
            { file in
                var bytes = file.bytes
                bytes[120] = 0x37
                return bytes
            }
        ),
        ("cut short", "cut short", { file in Array(file.bytes.dropLast(2000)) }),
        ("without its end", "cut short", { file in Array(file.bytes.dropLast(512)) }),
        ("something behind its end", "behind its end", { file in file.bytes + [1] }),
        (
            "a byte of a layer", "is damaged: expected sha256:",
            { file in
                let name = "blobs/sha256/\(PushedImage("stack").layer.digest.dropFirst(7))"
                file.members[file.names.firstIndex(of: name) ?? 0].bytes[0] ^= 1
                return file.bytes
            }
        ),
        (
            "a byte of the crate", "ro-crate-metadata.json: is damaged",
            { file in
                file.members[1].bytes[10] ^= 1
                return file.bytes
            }
        ),
        (
            "a path above", "'../evil' is not a path that an export has",
            { file in
                try file.changeFiles { $0[5]["path"] = "../evil" }
                return file.bytes
            }
        ),
        (
            "a member above", "the file has '../../etc/passwd' where",
            { file in
                file.members[5].name = "../../etc/passwd"
                return file.bytes
            }
        ),
        (
            "an absolute member", "the file has '/etc/passwd' where",
            { file in
                file.members[5].name = "/etc/passwd"
                return file.bytes
            }
        ),
        (
            "a symbolic link", "is no plain file",
            { file in
                file.members[5].kind = UInt8(ascii: "2")
                return file.bytes
            }
        ),
        (
            "a member twice", "where its end should be",
            { file in
                file.members.append(file.members[4])
                return Array(file.bytes.dropLast(1024))
            }
        ),
        (
            "a line of the list twice", "stands in it twice",
            { file in
                try file.changeFiles { $0.append($0[4]) }
                file.members.append(file.members[5])
                return file.bytes
            }
        ),
        (
            "a member in another place", "where '",
            { file in
                file.members.swapAt(4, 5)
                return file.bytes
            }
        ),
        (
            "a newer version", "has the version 2: this jobctl reads up to 1",
            { file in
                try file.changeList { $0["version"] = 2 }
                return file.bytes
            }
        ),
        (
            "another format", "has the format 'zip'",
            { file in
                try file.changeList { $0["format"] = "zip" }
                return file.bytes
            }
        ),
        (
            "a list that is none", "the body is not valid JSON",
            { file in
                file.members[0].bytes = Array("{".utf8)
                return file.bytes
            }
        ),
        (
            "a list without files", "$.files: is required",
            { file in
                try file.changeList { $0["files"] = nil }
                return file.bytes
            }
        ),
        (
            "a list that is gigantic", "jobctl-export.json: is larger than 32 MiB",
            { file in
                file.members[0].bytes += [UInt8](repeating: 0x20, count: 33 << 20)
                return file.bytes
            }
        ),
        (
            "a document that is gigantic", "is larger than 16 MiB",
            { file in
                let name = try file.only("configurations/")
                try file.replace(name, with: file[name] + [UInt8](repeating: 0x20, count: 17 << 20))
                try file.changeFiles { files in
                    for index in files.indices where files[index]["path"] as? String == name {
                        files[index]["path"] = "runs/\(String(repeating: "0", count: 32))/1/run.json"
                    }
                }
                let index = file.names.firstIndex(of: name) ?? 0
                file.members[index].name = "runs/\(String(repeating: "0", count: 32))/1/run.json"
                return file.bytes
            }
        ),
        (
            "an origin that is none", "is not 32 hexadecimal digits",
            { file in
                try file.changeList { $0["origin"] = "../.." }
                return file.bytes
            }
        ),
        (
            "a name of a configuration that is none", "is not a valid configuration name",
            { file in
                try changeNames(&file) { $0[0]["name"] = "../sum" }
                return file.bytes
            }
        ),
        (
            "a version that would overflow", "cannot be",
            { file in
                try changeNames(&file) { $0[0]["version"] = Int.max }
                return file.bytes
            }
        ),
        (
            "two names for the same", "cannot be",
            { file in
                try changeNames(&file) { $0.append(["name": "sum", "version": 2]) }
                return file.bytes
            }
        ),
        (
            "a configuration with white space", "is not in canonical form",
            { file in
                let name = try file.only("configurations/")
                let bytes = file[name] + [0x20]
                let digest = Digest(of: bytes)
                try file.replace(name, with: bytes, as: "configurations/\(digest.hex).json")
                return file.bytes
            }
        ),
        (
            "a configuration that nobody could submit: a mount point above", "is not a path",
            { file in
                try file.changeConfiguration { $0["slots"] = ["input": ["path": "/a/../b", "mode": "ro"]] }
                return file.bytes
            }
        ),
        (
            "no command", "command: ",
            { file in
                try file.changeConfiguration { $0["command"] = [String]() }
                return file.bytes
            }
        ),
        (
            "less memory than anything starts with", "resources.memory: must be at least",
            { file in
                try file.changeConfiguration { $0["resources"] = ["cpus": 1, "gpus": 0, "memory": 1] }
                return file.bytes
            }
        ),
        (
            "a host's network beside services", "network: ",
            { file in
                try file.changeConfiguration { $0["network"] = "host" }
                return file.bytes
            }
        ),
        (
            "a configuration of a file that is not there", "needs the file \(absentDigest)",
            { file in
                try file.changeConfiguration {
                    $0["files"] = ["/job.py": ["digest": absentDigest, "executable": false]]
                }
                return file.bytes
            }
        ),
        (
            "a configuration of an image that is not there", "needs the image \(absentDigest)",
            { file in
                try file.changeConfiguration { $0["image"] = ["digest": absentDigest] }
                return file.bytes
            }
        ),
        (
            "a platform that its image lacks", "lacks the platform linux/s390x",
            { file in
                try file.changeConfiguration {
                    $0["image"] = ["digest": PushedImage("stack").manifest.digest, "platform": "linux/s390x"]
                }
                return file.bytes
            }
        ),
        (
            "a layer that is not there", "is not whole in the file",
            { file in
                try file.remove("blobs/sha256/\(PushedImage("stack").layer.digest.dropFirst(7))")
                return file.bytes
            }
        ),
        (
            "a manifest that is not there", "its manifest is not there",
            { file in
                try file.remove("blobs/sha256/\(PushedImage("stack").manifest.digest.dropFirst(7))")
                return file.bytes
            }
        ),
        (
            "a name that the image cannot have", "is not a name of this image",
            { file in
                let name = "images/\(PushedImage("stack").manifest.digest.dropFirst(7)).json"
                try file.changeJSON(name) { $0["names"] = ["docker.io/ada/stack@\(absentDigest)"] }
                return file.bytes
            }
        ),
        (
            "a run with more retries than a submission may have", "retries: ",
            { file in
                try changeRecord(&file) { $0["retries"] = 1_000_000 }
                return file.bytes
            }
        ),
        (
            "a run with an array that would overflow", "at most 10000000 tasks",
            { file in
                try changeRecord(&file) { $0["shape"] = ["array": ["first": 0, "last": Int.max]] }
                return file.bytes
            }
        ),
        (
            "a run with data outside of every volume", "a binding: write VOLUME",
            { file in
                try changeRecord(&file) { $0["bindings"] = ["input": "a/../../etc", "output": "o"] }
                return file.bytes
            }
        ),
        (
            "a run of another configuration", "which is not there",
            { file in
                try changeRecord(&file) { $0["configuration"] = absentDigest }
                return file.bytes
            }
        ),
        (
            "a run with impossible counts", "a number of tasks cannot be",
            { file in
                try file.changeJSON(try file.only("runs/", "/run.json")) { document in
                    var run = try #require(document["run"] as? [String: Any])
                    var job = try #require(run["job"] as? [String: Any])
                    var tasks = try #require(job["tasks"] as? [String: Any])
                    tasks["succeeded"] = Int.max
                    job["tasks"] = tasks
                    run["job"] = job
                    document["run"] = run
                }
                return file.bytes
            }
        ),
        (
            "attempts of another job", "line 1: the attempt 2.1.1 is not of job 1",
            { file in
                let name = try file.only("runs/", "attempts.jsonl")
                let text = String(decoding: file[name], as: UTF8.self).replacing("\"1.1.1\"", with: "\"2.1.1\"")
                try file.replace(name, with: Array(text.utf8))
                return file.bytes
            }
        ),
        (
            "attempts that are none", "line 1: ",
            { file in
                try file.replace(try file.only("runs/", "attempts.jsonl"), with: Array("{}\n".utf8))
                return file.bytes
            }
        ),
        (
            "logs without a run", "belongs to no run in the file",
            { file in
                try file.remove(try file.only("runs/", "/run.json"))
                return file.bytes
            }
        ),
        (
            "a list of a tree that is none", "is no list of a tree",
            { file in
                let name = try #require(file.names.first { $0.hasPrefix("trees/") })
                let bytes = Array("no list at all".utf8)
                try file.replace(name, with: bytes, as: "trees/\(Digest(of: bytes).hex).txt")
                return file.bytes
            }
        ),
    ]

    private static func changeNames(_ file: inout ExportFile, _ body: (inout [[String: Any]]) throws -> Void) throws {
        try file.changeList { list in
            var entries = try #require(list["configurations"] as? [[String: Any]])
            var names = try #require(entries[0]["names"] as? [[String: Any]])
            try body(&names)
            entries[0]["names"] = names
            list["configurations"] = entries
        }
    }

    private static func changeRecord(_ file: inout ExportFile, _ body: (inout [String: Any]) throws -> Void) throws {
        try file.changeJSON(try file.only("runs/", "/run.json")) { document in
            var record = try #require(document["record"] as? [String: Any])
            try body(&record)
            document["record"] = record
        }
    }

    @Test("a file that is no export, or a hostile one, is refused with its reason, and nothing of it is imported")
    func hostile() async throws {
        let bytes = try await APIUnderTest.with { api in
            try await api.runExported()
            return try await api.export("sum")
        }
        try await APIUnderTest.with(archiveGrace: .zero) { api in
            for (what, words, change) in Self.changes {
                var file = try ExportFile(bytes)
                let answer = try await api.importArchive(try change(&file))
                #expect(answer.status == 422, "\(what): \(answer.status) \(answer.text)")
                let problem = try answer.problem()
                #expect(problem.description.contains(words), "\(what): \(problem)")
                for path in ["configurations", "images"] {
                    let list = try await api.call(.get, "/v1/\(path)").text
                    #expect(list.contains(#""\#(path)":[]"#), "\(what): \(list)")
                }
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: api.directory + "/spool") == [])
            // What was stored before a refusal is garbage, and goes.
            _ = try await api.call(.post, "/v1/archive/gc", as: .admin)
            let status = try await api.call(.get, "/v1/archive", as: .admin).decoded(ArchiveStatus.self)
            #expect(status.pinned.blobs == 0 && status.named.blobs == 0 && status.unneeded.blobs == 0)
            // And the scheduler takes the file as it was.
            #expect(try await api.importArchive(bytes).status == 201)
        }
    }

    @Test("an image whose name is taken twice, and a larger file than the scheduler takes, are refused")
    func limits() async throws {
        let bytes = try await APIUnderTest.with { api in
            try await api.runExported()
            return try await api.export("sum")
        }
        try await APIUnderTest.with(importLimit: ByteCount(bytes: 4096)) { api in
            let answer = try await api.importArchive(bytes)
            #expect(answer.status == 413)
        }
        try await APIUnderTest.with { api in
            var file = try ExportFile(bytes)
            for name in file.names where name.hasPrefix("images/") {
                try file.changeJSON(name) { $0["names"] = ["docker.io/ada/same:1"] }
            }
            let answer = try await api.importArchive(file.bytes)
            #expect(try answer.status == 422 && answer.problem().detail.contains("two images have the same name"))
        }
    }
}

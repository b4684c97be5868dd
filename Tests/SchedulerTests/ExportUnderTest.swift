// An export as bytes that a test takes apart and puts together again: a tar of its own making, so that the format has a
// second opinion, and a list whose digests follow what is changed, so that hostility reaches what lies behind them.
import Foundation
import JobModel
import OCI
import Scheduler
import TestSupport
import Testing

struct ExportFile {
    struct Member {
        var name: String
        var bytes: [UInt8]
        var kind = UInt8(ascii: "0")
    }

    var members: [Member] = []

    init(_ bytes: [UInt8]) throws {
        var offset = 0
        while offset + 512 <= bytes.count, bytes[offset] != 0 {
            func text(_ range: Range<Int>) -> String {
                String(
                    decoding: bytes[(offset + range.lowerBound)..<(offset + range.upperBound)].prefix { $0 != 0 },
                    as: UTF8.self)
            }
            let size = try #require(Int(text(124..<135), radix: 8))
            let prefix = text(345..<500)
            let name = (prefix.isEmpty ? "" : prefix + "/") + text(0..<100)
            members.append(Member(name: name, bytes: Array(bytes[(offset + 512)..<(offset + 512 + size)])))
            offset += 512 + (size + 511) / 512 * 512
        }
        #expect(bytes.count == offset + 1024 && bytes[offset...].allSatisfy { $0 == 0 })
    }

    var names: [String] { members.map(\.name) }

    subscript(name: String) -> [UInt8] { members.first { $0.name == name }?.bytes ?? [] }

    func json(_ name: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(self[name])) as? [String: Any])
    }

    /// The only member below a folder.
    func only(_ folder: String, _ ending: String = "") throws -> String {
        let found = names.filter { $0.hasPrefix(folder) && $0.hasSuffix(ending) }
        #expect(found.count == 1)
        return try #require(found.first)
    }

    // MARK: changing

    mutating func changeList(_ body: (inout [String: Any]) throws -> Void) throws {
        var list = try json("jobctl-export.json")
        try body(&list)
        members[0].bytes = Array(try JSONSerialization.data(withJSONObject: list, options: [.sortedKeys]))
    }

    mutating func changeFiles(_ body: (inout [[String: Any]]) throws -> Void) throws {
        try changeList { list in
            var files = try #require(list["files"] as? [[String: Any]])
            try body(&files)
            list["files"] = files
        }
    }

    /// Other bytes, with the list to match; under another name, if its name is its digest.
    mutating func replace(_ name: String, with bytes: [UInt8], as newName: String? = nil) throws {
        let index = try #require(members.firstIndex { $0.name == name })
        members[index].bytes = bytes
        members[index].name = newName ?? name
        try changeFiles { files in
            for place in files.indices where files[place]["path"] as? String == name {
                files[place] = ["path": newName ?? name, "digest": "\(Digest(of: bytes))", "size": bytes.count]
            }
        }
    }

    mutating func changeJSON(_ name: String, _ body: (inout [String: Any]) throws -> Void) throws {
        var value = try json(name)
        try body(&value)
        try replace(name, with: Array(try JSONSerialization.data(withJSONObject: value, options: [.sortedKeys])))
    }

    mutating func remove(_ name: String) throws {
        members.removeAll { $0.name == name }
        try changeFiles { $0.removeAll { $0["path"] as? String == name } }
    }

    /// Another configuration in place of the only one, with everything that names it following.
    mutating func changeConfiguration(_ body: (inout [String: Any]) throws -> Void) throws {
        let name = try only("configurations/")
        var value = try json(name)
        try body(&value)
        let json = try JSONDecoder().decode(
            JSONValue.self, from: try JSONSerialization.data(withJSONObject: value)
        ).canonical
        let digest = Digest(of: json)
        try replace(name, with: json, as: "configurations/\(digest.hex).json")
        try changeList { list in
            var entries = try #require(list["configurations"] as? [[String: Any]])
            entries[0]["digest"] = "\(digest)"
            list["configurations"] = entries
        }
        for run in names where run.hasSuffix("/run.json") { try remove(run) }
        for file in names where file.hasPrefix("runs/") { try remove(file) }
    }

    var bytes: [UInt8] {
        members.flatMap { member in
            var header = [UInt8](repeating: 0, count: 512)
            func put(_ text: String, _ offset: Int) {
                for (index, byte) in text.utf8.enumerated() { header[offset + index] = byte }
            }
            let (prefix, rest) =
                member.name.utf8.count > 100
                ? (member.name.prefix(50), member.name.dropFirst(51)) : ("", member.name[...])
            put(String(rest), 0)
            put(String(prefix), 345)
            put("0000644\u{0}0000000\u{0}0000000\u{0}", 100)
            put(String(format: "%011o", member.bytes.count), 124)
            put("00000000000\u{0}        ", 136)
            header[156] = member.kind
            put("ustar\u{0}00", 257)
            put(String(format: "%06o", header.reduce(0) { $0 + Int($1) }) + "\u{0} ", 148)
            let padding = [UInt8](repeating: 0, count: (512 - member.bytes.count % 512) % 512)
            return header + member.bytes + padding
        } + [UInt8](repeating: 0, count: 1024)
    }
}

extension APIUnderTest {
    static let exportedSpec = """
        {"name": "sum", "image": "ada/stack:1", "command": ["/bin/sum", "${params.year}"], "files": {"/job.py": "./job.py"},
         "volumes": ["input:/in:ro", "output:/out:out"], "parameters": {"year": 2014},
         "resources": {"cpus": 0.5, "memory": "64MiB"},
         "services": {"db": {"image": "ada/db:1", "command": ["db"],
            "healthcheck": {"command": ["true"], "interval": "1s"}}}}
        """

    /// A list of a tree with one file.
    func list(_ content: String) -> [UInt8] {
        Array("f 644 \(content.utf8.count) \(Digest(of: content).hex) data".utf8) + [0]
    }

    /// ada's job `sum`, run once: two images, a file, a service, parameters, logs, and lists of input and output.
    @discardableResult
    func runExported(sequence: Int64 = 1, spec: String = Self.exportedSpec) async throws -> JobDocument {
        try await push(PushedImage("stack"), as: "ada/stack:1")
        try await push(PushedImage("db"), as: "ada/db:1")
        let content = Data("print(1)".utf8).base64EncodedString()
        let job = try await submit(spec, more: #", "files": {"/job.py": {"content": "\#(content)"}}"#)
        let (input, output) = (list("in"), list("out"))
        for list in [input, output] {
            let answer = try await call(.put, "/v1/trees/\(Digest(of: list))", as: .worker, body: list)
            guard answer.status == 204 else { throw APIFailure(description: answer.text) }
        }
        let attempt = try #require(AttemptID("\(job.id).1.1"))
        var registration = WorkerRegistration.small()
        registration.volumes = Dictionary(
            uniqueKeysWithValues: ["input", "output"].map {
                (VolumeName(unchecked: $0), VolumeOffer(writable: true))
            })
        func tree(_ list: [UInt8]) -> TreeFingerprint {
            TreeFingerprint(treeDigest: Digest(of: list), level: .content, files: 1, bytes: ByteCount(bytes: 3))
        }
        let now = Timestamp(millisecondsSinceEpoch: 1_790_000_000_000)
        let reports = [
            [], [AttemptReport(attempt: attempt, sequence: 3, state: .ending, exitCode: 0)],
            [
                AttemptReport(
                    attempt: attempt, sequence: 4, state: .succeeded, reason: .exitCode, exitCode: 0, startedAt: now,
                    finishedAt: Timestamp(millisecondsSinceEpoch: now.millisecondsSinceEpoch + 1500),
                    inputs: [SlotName(unchecked: "input"): tree(input)],
                    outputs: [SlotName(unchecked: "output"): tree(output)])
            ],
        ]
        for (index, reports) in reports.enumerated() {
            let request = SyncRequest(
                incarnation: "life-1", sequence: sequence + Int64(index),
                registration: sequence == 1 && index == 0 ? registration : nil, live: index == 0 ? [] : [attempt],
                reports: reports, wait: .zero)
            let answer = try await sync(request)
            guard answer.status == 200 else { throw APIFailure(description: answer.text) }
        }
        let log = "/v1/workers/node1/attempts/\(attempt)/logs/stdout?offset=0&complete=true"
        _ = try await call(.put, log, as: .worker, body: Array("the sum\n".utf8))
        return try await call(.get, "/v1/jobs/\(job.id)").decoded(JobDocument.self)
    }

    /// - Returns: the bytes of an export.
    func export(_ sources: String..., as who: Who = .ada, more: String = "") async throws -> [UInt8] {
        let names = sources.map { "\"\($0)\"" }.joined(separator: ", ")
        let answer = try await call(.post, "/v1/archive/export", as: who, json: #"{"sources": [\#(names)]\#(more)}"#)
        guard answer.status == 200 else { throw APIFailure(description: answer.text) }
        #expect(answer.headers[.contentLength].flatMap { Int($0) } == answer.bytes.count)
        return answer.bytes
    }

    func importArchive(_ bytes: [UInt8], skip: Bool = false, as who: Who = .admin) async throws -> Answer {
        try await call(.post, "/v1/archive/import\(skip ? "?skip_conflicts=true" : "")", as: who, body: bytes)
    }
}

// The list behind a tree digest: read in pieces however they are cut, checked, and compared with another.
import JobModel
import TestSupport
import Testing

@Suite("lists of trees") struct TreeManifestTests {
    private static let digest = String(repeating: "ab", count: 32)

    private func list(_ lines: String...) -> [UInt8] { lines.flatMap { Array($0.utf8) + [0] } }

    private func entries(_ reader: TreeManifestReader) throws -> [TreeEntry] {
        var (reader, found) = (reader, [TreeEntry]())
        while let entry = try reader.next() { found.append(entry) }
        return found
    }

    @Test("entries are read as they were written, whatever the pieces are")
    func pieces() throws {
        let bytes = list("d 755 0 - a", "f 644 12 \(Self.digest) a/b c", "l 777 3 \(Self.digest) z")
        let whole = try entries(TreeManifestReader(bytes))
        #expect(whole.map(\.name) == ["a", "a/b c", "z"] && whole.map(\.kind) == [.folder, .file, .link])
        #expect(whole[1].mode == 0o644 && whole[1].size == 12 && whole[1].digest?.hex == Self.digest)
        #expect(whole[0].digest == nil)
        for size in [1, 2, 7, 64] {
            var rest = bytes[...]
            let reader = TreeManifestReader {
                defer { rest = rest.dropFirst(size) }
                return rest.isEmpty ? nil : Array(rest.prefix(size))
            }
            #expect(try entries(reader) == whole)
        }
        #expect(try entries(TreeManifestReader([])).isEmpty)
    }

    @Test(
        "what is no list is refused",
        arguments: [
            "x 644 1 - a\0", "f 644 1 -\0", "f 844 1 - a\0", "f 77777 1 - a\0", "f 644 -1 - a\0", "f 644 x - a\0",
            "f 644 99999999999999999999 - a\0", "f 644 1 - \0", "f 644 1 - a", "f 644 1 - b\0f 644 1 - a\0",
            "f 644 1 - a\0f 644 1 - a\0", "\0", "f 644 1 a\u{1}b a\0",
        ])
    func refusals(text: String) {
        #expect(throws: TreeManifestMistake.self) { try entries(TreeManifestReader(Array(text.utf8))) }
    }

    @Test("a line that never ends is refused before it fills the memory")
    func endless() {
        var pieces = 0
        let reader = TreeManifestReader {
            pieces += 1
            return [UInt8](repeating: UInt8(ascii: "f"), count: 1000)
        }
        #expect(throws: TreeManifestMistake.self) { try entries(reader) }
        #expect(pieces < 10)
    }

    @Test("two lists are compared in one walk: added, removed, content, type and mode")
    func comparison() throws {
        let other = String(repeating: "cd", count: 32)
        let first = list(
            "d 755 0 - a", "f 644 1 \(Self.digest) a/same", "f 644 1 \(Self.digest) content",
            "f 644 1 \(Self.digest) gone", "f 644 1 \(Self.digest) mode", "f 644 1 \(Self.digest) type")
        let second = list(
            "d 755 0 - a", "f 644 1 \(Self.digest) a/same", "f 644 1 \(other) content",
            "f 755 1 \(Self.digest) mode", "f 644 1 \(Self.digest) new", "l 777 1 \(Self.digest) type")
        var found: [String] = []
        let count = try TreeComparison.compare(TreeManifestReader(first), TreeManifestReader(second)) { difference in
            found.append("\((difference.first ?? difference.second)?.name ?? "") \(difference.change)")
        }
        #expect(count == 5)
        #expect(found == ["content content", "gone removed", "mode mode", "new added", "type type"])
        #expect(try TreeComparison.compare(TreeManifestReader(first), TreeManifestReader(first)) { _ in } == 0)
        #expect(try TreeComparison.compare(TreeManifestReader([]), TreeManifestReader(second)) { _ in } == 6)
    }

    @Test("a tree that is one file, and names that are no text, are compared as well")
    func oddNames() throws {
        let first = Array("f 644 1 \(Self.digest) ".utf8) + [0xff, 0xfe, 0]
        #expect(try entries(TreeManifestReader(first)).first?.path == [0xff, 0xfe])
        var changes: [FileDifference] = []
        _ = try TreeComparison.compare(
            TreeManifestReader(list("f 644 1 \(Self.digest) .")), TreeManifestReader(list("f 644 2 - ."))
        ) { changes.append(FileDifference($0)) }
        #expect(changes.first?.path == "." && changes.first?.change == Open(.content))
        #expect(changes.first?.second?.digest == nil && changes.first?.first?.digest?.hex == Self.digest)
    }
}

@Suite("verifications") struct VerificationTests {
    private static let slot = SlotName(rawValue: "output")!

    private func record(
        _ mode: SlotMode = .out, shape: TaskShape = .single, fingerprint: FingerprintLevel = .content,
        verifies: JobID? = nil, labels: [String: String] = [:], binding: String = "results"
    ) -> JobRecord {
        let old = WireTests.record
        let slots = [WireTests.input: Slot(path: "/data", mode: .ro), Self.slot: Slot(path: "/out", mode: mode)]
        return JobRecord(
            name: old.name, owner: old.owner, queue: old.queue, priority: 0, configuration: old.configuration,
            configurationVersion: old.configurationVersion, imageReference: old.imageReference, image: old.image,
            resources: old.resources, slots: slots,
            bindings: [WireTests.input: Binding("weather/${task.index}")!, Self.slot: Binding(binding)!],
            parameters: ["x": "1"], shape: shape, labels: labels, constraints: [], retries: 2, timeLimit: nil,
            grace: .seconds(1), fingerprint: fingerprint, rerunOf: nil, verifies: verifies)
    }

    private func verification(of record: JobRecord, task: Int64? = nil) throws(Problem) -> JobRecord {
        let other = Identity(name: UserName(rawValue: "bob")!, uid: 7, gid: 7)
        return try record.verification(of: JobID("42")!, owner: other, queue: nil, priority: nil, task: task)
    }

    @Test("a verification is the same job under another number, and knows whose results it checks")
    func same() throws {
        let record = record(shape: .matrix([.init(name: "year", values: ["2012", "2013"])]))
        let all = try verification(of: record)
        #expect(all.configuration == record.configuration && all.bindings == record.bindings)
        #expect(all.shape == record.shape && all.parameters == record.parameters && all.owner.uid == 7)
        #expect(all.verifies == JobID("42")! && all.rerunOf == JobID("42")!)
        let task = record.shape.indices.upperBound
        let one = try verification(of: record, task: task)
        #expect(one.shape == .array(first: task, last: task))
        #expect(one.taskParameters(at: task) == record.taskParameters(at: task))
        // Written without Codable, read with it.
        #expect(try WireJSON.decode(JobRecord.self, from: one.json) == one)
        #expect(try Array(one.json) == WireJSON.encode(one))
        #expect(one.versioned(nil).verifies == JobID("42")!)
    }

    @Test("it reads what the job read, also where the job's number is in the path")
    func sources() throws {
        let record = try verification(of: record(binding: "results/${job.id}"))
        let task = TaskID("57.1")!
        #expect(try record.source(of: WireTests.input, for: task).description == "weather/1")
        #expect(try record.source(of: Self.slot, for: task).description == "results/57")
        #expect(try record.location(of: Self.slot, for: TaskID("42.1")!).description == "results/42")
    }

    @Test("what cannot be verified is refused with the reason")
    func refusals() {
        let cases: [(JobRecord, String)] = [
            (record(.rw), "'out' slot"), (record(verifies: JobID("7")!), "verifies job 7"),
            (record(fingerprint: .metadata), "fingerprint: metadata"),
            (record(labels: [JobRecord.shellLabel: "true"]), "shell"),
        ]
        for (record, words) in cases {
            let problem = #expect(throws: Problem.self) { try verification(of: record) }
            #expect(problem?.detail.contains(words) ?? false, "\(problem?.detail ?? "nothing")")
        }
        #expect(throws: Problem.self) { try verification(of: record(shape: .array(first: 1, last: 3)), task: 4) }
    }

    @Test("a request to verify changes nothing of the job")
    func requests() throws {
        let request = try RerunRequest(parsing: Array(#"{"source": "42", "verify": true, "task": 7}"#.utf8))
        #expect(request.verify == true && request.task == 7)
        for more in [#""bindings": {"a": "b"}"#, #""parameters": {"a": "b"}"#, #""command": ["x"]"#] {
            #expect(throws: SpecError.self) {
                try RerunRequest(parsing: Array(#"{"source": "42", "verify": true, \#(more)}"#.utf8))
            }
        }
        #expect(throws: SpecError.self) { try RerunRequest(parsing: Array(#"{"source": "42", "verify": 1}"#.utf8)) }
    }
}

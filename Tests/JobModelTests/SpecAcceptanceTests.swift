// A spec means the same in YAML, in JSON, and after it has travelled to the scheduler.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("specs that are accepted")
struct SpecAcceptanceTests {
    /// The example of the documentation, with every other field beside it.
    static let yaml = #"""
        name: annual-temps
        image: docker.io/library/python:3.12-slim
        platform: linux/amd64
        command: ["python3", "/job/mean.py", "--year", "${params.year}", "--task", "${task.index}", "$${HOME}", "$x"]
        files: {/job/mean.py: ./mean.py}
        environment: {OMP_NUM_THREADS: "1", JOB: "${job.name}-${job.id}"}
        working_dir: /job/
        volumes:
          - input:/data:ro
          - shared:/shared:rw
          - output:/out:out
          - plain:/plain
        resources: {cpus: 1.5, memory: 512MiB, gpus: 1}
        licenses: {matlab: 1}
        prefer: ["zone != b"]
        placement: spread
        exclusive: true
        time_limit: 1h30m
        grace: 30
        matrix: {year: [2012, 2013, 2014, 2015], level: [high, "low"]}
        parameters: {model: 3.10, id: 12345678901234567890, fast: true}
        labels: {team: climate, "site/rack": a-1}
        constraints: ["zone == a", "gpu != none"]
        retries: {max: 3, on_exit: [137, 75], not_on_exit: [2]}
        max_running: 50
        start_after: 2h
        deadline: "2027-01-01T00:00:00Z"
        queue: long
        priority: -5
        network: none
        fingerprint: metadata
        keep: on-success
        depends_on: {after_ok: [41, "42"], after_any_each: 43}
        """#

    static let json = #"""
        {"name": "annual-temps", "image": "docker.io/library/python:3.12-slim", "platform": "linux/amd64",
         "command": ["python3", "/job/mean.py", "--year", "${params.year}", "--task", "${task.index}", "$${HOME}", "$x"],
         "files": {"/job/mean.py": "./mean.py"}, "environment": {"JOB": "${job.name}-${job.id}", "OMP_NUM_THREADS": "1"},
         "working_dir": "/job", "volumes": ["input:/data:ro", "shared:/shared:rw", "output:/out:out", "plain:/plain:ro"],
         "exclusive": true, "placement": "spread",
         "prefer": ["zone != b"], "licenses": {"matlab": 1},
         "resources": {"memory": 536870912, "cpus": 15e-1, "gpus": 1}, "time_limit": "90m", "grace": 30.0,
         "matrix": {"year": ["2012", "2013", 2014, 2015], "level": ["high", "low"]},
         "parameters": {"model": "3.10", "id": 12345678901234567890, "fast": true}, "labels": {"site/rack": "a-1", "team": "climate"},
         "constraints": ["zone == a", "gpu != none"], "retries": {"not_on_exit": [2], "on_exit": [75, 137], "max": 3}, "max_running": 50,
         "start_after": 7200, "deadline": "2027-01-01T00:00:00Z", "queue": "long", "priority": -5, "network": "none",
         "fingerprint": "metadata", "keep": "on-success",
         "depends_on": {"after_ok": ["41", 42], "after_any_each": [43]}}
        """#

    private func spec(_ text: String, _ file: String = "spec") throws -> JobSpec {
        try SpecParser.parse(file: file, Array(text.utf8))
    }

    private func configuration(_ spec: JobSpec) -> Configuration {
        spec.configuration(
            image: PinnedImage(digest: Digest(of: "image"), platform: spec.platform),
            files: spec.files.mapValues { ConfigurationFile(digest: Digest(of: $0), executable: false) })
    }

    /// What the scheduler makes of a spec file that `jobctl submit` sends.
    private func travelled(_ text: String) throws -> JobSpec {
        let tree = try SpecParser.tree(file: "spec", Array(text.utf8))
        let files = try SpecParser.parse(tree).files.mapValues { _ in SubmittedFile(content: "", executable: false) }
        return try ParsedSubmission(SubmitRequest(spec: tree.specJSON, files: files).json).spec
    }

    @Test("every field of the example is understood")
    func fields() throws {
        let spec = try spec(Self.yaml)
        #expect(spec.name?.rawValue == "annual-temps")
        #expect(spec.image.description == "docker.io/library/python:3.12-slim" && spec.platform == "linux/amd64")
        #expect(spec.command[3] == "${params.year}" && spec.command.count == 8)
        #expect(spec.files == ["/job/mean.py": "./mean.py"])
        #expect(spec.environment == ["OMP_NUM_THREADS": "1", "JOB": "${job.name}-${job.id}"])
        #expect(spec.workingDirectory == "/job")
        #expect(spec.volumes.map(\.name.rawValue) == ["input", "shared", "output", "plain"])
        #expect(spec.volumes.map(\.slot.mode) == [.ro, .rw, .out, .ro])
        #expect(
            spec.resources
                == Resources(cpus: CPUAmount(thousandths: 1500), memory: ByteCount(bytes: 512 << 20), gpus: 1))
        #expect(
            spec.placement
                == PlacementRequest(
                    licenses: ResourceCounts([ResourceName(unchecked: "matlab"): 1]),
                    preferences: [Constraint(label: "zone", comparison: .notEqual, value: "b")], strategy: .spread,
                    isExclusive: true))
        #expect(spec.timeLimit == .minutes(90) && spec.grace == .seconds(30))
        #expect(spec.shape.count == 8)
        #expect(spec.parameters == ["model": "3.10", "id": "12345678901234567890", "fast": "true"])
        #expect(spec.labels == ["team": "climate", "site/rack": "a-1"])
        #expect(spec.constraints.map(\.description) == ["zone == a", "gpu != none"])
        #expect(spec.retries == 3 && spec.queue.rawValue == "long" && spec.priority == -5)
        #expect(spec.network == .none && spec.fingerprint == .metadata && spec.keep == .onSuccess)
    }

    @Test("a gang's size is part of the configuration, and changes nothing where it is not asked for")
    func gang() throws {
        let plain = configuration(try spec("image: a\ncommand: [b]\n"))
        let four = try spec("image: a\ncommand: [b]\ngang: 4\n")
        #expect(four.shape == .gang(4) && four.shape.indices == 1...4 && four.shape.gangSize == 4)
        let gang = configuration(four)
        #expect(gang.gang == 4 && plain.gang == nil && gang.digest != plain.digest)
        #expect(gang.digest != configuration(try spec("image: a\ncommand: [b]\ngang: 5\n")).digest)
        #expect(String(decoding: gang.canonicalJSON, as: UTF8.self).contains("\"gang\":4,"))
        #expect(try WireJSON.decode(Configuration.self, from: try WireJSON.encode(gang)) == gang)
        try gang.checkAsSubmitted()
        #expect(try gang.running(["sh"]).gang == nil)
        for size in ["1", "257"] {
            #expect(throws: Problem.self) {
                try WireJSON.decode(TaskShape.self, from: Array("{\"gang\": \(size)}".utf8))
            }
        }
    }

    @Test("disk and custom resources are part of the configuration, and change nothing where they are not asked for")
    func countedResources() throws {
        let plain = configuration(try spec("image: a\ncommand: [b]\n"))
        let none = configuration(try spec("image: a\ncommand: [b]\nresources: {disk: 0, custom: {fpga: 0}}\n"))
        #expect(plain == none && plain.digest == none.digest)
        let some = configuration(try spec("image: a\ncommand: [b]\nresources: {disk: 20GiB, custom: {fpga: 2}}\n"))
        #expect(some.resources.disk == ByteCount(bytes: 20 << 30) && some.resources.custom.description == "fpga=2")
        #expect(some.digest != plain.digest)
        #expect(try WireJSON.decode(Configuration.self, from: try WireJSON.encode(some)) == some)
        try some.checkAsSubmitted()
        try plain.checkAsSubmitted()
    }

    @Test("every key that the parser knows stands in the example, excludes one that does, or has tests of its own")
    func keys() throws {
        guard case .mapping(let members) = try SpecParser.tree(file: "a", Array(Self.yaml.utf8)).value else {
            Issue.record("no mapping")
            return
        }
        #expect(Set(members.map(\.key)).union(["shell", "array", "services", "gang", "open"]) == Set(SpecParser.keys))
    }

    @Test("YAML, JSON and what arrives at the scheduler are the same spec and the same configuration")
    func sameMeaning() throws {
        let yaml = try spec(Self.yaml)
        let json = try spec(Self.json)
        #expect(yaml == json)
        #expect(configuration(yaml).digest == configuration(json).digest)
        #expect(try travelled(Self.yaml) == yaml)
        #expect(try travelled(Self.json) == json)
    }

    @Test("the digest of the example is golden: old configurations keep their ids in every later version")
    func goldenDigest() throws {
        let configuration = configuration(try spec(Self.yaml))
        try GoldenFile("configuration.json").expect(String(decoding: configuration.canonicalJSON, as: UTF8.self) + "\n")
        #expect(configuration.digest == Digest(of: configuration.canonicalJSON))
        let decoded = try WireJSON.decode(Configuration.self, from: configuration.canonicalJSON)
        #expect(decoded == configuration && decoded.digest == configuration.digest)
    }

    @Test(
        "the axes of a matrix count in the order in which they were written, the last the fastest, also over the wire")
    func matrixOrder() throws {
        let text = "image: a\ncommand: [b]\nmatrix: {z: [1.0, 2], a: [x, y, true]}\n"
        for spec in [try spec(text), try travelled(text)] {
            let tasks = spec.shape.indices.map {
                spec.shape.matrixValues(at: $0).map { "\($0.name)=\($0.value)" }.joined(separator: " ")
            }
            #expect(tasks == ["z=1.0 a=x", "z=1.0 a=y", "z=1.0 a=true", "z=2 a=x", "z=2 a=y", "z=2 a=true"])
        }
    }

    @Test(
        "arrays",
        arguments: [("1-100", 1, 100), ("\"0-9\"", 0, 9), ("7", 1, 7), ("5-5", 5, 5), ("1-10000000", 1, 10_000_000)]
            as [(String, Int64, Int64)])
    func arrays(text: String, first: Int64, last: Int64) throws {
        let spec = try spec("image: a\ncommand: [b]\narray: \(text)\n")
        #expect(spec.shape == .array(first: first, last: last))
    }

    @Test("defaults: one task, one processor, 512 MiB, no network, no retries")
    func defaults() throws {
        let spec = try spec("image: busybox\nshell: echo $HOME | wc -c\n")
        #expect(spec.command == ["/bin/sh", "-c", "echo $HOME | wc -c"])
        #expect(spec.shape == .single && spec.resources == .standard && spec.network == .none && spec.retries == 0)
        #expect(spec.timeLimit == nil && spec.grace == .seconds(10) && spec.queue == .standard && spec.priority == 0)
        #expect(spec.fingerprint == .content && spec.image.description == "docker.io/library/busybox:latest")
    }

    @Test("plain YAML scalars are typed by the core schema: yes, 0123 and 0x10 are strings")
    func scalars() throws {
        let text =
            "image: a\ncommand: [b]\nparameters: {a: yes, b: 0123, c: 0x10, d: 1_000, e: True, f: .5, g: 1e3, h: \"5\", i: -0}\n"
        let expected = [
            "a": "yes", "b": "0123", "c": "0x10", "d": "1_000", "e": "true", "f": ".5", "g": "1e3", "h": "5", "i": "-0",
        ]
        #expect(try spec(text).parameters == expected)
        #expect(try travelled(text).parameters == expected)
    }

    @Test("a document of 64 levels and of 1 MiB is read")
    func limits() throws {
        let deep = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        #expect(throws: Never.self) { try JSONParser.parse(Array(deep.utf8)) }
        #expect(throws: Never.self) { try YAMLParser.parse(Array(deep.utf8), file: "a") }
        let large = "image: a\ncommand: [b]\n#".padding(toLength: 1 << 20, withPad: " ", startingAt: 0)
        #expect(throws: Never.self) { try spec(large) }
    }

    @Test("a spec inside a large request is bound by the limit of a spec file")
    func largeSpec() throws {
        let values = (0..<300).map { "\"\(String(repeating: "x", count: 4_000))\($0)\"" }.joined(separator: ",")
        let request = #"{"spec": {"image": "a", "command": ["b"], "matrix": {"v": [\#(values)]}}}"#
        let error = #expect(throws: SpecError.self) { try ParsedSubmission(Array(request.utf8)) }
        #expect(error?.description == "spec: is larger than 1048576 bytes")
    }
}

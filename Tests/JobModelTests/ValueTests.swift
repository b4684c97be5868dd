// Amounts, ids, names, references, bindings and placeholders: what is read, what is refused, and how it is printed.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("values")
struct ValueTests {
    @Test(
        "memory",
        arguments: [
            ("512MiB", 512 << 20), ("1.5GB", 1_500_000_000), ("0", 0), ("1024", 1024), ("1 GiB", 1 << 30),
            ("0.5KiB", 512), ("2TiB", 2 << 40),
            ("9000000000000000", 9_000_000_000_000_000), ("10.B", 10),
        ] as [(String, Int64)])
    func memory(text: String, bytes: Int64) { #expect(ByteCount(text)?.bytes == bytes) }

    @Test(
        "no amount of memory",
        arguments: [
            "", "MiB", "-1MiB", "1.2.3MiB", ".5MiB", "1mib", "1MB2", "1e3", "nan", "inf", "٣MiB", "9000000000000001",
            "99999999999999999999999999999999999999999TiB",
            "0x10", "1,5GB", "+1",
        ])
    func noMemory(text: String) { #expect(ByteCount(text) == nil) }

    @Test("amounts print as people read them")
    func printing() {
        #expect(ByteCount(bytes: 512 << 20).description == "512 MiB" && ByteCount(bytes: 1536).description == "1.5 KiB")
        #expect(CPUAmount(thousandths: 1500).description == "1.5" && CPUAmount(cpus: 2).description == "2")
        #expect(TimeSpan.seconds(5400).description == "1h30m" && TimeSpan(milliseconds: 250).description == "0.25s")
        #expect(TimeSpan.zero.description == "0s" && TimeSpan.seconds(86_400 * 2 + 5).description == "2d5s")
    }

    @Test("processors come in thousandths, up to a million")
    func processors() {
        for (number, thousandths) in [
            (0, 0), (0.001, 1), (0.1, 100), (1.5, 1500), (1_000_000, 1_000_000_000), (0.0005, nil), (-1, nil),
            (1_000_001, nil), (.nan, nil),
            (.infinity, nil), (1e300, nil), (-0.0, 0),
        ] as [(Double, Int64?)] { #expect(CPUAmount(exactly: number)?.thousandths == thousandths, "\(number)") }
    }

    @Test(
        "lengths of time",
        arguments: [
            ("90s", 90_000), ("10m", 600_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("250ms", 250),
            ("1m1m", 120_000), ("3660d", 316_224_000_000),
        ] as [(String, Int64)])
    func times(text: String, milliseconds: Int64) { #expect(TimeSpan(text)?.milliseconds == milliseconds) }

    @Test(
        "no length of time",
        arguments: [
            "", "10", "m", "-1m", "1.5h", "10 m", "10M", "1w", "3661d", "3660d1ms", "9223372036854775807s", "1h30",
            "٣m", "1e3s",
        ])
    func noTime(text: String) { #expect(TimeSpan(text) == nil) }

    @Test("a number of seconds is a length of time up to ten years")
    func seconds() {
        #expect(TimeSpan(seconds: 0.25)?.milliseconds == 250 && TimeSpan(seconds: TimeSpan.longest.seconds) == .longest)
        for bad in [-1, .nan, .infinity, 1e300, TimeSpan.longest.seconds + 1] as [Double] {
            #expect(TimeSpan(seconds: bad) == nil)
        }
    }

    @Test("moments are RFC 3339, and print as they are read")
    func moments() {
        for text in [
            "1970-01-01T00:00:00.000Z", "2026-11-24T13:30:00.250Z", "2000-02-29T23:59:59.999Z",
            "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z",
        ] {
            #expect(Timestamp(text)?.description == text)
        }
        #expect(Timestamp("2026-11-24T14:30:00+01:00")?.description == "2026-11-24T13:30:00.000Z")
        for bad in ["", "yesterday", "2026-11-24", "2026-13-01T00:00:00Z", "0"] {
            #expect(Timestamp(bad) == nil, "\(bad)")
        }
    }

    @Test("ids print as they are read")
    func ids() {
        for text in ["1", "42", "9223372036854775807"] { #expect(JobID(text)?.description == text) }
        for text in ["1.0", "42.7", "1.9223372036854775807"] { #expect(TaskID(text)?.description == text) }
        for text in ["1.0.1", "42.7.2"] { #expect(AttemptID(text)?.description == text) }
        for bad in ["", "0", "-1", "+1", "1.0", " 1", "9223372036854775808", "1e3", "٣", "0x1", "1\n"] {
            #expect(JobID(bad) == nil, "\(bad)")
        }
        for bad in ["1", "1.", ".1", "0.1", "1.-1", "1.1.1", "1..1"] { #expect(TaskID(bad) == nil, "\(bad)") }
        for bad in ["1.1", "1.1.0", "1.1.1.1", "1.1.", "1.1.99999999999999999999"] {
            #expect(AttemptID(bad) == nil, "\(bad)")
        }
        #expect(
            ["10.1.1", "2.10.1", "2.9.2", "2.9.1"].compactMap { AttemptID($0) }.sorted().map(\.description) == [
                "2.9.1", "2.9.2", "2.10.1", "10.1.1",
            ])
    }

    @Test("names have 1 to 63 plain characters")
    func names() {
        for good in ["a", "A.b_c-d", "9", String(repeating: "x", count: 63)] {
            #expect(WorkerName(rawValue: good) != nil)
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "é", "a\u{301}", "a\n", String(repeating: "x", count: 64)] {
            #expect(WorkerName(rawValue: bad) == nil)
        }
    }

    @Test("what a message holds of a value is short and plain")
    func shownValues() {
        #expect(quoted("a\u{1b}[31mb\nc\u{202e}d\u{2028}") == "'a\u{FFFD}[31mb\u{FFFD}c\u{FFFD}d\u{FFFD}'")
        #expect(shown(String(repeating: "é", count: 100)) == String(repeating: "é", count: 80) + "…")
    }

    @Test(
        "image references",
        arguments: [
            ("busybox", "docker.io/library/busybox:latest"), ("python:3.12", "docker.io/library/python:3.12"),
            ("lab/stack", "docker.io/lab/stack:latest"),
            ("ghcr.io/lab/stack:1", "ghcr.io/lab/stack:1"), ("localhost/a", "localhost/a:latest"),
            ("127.0.0.1:5000/a/b__c:x", "127.0.0.1:5000/a/b__c:x"),
        ])
    func references(text: String, whole: String) { #expect(ImageReference(text)?.description == whole) }

    @Test("bindings", arguments: ["weather", "weather/2014", "weather/2014/", "/srv/data", "weather/${params.year}/x"])
    func bindings(text: String) {
        #expect(Binding(text)?.description == (text.hasSuffix("/") ? String(text.dropLast()) : text))
    }

    @Test(
        "no bindings",
        arguments: [
            "", "/", "..", "weather/..", "weather/../x", "weather//x", "./x", "we ather/x", "weather/\u{0}", "/a/./b",
            "${params.v}/x",
        ])
    func noBindings(text: String) { #expect(Binding(text) == nil) }

    @Test(
        "placeholders are filled, $${ is a plain ${ and any other $ stays",
        arguments: [
            ("${params.x}", "1"), ("a${params.x}b${task.index}", "a1b7"), ("$${params.x}", "${params.x}"), ("$$", "$$"),
            ("$x $", "$x $"),
            ("$$${params.x}", "$${params.x}"), ("${job.id}/${job.name}", "3/test"), ("${params.dollar}", "${params.x}"),
            ("}{", "}{"),
            ("${params.x}\u{301}", "1\u{301}"), ("$\u{301}{", "$\u{301}{"),
        ])
    func placeholders(text: String, filled: String) throws {
        let record = record(parameters: ["x": "1", "dollar": "${params.x}"])
        let values = TemplateValues(task: TaskID("3.7")!, record: record)
        #expect(try Template(text).text(values) == filled)
    }

    @Test(
        "no placeholders",
        arguments: [
            "${", "${}", "${x}", "${params}", "${params.}", "${params.a.b}", "${task.index", "${ task.index}",
            "a ${env.HOME}", "${params.é}",
        ])
    func noPlaceholders(text: String) { #expect(throws: Template.Mistake.self) { try Template(text) } }

    private func record(parameters: [String: String] = [:], bindings: [String: String] = [:], mode: SlotMode = .out)
        -> JobRecord
    {
        let slots = bindings.keys.map { (SlotName(rawValue: $0)!, Slot(path: "/" + $0, mode: mode)) }
        let bound = bindings.map { (SlotName(rawValue: $0.key)!, Binding($0.value)!) }
        let plain = jobRecord()
        return JobRecord(
            name: plain.name, owner: plain.owner, queue: plain.queue, priority: 0, configuration: plain.configuration,
            configurationVersion: nil,
            imageReference: "a", image: plain.image, resources: .standard,
            slots: Dictionary(uniqueKeysWithValues: slots),
            bindings: Dictionary(uniqueKeysWithValues: bound), parameters: parameters, shape: .array(first: 0, last: 9),
            labels: [:], constraints: [],
            retries: 0, timeLimit: nil, grace: .zero, fingerprint: .none, rerunOf: nil)
    }

    @Test(
        "an output lies below job and task, unless its binding tells them apart itself",
        arguments: [
            ("results", SlotMode.out, "results/3/7"), ("results/a", .out, "results/a/3/7"),
            ("results/${task.index}", .out, "results/7"),
            ("results/${params.year}", .out, "results/2014"), ("/srv/out", .out, "/srv/out/3/7"),
            ("results", .ro, "results"), ("results", .rw, "results"),
            ("results/${params.path}", .ro, "results/a/b"),
        ] as [(String, SlotMode, String)])
    func locations(binding: String, mode: SlotMode, location: String) throws {
        let record = record(parameters: ["year": "2014", "path": "a/b"], bindings: ["output": binding], mode: mode)
        #expect(try record.location(of: SlotName(rawValue: "output")!, for: TaskID("3.7")!).description == location)
    }

    @Test(
        "a value can neither leave a binding nor widen it", arguments: ["..", "../..", "", "/etc", "a//b", ".", "a\nb"])
    func hostileValues(value: String) {
        let record = record(parameters: ["year": value], bindings: ["output": "results/${params.year}"])
        #expect(throws: Template.Mistake.self) {
            try record.location(of: SlotName(rawValue: "output")!, for: TaskID("3.7")!)
        }
    }

    @Test(
        "a submission is refused when a value, also one of a matrix, would leave or widen a binding",
        arguments: ["..", "", "/etc"])
    func hostileSubmissions(value: String) throws {
        for more in ["parameters: {year: \"\(value)\"}", "matrix: {year: [\"2014\", \"\(value)\"]}"] {
            let text = "image: a\ncommand: [b]\nvolumes: [\"input:/data\"]\n\(more)\n"
            let spec = try SpecParser.parse(file: "a", Array(text.utf8))
            let configuration = spec.configuration(
                image: PinnedImage(digest: Digest(of: "i"), platform: nil), files: [:])
            let problem = #expect(throws: Problem.self) {
                try spec.record(
                    configuration: configuration, digest: configuration.digest, owner: jobRecord().owner,
                    choices: SubmissionChoices(bindings: ["input": "weather/${params.year}"]))
            }
            #expect(problem?.field == "bindings.input")
        }
    }

    @Test("attempt states only rise, and terminal ones are last")
    func states() {
        for state in AttemptState.allCases { #expect(state.isTerminal == (state.rank == 4)) }
        #expect(AttemptState.allCases.map(\.rank) == AttemptState.allCases.map(\.rank).sorted())
        #expect(JobState.allCases.filter(\.isTerminal) == [.succeeded, .failed, .cancelled])
        #expect(TaskState.allCases.filter(\.isTerminal) == [.succeeded, .failed, .cancelled])
        #expect(
            EndReason.allCases.filter { $0.blame == .infrastructure } == [
                .preempted, .imageError, .workerLost, .engineError,
            ])
    }

    @Test("nobody is root: a user or group 0 becomes 65532")
    func identity() {
        let root = Identity(name: UserName(rawValue: "root")!, uid: 0, gid: 0)
        #expect(root.uid == 65532 && root.gid == 65532)
    }
}

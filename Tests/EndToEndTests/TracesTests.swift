// The judge of the campaigns is itself judged: each thing that must never be is found in traces that hold it.
import JobModel
import TestSupport
import Testing

@Suite("the judge of the campaigns")
struct TracesTests {
    private static let honest =
        "7.1.1 start\n7.1.1 end\n7.12.1 start\n7.12.1 end\n7.2.1 start\n7.2.2 start\n7.2.2 end\n"

    @Test("what really happened is no complaint")
    func clean() throws {
        #expect(try judged(Self.honest) == [])
    }

    @Test(
        "a false success, a second run, a run that overlaps and a run that nobody knows of are found",
        arguments: [
            ("7.1.1 start\n", "7.1.1 is a false success"),
            ("7.1.1 start\n7.1.1 start\n7.1.1 end\n", "7.1.1 ran 2 times"),
            ("7.1.1 end\n", "ended 1 times and was started 0 times"),
            ("7.1.1 start\n7.1.1 end\n7.1.1 end\n", "7.1.1 ended 2 times"),
            ("7.1.2 start\n7.1.1 start\n7.1.1 end\n", "7.1.1 still ran"),
            ("7.1.1 start\n7.1.1 end\n7.1.2 start\n", "7.1.2 ran, and the scheduler does not know of it"),
            ("7.1.1 start\n7.1.1 end\n7.12.1 start\n", "7.12.1 failed"),
            ("7.1.1 start 7.2.1\n", "a line of the traces"),
        ])
    func wrong(_ traces: String, _ complaint: String) throws {
        let rest = Self.honest.split(separator: "\n").filter { line in
            !traces.contains(line.split(separator: " ")[0].split(separator: ".").prefix(2).joined(separator: ".") + ".")
        }
        let found = try judged(traces + rest.map { $0 + "\n" }.joined())
        #expect(found.contains { $0.contains(complaint) }, "\(found)")
    }

    @Test("a job that did not end, a success that is counted and is none, and an output of another attempt are found")
    func wrongCounts() throws {
        #expect(try judged(Self.honest, state: .held).contains { $0.contains("job 7 did not end") })
        #expect(try judged(Self.honest, succeeded: 3).contains { $0.contains("counts 3 successes and has 2") })
        #expect(try judged(Self.honest, published: "7.2.1\n").contains { $0.contains("7.2.2 succeeded and published") })
    }

    private func judged(
        _ text: String, state: JobState = .failed, succeeded: Int64 = 2, published: String? = nil
    ) throws -> [String] {
        var traces = Traces(text)
        let job = JobDocument(
            id: JobID(rawValue: 7), name: "x", state: .known(state), reason: nil, owner: "ada", queue: "default",
            priority: 0, configuration: ConfigurationReference(digest: Digest(of: "c"), name: nil, version: nil),
            image: ImageReferenceAndDigest(reference: "x", digest: Digest(of: "i")), bindings: [:], parameters: [:],
            tasks: TaskCounts(total: 3, pending: 3 - succeeded - 1, succeeded: succeeded, failed: 1), rerunOf: nil,
            submittedAt: Timestamp(millisecondsSinceEpoch: 0), startedAt: nil, finishedAt: nil, labels: [:],
            shape: .array(first: 1, last: 12), revision: 1)
        let attempts = [
            try attempt("7.1.1", .succeeded, 0), try attempt("7.2.1", .lost, nil), try attempt("7.2.2", .succeeded, 0),
            try attempt("7.12.1", .failed, 3),
        ]
        traces.check(job, attempts) { task in
            task.index == 2 ? published ?? "7.2.2\n" : "\(task).1\n"
        }
        return traces.violations
    }

    private func attempt(_ id: String, _ state: AttemptState, _ code: Int?) throws -> AttemptDocument {
        AttemptDocument(
            id: try #require(AttemptID(id)), worker: "w", engine: "oci", state: .known(state),
            reason: .known(state == .lost ? .engineError : .exitCode), exitCode: code, signal: nil, message: nil,
            startedAt: nil, finishedAt: nil, inputs: [:], outputs: [:], usage: nil, gpus: [])
    }
}

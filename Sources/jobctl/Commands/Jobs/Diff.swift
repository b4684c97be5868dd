// jobctl diff: what was equal between two jobs, and what was not.
import ArgumentParser
import JobModel
import SchedulerClient

struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Show what was equal between two jobs and what differed.",
        discussion: """
            Examples:

              jobctl diff 41 42
              jobctl diff 41.3 42.3     the same for one task of each array

            Compares configuration, image, bindings, parameters, inputs and outputs, the
            worker and the end of the newest attempt. Of an array, the first task. Where
            data is not the same, names the files; for a job and one that verified it, also
            where the files begin to differ, and probably why.
            """)

    @Argument(help: "A job or a task.", completion: Given.jobCompletion, transform: Given.subject) var first: Subject
    @Argument(help: "Another one.", completion: Given.jobCompletion, transform: Given.subject) var second: Subject
    @OptionGroup var global: GlobalOptions

    /// One thing that two jobs have.
    struct Line: Codable, Row {
        var what: String
        var equal: Bool
        var first: String?
        var second: String?
        static var header: [String] { ["WHAT", "EQUAL", "FIRST", "SECOND"] }
        var cells: [String] { [what, equal ? "yes" : "NO", first ?? "-", equal ? "" : second ?? "-"] }
        var quiet: String { what }
    }

    struct Comparison: Encodable {
        var lines: [Line]
        /// File by file; absent if nothing differs, or if it cannot be had.
        var differences: AttemptDifferences?
    }

    func run() async throws {
        let client = try global.client()
        let (a, b) = (try await client.job(first.job), try await client.job(second.job))
        let (x, y) = (try await newest(first, a, client), try await newest(second, b, client))
        var lines = [
            line("configuration", a.configuration.digest.description, b.configuration.digest.description),
            line("image", a.image.digest.description, b.image.digest.description),
        ]
        lines += maps("binding", a.bindings, b.bindings) + maps("parameter", a.parameters, b.parameters)
        lines += maps("input", x?.inputs.mapValues(text) ?? [:], y?.inputs.mapValues(text) ?? [:])
        lines += maps("output", x?.outputs.mapValues(text) ?? [:], y?.outputs.mapValues(text) ?? [:])
        lines += [
            line("worker", x?.worker, y?.worker), line("engine", x?.engine, y?.engine),
            line("ending", x?.ending, y?.ending),
        ]
        let (differences, note) = try await differences(x, y, client)
        try Render.list(lines, document: Comparison(lines: lines, differences: differences), global.format)
        guard global.output == .table, !global.quiet else { return }
        if let differences, !differences.lines.isEmpty { print("\n" + differences.text) }
        if let note { print("\nthe files are not named: \(note)") }
    }

    private func newest(_ subject: Subject, _ job: JobDocument, _ client: SchedulerClient) async throws
        -> AttemptDocument?
    {
        let task = subject.task ?? job.shape.indices.lowerBound
        guard job.shape.indices.contains(task) else {
            throw Problem(.notFound, "job \(job.id) has no task \(task)", field: "id")
        }
        return try await client.allAttempts(of: job.id, task: task).last { subject.holds($0.id) }
    }

    /// What differs file by file, or why that cannot be said.
    private func differences(_ x: AttemptDocument?, _ y: AttemptDocument?, _ client: SchedulerClient) async throws
        -> (AttemptDifferences?, note: String?)
    {
        guard let x, let y, x.inputs != y.inputs || x.outputs != y.outputs else { return (nil, nil) }
        do throws(Problem) {
            return (try await client.differences(x.id, y.id), nil)
        } catch {
            guard error.kind == .forbidden || error.kind == .notFound else { throw error }
            return (nil, error.description)
        }
    }

    private func line(_ what: String, _ first: String?, _ second: String?) -> Line {
        Line(what: what, equal: first == second, first: first, second: second)
    }

    private func maps(_ kind: String, _ first: [String: String], _ second: [String: String]) -> [Line] {
        Set(first.keys).union(second.keys).sorted().map { line("\(kind) \($0)", first[$0], second[$0]) }
    }

    private func text(_ tree: TreeFingerprint) -> String { tree.treeDigest?.description ?? "not fingerprinted" }
}

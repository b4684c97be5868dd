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

            Compares configuration, image, bindings, parameters, the digests of inputs and
            outputs, the worker and the end of the newest attempt. Of an array, the first
            task.
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

    struct Comparison: Codable {
        var lines: [Line]
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
        lines += [line("worker", x?.worker, y?.worker), line("ending", x?.ending, y?.ending)]
        try Render.list(lines, document: Comparison(lines: lines), global.format)
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

    private func line(_ what: String, _ first: String?, _ second: String?) -> Line {
        Line(what: what, equal: first == second, first: first, second: second)
    }

    private func maps(_ kind: String, _ first: [String: String], _ second: [String: String]) -> [Line] {
        Set(first.keys).union(second.keys).sorted().map { line("\(kind) \($0)", first[$0], second[$0]) }
    }

    private func text(_ tree: TreeFingerprint) -> String { tree.treeDigest?.description ?? "not fingerprinted" }
}

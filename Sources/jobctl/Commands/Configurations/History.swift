// jobctl history: every run of a configuration, over the years.
import ArgumentParser
import JobModel
import SchedulerClient

struct History: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Every run of a configuration: data, results, who, where.",
        discussion: """
            Examples:

              jobctl history annual-temps              all versions, newest run first
              jobctl history annual-temps@3            one version
              jobctl history annual-temps --before 42  the runs before job 42
              jobctl history annual-temps --all -o json

            The digest beside an input or an output says what the data was: two runs with
            the same digest had the same files, byte for byte. Of an array it stands for
            the data of all its tasks. A job such as 5f0c9a21/42 ran on another cluster and
            came with 'jobctl archive import'.
            """)

    @Argument(help: "NAME, NAME@VERSION or a configuration's digest.") var source: String
    @Option(help: "How many at most, 1 to 100.", transform: { try Given.integer($0, in: 1...100) }) var limit = 50
    @Option(help: "Only runs before this job.", completion: Given.jobCompletion, transform: Given.job)
    var before: JobID?
    @Flag(help: "All runs, however many.") var all = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        var list = RunList(runs: [], next: before.map { "\($0)" })
        repeat {
            let page = try await client.runs(of: source, limit: limit, cursor: list.next)
            list = RunList(runs: list.runs + page.runs, next: page.next)
        } while all && list.next != nil
        try Render.list(list.runs, document: list, global.format)
        guard let next = list.next, global.output == .table, !global.quiet else { return }
        // Beyond the jobs of this cluster come those that were imported, which have no ids here.
        let more = JobID(next) == nil ? "--all" : "--before \(next)"
        printError("there are older runs: jobctl history \(source) \(more)")
    }
}

extension RunDocument: Row {
    static var header: [String] {
        ["JOB", "VERSION", "STATE", "WHO", "STARTED", "TOOK", "WHERE", "INPUTS", "PARAMETERS", "OUTPUTS"]
    }

    var cells: [String] {
        [
            name, job.configuration.version.map { "@\($0)" } ?? "-", state, job.owner,
            Render.time(job.startedAt), duration, place, Self.text(inputs) { $0.binding },
            Render.pairs(job.parameters) ?? "-", Self.text(outputs) { _ in nil },
        ]
    }

    var quiet: String { name }

    /// `42`, or `5f0c9a21/42` for the job 42 of another cluster.
    private var name: String { (imported.map { $0.origin.prefix(8) + "/" } ?? "") + "\(job.id)" }

    private var state: String {
        "\(job.state)" + (job.verifies.map { ", verifies \($0)" } ?? "")
            + (job.schedule.map { ", schedule \($0)" } ?? "") + (imported == nil ? "" : ", imported")
    }

    private var duration: String {
        guard let start = job.startedAt, let end = job.finishedAt else { return "-" }
        return "\(TimeSpan.seconds((max(0, end.millisecondsSinceEpoch - start.millisecondsSinceEpoch) + 500) / 1000))"
    }

    private var place: String {
        workers.isEmpty ? "-" : workers.prefix(3).joined(separator: ",") + (workers.count > 3 ? ",…" : "")
    }

    /// `input=weather/2014 96da37e95d5c`
    private static func text(_ slots: [String: SlotHistory], _ binding: (SlotHistory) -> String?) -> String {
        let texts = slots.sorted { $0.key < $1.key }.map { slot, history in
            [binding(history).map { "\(slot)=\($0)" } ?? slot, history.treeDigest?.short].compactMap { $0 }
                .joined(separator: " ")
        }
        return texts.isEmpty ? "-" : texts.joined(separator: "; ")
    }
}

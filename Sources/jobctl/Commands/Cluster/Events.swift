// jobctl events: what happens in the cluster, a line each.
import ArgumentParser
import JobModel
import SchedulerClient

struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "What happens in the cluster, a line each.",
        discussion: """
            Jobs that change their state, attempts that fail or are lost, workers that
            come, go or are drained. The newest 10,000 are kept, until the scheduler is
            restarted.

            Examples:

              jobctl events
              jobctl events --follow -o json
            """)

    @Flag(name: .shortAndLong, help: "Go on with what happens from now on; end with Ctrl-C.") var follow = false
    @Option(help: "Only those after this id.") var after: Int64 = 0
    @Option(help: "Only those of this job.", transform: Given.job) var job: JobID?
    @Option(help: "Only those of this worker.") var worker: String?
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard after >= 0 else { throw ValidationError("--after: use the id of an event") }
    }

    func run() async throws {
        let client = try global.client()
        var position = after
        var shown: [ClusterEvent] = []
        while true {
            let page = try await client.clusterEvents(after: position, wait: follow && shown.isEmpty ? 20 : 0)
            if page.missed { printError("some events after \(position) are not kept any more") }
            let wanted = page.events.filter { event in
                (job == nil || event.job == job) && (worker == nil || event.worker == worker)
            }
            position = page.next
            if follow {
                for event in wanted { try show(event) }
            } else {
                shown += wanted
                if page.events.count < 1000 { break }
            }
        }
        try Render.list(
            shown, document: ClusterEventList(events: shown, next: position, missed: false), global.format)
    }

    /// A line as soon as it is there.
    private func show(_ event: ClusterEvent) throws {
        if global.format.quiet { return print(event.quiet) }
        switch global.format.output {
        case .json: print(String(decoding: try WireJSON.encode(event), as: UTF8.self))
        case .table: print(event.cells.joined(separator: "  "))
        }
    }
}

extension ClusterEvent: Row {
    static var header: [String] { ["ID", "TIME", "EVENT", "SUBJECT", "MESSAGE"] }
    var cells: [String] { [String(id), Render.time(time), kind.description, subject, message ?? ""] }
    var quiet: String { String(id) }

    private var subject: String {
        let parts = [attempt?.description ?? job?.description, worker].compactMap(\.self)
        return parts.isEmpty ? "-" : parts.joined(separator: " on ")
    }
}

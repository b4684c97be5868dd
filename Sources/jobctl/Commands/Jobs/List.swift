// jobctl list: jobs, newest first.
import ArgumentParser
import JobModel
import SchedulerClient

struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List jobs, newest first.",
        discussion: """
            Examples:

              jobctl list
              jobctl list --state running --owner ada
              jobctl cancel $(jobctl list --name annual-temps --state pending -q)
            """)

    @Option(help: "Only jobs in this state.", completion: .list(JobState.allCases.map(\.rawValue))) var state: String?
    @Option(help: "Only jobs of this user.") var owner: String?
    @Option(help: "Only jobs with this name.") var name: String?
    @Option(help: "Only jobs of one file, by the id of the first.", transform: Given.job) var pipeline: JobID?
    @Option(help: "How many at most, 1 to 1000.", transform: Given.limit) var limit = 50
    @Flag(help: "All of them, page after page.") var all = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        var page = try await client.jobs(
            state: state, owner: owner, name: name, pipeline: pipeline, limit: all ? 1000 : limit)
        while all, let cursor = page.next {
            let more = try await client.jobs(
                state: state, owner: owner, name: name, pipeline: pipeline, limit: 1000, cursor: cursor)
            page = JobList(jobs: page.jobs + more.jobs, next: more.next)
        }
        try Render.list(page.jobs, document: page, global.format)
    }
}

// jobctl status: the cluster at a glance.
import ArgumentParser
import JobModel
import SchedulerClient

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "The cluster at a glance.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let status = try await global.client().status()
        try Render.one(status, quiet: status.version, global.format) { status.page }
    }
}

// jobctl rerun: the same configuration on other data.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Rerun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rerun", abstract: "Run an archived configuration again, on the same or on other data.",
        discussion:
            "Example: jobctl rerun annual-temps --bind input=weather/2015\nWhat is not given stays as it was in that job, or in the newest job of that configuration."
    )

    @Argument(help: "A job id, NAME, NAME@VERSION or a configuration's digest.") var source: String
    @OptionGroup var bindings: BindingOptions
    @Flag(help: "Wait until the job has ended.") var wait = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let request = RerunRequest(
            source: source, bindings: try BindingOptions.pairs(bindings.bind, "--bind"),
            parameters: try BindingOptions.pairs(bindings.param, "--param"),
            queue: bindings.queue, priority: bindings.priority, hold: bindings.hold)
        let client = try global.client()
        let job = try await client.rerun(request, idempotencyKey: UUID().uuidString)
        try await Submitted.show(job, wait: wait, client, global)
    }
}

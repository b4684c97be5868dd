// jobctl rerun: the same configuration on other data.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Rerun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rerun", abstract: "Run an archived configuration again, on the same or on other data.",
        discussion: """
            Examples:

              jobctl rerun temps --bind input=weather/2015     the newest version
              jobctl rerun temps@3                             an earlier one
              jobctl rerun 42 --param year=2015 --wait         as job 42, but for this
              jobctl rerun report --after-ok 41                when job 41 has succeeded

            Image, command, files and mounts are those of the archive, byte for byte, even
            if the registry has lost or changed them since. Bindings and parameters that
            are not given stay as they were in that job, or in the newest job of the
            configuration. What the old job waited for is not waited for again.
            """)

    @Argument(help: "A job id, NAME, NAME@VERSION or a configuration's digest.") var source: String
    @OptionGroup var bindings: BindingOptions
    @OptionGroup var dependencies: DependencyOptions
    @Flag(help: "Wait until the job has ended.") var wait = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let request = RerunRequest(
            source: source, bindings: try BindingOptions.pairs(bindings.bind, "--bind"),
            parameters: try BindingOptions.pairs(bindings.param, "--param"),
            queue: bindings.queue, priority: bindings.priority, hold: bindings.hold,
            keep: bindings.keep, dependsOn: dependencies.jobs)
        let client = try global.client()
        let job = try await client.rerun(request, idempotencyKey: bindings.key)
        try await Submitted.show(job, wait: wait, client, global)
    }
}

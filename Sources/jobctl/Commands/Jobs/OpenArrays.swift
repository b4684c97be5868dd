// jobctl extend and jobctl close: an open array gets more tasks, or no more.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Extend: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "extend", abstract: "Add tasks to an open array.",
        discussion: """
            Examples:

              jobctl submit job.yaml --open        an array that may grow
              jobctl extend 42 --array 11-20       the tasks after its last one
              jobctl extend 42 --tasks 10          ten more
              jobctl close 42                      no more come: it ends when all have

            With --array a script that begins again cannot add tasks twice: the first
            index must be the next one.
            """)

    @Argument(help: "The job.", completion: Given.jobCompletion, transform: Given.job) var job: JobID
    @Option(help: ArgumentHelp("Which, after the last one.", valueName: "first-last")) var array: String?
    @Option(help: "How many more.", transform: Given.maxRunning) var tasks: Int?
    @Option(
        help: ArgumentHelp("Names this extension: the same key again adds nothing.", valueName: "key"))
    var idempotencyKey: String?
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard (array == nil) != (tasks == nil) else { throw ValidationError("give --array or --tasks, and not both") }
        if let array, TaskShape.range(array) == nil {
            throw ValidationError("--array: \(quoted(array)) is not a range: write 11-20")
        }
    }

    func run() async throws {
        let growth: ExtendRequest.Growth =
            array.flatMap(TaskShape.range).map { .range($0) } ?? .tasks(Int64(tasks ?? 0))
        let document = try await global.client().extend(
            job, by: ExtendRequest(growth), idempotencyKey: idempotencyKey ?? UUID().uuidString)
        try Render.one(document, quiet: "\(job)", global.format) {
            "job \(job) has \(document.tasks.total) tasks, the last is \(document.shape.indices.upperBound)"
        }
    }
}

struct Close: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "close", abstract: "Let open arrays end when all their tasks have.",
        discussion: """
            Example: jobctl close 42
            """)
    @Argument(help: "Job ids.", completion: Given.jobCompletion, transform: Given.job) var jobs: [JobID]
    @OptionGroup var global: GlobalOptions
    func run() async throws { try await each(jobs, global) { try await $0.close($1) } }
}

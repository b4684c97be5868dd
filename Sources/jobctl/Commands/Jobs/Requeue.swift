// jobctl requeue: running tasks begin anew.
import ArgumentParser
import JobModel
import SchedulerClient

struct Requeue: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "requeue", abstract: "Stop running tasks and let them begin anew.",
        discussion: """
            Examples:

              jobctl requeue 42       every task of job 42 that runs
              jobctl requeue 42.7     one task

            Programs get SIGTERM, and SIGKILL after the spec's 'grace'. The tasks wait as
            before their start and run again, on any worker; no retry is used.
            """)

    @Argument(help: "A job or a task.", completion: Given.jobCompletion, transform: Given.subject)
    var subject: Subject
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let (job, task): (JobID, Int64?)
        switch subject {
        case .job(let id): (job, task) = (id, nil)
        case .task(let id): (job, task) = (id.job, id.index)
        case .attempt(let id):
            throw Problem(.badRequest, "\(id) is an attempt: name its task, \(id.task)", field: "subject")
        }
        let document = try await global.client().requeue(job, task: task)
        try Render.one(document, quiet: "\(job)", global.format) {
            task.map { "task \(job).\($0) begins anew" } ?? "what runs of job \(job) begins anew"
        }
    }
}

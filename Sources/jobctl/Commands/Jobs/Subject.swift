// What a command line names: `42`, `42.7` or `42.7.2`.
import JobModel

enum Subject {
    case job(JobID)
    case task(TaskID)
    case attempt(AttemptID)

    init?(_ text: String) {
        if let attempt = AttemptID(text) {
            self = .attempt(attempt)
        } else if let task = TaskID(text) {
            self = .task(task)
        } else if let job = JobID(text) {
            self = .job(job)
        } else {
            return nil
        }
    }

    var job: JobID {
        switch self {
        case .job(let id): id
        case .task(let id): id.job
        case .attempt(let id): id.job
        }
    }

    var task: Int64? {
        switch self {
        case .job: nil
        case .task(let id): id.index
        case .attempt(let id): id.task.index
        }
    }

    func holds(_ attempt: AttemptID) -> Bool {
        if case .attempt(let id) = self { id == attempt } else { true }
    }
}

// What a submission must know of jobs that it depends on and the core no longer has: their end, and where the core asks
// for it the end of each task. From the store, and from what the same batch is about to write.
import JobModel
import SchedulingCore

extension Stepper {
    func endedJobs(for record: JobRecord, _ uncommitted: [Change]) throws(StoreFailure) -> [EndedJob] {
        var known: [EndedJob] = []
        for dependency in record.dependencies {
            let needed = cluster.mustBeKnown(dependency)
            guard needed.job, let ended = try store.endedJob(dependency.job, withTasks: needed.tasks) else { continue }
            known.append(needed.tasks ? ended.with(uncommitted) : ended)
        }
        return known
    }
}

extension EndedJob {
    /// With what the same batch is about to write.
    fileprivate func with(_ uncommitted: [Change]) -> EndedJob {
        var job = self
        for case .task(let row) in uncommitted where row.id.job == id && row.state == .succeeded {
            job.succeeded?.add(row.id.index...row.id.index)
        }
        return job
    }
}

extension Problem {
    /// A job that cannot be waited for, as the user reads it.
    init(_ dependency: Dependency, _ fault: DependencyFault) {
        let field = "depends_on.\(dependency.kind.rawValue)"
        let job = dependency.job
        switch fault {
        case .unknown: self.init(.refused, "there is no job \(job) to wait for", field: field)
        case .belongsTo(let owner):
            self.init(.refused, "job \(job) belongs to \(owner): wait for jobs of your own", field: field)
        case .otherIndices(let theirs, let own):
            self.init(
                .refused,
                "job \(job) has the tasks \(theirs.lowerBound) to \(theirs.upperBound) and this one \(own.lowerBound) to "
                    + "\(own.upperBound): task by task only jobs with the same tasks can wait for one another",
                field: field)
        case .mayGrow:
            self.init(
                .refused,
                "task by task no open array can be waited for, nor wait itself: its tasks are not known yet; close it first",
                field: field)
        case .neverMet(let state):
            let end = state == .cancelled ? "was cancelled" : "has \(state)"
            self.init(
                .refused,
                "job \(job) \(end): this job could never start, because it waits until that \(dependency.kind.wish)",
                field: field)
        case .isGang:
            self.init(
                .refused, "waits task by task, and a gang starts as a whole: use the kind without '_each'", field: field
            )
        case .noTaskMet:
            self.init(
                .refused,
                "no task of job \(job) is one that \(dependency.kind.wish): no task of this job could ever start",
                field: field)
        }
    }
}

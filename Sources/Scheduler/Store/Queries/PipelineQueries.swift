// Jobs that were submitted together.
import JobModel

extension Store {
    /// In order of their ids.
    func pipeline(_ id: JobID) throws(StoreFailure) -> [JobDocument] {
        do {
            return try jobs(JobQuery(limit: SpecLimits.pipelineJobs, pipeline: id)).jobs.reversed()
        } catch {
            throw StoreFailure(error)
        }
    }
}

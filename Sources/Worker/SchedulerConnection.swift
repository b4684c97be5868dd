// What the agent asks of the scheduler: the part of SchedulerClient that tests replace.
import JobModel
import SchedulerClient

package protocol SchedulerConnection: Sendable {
    func sync(_ worker: WorkerName, _ request: SyncRequest) async throws(Problem) -> SyncResponse
    func appendLog(
        worker: WorkerName, attempt: AttemptID, _ stream: LogStream, offset: Int64, bytes: [UInt8], complete: Bool
    ) async throws(Problem) -> LogPosition
    func blob(_ digest: Digest, limit: Int) async throws(Problem) -> [UInt8]
    func keepTree(_ digest: Digest, list: String) async throws(Problem)
    func tree(_ digest: Digest) async throws(Problem) -> [UInt8]
    func attempts(of job: JobID, task: Int64?, limit: Int?, cursor: String?) async throws(Problem) -> AttemptList
    func keepComparison(worker: WorkerName, attempt: AttemptID, _ comparison: OutputComparison) async throws(Problem)
}

extension SchedulerClient: SchedulerConnection {}

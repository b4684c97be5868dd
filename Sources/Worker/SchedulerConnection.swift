// What the agent asks of the scheduler: the part of SchedulerClient that tests replace.
import JobModel
import SchedulerClient

package protocol SchedulerConnection: Sendable {
    func sync(_ worker: WorkerName, _ request: SyncRequest) async throws(Problem) -> SyncResponse
    func appendLog(
        worker: WorkerName, attempt: AttemptID, _ stream: LogStream, offset: Int64, bytes: [UInt8], complete: Bool
    ) async throws(Problem) -> LogPosition
    func blob(_ digest: Digest, limit: Int) async throws(Problem) -> [UInt8]
}

extension SchedulerClient: SchedulerConnection {}

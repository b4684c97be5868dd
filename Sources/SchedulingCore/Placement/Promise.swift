// The promised start as others may see it.
import JobModel

/// A job that was promised a start on a worker.
package struct Promise: Hashable, Sendable {
    package let job: JobID
    package let worker: WorkerName
    /// Uptime; nil: not known, because something without a time limit runs there.
    package let start: Int64?
    package let madeAt: Int64
}

extension Cluster {
    package var promise: Promise? {
        reservation.map {
            Promise(job: $0.job, worker: workers[$0.slot].name, start: $0.start, madeAt: $0.madeAt)
        }
    }
}

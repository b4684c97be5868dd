// The state of the whole cluster, and the one function that changes it.
import JobModel

package struct Cluster: Sendable {
    package let policy: Policy

    package init(policy: Policy) { self.policy = policy }

    /// The state that a restart continues from. Every live attempt gets a full fresh lease, counted from `now`.
    package init(policy: Policy, restoring image: ClusterImage, at now: Instant) {
        self.policy = policy
    }

    package mutating func apply(_ event: Event, at now: Instant) -> Outcome {
        Outcome()
    }

    /// Places pending tasks on workers and answers parked calls. Called once after the events of a batch.
    package mutating func schedule(at now: Instant) -> Outcome {
        Outcome()
    }

    /// What the store would give back if the scheduler started again now.
    package func image() -> ClusterImage { ClusterImage() }

    /// All workers, in order of their names.
    package func workerViews(at now: Instant) -> [WorkerView] { [] }

    /// Over every job that was ever accepted.
    package var totals: Totals { Totals() }

    /// The images that jobs wait for, in order.
    package var imagesWaitedFor: [Digest] { [] }

    /// Nil for a job that is unknown or finished.
    package func explain(_ job: JobID) -> Explanation? { nil }
}

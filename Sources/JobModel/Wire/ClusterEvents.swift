// What happens in the cluster, a line each. Fields are added, never renamed.

package enum ClusterEventKind: String, Hashable, Codable, CaseIterable, Sendable {
    case jobSubmitted = "job-submitted", jobWaiting = "job-waiting", jobHeld = "job-held", jobPending = "job-pending"
    case jobRunning = "job-running", jobSucceeded = "job-succeeded", jobFailed = "job-failed"
    case jobCancelled = "job-cancelled", jobExtended = "job-extended", jobClosed = "job-closed"
    case jobTimeLimit = "job-time-limit"
    case attemptFailed = "attempt-failed", attemptLost = "attempt-lost"
    case workerRegistered = "worker-registered", workerDraining = "worker-draining", workerResumed = "worker-resumed"
    case workerUnreachable = "worker-unreachable", workerLost = "worker-lost", workerBack = "worker-back"
}

package struct ClusterEvent: Hashable, Codable, Sendable {
    /// Rises, also over restarts of the scheduler.
    package var id: Int64
    package var time: Timestamp
    package var kind: Open<ClusterEventKind>
    package var job: JobID?
    package var attempt: AttemptID?
    package var worker: String?
    package var message: String?

    package init(
        id: Int64, time: Timestamp, kind: ClusterEventKind, job: JobID? = nil, attempt: AttemptID? = nil,
        worker: String? = nil, message: String? = nil
    ) {
        self.id = id
        self.time = time
        self.kind = .known(kind)
        self.job = job
        self.attempt = attempt
        self.worker = worker
        self.message = message
    }
}

/// Oldest first. The scheduler keeps the newest 10,000 in memory; a restart forgets them.
package struct ClusterEventList: Hashable, Codable, Sendable {
    package var events: [ClusterEvent]
    /// Ask again with `after` set to this.
    package var next: Int64
    /// Events after the one that was asked for are not kept any more.
    package var missed: Bool

    package init(events: [ClusterEvent], next: Int64, missed: Bool) {
        self.events = events
        self.next = next
        self.missed = missed
    }
}

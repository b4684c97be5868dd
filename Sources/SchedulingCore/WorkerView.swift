// What a reader may see of a worker. A copy: looking at it changes nothing.
import JobModel

package struct WorkerView: Hashable, Sendable {
    package var name: WorkerName
    package var state: WorkerState
    package var registration: WorkerRegistration
    package var isDraining: Bool
    /// What was said when it was drained.
    package var drain: DrainOrder
    /// Capacity minus what live attempts hold; never below zero.
    package var free: WorkerResources
    /// Attempts that have not ended, in order of their ids.
    package var live: [AttemptID]
    /// Civil time of the last call since the scheduler started.
    package var lastSeen: Timestamp?

    package init(
        name: WorkerName, state: WorkerState, registration: WorkerRegistration, isDraining: Bool,
        drain: DrainOrder, free: WorkerResources,
        live: [AttemptID], lastSeen: Timestamp?
    ) {
        self.drain = drain
        self.name = name
        self.state = state
        self.registration = registration
        self.isDraining = isDraining
        self.free = free
        self.live = live
        self.lastSeen = lastSeen
    }
}

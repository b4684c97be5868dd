// What a reader may see of a worker, and of all together. A copy: looking at it changes nothing.
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

/// What the workers of a cluster are together.
package struct WorkerSums: Hashable, Sendable {
    /// In order of ``WorkerState``'s cases.
    package var counts = Array(repeating: Int64(0), count: WorkerState.allCases.count)
    /// Of those that are not lost.
    package var capacity = WorkerResources(cpus: CPUAmount(thousandths: 0), memory: ByteCount(bytes: 0), gpus: [])
    package var free = WorkerResources(cpus: CPUAmount(thousandths: 0), memory: ByteCount(bytes: 0), gpus: [])
}

extension Cluster {
    /// All workers, in order of their names.
    package func workerViews() -> [WorkerView] { slots.ids.compactMap { slots[$0] }.map { workers[$0].view } }

    /// All workers together. A look at each, and no copy.
    package func workerSums() -> WorkerSums {
        var sums = WorkerSums()
        for id in slots.ids {
            guard let slot = slots[id] else { continue }
            workers[slot].add(to: &sums)
        }
        return sums
    }
}

extension Worker {
    fileprivate var view: WorkerView {
        WorkerView(
            name: name, state: state, registration: registration, isDraining: isDraining, drain: drain, free: free,
            live: attempts.ids, lastSeen: lastSeen)
    }

    private var free: WorkerResources {
        WorkerResources(
            cpus: CPUAmount(thousandths: max(0, room.cpus)), memory: ByteCount(bytes: max(0, room.memory)),
            gpus: freeGPUs, disk: registration.disk.map { _ in ByteCount(bytes: max(0, room.disk)) },
            custom: registration.custom.map { offered in offered.map { max(0, room.custom[$0.name]) } })
    }

    fileprivate func add(to sums: inout WorkerSums) {
        if let place = WorkerState.allCases.firstIndex(of: state) { sums.counts[place] += 1 }
        guard !isLost else { return }
        sums.capacity += WorkerResources(registration)
        sums.free += free
    }
}

extension WorkerResources {
    package init(_ registration: WorkerRegistration) {
        self.init(
            cpus: registration.cpus, memory: registration.memory, gpus: registration.gpus, disk: registration.disk,
            custom: registration.custom)
    }

    /// Registrations are bounded, so that no sum of them can overflow.
    fileprivate static func += (sum: inout WorkerResources, part: WorkerResources) {
        sum.cpus = CPUAmount(thousandths: sum.cpus.thousandths &+ part.cpus.thousandths)
        sum.memory = ByteCount(bytes: sum.memory.bytes &+ part.memory.bytes)
        if !part.gpus.isEmpty { sum.gpus += part.gpus }
        if let custom = part.custom, !custom.isEmpty { sum.custom = (sum.custom ?? .none) + custom }
        if let disk = part.disk, disk.bytes > 0 { sum.disk = ByteCount(bytes: (sum.disk?.bytes ?? 0) &+ disk.bytes) }
    }
}

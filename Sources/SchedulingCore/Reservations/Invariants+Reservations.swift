// The books of licenses, reservations and preemption against the rest. Part of Invariants.swift.
import JobModel

extension Invariants {
    static func checkLicenses(_ cluster: Cluster, _ findings: inout Findings) {
        var sums = ResourceCounts.none
        for worker in cluster.workers {
            for id in worker.attempts.ids {
                sums = sums + (cluster.jobs[id.job]?.record.placement.licenses ?? .none)
            }
        }
        for name in cluster.licenses.pools.ids {
            guard let pool = cluster.licenses.pools[name] else { continue }
            findings.require(pool.used == sums[name]) {
                "license \(name): \(pool.used) are used, live attempts hold \(sums[name])"
            }
        }
        for entry in sums.entries {
            findings.require(cluster.licenses.pools.contains(entry.name)) { "license \(entry.name): is in no book" }
        }
    }

    static func checkWindows(_ cluster: Cluster, _ findings: inout Findings) {
        for slot in cluster.workers.indices {
            findings.require(cluster.workers[slot].windows == cluster.windows(of: slot)) {
                "worker \(cluster.workers[slot].name): its reservations are not those that cover it"
            }
        }
        let isTimed = cluster.timers.unordered.contains { $0.subject == .windows }
        findings.require(cluster.windowTimerIsSet == isTimed && (isTimed || cluster.reservations.isEmpty)) {
            "nobody looks when a reservation is over"
        }
    }

    static func checkPrecedence(_ cluster: Cluster, _ findings: inout Findings) {
        for slot in cluster.claims.ids {
            guard let claim = cluster.claims[slot] else { continue }
            findings.require(claim.tasks > 0 && cluster.workers.indices.contains(slot)) {
                "job \(claim.job): claims \(claim.tasks) tasks' room"
            }
            guard let job = cluster.jobs[claim.job], !cluster.needsPlacement else { continue }
            findings.require(job.classSlot == claim.place && job.isRunnable) {
                "job \(claim.job): claims room on \(cluster.workers[slot].name) and could not start there"
            }
        }
    }
}

// A gang runs as a whole or not at all, outside of its ends. Part of Invariants.swift.
import HeapModule
import JobModel

extension Invariants {
    static func checkGang(_ job: Job, _ cluster: Cluster, _ findings: inout Findings) {
        guard let size = job.gangSize else { return }
        let members = job.tasks.ids.compactMap { job.tasks[$0] }
        let live = members.compactMap { member in
            member.slot.flatMap { slot in
                cluster.workers[slot].attempts[AttemptID(task: member.row.id, number: member.row.attempts)]
            }
        }
        let arrived = members.count { $0.hasArrived }
        let unstarted = job.progress.unstarted.indexCount
        findings.require(unstarted == 0 || unstarted == Int64(size) && members.isEmpty) {
            "gang \(job.id): \(unstarted) of its \(size) members never started, and others did"
        }
        findings.require(Set(live.map(\.row.worker)).count == live.count) {
            "gang \(job.id): two members share a worker"
        }
        if job.isGangBroken {
            findings.require(live.allSatisfy { $0.row.stopReason != nil || $0.row.isAccepted }) {
                "gang \(job.id): it is broken, and a member goes on"
            }
            findings.require(live.isEmpty ? arrived == 0 : true) {
                "gang \(job.id): nothing of it runs, and \(arrived) members wait for others"
            }
        } else {
            findings.require(live.count + arrived == size && arrived < size) {
                "gang \(job.id): \(live.count) members run and \(arrived) have arrived, of \(size)"
            }
        }
        let accepted = live.count { $0.row.isAccepted }
        findings.require(accepted == 0 || accepted == live.count || job.isGangBroken) {
            "gang \(job.id): \(accepted) of \(live.count) outputs are accepted"
        }
    }
}

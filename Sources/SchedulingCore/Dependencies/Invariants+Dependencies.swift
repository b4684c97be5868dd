// Dependencies respected: what has started had nothing to wait for, and both sides of a dependency know of it. Part of
// Invariants.swift.
import JobModel

extension Invariants {
    static func checkDependencies(of job: Job, _ cluster: Cluster, _ findings: inout Findings) {
        let open = job.record.dependencies.filter { job.awaits($0.job) }
        findings.require(job.progress.awaits == open.map(\.job).sorted()) {
            "job \(job.id): waits for \(job.progress.awaits), which are not what it was submitted to wait for"
        }
        findings.require(job.wholeDependencies == open.count { !$0.kind.isEach }) {
            "job \(job.id): \(job.wholeDependencies) jobs keep it from starting, by its row others"
        }
        findings.require(job.wholeDependencies == 0 || job.tasks.isEmpty && job.progress.startedAt == nil) {
            "job \(job.id): started before the jobs that it waits for had ended"
        }
        let most = job.record.rules.mostRunning ?? .max
        findings.require(job.progress.counts.running <= most) { "job \(job.id): more than \(most) tasks run at a time" }
        findings.require(!job.isEarly || job.tasks.isEmpty) { "job \(job.id): started before its time" }
        findings.require(job.free == cluster.freeTasks(of: job)) {
            "job \(job.id): free are \(job.free.map { "\($0)" } ?? "all"), "
                + "should be \(cluster.freeTasks(of: job).map { "\($0)" } ?? "all")"
        }
        for dependency in open {
            guard let parent = cluster.jobs[dependency.job] else { continue }
            let isEach = dependency.kind.isEach
            findings.require(
                parent.dependents.count { $0 == job.id } == 1
                    && parent.eachDependents.count { $0 == job.id } == (isEach ? 1 : 0)
            ) {
                "job \(job.id): waits for job \(parent.id), which does not know of it"
            }
            guard isEach else { continue }
            for index in job.tasks.ids {
                findings.require(!parent.progress.unstarted.holds(index) && !parent.tasks.contains(index)) {
                    "task \(job.id).\(index): started before \(parent.id).\(index) had ended"
                }
            }
        }
    }
}

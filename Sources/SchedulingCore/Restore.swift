// From disk and back: a cluster is rebuilt from what the store kept, and `image()` says what the store must have kept.
// Not kept: calls, lives of agents, pauses before a retry (due at once after a restart), workers that a job crashed.
import JobModel

extension Cluster {
    /// The state that a restart continues from. Every live attempt gets a full fresh lease, counted from `now`.
    package init(policy: Policy, restoring image: ClusterImage, at now: Instant) {
        self.init(policy: policy)
        totals = image.totals
        for row in image.workers { restore(row, at: now) }
        for stored in image.jobs { restore(stored) }
        for row in image.tasks where jobs.contains(row.id.job) {
            jobs[row.id.job]?.tasks.insert(StartedTask(row: row, slot: nil), for: row.id.index)
        }
        for row in image.attempts { restore(row, at: now) }
        for stored in image.jobs { restoreQueues(stored.id) }
        for slot in workers.indices { arm(slot) }
        classes.isStale = true
    }

    private mutating func restore(_ row: WorkerRow, at now: Instant) {
        let slot = workers.count
        workers.append(Worker(row, at: now, leaseEnds: leaseEnd(answeredAt: now)))
        slots.insert(slot, for: row.name)
        changedWorkers.append(slot)
    }

    private mutating func restore(_ stored: ClusterImage.StoredJob) {
        let place = join(Requirement(stored.record), stored.id)
        var job = Job(id: stored.id, record: stored.record, classSlot: place, progress: stored.progress)
        job.countedState = stored.progress.state
        job.countedTasks = stored.progress.counts
        jobs.insert(job, for: stored.id)
        if !stored.progress.imageIsStored { expectImages(of: stored.record, for: stored.id) }
    }

    /// An attempt whose worker is unknown gets one with no room, and is given up with that worker's lease.
    private mutating func restore(_ row: AttemptRow, at now: Instant) {
        guard let job = jobs[row.id.job], job.tasks.contains(row.id.task.index) else { return }
        if !slots.contains(row.worker) {
            let nothing = WorkerRegistration(
                cpus: CPUAmount(thousandths: 0), memory: ByteCount(bytes: 0), gpus: [], labels: [:], volumes: [:],
                allowedPaths: [], engines: [], version: "")
            restore(WorkerRow(name: row.worker, registration: nothing, isDraining: false), at: now)
        }
        guard let slot = slots[row.worker] else { return }
        // Whether the last life of the scheduler sent its start is not known, so it counts as sent.
        workers[slot].attempts.insert(Attempt(row: row, amounts: job.amounts, wasSent: true), for: row.id)
        workers[slot].reserve(job.amounts, gpus: row.gpus)
        jobs[row.id.job]?.tasks[row.id.task.index]?.slot = slot
    }

    private mutating func restoreQueues(_ id: JobID) {
        guard let indices = jobs[id]?.tasks.ids else { return }
        for index in indices where jobs[id]?.tasks[index]?.row.state == .pending { _ = jobs[id]?.makeDue(index) }
        enqueue(id)
    }

    /// What the store would give back if the scheduler started again now.
    package func image() -> ClusterImage {
        let live = jobs.ids.compactMap { jobs[$0] }
        return ClusterImage(
            jobs: live.map { ClusterImage.StoredJob(id: $0.id, record: $0.record, progress: $0.progress) },
            tasks: live.flatMap { job in job.tasks.ids.compactMap { job.tasks[$0]?.row } },
            attempts: workers.flatMap { worker in worker.attempts.ids.compactMap { worker.attempts[$0]?.row } }
                .sorted { $0.id < $1.id },
            workers: slots.ids.compactMap { slots[$0] }.map { workers[$0].row },
            totals: totals)
    }
}

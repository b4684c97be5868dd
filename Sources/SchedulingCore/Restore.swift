// From disk and back: a cluster is rebuilt from what the store kept, and `image()` says what the store must have kept.
// Not kept: calls, lives of agents, pauses before a retry (due at once after a restart), workers that a job crashed.
import JobModel

extension Cluster {
    /// The state that a restart continues from. Every live attempt gets a full fresh lease, counted from `now`.
    package init(policy: Policy, restoring image: ClusterImage, at now: Instant) {
        self.init(policy: policy)
        totals = image.totals
        accounts.begin(at: now, from: image.usage.map(\.time).max() ?? 0)
        for row in image.accounts {
            let place = accounts.open(row.id)
            accounts.set(row.settings, of: place)
            accounts[place].isStored = true
        }
        for row in image.usage { accounts.restore(row) }
        for row in image.licenses { licenses.set(row.total, of: row.name) }
        for reservation in image.reservations { reservations.insert(reservation, for: reservation.name) }
        armWindows(at: now)
        for row in image.workers { restore(row, at: now) }
        for stored in image.jobs { restore(stored, at: now) }
        for row in image.tasks where jobs.contains(row.id.job) {
            jobs[row.id.job]?.tasks.insert(StartedTask(row: row, slot: nil), for: row.id.index)
        }
        for row in image.attempts { restore(row, at: now) }
        for stored in image.jobs where !stored.progress.awaits.isEmpty { restoreDependencies(stored.id) }
        for stored in image.jobs {
            watchTimes(of: stored.id, at: now)
            restoreQueues(stored.id)
        }
        for slot in workers.indices { arm(slot) }
        shapes.isStale = true
    }

    private mutating func restore(_ row: WorkerRow, at now: Instant) {
        addWorker(row, at: now)
    }

    /// Its age is the one thing that civil time decides: uptime began anew.
    private mutating func restore(_ stored: ClusterImage.StoredJob, at now: Instant) {
        let place = join(stored.record, stored.id, limit: stored.progress.timeLimit)
        let age = now.wall.millisecondsSinceEpoch - stored.progress.submittedAt.millisecondsSinceEpoch
        var job = Job(
            id: stored.id, record: stored.record, classSlot: place, since: now.uptime - max(0, age),
            progress: stored.progress)
        bookPending(stored.progress.counts.pending, of: place)
        job.countedState = stored.progress.state
        job.countedTasks = stored.progress.counts
        jobs.insert(job, for: stored.id)
        if !stored.progress.imageIsStored { expectImages(of: stored.record, for: stored.id) }
    }

    /// An attempt whose worker is unknown gets one with no room, and is given up with that worker's lease.
    private mutating func restore(_ row: AttemptRow, at now: Instant) {
        // A copy of the job would hold on to all its tasks while one of them is changed.
        let facts = jobs.read(row.id.job) { job in
            (
                isKnown: job.tasks.contains(row.id.task.index), classSlot: job.classSlot,
                isWhole: job.record.placement.isExclusive, limit: job.progress.timeLimit
            )
        }
        guard let facts, facts.isKnown else { return }
        if !slots.contains(row.worker) {
            let nothing = WorkerRegistration(
                cpus: CPUAmount(thousandths: 0), memory: ByteCount(bytes: 0), gpus: [], labels: [:], volumes: [:],
                allowedPaths: [], engines: [], version: "")
            restore(WorkerRow(name: row.worker, registration: nothing, isDraining: false), at: now)
        }
        guard let slot = slots[row.worker] else { return }
        // Whether the last life of the scheduler sent its start is not known, so it counts as sent.
        let end = expectedTime(of: facts.classSlot).map { now.uptime + $0 } ?? .max
        let amounts = demand(of: classes.rows[facts.classSlot].shape, on: slot)
        let attempt = Attempt(
            row: row, amounts: amounts, placedAt: now.uptime, expectedEnd: end, isWhole: facts.isWhole,
            limit: facts.limit, wasSent: true)
        workers[slot].attempts.insert(attempt, for: row.id)
        workers[slot].reserve(amounts, gpus: row.gpus, whole: facts.isWhole, until: end)
        bookRunning(amounts, 1, of: facts.classSlot, at: now)
        workerChanged(slot)
        jobs[row.id.job]?.tasks[row.id.task.index]?.slot = slot
    }

    /// Which tasks are free is seen from those of the other jobs; what has ended was passed on before it was written.
    private mutating func restoreDependencies(_ id: JobID) {
        let found = jobs.read(id) { job in
            (job.record.dependencies.count { !$0.kind.isEach && job.awaits($0.job) }, freeTasks(of: job))
        }
        guard let (whole, free) = found else { return }
        jobs[id]?.wholeDependencies = whole
        jobs[id]?.free = free
        announce(id)
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
            totals: totals,
            accounts: accounts.ids.compactMap { accounts.place(of: $0) }.filter { accounts[$0].isStored }
                .map { accounts[$0].row },
            usage: accounts.ids.compactMap { accounts.place(of: $0) }.compactMap { accounts[$0].written },
            licenses: licenses.rows, reservations: reservationViews())
    }
}

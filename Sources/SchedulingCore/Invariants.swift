// Every book against every other. Run after each step in tests and simulation; always compiled.
// A rule here is one sentence that names the thing that breaks it. Nothing is repaired.
import HeapModule
import JobModel

package enum Invariants {
    /// One sentence for each rule that is broken; empty when all is well. Costs as much as the cluster is large.
    package static func check(_ cluster: Cluster) -> [String] {
        var findings = Findings()
        for id in cluster.jobs.ids { checkJob(id, cluster, &findings) }
        for slot in cluster.workers.indices { checkWorker(slot, cluster, &findings) }
        checkShapes(cluster, &findings)
        checkClasses(cluster, &findings)
        checkStandings(cluster, &findings)
        checkAccounts(cluster, &findings)
        checkPromise(cluster, &findings)
        checkPrecedence(cluster, &findings)
        checkLicenses(cluster, &findings)
        checkWindows(cluster, &findings)
        checkTotals(cluster, &findings)
        checkImages(cluster, &findings)
        findings.require(
            cluster.outcome == Outcome() && cluster.dirtyJobs.isEmpty && cluster.touchedAttempts.isEmpty
                && cluster.endedTasks.isEmpty
        ) {
            "something of a call was left behind"
        }
        return findings.sentences
    }

    struct Findings {
        var sentences: [String] = []
        mutating func require(_ holds: Bool, _ sentence: () -> String) {
            if !holds { sentences.append(sentence()) }
        }
    }

    // MARK: jobs

    private static func checkJob(_ id: JobID, _ cluster: Cluster, _ findings: inout Findings) {
        guard let job = cluster.jobs[id] else { return }
        let progress = job.progress
        let counts = progress.counts
        let started = job.tasks.ids.compactMap { job.tasks[$0] }
        let waiting = started.filter { $0.row.state == .pending }
        let unstarted = progress.unstarted.reduce(0) { $0 + $1.upperBound - $1.lowerBound + 1 }
        findings.require(
            counts.total == job.record.shape.count && counts.pending + counts.running + counts.finished == counts.total
        ) {
            "job \(id): its counts do not add up: \(counts)"
        }
        findings.require(counts.pending == unstarted + Int64(waiting.count)) {
            "job \(id): \(counts.pending) pending tasks are not in its books"
        }
        findings.require(counts.running == Int64(started.count - waiting.count)) {
            "job \(id): running tasks are not in its books"
        }
        findings.require((counts.finished < counts.total || job.staysOpen) && !progress.state.isTerminal) {
            "job \(id): it is finished and still here"
        }
        findings.require(rangesAreInOrder(progress.unstarted, within: job.record.shape.indices)) {
            "job \(id): unstarted ranges are out of order: \(progress.unstarted)"
        }
        let condition = job.condition(shortfall: cluster.shortfall(of: job.classSlot))
        let isSettled = !cluster.shapes.isStale || progress.isHeld || progress.cancelRequested
        findings.require(!isSettled || condition.state == progress.state && condition.reason == progress.reason) {
            "job \(id): is \(progress.state), \(progress.reason ?? "-") but should be \(condition)"
        }
        findings.require(started.isEmpty || progress.startedAt != nil) { "job \(id): started without a time" }
        for task in started { checkTask(task, of: job, cluster, &findings) }
        checkQueue(job, cluster, &findings)
        checkGang(job, cluster, &findings)
        checkDependencies(of: job, cluster, &findings)
        findings.require(!progress.cancelRequested || unstarted == 0 && waiting.isEmpty) {
            "job \(id): cancelled, and something waits to start"
        }
    }

    private static func rangesAreInOrder(_ ranges: [ClosedRange<Int64>], within all: ClosedRange<Int64>) -> Bool {
        var previous = all.lowerBound - 2
        for range in ranges {
            guard range.lowerBound > previous + 1, all.contains(range.lowerBound), all.contains(range.upperBound) else {
                return false
            }
            previous = range.upperBound
        }
        return true
    }

    private static func checkTask(_ started: StartedTask, of job: Job, _ cluster: Cluster, _ findings: inout Findings) {
        let row = started.row
        let attempt = AttemptID(task: row.id, number: row.attempts)
        findings.require(!job.progress.unstarted.contains { $0.contains(row.id.index) }) {
            "task \(row.id): started and unstarted"
        }
        if let slot = started.slot {
            findings.require(row.state == .running) { "task \(row.id): has a live attempt and is \(row.state)" }
            findings.require(cluster.workers[slot].attempts.contains(attempt)) {
                "task \(row.id): its worker does not have attempt \(attempt)"
            }
        } else if !(started.hasArrived && job.gangSize != nil) {
            findings.require(row.state == .pending) { "task \(row.id): has no live attempt and is \(row.state)" }
            findings.require(!cluster.workers.contains { $0.attempts.contains(attempt) }) {
                "attempt \(attempt): lives and its task waits"
            }
            let hasTimer = cluster.timers.unordered.contains { $0.subject == .retry(row.id) }
            findings.require(started.isDue != hasTimer) {
                "task \(row.id): waits to be tried again in two books, or in none"
            }
            findings.require(started.isDue == job.due.unordered.contains(row.id.index)) {
                "task \(row.id): is due in one book only"
            }
        }
    }

    private static func checkQueue(_ job: Job, _ cluster: Cluster, _ findings: inout Findings) {
        let row = cluster.classes.rows[job.classSlot]
        let stands = row.queued.unordered.filter { $0 == job.queueKey }.count
        findings.require(stands == (job.isQueued ? 1 : 0)) { "job \(job.id): stands \(stands) times in its queue" }
        findings.require(!job.isRunnable || job.isQueued) { "job \(job.id): could run and is in no queue" }
        let longest = job.record.longest(job.timeLimit)
        findings.require(row.longest == longest && row.key.timeLimit == longest) {
            "job \(job.id): is in the class of another time limit"
        }
        let shape = cluster.shapes.rows[row.shape]
        findings.require(shape.members.contains(job.id) && shape.requirement == Requirement(job.record)) {
            "job \(job.id): is of the wrong shape"
        }
        let owner = AccountID.user(job.record.owner.name)
        findings.require(
            cluster.accounts[row.user].id == owner && cluster.accounts[row.queue].id == .queue(job.record.queue)
        ) {
            "job \(job.id): is in the wrong class"
        }
    }

    // MARK: workers

    private static func checkWorker(_ slot: Int, _ cluster: Cluster, _ findings: inout Findings) {
        let worker = cluster.workers[slot]
        let attempts = worker.attempts.ids.compactMap { worker.attempts[$0] }
        let sum = attempts.reduce(Amounts.none) { $0 + $1.amounts }
        let held = attempts.flatMap(\.row.gpus)
        let registered = gpuIdentities(worker.registration.gpus)
        findings.require(cluster.slots[worker.name] == slot) { "worker \(worker.name): stands elsewhere" }
        findings.require(worker.used == sum) {
            "worker \(worker.name): \(worker.used) is used, its attempts take \(sum)"
        }
        findings.require(worker.capacity == Amounts(worker.registration)) {
            "worker \(worker.name): its capacity is not what it registered"
        }
        findings.require(
            worker.left.cpus == worker.capacity.cpus - sum.cpus
                && worker.left.custom == worker.capacity.custom - sum.custom
                && worker.left.memory == worker.capacity.memory - sum.memory
                && worker.left.disk == worker.capacity.disk - sum.disk
                && (worker.isTakenWhole ? worker.room.cpus < 0 : worker.room == worker.left)
        ) {
            "worker \(worker.name): its room is not what is left"
        }
        findings.require(gpuIdentities(held).count == held.count) {
            "worker \(worker.name): a GPU is held twice: \(held)"
        }
        findings.require(
            worker.freeGPUs == registered.filter { !held.contains($0) } && worker.room.gpus == worker.freeGPUs.count
        ) {
            "worker \(worker.name): free GPUs are \(worker.freeGPUs), held \(held)"
        }
        findings.require(
            cluster.rooms.free[slot] == worker.room && cluster.rooms.isOpen[slot] == worker.takesWork
                && worker.isCounted != worker.isLost
        ) {
            "worker \(worker.name): its room is written down twice, differently"
        }
        checkCompany(of: worker, attempts, &findings)
        for attempt in attempts { checkAttempt(attempt, on: slot, cluster, &findings) }
        for id in worker.strangers.ids {
            findings.require(!worker.attempts.contains(id)) {
                "attempt \(id): is known and a stranger on \(worker.name)"
            }
        }
        findings.require(!worker.isLost || attempts.isEmpty) { "worker \(worker.name): lost, with attempts" }
        if let deadline = cluster.nextDeadline(of: slot) {
            let isBeingAnswered = cluster.attention.contains(slot) && worker.call != nil
            findings.require(isBeingAnswered || worker.armedAt <= deadline) {
                "worker \(worker.name): nobody wakes it at \(deadline)"
            }
        }
        let isArmed =
            worker.armedAt == .max
            || cluster.timers.unordered.contains(Timer(due: worker.armedAt, subject: .worker(slot)))
        findings.require(isArmed) { "worker \(worker.name): its timer is gone" }
    }

    private static func checkCompany(of worker: Worker, _ attempts: [Attempt], _ findings: inout Findings) {
        let wholes = attempts.count { $0.isWhole }
        findings.require(worker.isTakenWhole == (wholes > 0) && (wholes == 0 || attempts.count == 1)) {
            "worker \(worker.name): \(wholes) of its \(attempts.count) attempts share it with nobody"
        }
        let ends = attempts.map { Release(end: $0.expectedEnd, amounts: $0.amounts) }
        findings.require(
            worker.releases.map(\.end) == ends.map(\.end).sorted()
                && ends.allSatisfy { worker.releases.contains($0) }
        ) {
            "worker \(worker.name): the ends that it expects are not those of its attempts"
        }
    }

    private static func checkAttempt(_ attempt: Attempt, on slot: Int, _ cluster: Cluster, _ findings: inout Findings) {
        let row = attempt.row
        let id = row.id
        let job = cluster.jobs[id.job]
        findings.require(!row.state.isTerminal && row.endedAt == nil && row.reason == nil) {
            "attempt \(id): ended and still here"
        }
        findings.require(row.worker == cluster.workers[slot].name) { "attempt \(id): is on two workers" }
        findings.require(
            job?.tasks[id.task.index]?.slot == slot && job?.tasks[id.task.index]?.row.attempts == id.number
        ) {
            "attempt \(id): is not its task's current one"
        }
        let takes = attempt.isWhole || attempt.amounts == job?.amounts
        findings.require(takes && (attempt.isWhole || row.gpus.count == attempt.amounts.gpus)) {
            "attempt \(id): holds not what its job asks for"
        }
        findings.require(row.state == .assigned || row.isAcknowledged) {
            "attempt \(id): \(row.state) and never acknowledged"
        }
        findings.require(!row.isAccepted || row.stopReason == nil) { "attempt \(id): accepted and ordered to stop" }
        findings.require(!row.isAccepted || row.state == .ending && row.report?.exitCode == 0 && job?.hasOutput == true)
        {
            "attempt \(id): accepted without proof"
        }
        let isCancelled = job?.progress.cancelRequested == true
        let isRight = isCancelled ? row.stopReason != nil : row.stopReason == nil || row.stopReason == .preempted
        findings.require(isRight || row.isAccepted) {
            "attempt \(id): its job is cancelled and it is not stopped, or the other way round"
        }
    }

    // MARK: totals, images

    private static func checkTotals(_ cluster: Cluster, _ findings: inout Findings) {
        var jobs = Totals()
        for id in cluster.jobs.ids {
            guard let progress = cluster.jobs[id]?.progress else { continue }
            jobs.move(from: nil, to: progress.state)
            jobs.tasks.add(progress.counts, minus: TaskCounts(total: 0, pending: 0))
        }
        for (place, state) in JobState.allCases.enumerated() where !state.isTerminal {
            findings.require(cluster.totals.jobs[place] == jobs.jobs[place]) {
                "totals: \(state) jobs are \(jobs.jobs[place]), counted \(cluster.totals.jobs[place])"
            }
        }
        let tasks = cluster.totals.tasks
        findings.require(tasks.pending == jobs.tasks.pending && tasks.running == jobs.tasks.running) {
            "totals: tasks are miscounted: \(tasks)"
        }
        findings.require(tasks.pending + tasks.running + tasks.finished == tasks.total) {
            "totals: tasks do not add up: \(tasks)"
        }
    }

    private static func checkImages(_ cluster: Cluster, _ findings: inout Findings) {
        for id in cluster.jobs.ids {
            guard let job = cluster.jobs[id] else { continue }
            findings.require(cluster.isWaitingForImage(id) == !job.progress.imageIsStored) {
                "job \(id): its image is waited for in one book only"
            }
        }
        for digest in cluster.images.ids {
            guard let wait = cluster.images[digest] else { continue }
            let wanted = wait.jobs.ids.filter { wait.jobs[$0] == true }.count
            findings.require(wanted == wait.wanted && !wait.jobs.isEmpty) {
                "image \(digest.short): \(wanted) jobs want it, counted \(wait.wanted)"
            }
            findings.require(wait.jobs.ids.allSatisfy { cluster.jobs.contains($0) }) {
                "image \(digest.short): a finished job waits for it"
            }
        }
    }
}

// One job that is not finished: its row, its tasks that were started, and what follows from them.
// Invariant: `progress.counts` agrees with `unstarted` and `tasks`. What other books must do stands in Jobs.swift.
import DequeModule
import HeapModule
import JobModel

struct Job: Sendable {
    let id: JobID
    /// Fixed, but for the array and `rules.open` of an open array.
    var record: JobRecord {
        _read { yield boxed.row }
        set { boxed = Box(newValue) }
    }
    private var boxed: Box<JobRecord>
    /// What each of its attempts takes of a worker.
    let amounts: Amounts
    /// Whether it has `out` slots: a success must then be accepted before it is published.
    let hasOutput: Bool
    var classSlot: Int
    /// Uptime from which it has waited.
    let since: Int64
    var progress: JobProgress
    /// Tasks that were started and are not finished, by index.
    var tasks = Table<Int64, StartedTask>()
    /// Tasks to be tried again now, by index.
    var due = Heap<Int64>()
    /// Distinct workers that were lost with an attempt of this job, since the start of the scheduler or the last
    /// release.
    var crashedWorkers: [WorkerName] = []
    /// Jobs that wait for it, and some that no longer do.
    var dependents: [JobID] = []
    /// Those of them that wait task by task.
    var eachDependents: [JobID] = []
    /// How many jobs it waits for as a whole.
    var wholeDependencies = 0
    /// Of `progress.unstarted`, those whose task of other jobs has ended; nil if no task waits for one.
    var free: [ClosedRange<Int64>]?
    /// The time at which it may begin has not come.
    var isEarly: Bool
    /// How its last attempt ended, in words.
    var lastEnd: String?
    /// Its gang is being brought into one state.
    var isSettling = false
    /// It stands in its class's queue.
    var isQueued = false
    /// It stands in `Cluster.dirtyJobs`.
    var isDirty = false
    /// What `Cluster.totals` counts it as.
    var countedState: JobState?
    var countedTasks = TaskCounts(total: 0, pending: 0)

    init(id: JobID, record: JobRecord, classSlot: Int, since: Int64, progress: JobProgress) {
        self.since = since
        self.id = id
        boxed = Box(record)
        self.classSlot = classSlot
        self.progress = progress
        amounts = Amounts(record.resources)
        isEarly = record.rules.startAfter != nil && progress.startedAt == nil
        hasOutput = record.slots.values.contains { $0.mode == .out }
    }

    /// The one in force.
    var timeLimit: TimeSpan? { progress.timeLimit ?? record.timeLimit }

    var queueKey: QueueKey { QueueKey(priority: record.priority, job: id) }

    /// A task could be started if a worker had room.
    var isRunnable: Bool {
        !progress.isHeld && !progress.cancelRequested && progress.imageIsStored && wholeDependencies == 0
            && !isEarly && progress.counts.running < record.rules.mostRunning ?? .max
            && (!(free ?? progress.unstarted).isEmpty || !due.isEmpty) && (gangSize == nil || isWholeGangWaiting)
    }

    /// Takes the next task: those to be tried again first, then by index. Nil when there is none.
    mutating func startNext(on slot: Int) -> TaskRow? {
        if let index = due.popMin() { return startAgain(index, on: slot) }
        guard let range = (free ?? progress.unstarted).first else { return nil }
        let index = range.lowerBound
        if free != nil {
            free?.remove(index...index)
            progress.unstarted.remove(index...index)
        } else if index == range.upperBound {
            progress.unstarted.removeFirst()
        } else {
            progress.unstarted[0] = (index + 1)...range.upperBound
        }
        let row = TaskRow(
            id: TaskID(job: id, index: index), state: .running, reason: nil, attempts: 1, programFailures: 0,
            infrastructureFailures: 0)
        tasks.insert(StartedTask(row: row, slot: slot), for: index)
        progress.counts.pending -= 1
        progress.counts.running += 1
        return row
    }

    private mutating func startAgain(_ index: Int64, on slot: Int) -> TaskRow? {
        tasks[index]?.row.state = .running
        tasks[index]?.row.attempts += 1
        tasks[index]?.slot = slot
        tasks[index]?.isDue = false
        progress.counts.pending -= 1
        progress.counts.running += 1
        return tasks[index]?.row
    }

    /// The state and the sentence that follow from everything else. `shortfall`: why no worker could ever take a task.
    func condition(shortfall: String?) -> (state: JobState, reason: String?) {
        let counts = progress.counts
        if counts.finished == counts.total, !staysOpen {
            if counts.failed > 0 { return (.failed, failureSentence) }
            return counts.cancelled > 0 ? (.cancelled, progress.cancelReason) : (.succeeded, nil)
        }
        if progress.cancelRequested { return (.running, "being cancelled: running tasks are being stopped") }
        if progress.isHeld { return (counts.running > 0 ? .running : .held, progress.reason) }
        if !progress.imageIsStored { return (.waiting, "waiting for image \(imageNames)") }
        if counts.running > 0 { return (.running, nil) }
        if waitsForOthers, progress.startedAt == nil { return (.waiting, dependencySentence) }
        if isEarly { return (.waiting, earlySentence) }
        if progress.startedAt != nil { return (.running, openSentence ?? shortfall) }
        return shortfall == nil ? (.pending, nil) : (.waiting, shortfall)
    }

    var earlySentence: String { "start_after: waits until \(record.rules.startAfter?.description ?? "")" }

    private var imageNames: String {
        ([record.imageReference] + record.services.map(\.reference)).joined(separator: " or ")
    }

    private var failureSentence: String {
        let counts = progress.counts
        guard counts.total > 1 else { return lastEnd ?? "the task failed" }
        return "\(counts.failed) of \(counts.total) tasks failed"
    }

    /// Brings the row up to date with everything else, and the totals with the row.
    mutating func book(shortfall: String?, in totals: inout Totals, at now: Instant) -> JobProgress {
        isDirty = false
        let (state, reason) = condition(shortfall: shortfall)
        progress.state = state
        progress.reason = reason
        progress.revision += 1
        if state.isTerminal { progress.finishedAt = now.wall }
        count(in: &totals)
        return progress
    }

    mutating func count(in totals: inout Totals) {
        totals.move(from: countedState, to: progress.state)
        totals.tasks.add(progress.counts, minus: countedTasks)
        countedState = progress.state
        countedTasks = progress.counts
    }
}

/// A task that was started and is not finished.
struct StartedTask: Sendable {
    var row: TaskRow
    /// The worker of its live attempt; nil while it waits to be tried again.
    var slot: Int?
    /// It may be tried again now; otherwise a timer runs.
    var isDue = false
    /// Where a member of a gang succeeded while others still run. Not kept.
    var arrivedOn: Int?
}

/// The states of the newest finished jobs.
struct FinishedJobs: Sendable {
    let limit: Int
    private var states = Table<JobID, JobState>()
    private var oldestFirst = Deque<JobID>()

    init(limit: Int) { self.limit = limit }

    subscript(job: JobID) -> JobState? { states[job] }

    mutating func remember(_ job: JobID, _ state: JobState) {
        guard limit > 0 else { return }
        states.insert(state, for: job)
        oldestFirst.append(job)
        if oldestFirst.count > limit, let oldest = oldestFirst.popFirst() { states.remove(oldest) }
    }
}

/// The jobs that wait for one image.
struct ImageWait: Sendable {
    /// Whether the job still expects the image; not after it was told that it will not come.
    var jobs = Table<JobID, Bool>()
    var wanted = 0
}

extension Totals {
    mutating func move(from old: JobState?, to new: JobState) {
        if let old, let place = JobState.allCases.firstIndex(of: old) { jobs[place] -= 1 }
        if let place = JobState.allCases.firstIndex(of: new) { jobs[place] += 1 }
    }
}

extension TaskCounts {
    mutating func add(_ new: TaskCounts, minus old: TaskCounts) {
        total += new.total - old.total
        pending += new.pending - old.pending
        running += new.running - old.running
        succeeded += new.succeeded - old.succeeded
        failed += new.failed - old.failed
        cancelled += new.cancelled - old.cancelled
    }
}

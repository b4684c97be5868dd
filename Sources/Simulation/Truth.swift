// What really happened, in a book of its own that shares nothing with the scheduler's: every committed change passes
// through it, and a change that no history may contain is a violation.
import JobModel
import SchedulingCore

struct Truth {
    private(set) var jobs: [JobID: JobProgress] = [:]
    private(set) var tasks: [TaskID: TaskRow] = [:]
    private(set) var attempts: [AttemptID: AttemptRow] = [:]
    private var newestAttempt: [TaskID: Int64] = [:]
    private var records: [JobID: JobRecord] = [:]
    private var workers: [WorkerName: WorkerRow] = [:]
    var windows: [ReservationName: AdvanceReservation] = [:]
    /// Jobs that a user asked to begin anew.
    var requeued: Set<JobID> = []
    /// What was submitted, by the job's name.
    private(set) var submitted: [String: JobRecord] = [:]
    /// With what else, by the names of all of them.
    private(set) var together: [String: Together] = [:]
    /// The same by the job's id, as its user said it.
    private(set) var wanted: [JobID: JobRecord] = [:]
    private var failures: [TaskID: Int] = [:]
    /// As the scheduler's clock has it.
    var wall = Timestamp(millisecondsSinceEpoch: 0)
    /// Situations since somebody looked.
    var seen: [Situation] = []
    /// How containers ended, as it truly was.
    var exits: [AttemptID: Int] = [:]
    /// Jobs whose cancel was acknowledged.
    var cancelled: Set<JobID> = []
    /// Open arrays that were closed, and how many tasks those have that changed.
    var closed: Set<JobID> = []
    var grown: [JobID: Int64] = [:]
    /// The longest time limit that each job has had.
    private(set) var longestLimits: [JobID: TimeSpan] = [:]
    /// Found where nothing can be thrown.
    var complaint: String?
    private(set) var hash = Digest(of: "")

    var attemptCount: Int { attempts.count }

    /// Whether the scheduler has given it up without proof of how it ended.
    func isLost(_ id: AttemptID) -> Bool { attempts[id]?.state == .lost }

    func isRunning(_ job: JobID) -> Bool { attempts.contains { $0.key.job == job && $0.value.state == .running } }

    /// It has ended, and cannot start any more. A cancel may overtake a start on its way.
    func hasEnded(_ id: AttemptID) -> Bool {
        guard let state = attempts[id]?.state else { return false }
        return state.isTerminal && state != .cancelled
    }

    /// - Parameter records: all that are sent with it, itself being the first.
    mutating func submits(_ submission: Submission, with records: [JobRecord]) {
        for record in records { submitted[record.name] = record }
        guard records.count > 1 else { return }
        let links = submission.links.map { $0.map { ($0.job, $0.kind) } }
        for record in records { together[record.name] = Together(names: records.map(\.name), links: links) }
    }

    /// How the attempt before this one ended.
    func attemptBefore(_ id: AttemptID) -> AttemptState? {
        attempts[AttemptID(task: id.task, number: id.number - 1)]?.state
    }

    /// Whether the attempt before this one was stopped for others.
    func wasPreempted(before id: AttemptID) -> Bool {
        attempts[AttemptID(task: id.task, number: id.number - 1)]?.stopReason == .preempted
    }

    /// A worker lets the world see an output.
    func published(_ id: AttemptID) throws {
        if let state = attempts[id]?.state, state.isTerminal {
            throw Violation("\(id) publishes its output after it ended as \(state)")
        }
        if isMember(id) { try publishesTogether(id) }
    }

    mutating func take(_ changes: [Change]) throws {
        var hopeless: [JobID] = []
        var begun: [AttemptRow] = []
        var added: [JobRecord] = []
        for change in changes {
            switch change {
            case .jobAdded(let id, let record, let progress):
                records[id] = record
                guard jobs[id] == nil else { throw Violation("job \(id) is added twice") }
                wanted[id] = try wish(id, record)
                added.append(record)
                jobs[id] = progress
                note("job \(id) \(progress.state) \(progress.revision)")
            case .job(let id, let progress):
                try take(id, progress)
                if progress.state == .cancelled, progress.cancelReason != nil, try !cancelledByDeadline(id, progress) {
                    hopeless.append(id)
                }
            case .record(let id, let record): try take(id, record)
            case .task(let row): try take(row)
            case .attempt(let row):
                try check(row)
                if attempts[row.id] == nil { begun.append(row) }
                try take(row)
            case .worker(let row):
                workers[row.name] = row
                note("worker \(row.name) \(row.isDraining) \(row.drain)")
            case .account(let row): note("account \(row.id) \(row.settings.weight)")
            case .accountRemoved(let id): note("account \(id) removed")
            case .ended(let entry): note("ended \(entry.key.user) \(entry.sums.cpuTime) \(entry.sums.waitTime)")
            case .usage(let row): note("usage \(row.id) \(row.amount) \(row.epoch) \(row.time)")
            case .license(let row): note("license \(row.name) \(row.total)")
            case .licenseRemoved(let name): note("license \(name) removed")
            case .reservation(let row):
                windows[row.name] = row
                note("reservation \(row.name) \(row.start) \(row.end)")
            case .reservationRemoved(let name):
                windows[name] = nil
                note("reservation \(name) removed")
            }
        }
        // A commit is one moment: the row of what was waited for, or of a changed time limit, may stand behind.
        for row in begun {
            try keepsWindows(row)
            try startsInTime(row)
        }
        try acceptTogether(added)
        for id in hopeless { try cancelledByDependency(id) }
        try startTogether(begun.filter { isMember($0.id) })
    }

    /// What is kept for others is left alone.
    private func keepsWindows(_ row: AttemptRow) throws {
        guard let record = records[row.id.job] else { return }
        // Of a commit that failed and is on disk all the same, one hears later.
        let wall = row.assignedAt
        let end = (jobs[row.id.job]?.timeLimit ?? record.timeLimit).map { wall.after($0) }
        for window in windows.values.sorted(by: { $0.name < $1.name })
        where window.end > wall && window.workers.contains(row.worker) && !window.isFor(record.owner.name, of: nil) {
            guard let end, end <= window.start else {
                throw Violation("attempt \(row.id) begins on \(row.worker), which is kept for \(window.name)")
            }
        }
    }

    /// Nobody is stopped without cause.
    private func check(_ row: AttemptRow) throws {
        guard let record = records[row.id.job] else { return }
        if row.stopReason == .preempted, attempts[row.id]?.stopReason == nil {
            guard
                record.queue == World.low || workers[row.worker]?.drain.deadline != nil || requeued.contains(row.id.job)
                    || isMember(row.id)
            else {
                throw Violation("attempt \(row.id) is preempted, and its queue may not be")
            }
        }
    }

    private mutating func take(_ id: JobID, _ progress: JobProgress) throws {
        guard let old = jobs[id] else { throw Violation("job \(id) changes before it is added") }
        guard !old.state.isTerminal else { throw Violation("job \(id) changes after it ended as \(old.state)") }
        guard progress.revision > old.revision else { throw Violation("the revision of job \(id) does not rise") }
        let counts = progress.counts
        if progress.state.isTerminal { try endsByTheRules(id, cancelRequested: progress.cancelRequested) }
        guard counts.total == count(of: id), counts.pending + counts.running + counts.finished == counts.total else {
            throw Violation("the tasks of job \(id) do not add up: \(counts)")
        }
        jobs[id] = progress
        if let limit = progress.timeLimit { longestLimits[id] = max(limit, longestLimits[id] ?? .zero) }
        note(
            "job \(id) \(progress.state) \(progress.revision) \(counts.pending) \(counts.running) \(counts.succeeded) \(counts.failed)"
        )
    }

    private mutating func take(_ row: TaskRow) throws {
        if let old = tasks[row.id] {
            guard !old.state.isTerminal else {
                throw Violation("task \(row.id) changes after it ended as \(old.state)")
            }
            guard row.attempts >= old.attempts else {
                throw Violation("task \(row.id) counts fewer attempts than before")
            }
            let paid =
                row.programFailures != old.programFailures || row.infrastructureFailures > old.infrastructureFailures
            guard !paid || row.reason != .preempted else {
                throw Violation("task \(row.id) pays for being preempted")
            }
        }
        if row.state == .succeeded, attempts[AttemptID(task: row.id, number: row.attempts)]?.state != .succeeded {
            throw Violation("task \(row.id) succeeds without an attempt that did")
        }
        tasks[row.id] = row
        note("task \(row.id) \(row.state) \(row.attempts) \(row.programFailures) \(row.infrastructureFailures)")
    }

    private mutating func take(_ row: AttemptRow) throws {
        if let old = attempts[row.id] {
            guard !old.state.isTerminal else {
                throw Violation("attempt \(row.id) changes after it ended as \(old.state)")
            }
            guard row.state.rank >= old.state.rank else {
                throw Violation("attempt \(row.id) goes back from \(old.state) to \(row.state)")
            }
            guard row.worker == old.worker else { throw Violation("attempt \(row.id) moves to another worker") }
        } else {
            guard row.id.number == (newestAttempt[row.id.task] ?? 0) + 1 else {
                throw Violation("attempt \(row.id) follows number \(newestAttempt[row.id.task] ?? 0)")
            }
            guard !cancelled.contains(row.id.job) else {
                throw Violation("attempt \(row.id) starts after its cancel was acknowledged")
            }
            guard failures[payer(of: row.id), default: 0] <= wanted[row.id.job]?.retries ?? 0 else {
                throw Violation("attempt \(row.id) starts after its program has failed as often as it may")
            }
            if row.id.number == 1 { try startsInTurn(row.id.task) }
            try startsByTheRules(row)
            newestAttempt[row.id.task] = row.id.number
        }
        if row.state == .failed, attempts[row.id]?.state != .failed, row.reason?.blame == .program,
            !isMember(row.id) || breaksGang(row.id)
        {
            failures[payer(of: row.id), default: 0] += 1
        }
        if row.state == .succeeded, exits[row.id] != 0 {
            throw Violation(
                "attempt \(row.id) is called a success; its container ended with \(exits[row.id].map(String.init) ?? "nothing")"
            )
        }
        attempts[row.id] = row
        note("attempt \(row.id) \(row.worker) \(row.state) \(row.reason?.rawValue ?? "-")")
    }

    /// Orders belong to the history as well.
    mutating func note(_ effect: Effect) {
        switch effect {
        case .answerSync(let name, let incarnation, let sequence, let orders):
            note(
                "answer \(name) \(incarnation) \(sequence) \(orders.start.map(\.attempt)) \(orders.stop.map(\.attempt)) \(orders.publish) \(orders.forget)"
            )
        case .dropSync(let name, let incarnation, let sequence): note("drop \(name) \(incarnation) \(sequence)")
        case .workerTurned(let name, let turn): note("turn \(name) \(turn)")
        case .timeLimitChanged(let job, _, let limit): note("limit \(job) \(limit)")
        }
    }

    mutating func note(_ line: String) { hash = Digest(of: hash.hex + line) }
}

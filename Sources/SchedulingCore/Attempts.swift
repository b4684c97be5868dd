// Attempts: what a worker reports of them, how they end, and what that means for their task.
//
//     assigned → preparing → running → ending → succeeded | failed | cancelled | lost
//
// A report may skip ahead, never go back; a terminal state never changes. A success needs proof: exit code 0, and where
// there is output, the scheduler's earlier acceptance. An attempt is in its worker's table as long as it lives, so a
// report of an attempt that was given up finds nothing that it could change: that is the fence.
import HeapModule
import JobModel

struct Attempt: Sendable {
    var row: AttemptRow
    let amounts: Amounts
    /// Uptime at which it was placed, or found after a restart.
    let placedAt: Int64
    /// Uptime at which it has given its room back, by its time limit; `.max`: not known.
    var expectedEnd: Int64
    /// It shares its worker with nobody, and its amounts are all that this has.
    let isWhole: Bool
    /// The time limit that its job was given since it was submitted.
    var limit: TimeSpan?
    /// An answer has carried that limit.
    var isLimitTold = false
    /// An answer has carried its start. Until then nobody can have started it.
    var wasSent = false
    /// An answer has carried its stop or its permission to publish.
    var isTold = false
    /// The worker's call that listed it last.
    var seenInCall: Int64 = 0
    /// It stands in `Cluster.touchedAttempts`.
    var isTouched = false

    /// Stopped ones are not counted: they may still run.
    var isWaitingToStart: Bool { row.state == .assigned && !row.isAcknowledged && row.stopReason == nil }
}

extension AttemptState {
    /// Every step that an attempt may take, and no other.
    static let transitions: [(from: AttemptState, to: AttemptState)] = {
        let path: [AttemptState] = [.assigned, .preparing, .running, .ending]
        let ends: [AttemptState] = [.succeeded, .failed, .cancelled, .lost]
        return path.indices.flatMap { place in (path[(place + 1)...] + ends).map { (path[place], $0) } }
    }()

    func mayBecome(_ next: AttemptState) -> Bool { Self.transitions.contains { $0.from == self && $0.to == next } }
}

extension AttemptReport {
    /// How a terminal report counts. What contradicts itself, or was not allowed, is never a success and never the
    /// user's wish.
    func conclusion(hasOutput: Bool, of attempt: AttemptRow) -> (state: AttemptState, reason: EndReason)? {
        switch state {
        case .assigned, .preparing, .running, .ending:
            return nil
        case .succeeded:
            let isProven = exitCode == 0 && reason == .exitCode && (signal ?? 0) == 0
            return isProven && (!hasOutput || attempt.isAccepted) ? (.succeeded, .exitCode) : (.lost, .engineError)
        case .failed:
            guard let reason else { return (.lost, .engineError) }
            if reason.blame != .nobody { return (.failed, reason) }
            return attempt.stopReason.map { (.cancelled, $0) } ?? (.lost, .engineError)
        case .cancelled:
            if let stopReason = attempt.stopReason { return (.cancelled, stopReason) }
            return (.lost, faultOfTheCluster)
        case .lost:
            return (.lost, faultOfTheCluster)
        }
    }

    private var faultOfTheCluster: EndReason {
        reason?.blame == .infrastructure ? reason ?? .engineError : .engineError
    }

    /// How it ended, in words for a person.
    fileprivate func sentence(_ reason: EndReason) -> String {
        let end =
            switch reason {
            case .exitCode: "exit code \(exitCode ?? 0)"
            case .signal: signal.map { "killed by signal \($0)" } ?? "killed by a signal"
            case .oomKilled: "used more memory than it asked for (oom-killed)"
            case .timeLimit: "ran longer than its time limit"
            case .cancelled, .preempted, .imageError, .volumeError, .outputError, .serviceError, .workerLost,
                .engineError:
                reason.rawValue
            }
        return message.map { "\(end): \($0)" } ?? end
    }
}

/// What the end of an attempt means for its task.
enum Verdict {
    case succeeded, cancelled
    /// It was taken back before it started: nobody's fault.
    case retracted
    case programFailed, infrastructureFailed
}

extension Cluster {
    /// Takes one report. Whatever is not news is passed over.
    mutating func take(_ report: AttemptReport, from slot: Int, at now: Instant) {
        guard workers[slot].attempts.read(report.attempt, { $0.isBehind(report) }) == true,
            let (hasOutput, isMember) = jobs.read(report.attempt.job, { ($0.hasOutput, $0.gangSize != nil) })
        else { return }
        let conclusion = workers[slot].attempts.read(report.attempt) { attempt in
            report.conclusion(hasOutput: hasOutput, of: attempt.row)
        }
        if let (state, reason) = conclusion ?? nil {
            return end(report.attempt, on: slot, as: state, reason, report: report, at: now)
        }
        let accepts =
            report.state == .ending && report.exitCode == 0 && hasOutput
            && workers[slot].attempts.read(report.attempt) { $0.row.stopReason == nil } == true
        workers[slot].attempts[report.attempt]?.take(report, accepts: accepts && !isMember)
        touch(report.attempt, on: slot)
        if accepts, isMember { acceptGang(report.attempt.job) }
    }

    /// Orders an attempt to end, because its job is cancelled or its room is wanted. What was never sent ends at once;
    /// what was accepted is let go on.
    mutating func stop(_ id: AttemptID, on slot: Int, because reason: EndReason = .cancelled, at now: Instant) {
        guard let attempt = workers[slot].attempts[id], attempt.row.stopReason == nil, !attempt.row.isAccepted else {
            return
        }
        if attempt.row.isAcknowledged || attempt.wasSent {
            workers[slot].attempts[id]?.row.stopReason = reason
            workers[slot].attempts[id]?.isTold = false
            touch(id, on: slot)
            payAttention(to: slot)
        } else {
            end(id, on: slot, as: .cancelled, reason, at: now)
        }
    }

    /// Takes back an attempt that no answer has carried.
    mutating func retractUnsent(_ id: AttemptID, from slot: Int, at now: Instant) {
        guard let attempt = workers[slot].attempts[id], attempt.isWaitingToStart, !attempt.wasSent else { return }
        retract(id, from: slot, at: now)
    }

    /// Takes back an attempt that has certainly not started; its task is placed again without a pause.
    mutating func retract(_ id: AttemptID, from slot: Int, at now: Instant) {
        end(id, on: slot, as: .cancelled, .preempted, at: now)
    }

    /// Ends a live attempt, gives back what it held, and goes on with its task. The only way out of a worker's table.
    mutating func end(
        _ id: AttemptID, on slot: Int, as state: AttemptState, _ reason: EndReason, report: AttemptReport? = nil,
        at now: Instant
    ) {
        guard var attempt = workers[slot].attempts.remove(id) else { return }
        precondition(attempt.row.state.mayBecome(state), "an attempt ends once")
        attempt.row.state = state
        attempt.row.reason = reason
        attempt.row.endedAt = now.wall
        if let report {
            attempt.row.report = report
            attempt.row.isAcknowledged = true
        }
        outcome.changes.append(.attempt(attempt.row))
        account(for: attempt, at: now)
        workers[slot].giveBack(attempt)
        workerChanged(slot)
        // It may have held nothing, and one that wants the worker alone comes next.
        if workers[slot].attempts.isEmpty { rooms.noteGrown(slot) }
        needsPlacement = true
        let job = jobs.read(id.job) { ($0.classSlot, isMember: $0.gangSize != nil, $0.record.rules.mostRunning != nil) }
        guard let (place, isMember, hasMostRunning) = job else { return }
        bookRunning(attempt.amounts, -1, of: place, at: now)
        payAttention(to: slot)
        jobs[id.job]?.lastEnd = report?.sentence(reason) ?? reason.rawValue
        let verdict = verdict(state, reason, of: id.job)
        let counted = isMember ? verdictOnMember(id.task, verdict) : verdict
        conclude(id.task, counted, reason, exitCode: report?.exitCode, worker: workers[slot].name, at: now)
        if isMember { settleGang(id.job, at: now) }
        // It may have run as many tasks as it may.
        if hasMostRunning { enqueue(id.job) }
    }

    private func verdict(_ state: AttemptState, _ reason: EndReason, of job: JobID) -> Verdict {
        if state == .succeeded { return .succeeded }
        if jobs.read(job, { $0.progress.cancelRequested }) == true { return .cancelled }
        if state == .cancelled { return .retracted }
        switch reason.blame {
        case .program: return .programFailed
        case .infrastructure, .nobody: return .infrastructureFailed
        }
    }

    private mutating func conclude(
        _ id: TaskID, _ verdict: Verdict, _ reason: EndReason, exitCode: Int?, worker: WorkerName, at now: Instant
    ) {
        markDirty(id.job)
        switch verdict {
        case .succeeded: if !arrive(id) { finish(id, as: .succeeded, reason) }
        case .cancelled: finish(id, as: .cancelled, reason)
        case .retracted: tryAgain(id, reason, after: .zero, at: now)
        case .programFailed:
            jobs[id.job]?.tasks[id.index]?.row.programFailures += 1
            guard let record = jobs[id.job]?.record, let row = jobs[id.job]?.tasks[id.index]?.row else { return }
            let code = reason == .exitCode ? exitCode : nil
            let failures = jobs[id.job]?.sumOfMembers(\.programFailures) ?? row.programFailures
            let mayRetry = failures <= Int64(record.retries) && record.rules.mayRetry(exitCode: code)
            if !mayRetry || isTooLate(id.job, at: now) {
                finish(id, as: .failed, reason)
            } else {
                tryAgain(id, reason, after: policy.pause(afterAttempt: row.attempts), at: now)
            }
        case .infrastructureFailed:
            jobs[id.job]?.tasks[id.index]?.row.infrastructureFailures += 1
            guard let row = jobs[id.job]?.tasks[id.index]?.row else { return }
            tryAgain(id, reason, after: policy.pause(afterAttempt: row.attempts), at: now)
            holdIfPoisonous(row, reason, worker, at: now)
        }
    }

    mutating func finish(_ id: TaskID, as state: TaskState, _ reason: EndReason?) {
        guard let row = jobs[id.job]?.finish(id.index, as: state, reason: reason) else { return }
        outcome.changes.append(.task(row))
        noteEnd(of: id.job, [id.index...id.index], isSuccess: state == .succeeded)
    }

    /// Lets the task wait, at least so long.
    private mutating func tryAgain(_ id: TaskID, _ reason: EndReason, after pause: TimeSpan, at now: Instant) {
        guard let row = jobs[id.job]?.wait(id.index, reason: reason) else { return }
        outcome.changes.append(.task(row))
        guard pause > .zero, !isTooLate(id.job, at: now) else { return retryIsDue(id, at: now) }
        timers.insert(Timer(due: now.uptime(after: pause), subject: .retry(id)))
    }

    mutating func retryIsDue(_ id: TaskID, at now: Instant) {
        if isTooLate(id.job, at: now) { return cancelAsTooLate(id) }
        if jobs[id.job]?.makeDue(id.index) == true { enqueue(id.job) }
    }

    private mutating func holdIfPoisonous(_ row: TaskRow, _ reason: EndReason, _ worker: WorkerName, at now: Instant) {
        let id = row.id.job
        guard jobs[id]?.progress.isHeld == false else { return }
        if reason == .workerLost, jobs[id]?.crashedWorkers.contains(worker) == false {
            jobs[id]?.crashedWorkers.append(worker)
        }
        let crashed = jobs[id]?.crashedWorkers ?? []
        let failures = jobs[id]?.sumOfMembers(\.infrastructureFailures) ?? row.infrastructureFailures
        if crashed.count >= policy.crashedWorkerLimit {
            let names = crashed.sorted().map(\.rawValue).joined(separator: ", ")
            holdJob(
                id,
                because:
                    "held because \(crashed.count) workers were lost while they ran it (\(names)); release it to try again",
                at: now)
        } else if failures >= policy.infrastructureRetries {
            holdJob(
                id,
                because:
                    "held because task \(row.id) failed \(failures) times for reasons outside its program, "
                    + "the last time with \((jobs[id]?.lastEnd).flatMap { $0 } ?? reason.rawValue) on \(worker); release it to try again",
                at: now)
        }
    }

    mutating func touch(_ id: AttemptID, on slot: Int) {
        guard workers[slot].attempts[id]?.beTouched() == true else { return }
        touchedAttempts.append((slot, id))
    }
}

extension Attempt {
    /// Returns whether that is news.
    fileprivate mutating func beTouched() -> Bool {
        defer { isTouched = true }
        return !isTouched
    }

    /// Its row, if it was touched.
    mutating func settle() -> AttemptRow? {
        defer { isTouched = false }
        return isTouched ? row : nil
    }

    /// Its worker's call lists it. Returns whether none has before.
    mutating func acknowledge(inCall call: Int64) -> Bool {
        seenInCall = call
        defer { row.isAcknowledged = true }
        return !row.isAcknowledged
    }

    /// Whether a report says more than those before.
    fileprivate func isBehind(_ report: AttemptReport) -> Bool {
        report.sequence > (row.report?.sequence ?? 0) && report.state.rank >= row.state.rank
    }

    mutating func take(_ report: AttemptReport, accepts: Bool) {
        if report.state != row.state {
            precondition(row.state.mayBecome(report.state), "states only rise")
            row.state = report.state
        }
        row.report = report
        row.isAcknowledged = true
        if accepts, !row.isAccepted {
            row.isAccepted = true
            isTold = false
        }
    }
}

extension Job {
    /// Back to pending. Nil if the task is not running.
    mutating func wait(_ index: Int64, reason: EndReason) -> TaskRow? {
        guard tasks[index]?.slot != nil else { return nil }
        tasks[index]?.row.state = .pending
        tasks[index]?.row.reason = reason
        tasks[index]?.slot = nil
        progress.counts.running -= 1
        progress.counts.pending += 1
        return tasks[index]?.row
    }

    /// False if the task does not wait for this.
    mutating func makeDue(_ index: Int64) -> Bool {
        guard tasks[index]?.row.state == .pending, tasks[index]?.isDue == false else { return false }
        tasks[index]?.isDue = true
        due.insert(index)
        return true
    }
}

extension Policy {
    /// Doubles with each attempt, up to the longest.
    func pause(afterAttempt number: Int64) -> TimeSpan {
        let doublings = min(max(number - 1, 0), 32)
        let (pause, overflowed) = retryBackoff.milliseconds.multipliedReportingOverflow(by: 1 << doublings)
        return overflowed ? longestRetryBackoff : min(TimeSpan(milliseconds: pause), longestRetryBackoff)
    }
}

// Times of the calendar that users named: when a job may begin, by when it must have ended. Everything else in the core
// goes by uptime; these go by civil time, which may jump. So the earliest is looked at again at least once a minute,
// and a jump is noticed within that time. Not kept: after a restart each is looked at anew.
import HeapModule
import JobModel

struct CivilTime: Comparable, Hashable, Sendable {
    enum Kind: Int, Comparable, Hashable, Sendable {
        case start
        /// No task that started now could end by the deadline.
        case lastStart
        case deadline

        static func < (a: Kind, b: Kind) -> Bool { a.rawValue < b.rawValue }
    }

    /// Milliseconds since 1970.
    let wall: Int64
    let job: JobID
    let kind: Kind

    static func < (a: CivilTime, b: CivilTime) -> Bool { (a.wall, a.job, a.kind) < (b.wall, b.job, b.kind) }
}

struct CivilTimes: Sendable {
    var ahead = Heap<CivilTime>()
    /// Uptime of the timer that looks at the first; `.max`: there is none.
    var armedAt = Int64.max
    static let longestWait: Int64 = 60_000
}

extension Cluster {
    /// Puts down the times of a job that is new, or was read back.
    mutating func watchTimes(of id: JobID, at now: Instant) {
        guard let rules = jobs[id]?.record.rules else { return }
        if let start = rules.startAfter {
            civil.ahead.insert(CivilTime(wall: start.millisecondsSinceEpoch, job: id, kind: .start))
        }
        if let end = rules.deadline?.millisecondsSinceEpoch {
            watchLastStart(of: id)
            civil.ahead.insert(CivilTime(wall: end, job: id, kind: .deadline))
        }
        if rules.startAfter != nil || rules.deadline != nil { armCivil(at: now) }
    }

    /// Those of earlier time limits stay, and mean nothing when they come.
    mutating func watchLastStart(of id: JobID) {
        guard let last = jobs[id]?.lastStart else { return }
        civil.ahead.insert(CivilTime(wall: last, job: id, kind: .lastStart))
    }

    mutating func armCivil(at now: Instant) {
        guard let first = civil.ahead.min else { return }
        let rest = min(max(0, first.wall - now.wall.millisecondsSinceEpoch), CivilTimes.longestWait)
        guard now.uptime + rest < civil.armedAt else { return }
        civil.armedAt = now.uptime + rest
        timers.insert(Timer(due: civil.armedAt, subject: .civil))
    }

    mutating func civilTimerFired(due: Int64, at now: Instant) {
        guard civil.armedAt == due else { return }
        civil.armedAt = .max
        while let first = civil.ahead.min, first.wall <= now.wall.millisecondsSinceEpoch {
            civil.ahead.removeMin()
            comes(first, at: now)
        }
        armCivil(at: now)
    }

    private mutating func comes(_ time: CivilTime, at now: Instant) {
        guard let job = jobs[time.job], !job.progress.cancelRequested else { return }
        switch time.kind {
        case .start:
            jobs[time.job]?.isEarly = false
            markDirty(time.job)
            enqueue(time.job)
        case .lastStart:
            guard job.lastStart == time.wall else { return }
            cancelWaiting(time.job, because: Self.tooLateSentence(on: job), at: now)
        case .deadline:
            let sentence = "deadline: it had not ended by \(Self.deadline(of: job))"
            jobs[time.job]?.progress.cancelReason = sentence
            cancelJob(time.job, at: now)
        }
    }

    private static func deadline(of job: Job) -> String { job.record.rules.deadline?.description ?? "" }

    private static func tooLateSentence(on job: Job) -> String {
        "deadline: tasks were cancelled that could not end by \(deadline(of: job))"
    }

    /// Whether no task that starts now could end by the deadline.
    func isTooLate(_ id: JobID, at now: Instant) -> Bool {
        guard let last = jobs.read(id, { $0.lastStart }) ?? nil else { return false }
        return last <= now.wall.millisecondsSinceEpoch
    }

    /// A task that would run again, after all others that waited were cancelled.
    mutating func cancelAsTooLate(_ id: TaskID) {
        let found = jobs.read(id.job) { job in (job.tasks.read(id.index) { $0.row }, Self.tooLateSentence(on: job)) }
        guard let (task, sentence) = found, let row = task, row.state == .pending else { return }
        if jobs.read(id.job, { $0.progress.cancelReason == nil }) == true {
            jobs[id.job]?.progress.cancelReason = sentence
        }
        finish(id, as: .cancelled, row.reason)
        markDirty(id.job)
    }

    /// Cancels what does not run; what runs goes on.
    private mutating func cancelWaiting(_ id: JobID, because sentence: String, at now: Instant) {
        guard let job = jobs[id], job.progress.counts.pending > 0 else { return }
        for index in job.tasks.ids where job.tasks[index]?.row.state == .pending {
            let reason = job.tasks[index]?.row.reason
            guard let row = jobs[id]?.finish(index, as: .cancelled, reason: reason) else {
                continue
            }
            outcome.changes.append(.task(row))
            noteEnd(of: id, [index...index], isSuccess: false)
        }
        jobs[id]?.due = []
        cancel(job.progress.unstarted, of: id, because: sentence)
        settleGang(id, at: now)
    }
}

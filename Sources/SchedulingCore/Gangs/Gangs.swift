// Gangs: a job whose members run at the same time on different workers, start in one pass and fail together. A member
// is a task. One that has succeeded while others still run has arrived: its task goes on as running, without an
// attempt, until all have arrived. So a task still ends once, and a restart finds the gang as it was.
//
// The first member that ends otherwise breaks the gang: what its end means is decided as for any task, with the
// failures of all members added up. The others are stopped; however they end is a consequence, and counts as nobody's
// fault. When nothing of it runs any more, all wait again, or end if the first has ended for good.
//
// Output is published when the programs of all have exited with 0, not before. Where the members start: Ranking.swift;
// what keeps workers for them: Reservation.swift.
import HeapModule
import JobModel

extension StartedTask {
    /// A member that has succeeded and waits for the others.
    var hasArrived: Bool { row.state == .running && slot == nil }
}

extension Job {
    var gangSize: Int? { record.shape.gangSize }

    /// Members that have arrived.
    var arrivedCount: Int {
        gangSize == nil ? 0 : tasks.ids.count { tasks[$0]?.hasArrived == true }
    }

    /// None has started, or all may be tried again.
    var isWholeGangWaiting: Bool {
        progress.unstarted.indexCount + Int64(due.count) == progress.counts.total
    }

    /// A member has ended for good: the others do not run again.
    var isGangOver: Bool { progress.cancelRequested || progress.counts.failed + progress.counts.cancelled > 0 }

    /// Some member waits while others run, or no other may run.
    var isGangBroken: Bool { isGangOver || progress.counts.pending > 0 }

    /// A number that counts for the gang as a whole; nil for tasks that stand for themselves.
    func sumOfMembers(_ number: KeyPath<TaskRow, Int64>) -> Int64? {
        guard gangSize != nil else { return nil }
        return tasks.ids.reduce(0) { $0 + (tasks[$1]?.row[keyPath: number] ?? 0) }
    }

    /// A member that had arrived begins anew with the others.
    fileprivate mutating func leave(_ index: Int64) -> TaskRow? {
        guard tasks[index]?.hasArrived == true else { return nil }
        tasks[index]?.row.state = .pending
        tasks[index]?.row.reason = .preempted
        tasks[index]?.arrivedOn = nil
        progress.counts.running -= 1
        progress.counts.pending += 1
        return tasks[index]?.row
    }
}

extension Cluster {
    /// What the end of a member's attempt means: the first decides, the others follow.
    func verdictOnMember(_ id: TaskID, _ verdict: Verdict) -> Verdict {
        guard let job = jobs[id.job], verdict != .succeeded, job.isGangBroken else { return verdict }
        return job.isGangOver ? .cancelled : .retracted
    }

    /// Lets a member that has succeeded wait for the others. False for any other task, which ends.
    mutating func arrive(_ id: TaskID) -> Bool {
        guard jobs.read(id.job, { $0.gangSize != nil }) == true, let job = jobs[id.job], !job.isGangOver else {
            return false
        }
        jobs[id.job]?.tasks[id.index]?.arrivedOn = job.tasks[id.index]?.slot
        jobs[id.job]?.tasks[id.index]?.slot = nil
        return true
    }

    /// Brings the members into one state: stops what runs of a broken gang, and ends or takes back what has arrived.
    mutating func settleGang(_ id: JobID, at now: Instant) {
        guard let size = jobs[id]?.gangSize, jobs[id]?.isSettling == false else { return }
        // Whoever cancels a job looks after all of its tasks.
        guard jobs[id]?.progress.cancelRequested == false else { return }
        if jobs[id]?.arrivedCount == size { return endArrived(id) }
        guard jobs[id]?.isGangBroken == true else { return }
        jobs[id]?.isSettling = true
        for index in jobs[id]?.tasks.ids ?? [] {
            guard let task = jobs[id]?.tasks[index], let slot = task.slot else { continue }
            stop(AttemptID(task: task.row.id, number: task.row.attempts), on: slot, because: .preempted, at: now)
        }
        jobs[id]?.isSettling = false
        guard let job = jobs[id] else { return }
        if job.isGangOver {
            endArrived(id)
            for index in job.tasks.ids where job.tasks[index]?.row.state == .pending {
                finish(TaskID(job: id, index: index), as: .cancelled, job.tasks[index]?.row.reason)
            }
            jobs[id]?.due = []
        } else if !job.tasks.ids.contains(where: { job.tasks[$0]?.slot != nil }) {
            for index in job.tasks.ids {
                guard let row = jobs[id]?.leave(index) else { continue }
                outcome.changes.append(.task(row))
                retryIsDue(row.id, at: now)
            }
            enqueue(id)
        }
        markDirty(id)
    }

    private mutating func endArrived(_ id: JobID) {
        for index in jobs[id]?.tasks.ids ?? [] where jobs[id]?.tasks[index]?.hasArrived == true {
            finish(TaskID(job: id, index: index), as: .succeeded, .exitCode)
        }
        markDirty(id)
    }

    /// Accepts the outputs of all members once all their programs have exited with 0.
    mutating func acceptGang(_ id: JobID) {
        guard let job = jobs[id], let size = job.gangSize, !job.isGangBroken else { return }
        let members = job.tasks.ids.compactMap { index -> (slot: Int, id: AttemptID)? in
            guard let task = job.tasks[index], let slot = task.slot else { return nil }
            let id = AttemptID(task: task.row.id, number: task.row.attempts)
            guard let row = workers[slot].attempts[id]?.row, row.state == .ending, row.stopReason == nil,
                row.report?.exitCode == 0
            else { return nil }
            return (slot, id)
        }
        guard members.count == size else { return }
        for member in members {
            workers[member.slot].attempts[member.id]?.row.isAccepted = true
            workers[member.slot].attempts[member.id]?.isTold = false
            touch(member.id, on: member.slot)
            payAttention(to: member.slot)
        }
    }

    /// Whether an answer may have carried the start of some member. What was not is taken back with a hold.
    func isGangSent(_ id: JobID) -> Bool {
        guard let job = jobs[id], job.gangSize != nil else { return false }
        return job.tasks.ids.contains { index in
            guard let task = job.tasks[index] else { return false }
            guard let slot = task.slot else { return task.hasArrived }
            let attempt = workers[slot].attempts[AttemptID(task: task.row.id, number: task.row.attempts)]
            return attempt.map { $0.wasSent || !$0.isWaitingToStart } ?? false
        }
    }

    /// Where the members run, in order of their ranks; nil for a job that is no gang. A member that ended before the
    /// scheduler started again has left no address.
    func gangHosts(of id: JobID) -> [String]? {
        guard jobs.read(id, { $0.gangSize != nil }) == true, let job = jobs[id] else { return nil }
        return job.record.shape.indices.map { index in
            guard let task = job.tasks[index], let slot = task.slot ?? task.arrivedOn else { return "" }
            return workers[slot].registration.address ?? workers[slot].name.rawValue
        }
    }

    /// Why a gang waits for room.
    func sentence(onGang size: Int, _ job: Job, _ able: [Int], at now: Instant) -> String {
        let shape = classes.rows[job.classSlot].shape
        let wanted = shapes.rows[shape].requirement.needs.prefix(3).map(\.wanted).joined(separator: ", ")
        let need = "it needs \(size) workers at once with \(wanted) each"
        guard able.count >= size else {
            return "\(need), and the cluster has \(able.count) such: it starts when enough of them register"
        }
        let free = able.count { hasRoom(for: shape, on: $0) && mayUse($0, job.id, of: job.classSlot, at: now) }
        let room = "\(need); \(free) \(free == 1 ? "has" : "have") room"
        guard let promise = reservation, promise.job == job.id else {
            return "\(room): it starts when \(size) have room at the same time"
        }
        let names = promise.slots.prefix(3).map { workers[$0].name.rawValue }.sorted().joined(separator: ", ")
        let kept = "\(names)\(size > 3 ? " and \(size - 3) more" : "") are reserved for it"
        guard let start = promise.start else {
            return "\(room); \(kept): it starts when what runs there has ended, which is not known"
        }
        return "\(room); \(kept): it starts by \(time(start, now)) at the latest"
    }
}

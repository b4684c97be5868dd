// The events of jobs: submitted, image there, cancelled, held, released; and how a job's row follows.
// `jobctl submit` arrives here from the scheduler's loop, and goes on to the worker by way of Placement/.
import HeapModule
import JobModel

extension Cluster {
    /// Puts a job into the books (Dependencies/Submission.swift has looked at it).
    ///
    /// Station 5 of 8. Next: Sources/Worker/Agent.swift
    mutating func accept(_ admitted: Job, at now: Instant) {
        var job = admitted
        let (id, record) = (job.id, job.record)
        let classSlot = join(record, id)
        job.classSlot = classSlot
        let booked = job.book(shortfall: shortfall(of: classSlot), in: &totals, at: now)
        jobs.insert(job, for: id)
        bookPending(booked.counts.pending, of: classSlot)
        if !booked.imageIsStored { expectImages(of: record, for: id) }
        announce(id)
        watchTimes(of: id, at: now)
        enqueue(id)
        outcome.changes.append(.jobAdded(id, record, booked))
    }

    mutating func imageStored(_ digest: Digest) {
        guard let wait = images.remove(digest) else { return }
        // A job with services may wait for another image as well.
        for id in wait.jobs.ids where !isWaitingForImage(id) {
            jobs[id]?.progress.imageIsStored = true
            markDirty(id)
            enqueue(id)
        }
    }

    mutating func imageFailed(_ digest: Digest, _ message: String) {
        guard let wait = images[digest] else { return }
        for id in wait.jobs.ids where wait.jobs[id] == true {
            images[digest]?.jobs[id] = false
            jobs[id]?.progress.isHeld = true
            jobs[id]?.progress.reason = message
            markDirty(id)
        }
        images[digest]?.wanted = 0
    }

    func isWaitingForImage(_ id: JobID) -> Bool {
        jobs[id]?.record.imageDigests.contains { images[$0]?.jobs.contains(id) == true } ?? false
    }

    /// Those that are there already are told again: the books do not say which they are.
    mutating func expectImages(of record: JobRecord, for id: JobID) {
        for digest in record.imageDigests { expectImage(digest, for: id) }
    }

    private mutating func expectImage(_ digest: Digest, for id: JobID) {
        if !images.contains(digest) { images.insert(ImageWait(), for: digest) }
        if images[digest]?.jobs[id] == true { return }
        if images[digest]?.jobs.contains(id) == true {
            images[digest]?.jobs[id] = true
        } else {
            images[digest]?.jobs.insert(true, for: id)
        }
        images[digest]?.wanted += 1
    }

    /// Cancels at once what does not run, and orders a stop for what does. Nothing of the job starts from here on.
    mutating func cancel(_ id: JobID, at now: Instant) throws(Refusal) {
        guard try !liveJob(id).progress.cancelRequested else { return }
        cancelJob(id, at: now)
    }

    mutating func cancelJob(_ id: JobID, at now: Instant) {
        guard let job = jobs[id] else { return }
        jobs[id]?.cancelUnstarted()
        noteEnd(of: id, job.progress.unstarted, isSuccess: false)
        for index in job.tasks.ids {
            guard let task = job.tasks[index] else { continue }
            if let slot = task.slot {
                stop(AttemptID(task: task.row.id, number: task.row.attempts), on: slot, at: now)
            } else {
                finish(task.row.id, as: task.hasArrived ? .succeeded : .cancelled, task.row.reason)
            }
        }
        markDirty(id)
    }

    /// A user's hold: nothing new starts, what runs goes on.
    mutating func hold(_ id: JobID, at now: Instant) throws(Refusal) {
        let job = try liveJob(id)
        guard !job.progress.isHeld, !job.progress.cancelRequested else { return }
        holdJob(id, because: "held on request", at: now)
    }

    /// Nothing new starts: what was placed and not yet sent is taken back.
    mutating func holdJob(_ id: JobID, because sentence: String, at now: Instant) {
        jobs[id]?.progress.isHeld = true
        jobs[id]?.progress.reason = sentence
        markDirty(id)
        // What was sent of a gang goes on, and so does the rest.
        guard !isGangSent(id) else { return }
        for index in jobs[id]?.tasks.ids ?? [] {
            guard let task = jobs[id]?.tasks[index], let slot = task.slot else { continue }
            retractUnsent(AttemptID(task: task.row.id, number: task.row.attempts), from: slot, at: now)
        }
    }

    /// Lets a held job go on, with fresh budgets for failures that were not its own.
    mutating func release(_ id: JobID) throws(Refusal) {
        let job = try liveJob(id)
        guard job.progress.isHeld, !job.progress.cancelRequested else { return }
        jobs[id]?.progress.isHeld = false
        jobs[id]?.progress.reason = nil
        jobs[id]?.crashedWorkers = []
        for index in job.tasks.ids where (job.tasks[index]?.row.infrastructureFailures ?? 0) > 0 {
            jobs[id]?.tasks[index]?.row.infrastructureFailures = 0
            if let row = jobs[id]?.tasks[index]?.row { outcome.changes.append(.task(row)) }
        }
        for digest in job.record.imageDigests where images[digest]?.jobs.contains(id) == true {
            expectImage(digest, for: id)
        }
        markDirty(id)
        enqueue(id)
    }

    func liveJob(_ id: JobID) throws(Refusal) -> Job {
        if let job = jobs[id] { return job }
        if let state = finished[id] { throw .jobIsFinished(id, state) }
        throw .unknownJob(id)
    }

    // MARK: how the row follows

    mutating func markDirty(_ id: JobID) {
        guard jobs.read(id, { $0.isDirty }) == false else { return }
        jobs[id]?.isDirty = true
        dirtyJobs.append(id)
    }

    /// Why no present worker could ever run a task of this class.
    func shortfall(of classSlot: Int) -> String? { shapes.rows[classes.rows[classSlot].shape].shortfall }

    /// The job's shape may have found out that no worker fits, or that one does.
    mutating func reconsider(_ id: JobID) {
        guard let job = jobs[id] else { return }
        let (state, reason) = job.condition(shortfall: shortfall(of: job.classSlot))
        if state != job.progress.state || reason != job.progress.reason { markDirty(id) }
    }

    /// Ends are passed on until nothing follows from them any more.
    mutating func settleJobs(at now: Instant) {
        var next = 0
        passOnEndedTasks()
        while next < dirtyJobs.count {
            settleJob(dirtyJobs[next], at: now)
            passOnEndedTasks()
            next += 1
        }
        dirtyJobs.removeAll(keepingCapacity: true)
    }

    private mutating func settleJob(_ id: JobID, at now: Instant) {
        guard let classSlot = jobs[id]?.classSlot, let before = jobs[id]?.countedTasks.pending else { return }
        let shortfall = shortfall(of: classSlot)
        guard let progress = jobs[id]?.book(shortfall: shortfall, in: &totals, at: now) else { return }
        bookPending(progress.counts.pending - before, of: classSlot)
        if hasPrecedence(id), jobs[id]?.isRunnable == false { needsPlacement = true }
        outcome.changes.append(.job(id, progress))
        if progress.state.isTerminal { forget(id, progress) }
    }

    private mutating func forget(_ id: JobID, _ progress: JobProgress) {
        guard let job = jobs.remove(id) else { return }
        finished.remember(id, progress.state)
        leave(job.classSlot)
        passOnEnd(of: job)
        guard !progress.imageIsStored else { return }
        for digest in job.record.imageDigests {
            guard let wanted = images[digest]?.jobs.remove(id) else { continue }
            if wanted { images[digest]?.wanted -= 1 }
            if images[digest]?.jobs.isEmpty == true { images.remove(digest) }
        }
    }

    /// The images that jobs wait for, in order.
    package var imagesWaitedFor: [Digest] { images.ids.filter { (images[$0]?.wanted ?? 0) > 0 } }
}

extension Job {
    mutating func cancelUnstarted() {
        progress.cancelRequested = true
        let count = progress.unstarted.reduce(0) { $0 + $1.upperBound - $1.lowerBound + 1 }
        progress.unstarted = []
        progress.awaits = []
        wholeDependencies = 0
        free = nil
        progress.counts.pending -= count
        progress.counts.cancelled += count
        due = []
    }

    /// Ends a task for good.
    mutating func finish(_ index: Int64, as state: TaskState, reason: EndReason?) -> TaskRow? {
        guard var task = tasks.remove(index) else { return nil }
        if task.row.state == .pending { progress.counts.pending -= 1 } else { progress.counts.running -= 1 }
        switch state {
        case .succeeded: progress.counts.succeeded += 1
        case .failed: progress.counts.failed += 1
        case .cancelled: progress.counts.cancelled += 1
        case .pending, .running: preconditionFailure("a task ends in a terminal state")
        }
        task.row.state = state
        task.row.reason = reason
        return task.row
    }
}

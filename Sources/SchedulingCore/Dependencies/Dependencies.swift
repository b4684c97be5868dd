// What jobs wait for. A whole job waits until another has ended; a task waits until the same task of another job has.
// Whoever ends tells its own dependents, in the same step, so that one commit holds both; nothing else is looked at. A
// dependency that can never be met cancels what waits for it. What is still waited for is kept with the job's row
// (`JobProgress.awaits`); which tasks are free follows from the rows of the other job.
import JobModel

/// What a job that does not live any more came to, from the store.
package struct EndedJob: Hashable, Codable, Sendable {
    package var id: JobID
    package var owner: UserName
    package var indices: ClosedRange<Int64>
    package var state: JobState
    /// Tasks that have succeeded, where some did and some did not; nil if nobody asked.
    package var succeeded: [ClosedRange<Int64>]?

    package init(
        id: JobID, owner: UserName, indices: ClosedRange<Int64>, state: JobState, succeeded: [ClosedRange<Int64>]?
    ) {
        self.id = id
        self.owner = owner
        self.indices = indices
        self.state = state
        self.succeeded = succeeded
    }
}

/// Why a dependency is refused.
package enum DependencyFault: Hashable, Sendable {
    case unknown
    case belongsTo(UserName)
    case otherIndices(ClosedRange<Int64>, own: ClosedRange<Int64>)
    /// It, or the job that would wait for it, may get more tasks.
    case mayGrow
    /// It has ended otherwise.
    case neverMet(JobState)
    /// Each of its tasks has.
    case noTaskMet
    /// It starts as a whole.
    case isGang
}

/// Tasks that have ended, on their way to those that wait for them.
struct EndedTasks: Sendable, Hashable {
    let job: JobID
    let indices: ClosedRange<Int64>
    let isSuccess: Bool
}

/// What a new job's dependencies come to at its submission.
private struct Admission {
    var open: [Dependency] = []
    /// Tasks that can never start.
    var lost: [ClosedRange<Int64>] = []
    /// The one by which they are lost.
    var loss: Dependency?
}

extension Cluster {
    /// Which ended jobs a submission must bring with it, and of which of all its dependencies the outcome of each task.
    package func mustBeKnown(_ dependency: Dependency) -> (job: Bool, tasks: Bool) {
        guard let parent = jobs[dependency.job] else {
            return (true, dependency.kind.isEach && dependency.kind != .afterAnyEach)
        }
        let counts = parent.progress.counts
        let isMixed = counts.succeeded > 0 && counts.failed + counts.cancelled > 0
        return (isMixed && dependency.kind.isEach, isMixed && dependency.kind.isEach)
    }

    /// Links a new job to what it waits for. Nothing is changed if it throws.
    /// - Parameter others: those that are about to be accepted with it.
    func linked(_ new: Job, known: [EndedJob], beside others: [Job]) throws(Refusal) -> Job {
        guard !new.record.dependencies.isEmpty else { return new }
        var job = new
        var admission = Admission()
        for dependency in job.record.dependencies {
            let ended = known.first { $0.id == dependency.job }
            if let parent = others.first(where: { $0.id == dependency.job }) ?? jobs[dependency.job] {
                try check(dependency, parent.record, of: job)
                admission.open.append(dependency)
                if dependency.kind.isEach { admission.admitTasks(of: parent, dependency, ended?.succeeded) }
            } else if let ended {
                guard !dependency.kind.isEach || job.record.rules.open != true else {
                    throw .dependency(dependency, .mayGrow)
                }
                try check(dependency, ended.owner, ended.indices, of: job)
                try admission.admit(ended, as: finished[dependency.job] ?? ended.state, dependency)
            } else {
                throw .dependency(dependency, .unknown)
            }
        }
        job.progress.awaits = admission.open.map(\.job).sorted()
        job.wholeDependencies = admission.open.count { !$0.kind.isEach }
        if let loss = admission.loss {
            job.cancelTasks(admission.lost, because: loss.lossSentence)
            guard job.progress.counts.pending > 0 else { throw .dependency(loss, .noTaskMet) }
        }
        job.free = freeTasks(of: job, beside: others)
        return job
    }

    private func check(_ dependency: Dependency, _ other: JobRecord, of job: Job) throws(Refusal) {
        let mayGrow = other.rules.open == true || job.record.rules.open == true
        guard !dependency.kind.isEach || !mayGrow || other.owner != job.record.owner else {
            throw .dependency(dependency, .mayGrow)
        }
        try check(dependency, other.owner.name, other.shape.indices, of: job)
    }

    private func check(
        _ dependency: Dependency, _ owner: UserName, _ indices: ClosedRange<Int64>, of job: Job
    ) throws(Refusal) {
        guard owner == job.record.owner.name else { throw .dependency(dependency, .belongsTo(owner)) }
        guard !dependency.kind.isEach || job.gangSize == nil else { throw .dependency(dependency, .isGang) }
        let own = job.record.shape.indices
        guard !dependency.kind.isEach || indices == own else {
            throw .dependency(dependency, .otherIndices(indices, own: own))
        }
    }

    /// Tells the others that they have a dependent.
    mutating func announce(_ id: JobID) {
        for dependency in jobs[id]?.record.dependencies ?? [] where jobs[id]?.awaits(dependency.job) == true {
            jobs[dependency.job]?.dependents.append(id)
            if dependency.kind.isEach { jobs[dependency.job]?.eachDependents.append(id) }
        }
    }

    /// The tasks that may start as far as other jobs' tasks go; nil if nothing is waited for task by task.
    func freeTasks(of job: Job, beside others: [Job] = []) -> [ClosedRange<Int64>]? {
        let open = job.record.dependencies.filter { $0.kind.isEach && job.awaits($0.job) }
        guard !open.isEmpty else { return nil }
        var free = job.progress.unstarted
        for dependency in open {
            let other = others.first { $0.id == dependency.job } ?? jobs[dependency.job]
            free = free.removing(unfinished(of: other, within: job.record.shape.indices))
        }
        return free
    }

    /// Tasks that have not ended. Of a job that could not be loaded, all.
    private func unfinished(of job: Job?, within range: ClosedRange<Int64>) -> [ClosedRange<Int64>] {
        guard let job else { return [range] }
        var indices = job.progress.unstarted.part(within: range)
        if range.lowerBound == range.upperBound {
            if job.tasks.contains(range.lowerBound) { indices.add(range) }
            return indices
        }
        for index in job.tasks.ids where range.contains(index) { indices.add(index...index) }
        return indices
    }

    // MARK: ends

    /// Tasks have ended: whoever waits for one of them is told before the step is over.
    mutating func noteEnd(of id: JobID, _ indices: [ClosedRange<Int64>], isSuccess: Bool) {
        guard jobs.read(id, { $0.eachDependents.isEmpty }) == false else { return }
        endedTasks += indices.map { EndedTasks(job: id, indices: $0, isSuccess: isSuccess) }
    }

    mutating func passOnEndedTasks() {
        var next = 0
        while next < endedTasks.count {
            let ended = endedTasks[next]
            next += 1
            for id in jobs[ended.job]?.eachDependents ?? [] { pass(ended, to: id) }
        }
        endedTasks.removeAll(keepingCapacity: true)
    }

    private mutating func pass(_ ended: EndedTasks, to id: JobID) {
        guard let job = jobs[id], job.awaits(ended.job), let dependency = job.dependency(on: ended.job) else { return }
        let waiting = job.progress.unstarted.part(within: ended.indices)
        guard !waiting.isEmpty else { return }
        guard dependency.kind.isMet(bySuccess: ended.isSuccess) else {
            return cancel(waiting, of: id, because: dependency.lossSentence)
        }
        var free = waiting
        for other in job.record.dependencies where other.kind.isEach && other.job != ended.job && job.awaits(other.job)
        {
            free = free.removing(unfinished(of: jobs[other.job], within: ended.indices))
        }
        for range in free { jobs[id]?.free?.add(range) }
        enqueue(id)
        if jobs[id]?.progress.state == .waiting { markDirty(id) }
    }

    /// The job has ended for good: its dependents go on, or can never start.
    mutating func passOnEnd(of job: Job) {
        for id in job.dependents {
            guard let dependent = jobs[id], dependent.awaits(job.id), let dependency = dependent.dependency(on: job.id)
            else { continue }
            jobs[id]?.progress.awaits.removeAll { $0 == job.id }
            markDirty(id)
            if dependency.kind.isEach {
                jobs[id]?.forgetFreeTasksIfAllAre()
            } else {
                jobs[id]?.wholeDependencies -= 1
                guard dependency.kind.isMet(bySuccess: job.progress.state == .succeeded) else {
                    cancelAll(id, because: dependency.hopelessSentence(job.progress.state))
                    continue
                }
            }
            enqueue(id)
        }
    }

    /// Nothing of it has started.
    private mutating func cancelAll(_ id: JobID, because sentence: String) {
        let unstarted = jobs[id]?.progress.unstarted ?? []
        jobs[id]?.progress.cancelReason = sentence
        jobs[id]?.cancelUnstarted()
        noteEnd(of: id, unstarted, isSuccess: false)
        markDirty(id)
    }

    mutating func cancel(_ tasks: [ClosedRange<Int64>], of id: JobID, because sentence: String) {
        jobs[id]?.cancelTasks(tasks, because: sentence)
        noteEnd(of: id, tasks, isSuccess: false)
        markDirty(id)
    }
}

extension Admission {
    /// Tasks of a live job that ended before anybody waited for them.
    mutating func admitTasks(of parent: Job, _ dependency: Dependency, _ succeeded: [ClosedRange<Int64>]?) {
        let counts = parent.progress.counts
        guard counts.finished > 0 else { return }
        var ended = [parent.record.shape.indices].removing(parent.progress.unstarted)
        for index in parent.tasks.ids { ended.remove(index...index) }
        lose(from: ended, dependency, succeeded ?? (counts.succeeded == counts.finished ? ended : []))
    }

    /// A job that has ended.
    mutating func admit(_ job: EndedJob, as state: JobState, _ dependency: Dependency) throws(Refusal) {
        guard state.isTerminal else { throw .dependency(dependency, .unknown) }
        let isSuccess = state == .succeeded
        if dependency.kind.isEach, !isSuccess {
            lose(from: [job.indices], dependency, job.succeeded ?? [])
        } else if !dependency.kind.isMet(bySuccess: isSuccess) {
            throw .dependency(dependency, .neverMet(state))
        }
    }

    private mutating func lose(
        from ended: [ClosedRange<Int64>], _ dependency: Dependency, _ succeeded: [ClosedRange<Int64>]
    ) {
        let others = ended.removing(succeeded)
        let never =
            (dependency.kind.isMet(bySuccess: true) ? [] : ended.removing(others))
            + (dependency.kind.isMet(bySuccess: false) ? [] : others)
        for range in never { lost.add(range) }
        if !never.isEmpty { loss = dependency }
    }
}

extension Dependency {
    var lossSentence: String {
        "dependency: tasks were cancelled because the same task of job \(job) "
            + (kind.isMet(bySuccess: true) ? "did not succeed" : "did not fail") + " (\(kind.rawValue))"
    }

    func hopelessSentence(_ state: JobState) -> String {
        "dependency: can never start, because job \(job) \(state == .cancelled ? "was cancelled" : "has \(state)") "
            + "(\(kind.rawValue))"
    }
}

extension Job {
    func awaits(_ id: JobID) -> Bool { progress.awaits.contains(id) }

    func dependency(on id: JobID) -> Dependency? { record.dependencies.first { $0.job == id } }

    /// Whether other jobs keep all of it from starting.
    var waitsForOthers: Bool {
        if wholeDependencies > 0 { return true }
        guard free?.isEmpty == true, !progress.unstarted.isEmpty else { return false }
        return progress.counts.pending == progress.unstarted.indexCount
    }

    /// What it waits for, in words.
    var dependencySentence: String {
        let open = record.dependencies.filter { awaits($0.job) && (wholeDependencies == 0 || !$0.kind.isEach) }
        let wishes = open.prefix(3).map { dependency in
            dependency.kind.isEach
                ? "each task until the same task of job \(dependency.job) \(dependency.kind.wish)"
                : "until job \(dependency.job) \(dependency.kind.wish)"
        }
        let more = open.count > 3 ? " and for \(open.count - 3) more jobs" : ""
        return "dependency: waits " + wishes.joined(separator: ", ") + more
    }

    /// Takes what was never started, and never will be.
    mutating func cancelTasks(_ ranges: [ClosedRange<Int64>], because sentence: String?) {
        for range in ranges {
            let count = progress.unstarted.part(within: range).indexCount
            progress.unstarted.remove(range)
            free?.remove(range)
            progress.counts.pending -= count
            progress.counts.cancelled += count
        }
        if progress.cancelReason == nil { progress.cancelReason = sentence }
    }

    /// When the last job that it waited for task by task has ended, every task that is left is free.
    mutating func forgetFreeTasksIfAllAre() {
        let isOpen = record.dependencies.contains { $0.kind.isEach && awaits($0.job) }
        if !isOpen { free = nil }
    }
}

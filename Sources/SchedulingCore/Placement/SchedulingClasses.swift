// Jobs of one shape, queue, user and time limit form a class: whichever of them goes first, the answer of limits, share
// and room is the same for all. A pass looks at classes, however many jobs and tasks wait in them.
import HeapModule
import JobModel

/// Within a class: higher priority first, then submission order.
struct QueueKey: Comparable, Hashable, Sendable {
    let priority: Int
    let job: JobID

    static func < (a: QueueKey, b: QueueKey) -> Bool {
        a.priority == b.priority ? a.job < b.job : a.priority > b.priority
    }
}

struct ClassKey: Hashable, Sendable {
    let shape: Int
    let queue: Int
    let user: Int
    /// In milliseconds; nil: as the queue expects, or without end.
    let timeLimit: Int64?
}

struct SchedulingClass: Sendable {
    let shape: Int
    let queue: Int
    let user: Int
    /// The record's time limit and grace together.
    let longest: Int64?
    let key: ClassKey
    /// Every runnable job of the class, and some that no longer are: those go when they reach the front.
    var queued = Heap<QueueKey>()
    var memberCount = 0
}

/// What a pass must know of a class to compare it, in one flat row.
struct ClassSummary: Sendable {
    let shape: Int
    let user: Int
    /// Its first job; nil if nothing waits.
    var first: JobID?
    /// The terms of the formula that do not change by themselves: queue, size, job.
    var base: Int64 = 0
    /// Uptime from which its first job has waited.
    var since: Int64 = 0
    /// No worker could take a task of it: until one grows, there is nothing to be looked at.
    var isBlocked = false
    /// Where it stands among its user's classes; nil if nothing waits.
    var standing: Rank?
}

struct SchedulingClasses: Sendable {
    var rows: [SchedulingClass] = []
    var summaries: [ClassSummary] = []
    private var byKey = Index<ClassKey, Int>()
    private var unused: [Int] = []

    mutating func open(_ key: ClassKey, longest: Int64?) -> Int {
        if let place = byKey[key] { return place }
        let row = SchedulingClass(shape: key.shape, queue: key.queue, user: key.user, longest: longest, key: key)
        let summary = ClassSummary(shape: key.shape, user: key.user)
        let place = unused.popLast() ?? rows.count
        if place == rows.count {
            rows.append(row)
            summaries.append(summary)
        } else {
            rows[place] = row
            summaries[place] = summary
        }
        byKey[key] = place
        return place
    }

    mutating func remove(_ place: Int) {
        byKey[rows[place].key] = nil
        rows[place].queued = []
        unused.append(place)
    }
}

extension Cluster {
    /// Puts a new job into its class, and the class into its shape and accounts.
    /// - Parameter limit: the time limit that it was given since it was submitted.
    mutating func join(_ record: JobRecord, _ id: JobID, limit: TimeSpan? = nil) -> Int {
        let shape = joinShape(Requirement(record), id)
        let limit = record.longest(limit ?? record.timeLimit)
        let key = ClassKey(
            shape: shape, queue: accounts.open(.queue(record.queue)), user: accounts.open(.user(record.owner.name)),
            timeLimit: limit)
        let place = classes.open(key, longest: limit)
        classes.rows[place].memberCount += 1
        return place
    }

    mutating func leave(_ place: Int) {
        let shape = classes.rows[place].shape
        leaveClass(place)
        leaveShape(shape)
    }

    private mutating func leaveClass(_ place: Int) {
        classes.rows[place].memberCount -= 1
        guard classes.rows[place].memberCount == 0 else { return }
        classes.summaries[place].first = nil
        stand(place)
        classes.remove(place)
    }

    /// Puts a job into the class of its time limit. Its shape and its accounts stay what they are.
    mutating func moveToClassOfLimit(_ id: JobID) {
        guard let job = jobs[id] else { return }
        let old = job.classSlot
        let row = classes.rows[old]
        let longest = job.record.longest(job.timeLimit)
        let key = ClassKey(shape: row.shape, queue: row.queue, user: row.user, timeLimit: longest)
        guard key != row.key else { return }
        let new = classes.open(key, longest: longest)
        classes.rows[new].memberCount += 1
        jobs[id]?.classSlot = new
        if job.isQueued {
            classes.rows[old].queued = Heap(row.queued.unordered.filter { $0.job != id })
            jobs[id]?.isQueued = false
            summarise(old)
        }
        leaveClass(old)
        enqueue(id)
    }

    /// Puts a job into its class's queue if it has something to start.
    mutating func enqueue(_ id: JobID) {
        guard jobs.read(id, { $0.isRunnable }) == true else { return }
        needsPlacement = true
        guard let (place, key, isQueued) = jobs.read(id, { ($0.classSlot, $0.queueKey, $0.isQueued) }), !isQueued else {
            return
        }
        jobs[id]?.isQueued = true
        if classes.summaries[place].standing == nil { setBlocked(false, place) }
        classes.rows[place].queued.insert(key)
        if classes.rows[place].queued.min == key { summarise(place) }
    }

    /// The class's first runnable job. Those in front of it that no longer are runnable leave the queue.
    mutating func firstRunnable(in place: Int) -> JobID? {
        while let key = classes.rows[place].queued.min {
            if jobs.read(key.job, { $0.isRunnable }) == true {
                if classes.summaries[place].first != key.job { summarise(place) }
                return key.job
            }
            classes.rows[place].queued.removeMin()
            jobs[key.job]?.isQueued = false
        }
        classes.summaries[place].first = nil
        stand(place)
        return nil
    }

    /// Brings the flat row of a class up to date with its first job.
    mutating func summarise(_ place: Int) {
        guard let key = classes.rows[place].queued.min else {
            classes.summaries[place].first = nil
            return stand(place)
        }
        let row = classes.rows[place]
        let weights = policy.weights
        classes.summaries[place].first = key.job
        classes.summaries[place].since = jobs.read(key.job) { $0.since } ?? 0
        classes.summaries[place].base =
            weights.queue * policy.queueFactor(accounts[row.queue].settings.weight)
            + weights.size * policy.sizeFactor(shapes.rows[row.shape].requirement.amounts)
            + weights.job * policy.jobFactor(key.priority)
        stand(place)
    }

    /// How long an attempt of the class is expected to hold its room; nil: without end.
    func expectedTime(of place: Int) -> Int64? {
        let row = classes.rows[place]
        guard let time = row.longest ?? accounts[row.queue].settings.expectedTime?.milliseconds else { return nil }
        return time + policy.preparation.milliseconds
    }
}

extension JobRecord {
    /// How long an attempt may last with this time limit, in milliseconds; nil: without end.
    func longest(_ timeLimit: TimeSpan?) -> Int64? { timeLimit.map { $0.milliseconds + grace.milliseconds } }
}

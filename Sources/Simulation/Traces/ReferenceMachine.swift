// First come, first served, and EASY backfill, in a few lines and without the core: what it is compared with.

struct ReferenceMachine {
    private let workload: Workload
    private let backfills: Bool
    private var free: Int64
    /// Jobs that run, by when they end, and by when they said that they would.
    private var running: [(end: Int64, promised: Int64, processors: Int64)] = []
    /// Places of jobs that wait, in order of submission.
    private var queue: [Int] = []
    private var started: [Int64]

    init(_ workload: Workload, backfills: Bool) {
        self.workload = workload
        self.backfills = backfills
        free = workload.processors
        started = Array(repeating: 0, count: workload.jobs.count)
    }

    /// When each job starts, in seconds, in order of submission.
    consuming func starts() -> [Int64] {
        var next = 0
        while next < workload.jobs.count || !queue.isEmpty {
            let arrival = next < workload.jobs.count ? workload.jobs[next].submitted : Int64.max
            let now = min(arrival, running.map(\.end).min() ?? .max)
            for job in running where job.end <= now { free += job.processors }
            running.removeAll { $0.end <= now }
            while next < workload.jobs.count, workload.jobs[next].submitted <= now {
                queue.append(next)
                next += 1
            }
            startInOrder(at: now)
            if backfills { startBehind(at: now) }
        }
        return started
    }

    private mutating func startInOrder(at now: Int64) {
        while let first = queue.first, workload.jobs[first].processors <= free {
            queue.removeFirst()
            start(first, at: now)
        }
    }

    /// Whoever ends before the first one can start, or leaves it enough beside itself, may start now.
    private mutating func startBehind(at now: Int64) {
        guard let first = queue.first else { return }
        let needed = workload.jobs[first].processors
        var (room, shadow) = (free, now)
        for job in running.sorted(by: { $0.promised < $1.promised }) where room < needed {
            room += job.processors
            shadow = job.promised
        }
        var extra = room - needed
        var place = 1
        while place < queue.count {
            let job = workload.jobs[queue[place]]
            let isShort = now + job.requestedTime <= shadow
            guard job.processors <= free, isShort || job.processors <= extra else {
                place += 1
                continue
            }
            if !isShort { extra -= job.processors }
            start(queue.remove(at: place), at: now)
        }
    }

    private mutating func start(_ place: Int, at now: Int64) {
        let job = workload.jobs[place]
        free -= job.processors
        started[place] = now
        running.append((now + job.runTime, now + job.requestedTime, job.processors))
    }
}

// What is due when. A worker has one timer for its earliest deadline: when it fires, the deadlines themselves decide,
// so a deadline that moved later needs no removal. Invariant: no deadline lies before its worker's timer.
import HeapModule
import JobModel

struct Timer: Comparable, Hashable, Sendable {
    enum Subject: Comparable, Hashable, Sendable {
        case worker(Int)
        case retry(TaskID)
        /// Times of the calendar are to be looked at.
        case civil
        /// The use of accounts is to be written down.
        case usage
        /// A reservation may be over.
        case windows
    }

    /// Uptime in milliseconds.
    let due: Int64
    let subject: Subject

    static func < (a: Timer, b: Timer) -> Bool { (a.due, a.subject) < (b.due, b.subject) }
}

extension Cluster {
    mutating func fireTimers(at now: Instant) {
        while let timer = timers.min, timer.due <= now.uptime {
            timers.removeMin()
            switch timer.subject {
            case .retry(let task): retryIsDue(task, at: now)
            case .usage: writeUsage(at: now)
            case .windows: checkWindows(at: now)
            case .civil: civilTimerFired(due: timer.due, at: now)
            case .worker(let slot):
                guard workers[slot].armedAt == timer.due else { continue }
                workers[slot].armedAt = .max
                checkDeadlines(of: slot, at: now)
                arm(slot, after: now)
            }
        }
    }

    /// Sets a worker's timer if its earliest deadline is earlier than the timer.
    mutating func arm(_ slot: Int) {
        guard let deadline = nextDeadline(of: slot), deadline < workers[slot].armedAt else { return }
        workers[slot].armedAt = deadline
        timers.insert(Timer(due: deadline, subject: .worker(slot)))
    }

    /// After a timer fired: a call whose time is over is being answered, which sets the timer again.
    private mutating func arm(_ slot: Int, after now: Instant) {
        if let call = workers[slot].call, call.until <= now.uptime { return }
        arm(slot)
    }
}

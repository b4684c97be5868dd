// When a runner ends its program: at the time limit, at the end of the lease, when it is told to. Pure: time comes in,
// signals come out. Invariant: once asked to stop, the program gets SIGKILL at a moment that only ever moves forward in
// urgency.

package struct Supervision: Hashable, Sendable {
    package enum Action: Hashable, Sendable { case terminate, kill }

    /// Milliseconds of the boot-time clock, as every time here.
    private var limitAt: Int64?
    private var leaseEnd: Int64?
    private var timeLimit: Int64?
    private var startedAt: Int64?
    private let grace: Int64
    private var killAt: Int64?
    private var hasKilled = false
    /// Why the program was asked to end. The first reason counts.
    package private(set) var cause: EndRecord.Cause?

    package init(timeLimit: Int64?, grace: Int64, leaseEnd: Int64?) {
        self.timeLimit = timeLimit
        self.grace = grace
        self.leaseEnd = leaseEnd
    }

    /// The time limit counts from here. The first call is the one that counts.
    package mutating func started(at now: Int64) {
        startedAt = startedAt ?? now
        setLimit()
    }

    /// Another time limit, from the same start.
    package mutating func limited(to limit: Int64) {
        timeLimit = limit
        setLimit()
    }

    private mutating func setLimit() {
        guard let startedAt else { return }
        limitAt = timeLimit.map { clampingSum(startedAt, $0) }
    }

    /// Somebody wants the program to end.
    package mutating func ordered(grace: Int64?, at now: Int64) -> [Action] {
        stop(.order, grace: grace ?? self.grace, at: now)
    }

    /// Time has passed.
    /// - Parameter lease: what the lease's file says now.
    package mutating func advanced(to now: Int64, lease: Int64?) -> [Action] {
        leaseEnd = lease ?? leaseEnd
        if let limitAt, now >= limitAt, cause == nil { return stop(.timeLimit, grace: grace, at: now) }
        if let leaseEnd, now >= leaseEnd, cause == nil { return stop(.lease, grace: grace, at: now) }
        return due(at: now)
    }

    /// When ``advanced(to:lease:)`` has something to do.
    package var nextMoment: Int64? {
        if hasKilled { return nil }
        if let killAt { return killAt }
        return [limitAt, leaseEnd].compactMap(\.self).min()
    }

    private mutating func stop(_ reason: EndRecord.Cause, grace: Int64, at now: Int64) -> [Action] {
        let moment = clampingSum(now, max(0, grace))
        let isFirst = cause == nil
        cause = cause ?? reason
        killAt = min(killAt ?? moment, moment)
        let last = due(at: now)
        return isFirst && last.isEmpty ? [.terminate] : last
    }

    private mutating func due(at now: Int64) -> [Action] {
        guard let killAt, now >= killAt, !hasKilled else { return [] }
        hasKilled = true
        return [.kill]
    }
}

private func clampingSum(_ a: Int64, _ b: Int64) -> Int64 {
    let (sum, overflowed) = a.addingReportingOverflow(b)
    return overflowed ? .max : sum
}

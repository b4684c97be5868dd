// What an attempt that ended is accounted with: whose it was, and what it held for how long. The store sums it by day;
// nothing is decided from it. What fair share is decided from stands in Shares.
import JobModel

/// What sums are kept by.
package struct AccountingKey: Hashable, Comparable, Sendable {
    /// Days since 1970-01-01, in UTC: the day on which the attempt ended.
    package var day: Int64
    package var user: String
    package var group: String
    package var queue: String
    package var configuration: Digest

    package static func < (a: AccountingKey, b: AccountingKey) -> Bool {
        (a.day, a.user, a.group, a.queue, a.configuration.hex) < (b.day, b.user, b.group, b.queue, b.configuration.hex)
    }
}

/// Sums over attempts. Times are in milliseconds.
package struct AccountingSums: Hashable, Sendable {
    package var attempts: Int64 = 0
    package var succeeded: Int64 = 0
    package var failed: Int64 = 0
    package var cancelled: Int64 = 0
    package var lost: Int64 = 0
    /// Processors that were held, times the time.
    package var cpuTime: Int64 = 0
    /// Processor time that the programs used, as far as workers report it.
    package var usedCPUTime: Int64 = 0
    /// MiB that were held, times seconds.
    package var memoryTime: Int64 = 0
    package var gpuTime: Int64 = 0
    package var runTime: Int64 = 0
    /// Tasks that were started for the first time, and how long they had waited since their submission.
    package var firstStarts: Int64 = 0
    package var waitTime: Int64 = 0

    package init() {}

    /// The most that one attempt adds to a sum, so that no sum overflows.
    static let most: Int64 = 1_000_000_000_000_000

    package static func += (sums: inout AccountingSums, more: AccountingSums) {
        sums.attempts &+= more.attempts
        sums.succeeded &+= more.succeeded
        sums.failed &+= more.failed
        sums.cancelled &+= more.cancelled
        sums.lost &+= more.lost
        sums.cpuTime &+= more.cpuTime
        sums.usedCPUTime &+= more.usedCPUTime
        sums.memoryTime &+= more.memoryTime
        sums.gpuTime &+= more.gpuTime
        sums.runTime &+= more.runTime
        sums.firstStarts &+= more.firstStarts
        sums.waitTime &+= more.waitTime
    }
}

package struct AccountingEntry: Hashable, Sendable {
    package var key: AccountingKey
    package var sums: AccountingSums
}

extension Cluster {
    /// Accounts for an attempt that has just ended. One that was taken back before it started counts for nothing.
    mutating func account(for attempt: Attempt, at now: Instant) {
        let row = attempt.row
        guard row.state != .cancelled || row.isAcknowledged,
            let (place, configuration, submittedAt) = jobs.read(
                row.id.job, { ($0.classSlot, $0.record.configuration, $0.progress.submittedAt) })
        else { return }
        let books = accounts(of: place)
        let key = AccountingKey(
            day: now.wall.daysSinceEpoch, user: accounts[books.user].id.name, group: accounts[books.group].id.name,
            queue: accounts[books.queue].id.name, configuration: configuration)
        let held = AccountingSums.clamped(Int128((now.wall - row.assignedAt).milliseconds))
        var sums = AccountingSums()
        sums.attempts = 1
        switch row.state {
        case .succeeded: sums.succeeded = 1
        case .failed: sums.failed = 1
        case .cancelled: sums.cancelled = 1
        case .lost, .assigned, .preparing, .running, .ending: sums.lost = 1
        }
        sums.cpuTime = AccountingSums.clamped(Int128(attempt.amounts.cpus) * Int128(held) / 1000)
        sums.memoryTime = AccountingSums.clamped(Int128(attempt.amounts.memory >> 20) * Int128(held) / 1000)
        sums.gpuTime = AccountingSums.clamped(Int128(attempt.amounts.gpus) * Int128(held))
        sums.runTime = held
        if let used = row.report?.usage?.cpuSeconds, used.isFinite {
            sums.usedCPUTime = AccountingSums.clamped(Int128(min(max(used, 0), 1e12) * 1000))
        }
        if row.id.number == 1 {
            sums.firstStarts = 1
            sums.waitTime = AccountingSums.clamped(Int128((row.assignedAt - submittedAt).milliseconds))
        }
        outcome.changes.append(.ended(AccountingEntry(key: key, sums: sums)))
    }
}

extension AccountingSums {
    /// Also where a wall clock was set back.
    fileprivate static func clamped(_ value: Int128) -> Int64 { Int64(min(max(value, 0), Int128(most))) }
}

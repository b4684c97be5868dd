// What the retention policy says: ages and sizes, and from when on what is there is too old or too much. Pure.
import JobModel

package struct RetentionPolicy: Hashable, Sendable {
    package struct Limit: Hashable, Sendable {
        /// Nil: however old.
        package var age: TimeSpan?
        /// On disk. Nil: however much.
        package var budget: ByteCount?
        package init() {}
    }

    package var logs = Limit()
    package var manifests = Limit()
    /// Of the rows of tasks and attempts, after their job ended. Nil: for ever.
    package var tasks: TimeSpan?
    /// Of a submission's key, after its job was accepted.
    package var keys = TimeSpan.seconds(30 * 86_400)
    /// Between two passes.
    package var interval = Duration.seconds(600)
    package init() {}
}

/// Bytes by the hour of their last change: enough to know how old the oldest is that a budget has room for, without
/// remembering files.
package struct AgeBook: Sendable {
    private var hours: [Int64: Int64] = [:]
    package private(set) var share = ArchiveShare()
    package private(set) var oldest: Int64?

    package init() {}

    package mutating func add(_ bytes: Int64, at time: Int64) {
        hours[time / 3600, default: 0] += bytes
        share.add(bytes)
        oldest = min(oldest ?? time, time)
    }

    /// What was changed last before this second goes; nil if nothing does. What is younger than an hour stays.
    package func cutoff(_ limit: RetentionPolicy.Limit, now: Int64) -> Int64? {
        var cutoff = limit.age.map { now - $0.milliseconds / 1000 }
        if let budget = limit.budget {
            var sum: Int64 = 0
            for hour in hours.keys.sorted(by: >) {
                sum += hours[hour] ?? 0
                guard sum > budget.bytes else { continue }
                cutoff = max(cutoff ?? .min, min((hour + 1) * 3600, now - 3600))
                break
            }
        }
        return cutoff.flatMap { cutoff in oldest.map { $0 < cutoff } == true ? cutoff : nil }
    }
}

// A schedule: a rerun at times of the calendar. What is due is decided here, from the schedule, how far it was looked
// at, and the time; nothing else.

/// The name of a schedule.
package struct ScheduleName: ValidatedName {
    package static let noun = "schedule name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

/// What happens when a run is due and the one before has not ended.
package enum OverlapPolicy: String, Codable, Sendable, CaseIterable {
    /// It does not take place.
    case skip
    /// It waits until the one before has ended.
    case queue
    /// The one before is cancelled.
    case replace
}

/// What becomes of runs that were due while nobody looked: the scheduler was down, or its clock jumped.
package enum CatchUpPolicy: String, Codable, Sendable, CaseIterable {
    case none
    /// The latest.
    case last
    /// Each.
    case all
}

/// What is due, and until when nothing else is.
package struct DueRuns: Hashable, Sendable {
    package var times: [Timestamp]
    package var handledUntil: Timestamp
}

package enum ScheduleDecision {
    /// A run that is due for no longer than this was not missed.
    package static let tolerance = TimeSpan.minutes(5)
    /// The most that start at once; the others follow when it is looked at again.
    package static let mostAtOnce = 20

    /// The runs that are to start now.
    /// - Parameter handled: the time up to which everything was decided. A clock that was set back is waited for.
    package static func due(
        _ cron: CronExpression, in zone: CivilZone, after handled: Timestamp, _ catchUp: CatchUpPolicy,
        at now: Timestamp
    ) -> DueRuns {
        guard now > handled else { return DueRuns(times: [], handledUntil: handled) }
        switch catchUp {
        case .all:
            var times: [Timestamp] = []
            var last = handled
            while times.count < mostAtOnce, let next = cron.next(after: last, in: zone), next <= now {
                times.append(next)
                last = next
            }
            return DueRuns(times: times, handledUntil: times.count == mostAtOnce ? last : now)
        case .last:
            return DueRuns(times: latest(cron, zone, from: handled, to: now).map { [$0] } ?? [], handledUntil: now)
        case .none:
            let begin = max(handled, now.before(tolerance))
            return DueRuns(times: latest(cron, zone, from: begin, to: now).map { [$0] } ?? [], handledUntil: now)
        }
    }

    /// Looks back further and further, so that a year of minutes costs no more than an hour of them.
    private static func latest(
        _ cron: CronExpression, _ zone: CivilZone, from begin: Timestamp, to end: Timestamp
    ) -> Timestamp? {
        for days in [0, 1, 32, 367, 3660] as [Int64] {
            let span = TimeSpan.seconds(max(3600, days * 86_400))
            let start = max(begin, end.before(span))
            var newest: Timestamp?
            while let next = cron.next(after: newest ?? start, in: zone), next <= end { newest = next }
            if newest != nil || start == begin { return newest }
        }
        return nil
    }
}

extension Timestamp {
    /// Earlier by a span.
    fileprivate func before(_ span: TimeSpan) -> Timestamp {
        Timestamp(millisecondsSinceEpoch: millisecondsSinceEpoch - span.milliseconds)
    }
}

/// What a schedule says about the time in its bindings and parameters: `weather/${year}`.
package enum ScheduleTemplate {
    /// Fills in `${year}`, `${month}`, `${day}`, `${hour}`, `${minute}` and `${date}` of a time; everything else stays.
    package static func filled(_ text: String, at time: Timestamp, in zone: CivilZone) -> String {
        let seconds = floorDivided(time.millisecondsSinceEpoch, by: 1000)
        let local = seconds + zone.offset(seconds)
        let days = floorDivided(local, by: 86_400)
        let civil = CivilDay(daysSinceEpoch: days)
        let rest = local - days * 86_400
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (year, month, day) = (String(civil.year), two(civil.month), two(civil.day))
        let values: [(String, String)] = [
            ("year", year), ("month", month), ("day", day), ("hour", two(rest / 3600)),
            ("minute", two(rest / 60 % 60)), ("date", year + "-" + month + "-" + day),
        ]
        var text = text
        for (name, value) in values {
            text = text.replacing("${\(name)}", with: value)
        }
        return text
    }
}

// A schedule as the store keeps it, and what its settings must be.
import Foundation
import JobModel

/// One schedule.
package struct ScheduleRow: Hashable, Sendable {
    package var name: ScheduleName
    package var owner: UserName
    package var settings: ScheduleSettings
    package var isPaused: Bool
    package var createdAt: Timestamp
    /// Every run that was due by then was decided about.
    package var handledUntil: Timestamp
    package var lastDue: Timestamp?
    package var lastJob: JobID?
    package var note: String?
}

/// What became of a run that was due.
package struct ScheduleOutcome: Hashable, Sendable {
    package var handledUntil: Timestamp
    package var due: Timestamp?
    package var job: JobID?
    package var note: String?
}

/// What changes about schedules.
package enum ScheduleEntry: Hashable, Sendable {
    case saved(ScheduleRow)
    case paused(ScheduleName, Bool, at: Timestamp)
    case ran(ScheduleName, ScheduleOutcome)
    case removed(ScheduleName)
}

/// What can be due when, understood.
struct ScheduleClock {
    let cron: CronExpression
    let zone: CivilZone

    /// - Throws: ``Problem`` that names the field.
    init(_ settings: ScheduleSettings) throws(Problem) {
        guard let cron = CronExpression(settings.cron) else {
            throw Problem(
                .badRequest, "\(quoted(settings.cron)) names no times: \(CronExpression.rule)", field: "$.cron")
        }
        self.cron = cron
        guard let name = settings.timeZone, name != "UTC" else {
            zone = .utc
            return
        }
        guard name.utf8.count <= 64, let zone = TimeZone(identifier: name) else {
            throw Problem(
                .badRequest, "\(quoted(name)) is no time zone: write one as Europe/Berlin, or leave it out for UTC",
                field: "$.time_zone")
        }
        self.zone = CivilZone { seconds in
            Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds))))
        }
    }
}

extension ScheduleRow {
    func document(at now: Timestamp) -> ScheduleDocument {
        // allowed: what cannot be read any more has no next run
        let clock = try? ScheduleClock(settings)
        return ScheduleDocument(
            name: name.rawValue, owner: owner.rawValue, settings: settings, paused: isPaused, createdAt: createdAt,
            next: isPaused ? nil : clock?.cron.next(after: max(now, handledUntil), in: clock?.zone ?? .utc),
            lastDue: lastDue, lastJob: lastJob, note: note)
    }
}

// Schedules as the API and `-o json` show them. Fields are added, never renamed.

/// What is set up: `PUT /v1/schedules/{name}`.
package struct ScheduleSettings: Hashable, Codable, Sendable {
    package var cron: String
    /// As in the time zone database; absent: UTC.
    package var timeZone: String?
    /// What is run: as ``RerunRequest/source``.
    package var rerun: String
    package var bindings: [String: String]
    package var parameters: [String: String]
    package var queue: String?
    package var priority: Int?
    package var overlap: OverlapPolicy
    package var catchUp: CatchUpPolicy

    package init(
        cron: String, timeZone: String?, rerun: String, bindings: [String: String] = [:],
        parameters: [String: String] = [:], queue: String? = nil, priority: Int? = nil,
        overlap: OverlapPolicy = .skip, catchUp: CatchUpPolicy = .last
    ) {
        self.cron = cron
        self.timeZone = timeZone
        self.rerun = rerun
        self.bindings = bindings
        self.parameters = parameters
        self.queue = queue
        self.priority = priority
        self.overlap = overlap
        self.catchUp = catchUp
    }

    /// What is absent has its default.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            cron: try values.decode(String.self, forKey: .cron),
            timeZone: try values.decodeIfPresent(String.self, forKey: .timeZone),
            rerun: try values.decode(String.self, forKey: .rerun),
            bindings: try values.decodeIfPresent([String: String].self, forKey: .bindings) ?? [:],
            parameters: try values.decodeIfPresent([String: String].self, forKey: .parameters) ?? [:],
            queue: try values.decodeIfPresent(String.self, forKey: .queue),
            priority: try values.decodeIfPresent(Int.self, forKey: .priority),
            overlap: try values.decodeIfPresent(OverlapPolicy.self, forKey: .overlap) ?? .skip,
            catchUp: try values.decodeIfPresent(CatchUpPolicy.self, forKey: .catchUp) ?? .last)
    }

    private enum CodingKeys: String, CodingKey {
        case cron, timeZone = "time_zone", rerun, bindings, parameters, queue, priority, overlap, catchUp = "catch_up"
    }
}

package struct ScheduleDocument: Hashable, Codable, Sendable {
    package var name: String
    package var owner: String
    package var settings: ScheduleSettings
    package var paused: Bool
    package var createdAt: Timestamp
    /// When the next run is due; absent while it is paused.
    package var next: Timestamp?
    /// When the last run was due, and its job.
    package var lastDue: Timestamp?
    package var lastJob: JobID?
    /// Why the last run that was due did not start.
    package var note: String?

    package init(
        name: String, owner: String, settings: ScheduleSettings, paused: Bool, createdAt: Timestamp, next: Timestamp?,
        lastDue: Timestamp?, lastJob: JobID?, note: String?
    ) {
        self.name = name
        self.owner = owner
        self.settings = settings
        self.paused = paused
        self.createdAt = createdAt
        self.next = next
        self.lastDue = lastDue
        self.lastJob = lastJob
        self.note = note
    }

    private enum CodingKeys: String, CodingKey {
        case name, owner, settings, paused, createdAt = "created_at", next, lastDue = "last_due", lastJob = "last_job"
        case note
    }
}

package struct ScheduleList: Hashable, Codable, Sendable {
    package var schedules: [ScheduleDocument]
    package init(schedules: [ScheduleDocument]) { self.schedules = schedules }
}

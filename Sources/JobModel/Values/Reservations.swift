// What administrators keep workers for: draining, and advance reservations. A maintenance window is a reservation for
// nobody.

/// Why a worker is drained, and until when what runs there may go on.
package struct DrainOrder: Hashable, Codable, Sendable {
    package var reason: String?
    /// What still runs at this time is stopped, with its grace, and placed elsewhere.
    package var deadline: Timestamp?

    package static let standard = DrainOrder()

    package init(reason: String? = nil, deadline: Timestamp? = nil) {
        self.reason = reason
        self.deadline = deadline
    }
}

/// The name of a reservation.
package struct ReservationName: ValidatedName {
    package static let noun = "reservation name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

/// Workers that are kept from a time on: for some users, or for nobody. Others start there only what ends before, by
/// its time limit.
package struct AdvanceReservation: Hashable, Codable, Sendable {
    package static let mostWorkers = 10_000
    package static let mostReservations = 1_000
    package static let longestReason = 500

    package var name: ReservationName
    package var start: Timestamp
    package var end: Timestamp
    /// These workers.
    package var workers: [WorkerName]
    /// And those with all of these labels, unless it is empty.
    package var labels: [String: String]
    /// Who may use them. Nobody and no group: maintenance.
    package var users: [UserName]
    package var groups: [GroupName]
    package var reason: String?

    package init(
        name: ReservationName, start: Timestamp, end: Timestamp, workers: [WorkerName] = [],
        labels: [String: String] = [:], users: [UserName] = [], groups: [GroupName] = [], reason: String? = nil
    ) {
        self.name = name
        self.start = start
        self.end = end
        self.workers = workers
        self.labels = labels
        self.users = users
        self.groups = groups
        self.reason = reason
    }

    /// Whether a worker is one of those that are kept.
    package func covers(_ worker: WorkerName, labels offered: [String: String]) -> Bool {
        workers.contains(worker) || !labels.isEmpty && labels.allSatisfy { offered[$0.key] == $0.value }
    }

    package func isFor(_ user: UserName, of group: GroupName?) -> Bool {
        users.contains(user) || group.map { groups.contains($0) } == true
    }

    /// Refuses what no reservation may be.
    package func check(at now: Timestamp) throws(Problem) {
        func refusal(_ field: String, _ message: String) -> Problem {
            Problem(.badRequest, message, field: "$.\(field)")
        }
        guard start < end else { throw refusal("end", "must be later than the start") }
        guard end > now else { throw refusal("end", "\(end) has passed") }
        guard end - start <= TimeSpan(milliseconds: 3660 * 86_400_000) else {
            throw refusal("end", "is more than ten years after the start")
        }
        guard !workers.isEmpty || !labels.isEmpty else {
            throw refusal("workers", "is empty: name workers, or labels that they have")
        }
        for (field, count) in [
            ("workers", workers.count), ("labels", labels.count), ("users", users.count), ("groups", groups.count),
        ] where count > Self.mostWorkers {
            throw refusal(field, "has \(count) entries: at most \(Self.mostWorkers) are allowed")
        }
        for text in labels.flatMap({ [$0.key, $0.value] }) where text.utf8.count > 63 {
            throw refusal("labels", "holds \(quoted(text)): a label and its value have at most 63 bytes")
        }
        guard (reason?.utf8.count ?? 0) <= Self.longestReason else {
            throw refusal("reason", "has more than \(Self.longestReason) bytes")
        }
    }
}

/// How many of a license the cluster has, and who has them.
package struct LicenseDocument: Hashable, Codable, Sendable {
    package var name: ResourceName
    package var total: Int64
    package var used: Int64
    /// The jobs that hold some, with how many.
    package var holders: [Holder]

    package struct Holder: Hashable, Codable, Sendable {
        package var job: JobID
        package var owner: UserName
        package var count: Int64
        package init(job: JobID, owner: UserName, count: Int64) {
            self.job = job
            self.owner = owner
            self.count = count
        }
    }

    package init(name: ResourceName, total: Int64, used: Int64, holders: [Holder]) {
        self.name = name
        self.total = total
        self.used = used
        self.holders = holders
    }
}

package struct LicenseList: Hashable, Codable, Sendable {
    package var licenses: [LicenseDocument]
    package init(licenses: [LicenseDocument]) { self.licenses = licenses }
}

/// What an administrator sets of a license.
package struct LicenseSettings: Hashable, Codable, Sendable {
    package var total: Int64
    package init(total: Int64) { self.total = total }
}

package struct ReservationList: Hashable, Codable, Sendable {
    package var reservations: [AdvanceReservation]
    package init(reservations: [AdvanceReservation]) { self.reservations = reservations }
}

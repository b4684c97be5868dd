// What use is booked on and limits are set for: queues, groups of users, and users. One kind of settings for all three,
// so that a limit means the same wherever it is set. How a share becomes a priority stands in docs/scheduling.md.

/// The name of a group of users.
package struct GroupName: ValidatedName {
    package static let noun = "group name"
    /// Of users that nobody put into a group.
    package static let standard = GroupName(unchecked: "default")
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

package enum AccountKind: String, Hashable, Codable, CaseIterable, Comparable, Sendable {
    case queue, group, user

    package static func < (a: AccountKind, b: AccountKind) -> Bool { a.rawValue < b.rawValue }
}

/// A queue, a group or a user; prints as `user ada`.
package struct AccountID: Hashable, Codable, Comparable, Sendable, CustomStringConvertible {
    package var kind: AccountKind
    package var name: String

    package init(kind: AccountKind, name: String) {
        self.kind = kind
        self.name = name
    }

    package static func queue(_ name: QueueName) -> AccountID { AccountID(kind: .queue, name: name.rawValue) }
    package static func group(_ name: GroupName) -> AccountID { AccountID(kind: .group, name: name.rawValue) }
    package static func user(_ name: UserName) -> AccountID { AccountID(kind: .user, name: name.rawValue) }

    package static func < (a: AccountID, b: AccountID) -> Bool { (a.kind, a.name) < (b.kind, b.name) }
    package var description: String { "\(kind.rawValue) \(name)" }
}

/// The most that may run or wait at a time; nil: no limit.
package struct Limits: Hashable, Codable, Sendable {
    /// Tasks that run.
    package var running: Int64?
    /// Tasks that wait. A submission that would exceed it is refused.
    package var pending: Int64?
    package var cpus: CPUAmount?
    package var memory: ByteCount?
    package var gpus: Int?

    package static let none = Limits()

    package init(
        running: Int64? = nil, pending: Int64? = nil, cpus: CPUAmount? = nil, memory: ByteCount? = nil,
        gpus: Int? = nil
    ) {
        self.running = running
        self.pending = pending
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
    }

    private enum CodingKeys: String, CodingKey { case running, pending, cpus, memory = "memory_bytes", gpus }
}

/// What an administrator may set of an account.
package struct AccountSettings: Hashable, Codable, Sendable {
    package static let standardWeight = 100
    package static let weights = 1...1000

    /// Of a queue: what it adds to its jobs' priority. Of a group or user: its share beside its siblings.
    package var weight: Int
    package var limits: Limits
    /// Users only.
    package var group: GroupName?
    /// Queues only: how long a job without a time limit is expected to run.
    package var expectedTime: TimeSpan?
    /// Queues only: which of the fitting workers its jobs take, unless they say themselves.
    package var placement: PlacementStrategy?
    /// Queues only: whose tasks are stopped and requeued when a job of this queue finds no room.
    package var preempts: [QueueName] {
        get { storedPreempts ?? [] }
        set { storedPreempts = newValue.isEmpty ? nil : newValue }
    }
    private var storedPreempts: [QueueName]?

    package static let standard = AccountSettings()

    package init(
        weight: Int = standardWeight, limits: Limits = .none, group: GroupName? = nil, expectedTime: TimeSpan? = nil,
        placement: PlacementStrategy? = nil, preempts: [QueueName] = []
    ) {
        self.placement = placement
        storedPreempts = preempts.isEmpty ? nil : preempts
        self.weight = weight
        self.limits = limits
        self.group = group
        self.expectedTime = expectedTime
    }

    private enum CodingKeys: String, CodingKey {
        case weight, limits, group, expectedTime = "expected_time", placement, storedPreempts = "preempts"
    }
}

/// An account that an administrator has set up.
package struct AccountRow: Hashable, Codable, Sendable {
    package var id: AccountID
    package var settings: AccountSettings

    package init(id: AccountID, settings: AccountSettings) {
        self.id = id
        self.settings = settings
    }
}

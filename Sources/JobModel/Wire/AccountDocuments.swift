// Queues, groups and users' shares, and why a job waits, as the API and `-o json` show them. Fields are added, never
// renamed.

package struct AccountDocument: Hashable, Codable, Sendable {
    package var kind: Open<AccountKind>
    package var name: String
    /// False: it is in use, with the standard settings.
    package var configured: Bool
    package var settings: AccountSettings
    package var pending: Int64
    package var running: Int64
    package var cpus: CPUAmount
    package var memory: ByteCount
    package var gpus: Int
    /// What it is entitled to of its group, or of the cluster, from 0 to 1; absent of a queue.
    package var entitled: Double?
    /// What it has used of it, older use counting less.
    package var used: Double?

    package init(
        kind: Open<AccountKind>, name: String, configured: Bool, settings: AccountSettings, pending: Int64,
        running: Int64, cpus: CPUAmount, memory: ByteCount, gpus: Int, entitled: Double?, used: Double?
    ) {
        self.kind = kind
        self.name = name
        self.configured = configured
        self.settings = settings
        self.pending = pending
        self.running = running
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
        self.entitled = entitled
        self.used = used
    }

    private enum CodingKeys: String, CodingKey {
        case kind, name, configured, settings, pending, running, cpus, memory = "memory_bytes", gpus, entitled, used
    }
}

package struct AccountList: Hashable, Codable, Sendable {
    package var accounts: [AccountDocument]
    package init(accounts: [AccountDocument]) { self.accounts = accounts }
}

/// Why a job waits.
package struct WaitingDocument: Hashable, Codable, Sendable {
    /// One term of the formula of priority.
    package struct Term: Hashable, Codable, Sendable {
        package var name: String
        package var weight: Int64
        /// From 0 to 1,000,000.
        package var factor: Int64
        package init(name: String, weight: Int64, factor: Int64) {
            self.name = name
            self.weight = weight
            self.factor = factor
        }
    }

    package var job: JobID
    package var state: Open<JobState>
    /// Why it waits, and what would let it start.
    package var reason: String
    /// Absent of a job that has ended.
    package var priority: Int64?
    package var terms: [Term]

    package init(job: JobID, state: Open<JobState>, reason: String, priority: Int64?, terms: [Term]) {
        self.job = job
        self.state = state
        self.reason = reason
        self.priority = priority
        self.terms = terms
    }
}

extension AccountSettings {
    /// Refuses what an account of this kind cannot have.
    package func check(for kind: AccountKind) throws(Problem) {
        guard Self.weights.contains(weight) else {
            throw Problem(
                .badRequest, "\(weight) is no weight: use \(Self.weights.lowerBound) to \(Self.weights.upperBound)",
                field: "$.weight")
        }
        let counts = [
            ("running", limits.running), ("pending", limits.pending), ("memory_bytes", limits.memory?.bytes),
            ("gpus", limits.gpus.map(Int64.init)), ("cpus", limits.cpus?.thousandths),
        ]
        for (name, count) in counts where (count ?? 0) < 0 {
            throw Problem(.badRequest, "is below zero: leave it out for no limit", field: "$.limits.\(name)")
        }
        if group != nil, kind != .user {
            throw Problem(.badRequest, "only users have a group: leave it out", field: "$.group")
        }
        if placement != nil, kind != .queue {
            throw Problem(.badRequest, "only queues have a placement: leave it out", field: "$.placement")
        }
        if !preempts.isEmpty, kind != .queue {
            throw Problem(.badRequest, "only queues preempt: leave it out", field: "$.preempts")
        }
        if preempts.count > 100 {
            throw Problem(.badRequest, "names \(preempts.count) queues: at most 100", field: "$.preempts")
        }
        if expectedTime != nil, kind != .queue {
            throw Problem(.badRequest, "only queues have an expected time: leave it out", field: "$.expected_time")
        }
    }
}

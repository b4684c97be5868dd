// Where a job's tasks should run among the workers that could take them, and what they need of the cluster as a whole.
// Outside the configuration: none of it changes a result.

/// Which of several fitting workers is taken.
package enum PlacementStrategy: String, Hashable, Codable, Sendable, CaseIterable {
    /// The fullest: whole workers stay free for large tasks. The default.
    case pack
    /// The emptiest: tasks share memory bandwidth and disks with as few others as possible.
    case spread
}

package struct PlacementRequest: Hashable, Sendable {
    /// What each running task holds of the cluster's licenses.
    package var licenses: ResourceCounts
    /// Wishes, in order of their texts: a worker that meets more of them goes first.
    package var preferences: [Constraint]
    /// Nil: as its queue says.
    package var strategy: PlacementStrategy?
    /// No other task runs on the worker at the same time.
    package var isExclusive: Bool

    package static let standard = PlacementRequest()

    package init(
        licenses: ResourceCounts = .none, preferences: [Constraint] = [], strategy: PlacementStrategy? = nil,
        isExclusive: Bool = false
    ) {
        self.licenses = licenses
        self.preferences = preferences.sorted { $0.description < $1.description }
        self.strategy = strategy
        self.isExclusive = isExclusive
    }
}

extension PlacementRequest: Codable {
    private enum CodingKeys: String, CodingKey { case exclusive, licenses, prefer, strategy }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            licenses: try container.decodeIfPresent(ResourceCounts.self, forKey: .licenses) ?? .none,
            preferences: try container.decodeIfPresent([Constraint].self, forKey: .prefer) ?? [],
            strategy: try container.decodeIfPresent(PlacementStrategy.self, forKey: .strategy),
            isExclusive: try container.decodeIfPresent(Bool.self, forKey: .exclusive) ?? false)
    }

    /// Only what was asked for.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        if isExclusive { try container.encode(true, forKey: .exclusive) }
        if !licenses.isEmpty { try container.encode(licenses, forKey: .licenses) }
        if !preferences.isEmpty { try container.encode(preferences, forKey: .prefer) }
        try container.encodeIfPresent(strategy, forKey: .strategy)
    }
}

extension JSONWriter {
    mutating func placement(_ request: PlacementRequest) {
        object { writer in
            if request.isExclusive { writer.member("exclusive") { $0.bool(true) } }
            if !request.licenses.isEmpty { writer.member("licenses") { $0.counts(request.licenses) } }
            if !request.preferences.isEmpty {
                writer.member("prefer") { $0.array(request.preferences) { $0.constraint($1) } }
            }
            writer.member("strategy", ifPresent: request.strategy?.rawValue)
        }
    }

    mutating func counts(_ counts: ResourceCounts) {
        object { writer in
            for entry in counts.entries { writer.member(named: entry.name.rawValue) { $0.number(entry.count) } }
        }
    }
}

// What is counted and means nothing else to the scheduler: devices of a worker (`fpga`), licenses of the cluster
// (`matlab`). In JSON an object of counts by name.

/// The name of a custom resource of workers or of a license of the cluster.
package struct ResourceName: ValidatedName {
    package static let noun = "resource name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

/// How many of each, in order of their names; what is not named counts as none.
package struct ResourceCounts: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package let name: ResourceName
        /// Never zero. As what a worker has left, negative after it began to offer less.
        package let count: Int64
    }

    package static let none = ResourceCounts(entries: [])
    /// The most of one resource that a worker or a cluster may have.
    package static let largest: Int64 = 1_000_000_000

    /// Names ascend.
    package let entries: [Entry]

    private init(entries: [Entry]) { self.entries = entries }

    /// - Precondition: every count is from 0 to ``largest``.
    package init(_ counts: [ResourceName: Int64]) {
        entries = counts.filter { $0.value != 0 }.sorted { $0.key < $1.key }.map {
            Entry(name: $0.key, count: $0.value)
        }
    }

    package var isEmpty: Bool { entries.isEmpty }

    package subscript(name: ResourceName) -> Int64 { entries.first { $0.name == name }?.count ?? 0 }

    /// Whether all of this can be taken out of `room`.
    package func fit(in room: ResourceCounts) -> Bool { entries.allSatisfy { $0.count <= max(0, room[$0.name]) } }

    package static func + (a: ResourceCounts, b: ResourceCounts) -> ResourceCounts { a.combined(with: b) { $0 &+ $1 } }
    package static func - (a: ResourceCounts, b: ResourceCounts) -> ResourceCounts { a.combined(with: b) { $0 &- $1 } }

    /// The same names with other counts.
    package func map(_ count: (Entry) -> Int64) -> ResourceCounts {
        ResourceCounts(
            entries: entries.map { Entry(name: $0.name, count: count($0)) }.filter { $0.count != 0 })
    }

    private func combined(with other: ResourceCounts, _ operation: (Int64, Int64) -> Int64) -> ResourceCounts {
        if other.isEmpty { return self }
        var result: [Entry] = []
        var (left, right) = (entries[...], other.entries[...])
        while let name = [left.first?.name, right.first?.name].compactMap({ $0 }).min() {
            let a = left.first?.name == name ? left.removeFirst().count : 0
            let b = right.first?.name == name ? right.removeFirst().count : 0
            let count = operation(a, b)
            if count != 0 { result.append(Entry(name: name, count: count)) }
        }
        return ResourceCounts(entries: result)
    }
}

extension ResourceCounts: Codable, CustomStringConvertible {
    /// `fpga=2, tape=1`.
    package var description: String { entries.map { "\($0.name)=\($0.count)" }.joined(separator: ", ") }

    package init(from decoder: any Decoder) throws {
        let counts = try decoder.singleValueContainer().decode([ResourceName: Int64].self)
        if let wrong = counts.keys.sorted().first(where: { !(0...Self.largest).contains(counts[$0] ?? 0) }) {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "\(wrong) must be a whole number from 0 to \(Self.largest)"))
        }
        self.init(counts)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0.count) }))
    }
}

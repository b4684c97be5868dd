// Rows by key that can be walked in order of their keys only, so that no hash order leaks into a decision.
// Nothing here knows what a row means.

/// Rows by id. Reading and changing one costs O(1), without copying it; walking goes in order of the ids.
struct Table<ID: Hashable & Comparable & Sendable, Row: Sendable>: Sendable {
    private var places: [ID: Int] = [:]  // allowed: private; whoever walks goes through `order`
    private var rows: [Row?] = []
    private var vacant: [Int] = []
    /// Every id of `places`, ascending, and `removed` ids that are no longer there.
    private var order: [ID] = []
    private var removed = 0

    var count: Int { places.count }
    var isEmpty: Bool { places.isEmpty }

    func contains(_ id: ID) -> Bool { places[id] != nil }

    /// The row of `id`, changed in place. Rows come by ``insert(_:for:)`` and go by ``remove(_:)``, not by assignment.
    subscript(id: ID) -> Row? {
        _read {
            if let place = places[id] { yield rows[place] } else { yield nil }
        }
        _modify {
            if let place = places[id] {
                yield &rows[place]
                precondition(rows[place] != nil, "rows go by remove")
            } else {
                var none: Row?
                yield &none
                precondition(none == nil, "rows come by insert")
            }
        }
    }

    /// All ids, ascending: a copy, so the table may change during a walk.
    var ids: [ID] { removed == 0 ? order : order.filter { contains($0) } }

    /// How many ids come before this one. Exact in a table that nothing was removed from.
    func position(of id: ID) -> Int { firstPosition(notBefore: id) }

    /// - Precondition: there is no row of this id.
    mutating func insert(_ row: Row, for id: ID) {
        let place = vacant.popLast() ?? rows.count
        if place == rows.count { rows.append(row) } else { rows[place] = row }
        let previous = places.updateValue(place, forKey: id)
        precondition(previous == nil, "an id is inserted once")
        guard let last = order.last, !(last < id) else { return order.append(id) }
        let position = firstPosition(notBefore: id)
        if order[position] == id {
            removed -= 1
        } else {
            order.insert(id, at: position)
        }
    }

    @discardableResult
    mutating func remove(_ id: ID) -> Row? {
        guard let place = places.removeValue(forKey: id) else { return nil }
        let row = rows[place].take()
        vacant.append(place)
        if order.last == id {
            order.removeLast()
        } else {
            removed += 1
            if removed > places.count + 16 { compact() }
        }
        return row
    }

    private mutating func compact() {
        order = ids
        removed = 0
    }

    private func firstPosition(notBefore id: ID) -> Int {
        var low = 0
        var high = order.count
        while low < high {
            let middle = low + (high - low) / 2
            if order[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Values by key that cannot be walked at all.
struct Index<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private var values: [Key: Value] = [:]  // allowed: private and never walked
    subscript(key: Key) -> Value? {
        get { values[key] }
        set { values[key] = newValue }
    }
    var count: Int { values.count }
}

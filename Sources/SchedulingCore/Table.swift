// Rows by key that can be walked in order of their keys only, so that no hash order leaks into a decision.
// Nothing here knows what a row means.

/// Rows by id. Reading and changing one costs O(1), without copying it; walking goes in order of the ids.
struct Table<ID: Hashable & Comparable & Sendable, Row: Sendable>: Sendable {
    private struct Entry {
        let id: ID
        let place: Int
    }

    private var places: [ID: Int] = [:]  // allowed: private; whoever walks goes through `order`
    private var rows = Rows<Row?>()
    /// Whose row stands in a place; nil: it is vacant.
    private var holders: [ID?] = []
    private var vacant: [Int] = []
    /// Every id of `places`, ascending, and `removed` entries that no longer hold.
    private var order: [Entry] = []
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

    /// What `body` finds in a row; nil: there is none. Where it is looked at for every task: `table[id]?.part` would
    /// copy the row.
    func read<Value>(_ id: ID, _ body: (Row) -> Value) -> Value? {
        guard let place = places[id], rows[place] != nil else { return nil }
        return body(rows[place]!)
    }

    /// Every row with its id, ascending, without copying them.
    func readAll(_ body: (ID, Row) -> Void) {
        for entry in order where holders[entry.place] == entry.id && rows[entry.place] != nil {
            body(entry.id, rows[entry.place]!)
        }
    }

    /// All ids, ascending: a copy, so the table may change during a walk.
    var ids: [ID] { removed == 0 ? order.map(\.id) : held.map(\.id) }

    private var held: [Entry] { order.filter { holders[$0.place] == $0.id } }

    /// How many ids come before this one. Exact in a table that nothing was removed from.
    func position(of id: ID) -> Int { firstPosition(notBefore: id) }

    /// - Precondition: there is no row of this id.
    mutating func insert(_ row: Row, for id: ID) {
        let place = vacant.popLast() ?? rows.count
        if place == rows.count {
            rows.append(row)
            holders.append(id)
        } else {
            rows[place] = row
            holders[place] = id
        }
        let previous = places.updateValue(place, forKey: id)
        precondition(previous == nil, "an id is inserted once")
        let entry = Entry(id: id, place: place)
        guard let last = order.last, !(last.id < id) else { return order.append(entry) }
        let position = firstPosition(notBefore: id)
        if order[position].id == id {
            order[position] = entry
            removed -= 1
        } else {
            order.insert(entry, at: position)
        }
    }

    @discardableResult
    mutating func remove(_ id: ID) -> Row? {
        guard let place = places.removeValue(forKey: id) else { return nil }
        let row = rows[place].take()
        holders[place] = nil
        vacant.append(place)
        if order.last?.id == id {
            order.removeLast()
        } else {
            removed += 1
            if removed > places.count + 16 { compact() }
        }
        return row
    }

    private mutating func compact() {
        order = held
        removed = 0
    }

    private func firstPosition(notBefore id: ID) -> Int { order.firstPlace { $0.id >= id } }
}

extension Array {
    /// Where those begin that are `reached`, or the end, found by halving: the array is in such an order that all
    /// others stand before them.
    @inline(__always)
    func firstPlace(where reached: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if reached(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Rows by place, each in a box of its own, so that reading or changing a part of one moves nothing else.
struct Rows<Row: Sendable>: Sendable, RandomAccessCollection {
    private var boxes: [Box<Row>] = []

    var startIndex: Int { 0 }
    var endIndex: Int { boxes.count }

    subscript(place: Int) -> Row {
        _read { yield boxes[place].row }
        _modify {
            // A copy of the rows may look at the same box.
            if !isKnownUniquelyReferenced(&boxes[place]) { boxes[place] = Box(boxes[place].row) }
            yield &boxes[place].row
        }
    }

    mutating func append(_ row: Row) { boxes.append(Box(row)) }
}

/// A value that is passed on without being moved. ``Rows`` changes one only while nobody else has it.
final class Box<Row: Sendable>: @unchecked Sendable {  // allowed: copied when it is written, as an array's storage is
    @exclusivity(unchecked) fileprivate(set) var row: Row
    init(_ row: Row) { self.row = row }
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

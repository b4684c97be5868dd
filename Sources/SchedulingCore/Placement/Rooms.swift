// What every worker has free, in one flat book that is ordered for the question of placement: which is the fullest
// worker that still has this much room? Asking costs what stands between the first worker with enough cpus and the
// answer, not all workers. Invariant: agrees with `Worker.room` and `Worker.takesWork` between two calls.
//
// Filling the fullest worker first leaves whole workers free for large tasks. Ties go to the first by name.
import JobModel

struct Rooms: Sendable {
    private struct Entry {
        let cpus: Int64
        let slot: Int
    }

    /// By slot.
    private(set) var free: [Amounts] = []
    private(set) var isOpen: [Bool] = []
    /// A worker's place in the order of names, by slot.
    private var ranks: [Int] = []
    /// Open workers by free cpus, then by name.
    private var order: [Entry] = []
    /// Workers that got more room since the last pass, each once.
    private(set) var grown: [Int] = []
    private var hasGrown: [Bool] = []

    /// A new worker, closed. `rank`: how many names come before its own.
    mutating func add(rank: Int) {
        for slot in ranks.indices where ranks[slot] >= rank { ranks[slot] += 1 }
        free.append(.none)
        isOpen.append(false)
        ranks.append(rank)
        hasGrown.append(false)
    }

    /// Returns whether the worker can take what it could not before.
    mutating func update(_ slot: Int, _ room: Amounts, isOpen nowOpen: Bool) -> Bool {
        let (before, wasOpen) = (free[slot], isOpen[slot])
        guard room != before || nowOpen != wasOpen else { return false }
        if wasOpen, !nowOpen || room.cpus != before.cpus { order.remove(at: position(of: slot, before.cpus)) }
        free[slot] = room
        isOpen[slot] = nowOpen
        if nowOpen, !wasOpen || room.cpus != before.cpus {
            order.insert(Entry(cpus: room.cpus, slot: slot), at: position(of: slot, room.cpus))
        }
        guard nowOpen, !wasOpen || !room.fit(in: before) else { return false }
        if !hasGrown[slot] {
            hasGrown[slot] = true
            grown.append(slot)
        }
        return true
    }

    mutating func forgetGrown() {
        for slot in grown { hasGrown[slot] = false }
        grown.removeAll(keepingCapacity: true)
    }

    /// The fullest open worker that has this room and passes the check.
    func fullest(with amounts: Amounts, where check: (Int) -> Bool) -> Int? {
        var place = firstPosition(cpus: amounts.cpus)
        while place < order.count {
            let slot = order[place].slot
            if amounts.fit(in: free[slot]), check(slot) { return slot }
            place += 1
        }
        return nil
    }

    /// Open workers, the emptiest first, until `body` says that it has seen enough.
    func emptiestFirst(_ body: (Int) -> Bool) {
        for entry in order.reversed() where !body(entry.slot) { return }
    }

    func has(_ amounts: Amounts, on slot: Int) -> Bool { isOpen[slot] && amounts.fit(in: free[slot]) }

    /// Whether every open worker stands in the order once, where it belongs. For the invariants.
    var isInOrder: Bool {
        order.count == isOpen.count { $0 }
            && zip(order, order.dropFirst()).allSatisfy { isBefore($0, $1.slot, $1.cpus) }
            && order.allSatisfy { isOpen[$0.slot] && free[$0.slot].cpus == $0.cpus }
    }

    private func isBefore(_ entry: Entry, _ slot: Int, _ cpus: Int64) -> Bool {
        entry.cpus == cpus ? ranks[entry.slot] < ranks[slot] : entry.cpus < cpus
    }

    private func position(of slot: Int, _ cpus: Int64) -> Int {
        var (low, high) = (0, order.count)
        while low < high {
            let middle = (low + high) / 2
            if isBefore(order[middle], slot, cpus) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func firstPosition(cpus: Int64) -> Int {
        var (low, high) = (0, order.count)
        while low < high {
            let middle = (low + high) / 2
            if order[middle].cpus < cpus { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

// What every worker has free, in one flat book that is ordered for the question of placement: which is the fullest
// worker that still has this much room? Open workers stand by free cpus in blocks, and a block knows the most that any
// of it has free: asking costs a look at each block and into those that might have the answer, not all workers.
// Invariant: agrees with `Worker.room` and `Worker.takesWork` between two calls.
//
// Filling the fullest worker first leaves whole workers free for large tasks. Ties go to the first by name.
import JobModel

struct Rooms: Sendable {
    private struct Entry {
        let cpus: Int64
        let slot: Int
    }

    private struct Block {
        var entries: [Entry]
        /// The most memory and GPUs that any of them has free.
        var memory: Int64
        var gpus: Int
        /// The most cpus: those of the last.
        var cpus: Int64
    }

    /// A block that grows beyond this is cut in two.
    private static let blockSize = 64

    /// By slot.
    private(set) var free: [Amounts] = []
    private(set) var isOpen: [Bool] = []
    /// A worker's place in the order of names, by slot.
    private var ranks: [Int] = []
    /// Open workers by free cpus, then by name. No block is empty.
    private var blocks: [Block] = []
    /// Workers that got more room since the last pass, each once.
    private(set) var grown: [Int] = []
    private var hasGrown: [Bool] = []

    /// A new worker, closed. `rank`: how many names come before its own.
    mutating func add(rank: Int) {
        if rank < ranks.count { for slot in ranks.indices where ranks[slot] >= rank { ranks[slot] += 1 } }
        free.append(.none)
        isOpen.append(false)
        ranks.append(rank)
        hasGrown.append(false)
    }

    /// Returns whether the worker can take what it could not before.
    mutating func update(_ slot: Int, _ room: Amounts, isOpen nowOpen: Bool) -> Bool {
        let (before, wasOpen) = (free[slot], isOpen[slot])
        guard room != before || nowOpen != wasOpen else { return false }
        if wasOpen { remove(slot, before.cpus) }
        free[slot] = room
        isOpen[slot] = nowOpen
        if nowOpen { insert(slot, room.cpus) }
        guard nowOpen, !wasOpen || !room.fit(in: before) else { return false }
        noteGrown(slot)
        return true
    }

    /// The next pass looks at this worker as at one that got more room.
    mutating func noteGrown(_ slot: Int) {
        guard !hasGrown[slot] else { return }
        hasGrown[slot] = true
        grown.append(slot)
    }

    mutating func forgetGrown() {
        for slot in grown { hasGrown[slot] = false }
        grown.removeAll(keepingCapacity: true)
    }

    /// The fullest open worker that has this room and passes the check.
    func fullest(with amounts: Amounts, where check: (Int) -> Bool) -> Int? {
        for place in blocks.firstPlace(where: { $0.cpus >= amounts.cpus })..<blocks.count {
            guard amounts.memory <= blocks[place].memory, amounts.gpus <= blocks[place].gpus else { continue }
            for entry in blocks[place].entries
            where amounts.fit(in: free[entry.slot]) && check(entry.slot) {
                return entry.slot
            }
        }
        return nil
    }

    /// Open workers, the emptiest first, until `body` says that it has seen enough.
    func emptiestFirst(_ body: (Int) -> Bool) {
        for block in blocks.reversed() {
            for entry in block.entries.reversed() where !body(entry.slot) { return }
        }
    }

    func has(_ amounts: Amounts, on slot: Int) -> Bool { isOpen[slot] && amounts.fit(in: free[slot]) }

    /// Whether every open worker stands in the order once, where it belongs. For the invariants.
    var isInOrder: Bool {
        let order = blocks.flatMap(\.entries)
        return order.count == isOpen.count { $0 }
            && zip(order, order.dropFirst()).allSatisfy { isBefore($0, $1.slot, $1.cpus) }
            && order.allSatisfy { isOpen[$0.slot] && free[$0.slot].cpus == $0.cpus }
            && blocks.allSatisfy { block in
                let rooms = block.entries.map { free[$0.slot] }
                return rooms.map(\.memory).max() == block.memory && rooms.map(\.gpus).max() == block.gpus
                    && rooms.last?.cpus == block.cpus
            }
    }

    // MARK: the order

    private mutating func insert(_ slot: Int, _ cpus: Int64) {
        let entry = Entry(cpus: cpus, slot: slot)
        guard !blocks.isEmpty else {
            return blocks.append(Block(entries: [entry], memory: free[slot].memory, gpus: free[slot].gpus, cpus: cpus))
        }
        let place = min(block(of: slot, cpus), blocks.count - 1)
        blocks[place].entries.insert(entry, at: position(of: slot, cpus, in: place))
        blocks[place].memory = max(blocks[place].memory, free[slot].memory)
        blocks[place].gpus = max(blocks[place].gpus, free[slot].gpus)
        blocks[place].cpus = max(blocks[place].cpus, cpus)
        guard blocks[place].entries.count > Self.blockSize else { return }
        let half = Array(blocks[place].entries[(Self.blockSize / 2)...])
        blocks[place].entries.removeLast(half.count)
        blocks.insert(Block(entries: half, memory: 0, gpus: 0, cpus: 0), at: place + 1)
        measure(place)
        measure(place + 1)
    }

    private mutating func remove(_ slot: Int, _ cpus: Int64) {
        let place = block(of: slot, cpus)
        blocks[place].entries.remove(at: position(of: slot, cpus, in: place))
        if blocks[place].entries.isEmpty { blocks.remove(at: place) } else { measure(place) }
    }

    private mutating func measure(_ place: Int) {
        let entries = blocks[place].entries
        blocks[place].cpus = entries[entries.count - 1].cpus
        blocks[place].memory = entries.reduce(.min) { max($0, free[$1.slot].memory) }
        blocks[place].gpus = entries.reduce(.min) { max($0, free[$1.slot].gpus) }
    }

    private func isBefore(_ entry: Entry, _ slot: Int, _ cpus: Int64) -> Bool {
        entry.cpus == cpus ? ranks[entry.slot] < ranks[slot] : entry.cpus < cpus
    }

    /// The first block whose last does not come before this one.
    private func block(of slot: Int, _ cpus: Int64) -> Int {
        blocks.firstPlace { block in !isBefore(block.entries[block.entries.count - 1], slot, cpus) }
    }

    private func position(of slot: Int, _ cpus: Int64, in place: Int) -> Int {
        blocks[place].entries.firstPlace { !isBefore($0, slot, cpus) }
    }
}

// Jobs with equal requirements form a class: what fits one fits all. A pass then costs what the classes and the workers
// cost, however many tasks wait; and a worker that comes or goes touches jobs only where a class's verdict changes.
import HeapModule
import JobModel

/// Higher priority first, then submission order.
struct QueueKey: Comparable, Hashable, Sendable {
    let priority: Int
    let job: JobID

    static func < (a: QueueKey, b: QueueKey) -> Bool {
        a.priority == b.priority ? a.job < b.job : a.priority > b.priority
    }
}

struct SchedulingClass: Sendable {
    let requirement: Requirement
    /// Every runnable job of the class, and some that no longer are: those go when they reach the front.
    var queue = Heap<QueueKey>()
    /// Every job of the class that is not finished, ascending, and some that are.
    var members: [JobID] = []
    var memberCount = 0
    /// Workers that are not lost and could take a task when empty, in order of their names.
    var eligible: [Int] = []
    /// Why there is no such worker.
    var shortfall: String?
    /// Nothing fitted when `Cluster.roomVersion` had this value.
    var blockedAt: Int64 = 0
}

struct SchedulingClasses: Sendable {
    var rows: [SchedulingClass] = []
    /// After a restart: the rows of jobs carry the verdicts of the last life, which knew who was lost.
    var isStale = false
    private var byRequirement = Index<Requirement, Int>()
    private var unused: [Int] = []

    func place(of requirement: Requirement) -> Int? { byRequirement[requirement] }

    mutating func add(_ row: SchedulingClass) -> Int {
        let place = unused.popLast() ?? rows.count
        if place == rows.count { rows.append(row) } else { rows[place] = row }
        byRequirement[row.requirement] = place
        return place
    }

    mutating func remove(at place: Int) {
        byRequirement[rows[place].requirement] = nil
        rows[place].queue = []
        rows[place].members = []
        unused.append(place)
    }
}

extension Cluster {
    /// Puts a new job into its class. Ids rise, so `members` stays in order.
    mutating func join(_ requirement: Requirement, _ id: JobID) -> Int {
        let place = classes.place(of: requirement) ?? classes.add(newClass(requirement))
        classes.rows[place].members.append(id)
        classes.rows[place].memberCount += 1
        return place
    }

    mutating func leave(_ place: Int) {
        classes.rows[place].memberCount -= 1
        let count = classes.rows[place].memberCount
        if count == 0 { return classes.remove(at: place) }
        guard classes.rows[place].members.count > 2 * count + 16 else { return }
        classes.rows[place].members = classes.rows[place].members.filter { jobs.contains($0) }
    }

    private func newClass(_ requirement: Requirement) -> SchedulingClass {
        var row = SchedulingClass(requirement: requirement)
        for name in slots.ids {
            guard let slot = slots[name], isEligible(slot, for: requirement) else { continue }
            row.eligible.append(slot)
        }
        row.shortfall = row.eligible.isEmpty ? shortfall(of: requirement) : nil
        return row
    }

    func isEligible(_ slot: Int, for requirement: Requirement) -> Bool {
        !workers[slot].isLost && requirement.couldBeMet(by: workers[slot].registration)
    }

    /// Looks again at the workers that changed, for each class; at a class's jobs only if its verdict changed.
    mutating func refreshClasses() {
        guard !changedWorkers.isEmpty || classes.isStale else { return }
        for place in classes.rows.indices where classes.rows[place].memberCount > 0 {
            for slot in changedWorkers { refreshEligibility(of: slot, in: place) }
            let sentence = classes.rows[place].eligible.isEmpty ? shortfall(of: classes.rows[place].requirement) : nil
            guard classes.isStale || sentence != classes.rows[place].shortfall else { continue }
            classes.rows[place].shortfall = sentence
            for id in classes.rows[place].members { reconsider(id) }
        }
        changedWorkers.removeAll(keepingCapacity: true)
        classes.isStale = false
    }

    private mutating func refreshEligibility(of slot: Int, in place: Int) {
        let isEligible = isEligible(slot, for: classes.rows[place].requirement)
        let known = classes.rows[place].eligible.firstIndex(of: slot)
        if let known, !isEligible {
            classes.rows[place].eligible.remove(at: known)
        } else if known == nil, isEligible {
            let name = workers[slot].name
            let eligible = classes.rows[place].eligible
            classes.rows[place].eligible.insert(
                slot, at: eligible.firstIndex { name < workers[$0].name } ?? eligible.count)
        }
    }
}

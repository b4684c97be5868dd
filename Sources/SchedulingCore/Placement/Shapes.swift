// Jobs with equal requirements have one shape, workers with equal registrations are of one kind: whether a shape could
// ever run on a worker is found out once for a shape and a kind. A worker that comes or goes touches jobs only where a
// shape's verdict changes.
import JobModel

struct Shape: Sendable {
    let requirement: Requirement
    /// Every job of the shape that is not finished, ascending, and some that are.
    var members: [JobID] = []
    var memberCount = 0
    /// By kind: whether its workers could take a task when empty.
    var fits: [Bool] = []
    /// How many of these have workers that take work.
    var openKinds = 0
    /// Why no present worker could.
    var shortfall: String?
}

/// Workers that registered the same, but for their addresses.
struct WorkerKind: Sendable {
    let registration: WorkerRegistration
    let capacity: Amounts
    var count = 0
    /// Those that are not lost.
    var present = 0
    /// Those that take work.
    var open = 0
}

struct Shapes: Sendable {
    var rows: [Shape] = []
    private(set) var kinds: [WorkerKind] = []
    /// After a restart: the rows of jobs carry the verdicts of the last life, which knew who was lost.
    var isStale = false
    /// A kind came, or its last present worker went, or its first came back.
    var kindsChanged = false
    private var byRequirement = Index<Requirement, Int>()
    private var unused: [Int] = []
    private var byRegistration = Index<WorkerRegistration, Int>()
    private var unusedKinds: [Int] = []

    /// The shape's place; made if it is new.
    mutating func open(_ requirement: Requirement) -> Int {
        if let place = byRequirement[requirement] { return place }
        var row = Shape(requirement: requirement)
        row.fits = kinds.map { $0.count > 0 && requirement.couldBeMet(by: $0.registration) }
        row.openKinds = kinds.indices.count { kinds[$0].open > 0 && row.fits[$0] }
        let place = unused.popLast() ?? rows.count
        if place == rows.count { rows.append(row) } else { rows[place] = row }
        byRequirement[requirement] = place
        return place
    }

    mutating func remove(_ place: Int) {
        byRequirement[rows[place].requirement] = nil
        rows[place].members = []
        unused.append(place)
    }

    func couldRun(_ shape: Int, onKind kind: Int) -> Bool { rows[shape].fits[kind] }

    func hasPresentKind(_ shape: Int) -> Bool {
        kinds.indices.contains { kinds[$0].present > 0 && rows[shape].fits[$0] }
    }

    func hasOpenKind(_ shape: Int) -> Bool { rows[shape].openKinds > 0 }

    mutating func setOpen(_ isOpen: Bool, ofKind kind: Int) {
        kinds[kind].open += isOpen ? 1 : -1
        guard kinds[kind].open == (isOpen ? 1 : 0) else { return }
        for shape in rows.indices where rows[shape].fits[kind] { rows[shape].openKinds += isOpen ? 1 : -1 }
    }

    /// The kind of one more worker; made if it is new. The worker is not present yet.
    mutating func addWorker(_ registration: WorkerRegistration) -> Int {
        let key = registration.withoutAddress
        let kind = byRegistration[key] ?? addKind(key)
        kinds[kind].count += 1
        return kind
    }

    mutating func removeWorker(ofKind kind: Int) {
        kinds[kind].count -= 1
        guard kinds[kind].count == 0 else { return }
        byRegistration[kinds[kind].registration] = nil
        unusedKinds.append(kind)
    }

    mutating func setPresent(_ isPresent: Bool, ofKind kind: Int) {
        kinds[kind].present += isPresent ? 1 : -1
        if kinds[kind].present == (isPresent ? 1 : 0) { kindsChanged = true }
    }

    private mutating func addKind(_ registration: WorkerRegistration) -> Int {
        let row = WorkerKind(registration: registration, capacity: Amounts(registration))
        let kind = unusedKinds.popLast() ?? kinds.count
        if kind == kinds.count { kinds.append(row) } else { kinds[kind] = row }
        byRegistration[registration] = kind
        for place in rows.indices {
            let fits = rows[place].memberCount > 0 && rows[place].requirement.couldBeMet(by: registration)
            if kind == rows[place].fits.count { rows[place].fits.append(fits) } else { rows[place].fits[kind] = fits }
        }
        return kind
    }
}

extension Cluster {
    /// Puts a new job into its shape. Ids rise, so `members` stays in order.
    mutating func joinShape(_ requirement: Requirement, _ id: JobID) -> Int {
        let place = shapes.open(requirement)
        if shapes.rows[place].memberCount == 0 { shapes.rows[place].shortfall = verdict(on: place) }
        shapes.rows[place].members.append(id)
        shapes.rows[place].memberCount += 1
        return place
    }

    mutating func leaveShape(_ place: Int) {
        shapes.rows[place].memberCount -= 1
        let count = shapes.rows[place].memberCount
        if count == 0 { return shapes.remove(place) }
        guard shapes.rows[place].members.count > 2 * count + 16 else { return }
        shapes.rows[place].members = shapes.rows[place].members.filter { jobs.contains($0) }
    }

    /// Whether a task of the shape could ever run on this worker.
    func couldRun(_ shape: Int, on slot: Int) -> Bool {
        !workers[slot].isLost && shapes.couldRun(shape, onKind: workers[slot].kind)
    }

    func verdict(on shape: Int) -> String? {
        shapes.hasPresentKind(shape) ? nil : shortfall(of: shapes.rows[shape].requirement)
    }

    /// Looks at each shape when kinds of workers changed; at a shape's jobs only if its verdict changed.
    mutating func refreshShapes() {
        guard shapes.kindsChanged || shapes.isStale else { return }
        for place in shapes.rows.indices where shapes.rows[place].memberCount > 0 {
            let sentence = verdict(on: place)
            guard shapes.isStale || sentence != shapes.rows[place].shortfall else { continue }
            shapes.rows[place].shortfall = sentence
            for id in shapes.rows[place].members { reconsider(id) }
        }
        shapes.kindsChanged = false
        shapes.isStale = false
    }

    // MARK: workers

    /// The worker's registration or presence, room or readiness may have changed: every book follows.
    mutating func workerChanged(_ slot: Int) {
        if workers[slot].isCounted == workers[slot].isLost {
            workers[slot].isCounted.toggle()
            shapes.setPresent(workers[slot].isCounted, ofKind: workers[slot].kind)
        }
        if rooms.isOpen[slot] != workers[slot].takesWork {
            shapes.setOpen(workers[slot].takesWork, ofKind: workers[slot].kind)
        }
        if rooms.update(slot, workers[slot].room, isOpen: workers[slot].takesWork) { needsPlacement = true }
        if reservation?.keeps(slot) == true, !workers[slot].takesWork { needsPlacement = true }
    }

    mutating func setKind(of slot: Int) {
        let old = workers[slot].kind
        if rooms.isOpen[slot] { shapes.setOpen(false, ofKind: old) }
        if workers[slot].isCounted { shapes.setPresent(false, ofKind: old) }
        workers[slot].kind = shapes.addWorker(workers[slot].registration)
        shapes.removeWorker(ofKind: old)
        if workers[slot].isCounted { shapes.setPresent(true, ofKind: workers[slot].kind) }
        if rooms.isOpen[slot] { shapes.setOpen(true, ofKind: workers[slot].kind) }
        // What it could not take before, it may be able to now, with no more room than it had.
        unblockAllClasses()
    }
}

// One worker as the scheduler sees it: its row, its attempts, what is reserved, and its calls.
// Invariant: `used` is the sum over `attempts`, and `freeGPUs` are the registered ones that none of them holds.
import JobModel

struct Worker: Sendable {
    let name: WorkerName
    /// Its place in `Shapes.kinds`.
    var kind: Int
    /// It counts among the present ones of its kind.
    var isCounted = false
    var registration: WorkerRegistration
    var isDraining: Bool
    /// What was said when it was drained.
    var drain: DrainOrder
    /// Uptime at which what still runs is stopped because the worker is drained; nil: never, or it was.
    var drainDue: Int64?
    private(set) var capacity: Amounts
    private(set) var used = Amounts.none
    /// Capacity minus what is used; nothing fits into it while one task has the whole worker.
    private(set) var room: Amounts
    /// A task runs here that shares the worker with nobody.
    private(set) var isTakenWhole = false
    /// Lowest first.
    private(set) var freeGPUs: [String]
    /// When its attempts are expected to end, the earliest first.
    private(set) var releases: [Release] = []
    /// Attempts that have not ended.
    var attempts = Table<AttemptID, Attempt>()

    /// The life of the agent that speaks; nil before the first call since the scheduler started.
    var incarnation: String?
    /// What a life of the agent that is not yet taken for the living one was told to show.
    var challenge: Challenge?
    /// Earlier lives, whose calls are refused.
    var pastIncarnations: [String] = []
    /// Of the newest call that was taken.
    var sequence: Int64 = 0
    /// This life has sent its registration.
    var isRegistered = false
    /// Counts the calls that were taken, across lives.
    var calls: Int64 = 0
    var call: ParkedCall?
    var sessions = SessionNews.none
    /// In order of their digests.
    var images: [Digest] = []
    /// Reservations that cover it, in order of their starts.
    var windows: [AdvanceReservation] = []
    /// What it has beside `attempts`: ended ones that it has not forgotten, and those that should not be.
    var strangers = Table<AttemptID, Stranger>()
    /// One of the strangers has not ended.
    var runsStrangers = false

    /// Uptime of the last sign of life.
    var lastContact: Int64
    var lastSeen: Timestamp?
    /// Uptime from which its attempts are given up, unless it was answered since.
    var leaseEnds: Int64
    var isUnreachable = false
    var isLost = false
    /// When its earliest timer is due.
    var armedAt = Int64.max

    init(_ row: WorkerRow, kind: Int, at now: Instant, leaseEnds: Int64) {
        self.kind = kind
        name = row.name
        registration = row.registration
        isDraining = row.isDraining
        drain = row.drain
        drainDue = row.isDraining ? row.drain.due(at: now) : nil
        capacity = Amounts(row.registration)
        room = capacity
        freeGPUs = gpuIdentities(row.registration.gpus)
        lastContact = now.uptime
        self.leaseEnds = leaseEnds
    }

    var row: WorkerRow { WorkerRow(name: name, registration: registration, isDraining: isDraining, drain: drain) }

    /// What was given up and still runs holds room that nobody counts: nothing new until it is gone.
    var takesWork: Bool { isRegistered && !isDraining && !isUnreachable && !isLost && !runsStrangers }

    var state: WorkerState {
        if isLost { return .lost }
        if isUnreachable || incarnation == nil { return .unreachable }
        if isDraining { return attempts.isEmpty ? .drained : .draining }
        return .ready
    }

    /// Its state, and why an administrator drained it.
    var condition: String { state.rawValue + (isDraining ? drain.reason.map { ": \($0)" } ?? "" : "") }

    mutating func register(_ new: WorkerRegistration) {
        registration = new
        capacity = Amounts(new)
        let held = attempts.ids.flatMap { attempts[$0]?.row.gpus ?? [] }
        freeGPUs = gpuIdentities(new.gpus).filter { !held.contains($0) }
        refreshRoom()
    }

    /// Capacity minus what is used, even while one task has the whole worker.
    var left: Amounts {
        var left = capacity - used
        left.gpus = freeGPUs.count
        return left
    }

    private mutating func refreshRoom() {
        room = left
        if isTakenWhole { room.cpus = min(room.cpus, -1) }
    }

    /// Takes `amounts` of the room, and the lowest free GPUs.
    mutating func reserve(_ amounts: Amounts, whole: Bool = false, until end: Int64) -> [String] {
        isTakenWhole = isTakenWhole || whole
        let gpus = Array(freeGPUs.prefix(amounts.gpus))
        freeGPUs.removeFirst(gpus.count)
        used = used + amounts
        refreshRoom()
        addRelease(Release(end: end, amounts: amounts))
        return gpus
    }

    private mutating func addRelease(_ release: Release) {
        releases.insert(release, at: firstRelease(after: release.end))
    }

    private mutating func removeRelease(of attempt: Attempt) {
        let release = Release(end: attempt.expectedEnd, amounts: attempt.amounts)
        var place = firstRelease(after: release.end)
        while place > 0, releases[place - 1].end == release.end {
            place -= 1
            if releases[place].amounts == release.amounts {
                releases.remove(at: place)
                return
            }
        }
    }

    private func firstRelease(after end: Int64) -> Int { releases.firstPlace { $0.end > end } }

    /// An attempt is expected to end at another time.
    mutating func expect(_ id: AttemptID, until end: Int64) {
        guard let attempt = attempts[id], attempt.expectedEnd != end else { return }
        removeRelease(of: attempt)
        addRelease(Release(end: end, amounts: attempt.amounts))
        attempts[id]?.expectedEnd = end
    }

    /// Takes what a restored attempt holds.
    mutating func reserve(_ amounts: Amounts, gpus: [String], whole: Bool, until end: Int64) {
        isTakenWhole = isTakenWhole || whole
        addRelease(Release(end: end, amounts: amounts))
        freeGPUs.removeAll { gpus.contains($0) }
        used = used + amounts
        refreshRoom()
    }

    mutating func giveBack(_ attempt: Attempt) {
        removeRelease(of: attempt)
        used = used - attempt.amounts
        isTakenWhole = isTakenWhole && !attempt.isWhole
        if !attempt.row.gpus.isEmpty {
            let registered = gpuIdentities(registration.gpus)
            let returned = attempt.row.gpus.filter { registered.contains($0) && !freeGPUs.contains($0) }
            freeGPUs = (freeGPUs + returned).sorted(by: gpuIsLower)
        }
        refreshRoom()
    }
}

/// What one life of an agent is to show.
struct Challenge: Hashable, Sendable {
    let incarnation: String
    let text: String
}

/// A call that waits for its answer.
struct ParkedCall: Hashable, Sendable {
    let incarnation: String
    let sequence: Int64
    /// Uptime at which it is answered in any case.
    let until: Int64
}

/// An attempt that a worker has and the scheduler's book of live ones does not.
struct Stranger: Hashable, Sendable {
    /// Its terminal report came: it is to be forgotten. Otherwise it is to be stopped.
    var hasEnded = false
    /// An answer has said so.
    var isTold = false
}

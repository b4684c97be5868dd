// The state of the whole cluster, and the one function that changes it: the table of contents of this folder.
// Invariant: between two calls every book agrees with every other (Invariants.swift), and what `image()` returns is
// what the changes so far would give back from disk. No clock, no dice, no I/O: time and ids come in with the events.
import HeapModule
import JobModel

package struct Cluster: Sendable {
    /// A struct with such a part is passed by its address. Without, each call of a function that changes nothing would
    /// copy all of it first.
    private let passedByAddress: any Sendable = ()

    package var policy: Policy { _read { yield boxedPolicy.row } }
    private let boxedPolicy: Box<Policy>
    /// Over every job that was ever accepted.
    package internal(set) var totals = Totals()

    // The books.
    /// Jobs that are not finished.
    var jobs = Table<JobID, Job>()
    /// The newest finished jobs, to refuse with their state.
    var finished: FinishedJobs
    /// In order of their first registration; a worker is never removed.
    var workers = Rows<Worker>()
    /// Where in `workers` a worker stands.
    var slots = Table<WorkerName, Int>()
    var accounts = Accounts()
    var shapes = Shapes()
    var classes = SchedulingClasses()
    /// By the user's place among the accounts.
    var standings: [UserStandings] = []
    var rooms = Rooms()
    var reservation: Reservation?
    /// By the worker's place: room that was made by stopping others.
    var claims = Table<Int, PreemptionClaim>()
    var licenses = Licenses()
    var reservations = Table<ReservationName, AdvanceReservation>()
    var windowTimerIsSet = false
    /// Some worker has said which images it has.
    var imagesAreKnown = false
    var images = Table<Digest, ImageWait>()
    var timers = Heap<Timer>()
    var civil = CivilTimes()

    // What changed since the last pass, so that a pass without changes costs nothing.
    var needsPlacement = false
    /// Workers that there may be something to say to.
    var attention: [Int] = []

    // What the current call leads to. Empty between calls.
    var outcome = Outcome()
    var dirtyJobs: [JobID] = []
    var endedTasks: [EndedTasks] = []
    var touchedAttempts: [(slot: Int, id: AttemptID)] = []

    package init(policy: Policy) {
        boxedPolicy = Box(policy)
        finished = FinishedJobs(limit: policy.finishedJobsRemembered)
        _ = accounts.open(.queue(.standard))
    }

    package mutating func apply(_ event: Event, at now: Instant) -> Outcome {
        accounts.begin(at: now)
        do throws(Refusal) {
            switch event {
            case .jobSubmitted(let id, let record, let imageIsStored, let hold, let known):
                let new = NewJob(id: id, record: record, imageIsStored: imageIsStored, hold: hold, known: known)
                accept(try admit(new, at: now), at: now)
            case .pipelineSubmitted(let jobs): try submit(jobs, at: now)
            case .imageStored(let digest): imageStored(digest)
            case .imageFailed(let digest, let message): imageFailed(digest, message)
            case .cancelRequested(let job): try cancel(job, at: now)
            case .requeueRequested(let job, let task): try requeue(job, task: task, at: now)
            case .extendRequested(let job, let growth): try extend(job, by: growth, at: now)
            case .closeRequested(let job): try close(job)
            case .timeLimitRequested(let job, let limit, let from):
                try changeTimeLimit(of: job, to: limit, from: from, at: now)
            case .holdRequested(let job): try hold(job, at: now)
            case .releaseRequested(let job): try release(job)
            case .workerSynced(let name, let request): try sync(name, request, at: now)
            case .drainRequested(let name, let order): try drain(name, order, at: now)
            case .resumeRequested(let name): try resume(name)
            case .sessionRequested(let attempt): try requestSession(attempt)
            case .sessionsTaken(let name): try takeSessions(name)
            case .accountSaved(let row): try save(row, at: now)
            case .accountRemoved(let id): try removeAccount(id, at: now)
            case .licenseSaved(let row): save(row)
            case .licenseRemoved(let name): try removeLicense(name)
            case .reservationSaved(let reservation): try save(reservation, at: now)
            case .reservationRemoved(let name): try removeReservation(name, at: now)
            case .timeAdvanced: fireTimers(at: now)
            }
        } catch {
            outcome.reply = .refused(error)
        }
        return settle(at: now)
    }

    /// Places pending tasks on workers and answers parked calls. Called once after the events of a batch.
    package mutating func schedule(at now: Instant) -> Outcome {
        accounts.begin(at: now)
        fireTimers(at: now)
        // What ended by time alone may let others start in this pass.
        settleJobs(at: now)
        refreshShapes()
        place(at: now)
        // What was stopped before it had begun waits again, and room that was claimed may be left over.
        for _ in 0..<3 where needsPlacement { place(at: now) }
        answerCalls(at: now)
        return settle(at: now)
    }

    /// When a timer is due next, in the uptime of ``Instant``: nothing changes by itself before. May be early, never
    /// late.
    package var nextDeadline: Int64? { timers.min?.due }

    /// Writes down what the call changed, and hands it out.
    private mutating func settle(at now: Instant) -> Outcome {
        for (slot, id) in touchedAttempts {
            if let row = workers[slot].attempts[id]?.settle() { outcome.changes.append(.attempt(row)) }
        }
        touchedAttempts.removeAll(keepingCapacity: true)
        settleJobs(at: now)
        let result = outcome
        outcome = Outcome()
        return result
    }
}

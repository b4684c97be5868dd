// The world's state and its clock: happenings in order of time. What agents do stands in World+Agents.swift, what users
// do in World+Users.swift, how the scheduler steps, crashes and starts in World+Scheduler.swift.
import Foundation
import JobModel
import Scheduler
import SchedulingCore

/// Something that happens at a time.
enum Happening {
    case schedulerSteps
    case schedulerStarts
    case agentCalls(Int, incarnation: String)
    case callTimesOut(Int, incarnation: String, sequence: Int64)
    case requestArrives(Int, SyncRequest, isEcho: Bool)
    /// Nil: the call failed.
    case answerArrives(Int, incarnation: String, sequence: Int64, SyncOrders?)
    case containerExits(Int, AttemptID, host: Int)
    case containerIsKilled(Int, AttemptID, host: Int)
    case outputIsPublished(Int, AttemptID, incarnation: String)
    case leaseIsChecked(Int)
    case agentNotices(Int)
    case agentStarts(Int)
    case fault
    case userSubmits(Int)
    case userActs
    case userExtends(Int)
    case imageArrives(Digest)
    case administratorActs

    /// The agent without which it cannot happen: while that stands still, it waits.
    var needsAgent: Int? {
        switch self {
        case .agentCalls(let agent, _), .callTimesOut(let agent, _, _), .answerArrives(let agent, _, _, _),
            .containerIsKilled(let agent, _, _), .outputIsPublished(let agent, _, _), .agentNotices(let agent):
            agent
        default: nil
        }
    }
}

/// An envelope on its way to the scheduler, and who waits for the reply.
struct Mail {
    enum Sender {
        case submission(Int)
        case cancel(JobID)
        case `extension`(Int)
        case call(Int, incarnation: String, sequence: Int64, isEcho: Bool)
        case nobody
    }
    var envelope: Envelope
    var sender: Sender
}

/// What a host runs, as it truly is.
struct Container {
    var code: Int
    let holding: Holding
    /// The exit code, once it has ended.
    var exit: Int?
    /// SIGKILL's.
    static let killed = 137
}

struct Agent {
    var worker: SimulatedWorker
    var isUp = true
    /// Counts the machines that have had this name.
    var host = 1
    var containers: [AttemptID: Container] = [:]
    var openCall: Int64?
    var callSentAt: Int64 = 0
    /// The newest call that has reached the scheduler.
    var newestArrival: (incarnation: String, sequence: Int64) = ("", 0)
    /// When the agent stops everything by itself, unless it is answered.
    var leaseEnds: Int64?
    var partitionedUntil: Int64 = 0
    /// It stands still, as after a SIGSTOP; its containers and their runners do not.
    var pausedUntil: Int64 = 0
    /// How much later than it should it thinks that a lease ends, in milliseconds.
    var drift: Int64 = 0

    /// Ends a container that has not ended by itself.
    mutating func kill(_ id: AttemptID) {
        if let container = containers[id], container.exit == nil { containers[id]?.exit = Container.killed }
    }
}

/// One submission, sent again under the same key until it is acknowledged.
struct Submission {
    var name: String
    var accepted: AcceptedSubmission
    var acknowledged: JobID?
    var wasSent = false
    /// The scheduler has answered it, whether or not that arrived.
    var wasAnswered = false
    /// Of the first of a pipeline: all that are sent with it, itself being the first, and what each of them waits for.
    var members: [Int] = []
    var links: [[AcceptedPipeline.Link]] = []
    var isSentWithAnother = false
}

struct World {
    let options: SwarmOptions
    let policy = SwarmOptions.policy
    let mutant: Mutant?
    var sabotage: Sabotage
    let disk: SimulatedDisk
    /// A commit that failed: the restart shows whether it is on disk.
    var doubt: Doubt?
    let trace: (@Sendable (String) -> Void)?
    /// Where the database of this life of the scheduler lies; each life gets a copy of what the one before left on
    /// disk.
    let folder: String
    var dice: Dice
    /// What World+Placement draws from.
    var wishes: Dice
    /// For the disk alone.
    var diskDice: Dice
    /// For what jobs wait for.
    var linkDice: Dice
    /// For open arrays.
    var openDice: Dice
    /// For changed time limits.
    var limitDice: Dice
    var gangDice: Dice
    var pipelineDice: Dice
    var deadlineDice: Dice
    /// True time in milliseconds.
    private(set) var now: Int64 = 0
    var truth = Truth()
    var tally = Tally()
    var steps = 0
    var isHealing = false

    var stepper: Stepper?
    var generation = 1
    /// Uptime begins anew, somewhere else, with each life of the scheduler.
    var uptimeOffset: Int64 = 1_000_000
    var inbox: [Mail] = []
    var stepIsPlanned = false
    var schedulerPausedUntil: Int64 = 0
    /// How wrong the scheduler's wall clock is.
    var wallOffset: Int64 = 0
    var plannedWake = Int64.max

    var agents: [Agent] = []
    var submissions: [Submission] = []
    var growths: [Growth] = []
    private var agenda: [(time: Int64, order: Int, what: Happening)] = []
    private var order = 0

    init(seed: UInt64, settings: [String: Int64], mutant: Mutant?, trace: (@Sendable (String) -> Void)?, folder: String)
    {
        self.trace = trace
        dice = Dice(seed: seed)
        wishes = Dice(seed: seed ^ 0x706c_6163_656d_656e)
        diskDice = Dice(seed: ~seed)
        linkDice = Dice(seed: seed ^ 0x6a6f_6273_6861_7065)
        openDice = Dice(seed: seed ^ 0x6f70_656e_6172_7279)
        limitDice = Dice(seed: seed ^ 0x7469_6d65_6c69_6d74)
        gangDice = Dice(seed: seed ^ 0x6761_6e67_735f_5f5f)
        pipelineDice = Dice(seed: seed ^ 0x7069_7065_6c69_6e65)
        deadlineDice = Dice(seed: seed ^ 0x6465_6164_6c69_6e65)
        var drawn = SwarmOptions(&dice)
        drawn.placement = Self.placementOption(&wishes)
        drawn.gangs = Self.gangOption(&gangDice)
        drawn.pipelines = Self.pipelineOption(&pipelineDice)
        drawn.deadlines = Self.deadlineOption(&deadlineDice)
        options = drawn.setting(settings)
        self.mutant = mutant
        sabotage = Sabotage(mutant)
        disk = SimulatedDisk(folder: folder, mutant: mutant)
        self.folder = folder
    }

    var instant: Instant {
        Instant(
            uptime: now + uptimeOffset, wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000 + now + wallOffset))
    }

    // MARK: the clock

    /// Plans something; what is planned for the same time happens in order of planning.
    mutating func plan(_ what: Happening, in delay: Int64) {
        order += 1
        let time = now + max(0, delay)
        var low = 0
        var high = agenda.count
        while low < high {
            let middle = (low + high) / 2
            // The next one stands last.
            if agenda[middle].time > time { low = middle + 1 } else { high = middle }
        }
        agenda.insert((time, order, what), at: low)
    }

    /// Faults first, then healing. Returns when everything has ended.
    mutating func run(steps limit: Int) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try startScheduler()
        for number in 1...Int(options.workers) {
            var worker = SimulatedWorker(name: "w\(number)", cpus: Int(dice.roll(2...6)), endsAtOnce: false)
            offer(&worker.registration)
            var agent = Agent(worker: worker)
            let drift = policy.clockDrift.milliseconds * options.clockDrift / 1_000
            agent.drift = dice.roll(-drift...drift)
            if agent.drift != 0 { tally.count(.clockDrift) }
            agents.append(agent)
            plan(.agentCalls(number - 1, incarnation: worker.incarnation), in: dice.roll(0...500))
        }
        try setUpPlacement()
        planUsers()
        plan(.fault, in: dice.roll(500...5_000))
        while steps < limit, now < 3_600_000 { try happen() }
        try heal()
    }

    /// How long no task may end: half an hour, and so much for each job that one of each could run before.
    private static func longestWait(jobs: Int64) -> Int64 { (30 + 9 * jobs) * 60_000 }

    private mutating func heal() throws {
        isHealing = true
        var (ended, lastEnd) = (Int64(0), now)
        schedulerPausedUntil = 0
        for index in agents.indices {
            agents[index].partitionedUntil = 0
            agents[index].pausedUntil = 0
            if !agents[index].isUp { plan(.agentStarts(index), in: 0) }
        }
        for index in submissions.indices where submissions[index].acknowledged == nil {
            plan(.userSubmits(index), in: 0)
        }
        plan(.userActs, in: 0)
        if options.placement > 0 { plan(.administratorActs, in: 0) }
        while try !everythingHasEnded() {
            if let finished = stepper?.cluster.totals.tasks.finished, finished != ended {
                (ended, lastEnd) = (finished, now)
            }
            guard now < lastEnd + Self.longestWait(jobs: options.jobs) else {
                throw Violation("not everything ends after faults stop: \(whatIsLeft())")
            }
            try happen()
        }
        try checkEnd()
    }

    private mutating func happen() throws {
        guard let next = agenda.popLast() else { throw Violation("nothing is planned: everything stands still") }
        now = next.time
        trace?("\(now) \(next.what)")
        if let agent = next.what.needsAgent, agents[agent].pausedUntil > now {
            // What has waited together comes in any order.
            return plan(next.what, in: agents[agent].pausedUntil - now + dice.roll(0...20))
        }
        switch next.what {
        case .schedulerSteps: try schedulerSteps()
        case .schedulerStarts: if stepper == nil { try startScheduler() }
        case .agentCalls(let agent, let incarnation): agentCalls(agent, incarnation)
        case .callTimesOut(let agent, let incarnation, let sequence):
            callFails(agent, incarnation, sequence, isTimeout: true)
        case .requestArrives(let agent, let request, let isEcho): requestArrives(agent, request, isEcho: isEcho)
        case .answerArrives(let agent, let incarnation, let sequence, let orders):
            try answerArrives(agent, incarnation, sequence, orders)
        case .containerExits(let agent, let id, let host): containerExits(agent, id, host)
        case .containerIsKilled(let agent, let id, let host): containerIsKilled(agent, id, host)
        case .outputIsPublished(let agent, let id, let incarnation): try outputIsPublished(agent, id, incarnation)
        case .leaseIsChecked(let agent): leaseIsChecked(agent)
        case .agentNotices(let agent): agentNotices(agent)
        case .agentStarts(let agent): agentStarts(agent)
        case .fault: fault()
        case .userSubmits(let index): userSubmits(index)
        case .userActs: userActs()
        case .userExtends(let index): userExtends(index)
        case .administratorActs: administratorActs()
        case .imageArrives(let digest): post(.event(.imageStored(digest)), from: .nobody)
        }
    }

    private mutating func fault() {
        guard !isHealing else { return }
        let index = Int(dice.roll(0...Int64(agents.count - 1)))
        if dice.chance(perMille: options.agentCrashes) { agentCrashes(index) }
        if dice.chance(perMille: options.hostLosses) { hostIsLost(index) }
        if dice.chance(perMille: options.partitions) {
            tally.count(.partition)
            let end = now + dice.pick([3_000, 15_000, 90_000, 150_000])
            agents[index].partitionedUntil = max(agents[index].partitionedUntil, end)
        }
        if dice.chance(perMille: options.agentPauses) { pause(index) }
        if dice.chance(perMille: options.clockJumps) {
            tally.count(.clockJump)
            wallOffset = dice.pick([-86_400_000, -3_600_000, -5_000, 0, 5_000, 3_600_000, 86_400_000])
        }
        plan(.fault, in: dice.roll(500...5_000))
    }

    mutating func pause(_ agent: Int) {
        tally.count(.agentPause)
        let end = now + dice.pick([500, 5_000, 55_000, 70_000, 150_000])
        agents[agent].pausedUntil = max(agents[agent].pausedUntil, end)
    }

    /// Whether a message is lost on its way.
    mutating func isLost() -> Bool {
        guard !isHealing, dice.chance(perMille: options.loss) else { return false }
        tally.count(.messageLost)
        return true
    }

    /// How long a message takes.
    mutating func delay() -> Int64 { isHealing ? dice.roll(0...5) : dice.roll(0...options.delay) }

    // MARK: the end

    private func everythingHasEnded() throws -> Bool {
        guard let stepper, submissions.allSatisfy({ $0.acknowledged != nil }),
            growths.allSatisfy({ $0.isDone != nil })
        else { return false }
        return agents.allSatisfy { $0.isUp && $0.worker.attempts.isEmpty } && stepper.cluster.image().jobs.isEmpty
    }

    private func whatIsLeft() -> String {
        guard let stepper else { return "the scheduler is down" }
        let image = stepper.cluster.image()
        let jobs = image.jobs.map { "job \($0.id) \($0.progress.state) \($0.progress.reason ?? "")" }
        let kept = agents.flatMap { agent in agent.worker.attempts.keys.sorted().map { "\($0) on \(agent.worker.name)" }
        }
        let lost = submissions.filter { $0.acknowledged == nil }.map(\.name)
        return (jobs + image.attempts.map { "attempt \($0.id) \($0.state)" } + kept + lost).joined(separator: ", ")
    }

    private func checkEnd() throws {
        guard let stepper else { throw Violation("the scheduler is down at the end") }
        try compareWithStore(stepper)
        for view in stepper.cluster.workerViews() {
            guard view.live.isEmpty, view.free.cpus == view.registration.cpus else {
                throw Violation(
                    "worker \(view.name) holds something at the end: \(view.free.cpus) of \(view.registration.cpus) cpus are free"
                )
            }
        }
        try checkAcknowledged(in: stepper.store)
        var counts = Totals()
        for submission in submissions {
            let jobs = try stepper.store.jobs(JobQuery(limit: 10, name: submission.name)).jobs
            guard jobs.count == 1, let job = jobs.first else {
                throw Violation("\(submission.name) has become \(jobs.count) jobs")
            }
            guard job.state.value?.isTerminal == true, job.tasks.finished == job.tasks.total else {
                throw Violation("job \(job.id) is \(job.state) at the end: \(job.tasks)")
            }
            try checkGrowth(of: job, from: submission.accepted.record.shape)
            counts.tasks.total += job.tasks.total
            counts.tasks.succeeded += job.tasks.succeeded
            counts.tasks.failed += job.tasks.failed
            counts.tasks.cancelled += job.tasks.cancelled
        }
        guard counts.tasks == stepper.cluster.totals.tasks else {
            throw Violation("the totals are \(stepper.cluster.totals.tasks), the jobs give \(counts.tasks)")
        }
    }

    /// Removes what the history left on disk.
    mutating func end() {
        stepper = nil
        disk.forget()
        do {
            try FileManager.default.removeItem(atPath: folder)
        } catch {
            FileHandle.standardError.write(Data("\(folder) stays: \(error)\n".utf8))
        }
    }
}

// Why a job waits, in a sentence, and what would let it start. Asked with the same functions that placement decides by,
// in the order in which they decide. Costs a look at every class and worker, when somebody asks.
import JobModel

package struct WaitingReason: Hashable, Sendable {
    package var job: JobID
    package var state: JobState
    package var sentence: String
    package var factors: PriorityFactors
    package var weights: PriorityWeights
    package var priority: Int64

    package init(
        job: JobID, state: JobState, sentence: String, factors: PriorityFactors, weights: PriorityWeights,
        priority: Int64
    ) {
        self.job = job
        self.state = state
        self.sentence = sentence
        self.factors = factors
        self.weights = weights
        self.priority = priority
    }
}

extension Cluster {
    /// Nil for a job that is unknown or finished.
    package func why(_ id: JobID, at now: Instant) -> WaitingReason? {
        guard let job = jobs[id] else { return nil }
        let factors = factors(of: job, ShareTotals(self, at: now), at: now)
        return WaitingReason(
            job: id, state: job.progress.state, sentence: sentence(on: job, at: now), factors: factors,
            weights: policy.weights, priority: factors.priority(policy.weights))
    }

    func factors(of job: Job, _ totals: ShareTotals, at now: Instant) -> PriorityFactors {
        let row = classes.rows[job.classSlot]
        return PriorityFactors(
            queue: policy.queueFactor(accounts[row.queue].settings.weight),
            share: totals.factor(of: row.user, accounts, policy),
            age: policy.ageFactor(since: job.since, at: now.uptime),
            size: policy.sizeFactor(job.amounts), job: policy.jobFactor(job.record.priority))
    }

    private func sentence(on job: Job, at now: Instant) -> String {
        let progress = job.progress
        if progress.cancelRequested { return "it is being cancelled: nothing of it starts any more" }
        if progress.isHeld {
            return
                "it is held (\(progress.reason ?? "on request")): nothing of it starts until 'jobctl release \(job.id)'"
        }
        if !progress.imageIsStored {
            return "\(progress.reason ?? "it waits for its image"): it starts when the image is in the archive"
        }
        if job.waitsForOthers { return "\(job.dependencySentence): it starts when that is so" }
        if job.isEarly { return "\(job.earlySentence): it may start from then on" }
        if progress.counts.pending == 0 { return "it does not wait: \(tasks(progress.counts.running)) run" }
        if let most = job.record.rules.mostRunning, progress.counts.running >= most {
            return
                "it runs \(tasks(most)) at a time, as it was submitted to (max_running): the next starts when one ends"
        }
        if !job.isRunnable {
            return "its last attempts failed: \(tasks(progress.counts.pending)) are tried again after a pause"
        }
        if let shortfall = shortfall(of: job.classSlot) {
            return "\(shortfall): it starts when such a worker registers"
        }
        if let hit = limitHit(of: job.classSlot) {
            return "\(hit.account) may use \(hit.limit) \(hit.what) at a time and uses \(hit.used): it starts when "
                + "enough of what runs there ends, or when an administrator raises the limit"
        }
        if let license = licenseShortage(of: job.classSlot, for: job.id) { return sentence(onLicense: license, job) }
        return placementSentence(on: job, at: now)
    }

    private func placementSentence(on job: Job, at now: Instant) -> String {
        let shape = classes.rows[job.classSlot].shape
        let able = slots.ids.compactMap { slots[$0] }.filter { couldRun(shape, on: $0) }
        let open = able.filter { workers[$0].takesWork }
        guard !open.isEmpty else {
            let names = able.prefix(3).map { "\(workers[$0].name) is \(workers[$0].condition)" }.joined(
                separator: ", ")
            return "no worker that fits takes work (\(names)): it starts when one does"
        }
        if let size = job.gangSize, team(of: size, for: job.id, of: job.classSlot, at: now) == nil {
            return sentence(onGang: size, job, able, at: now)
        }
        if job.gangSize != nil || bestWorker(for: job.id, of: job.classSlot, at: now) != nil {
            if let first = jobInFront(of: job, at: now) { return "\(first): it is the next of its class after that" }
            return "there is room: it starts with the next pass"
        }
        if let slot = claims.ids.first(where: { claims[$0]?.job == job.id }) {
            return "tasks of other queues are being stopped on \(workers[slot].name) to make room: it starts when they "
                + "have ended"
        }
        if let promise = reservation, promise.job == job.id {
            let short = lacking(job, on: promise.slot)
            let place = "\(workers[promise.slot].name) is reserved for it" + (short.map { ", where \($0.lack)" } ?? "")
            guard let start = promise.start else {
                return "\(place): it starts when what runs there has ended, which is not known, because not all of it "
                    + "has a time limit (\(holders(of: [promise.slot], job, short)))"
            }
            return
                "\(place): it starts there by \(time(start, now)) at the latest (\(holders(of: [promise.slot], job, short)))"
        }
        if let promise = reservation, let slot = promise.slots.first(where: { hasRoom(for: shape, on: $0) }) {
            return behind(promise, on: slot, job, at: now)
        }
        if let (slot, window) = closedRoom(job, open, at: now) { return sentence(on: window, slot, job, at: now) }
        return shortage(job, open, at: now)
    }

    private func behind(_ promise: Reservation, on slot: Int, _ job: Job, at now: Instant) -> String {
        let place = "\(workers[slot].name) has room and is reserved for job \(promise.job)"
        guard let start = promise.start else {
            return "\(place), which has waited longer or goes before it: it starts when job \(promise.job) has started"
        }
        let rest = start - now.uptime - policy.preparation.milliseconds - job.record.grace.milliseconds
        let hint =
            rest >= 60_000
            ? "; with a time limit of at most \(TimeSpan(milliseconds: rest / 60_000 * 60_000)) it would start now" : ""
        return "\(place), which starts by \(time(start, now)): it starts after that\(hint)"
    }

    /// A worker with room that a reservation closes to the job.
    private func closedRoom(_ job: Job, _ open: [Int], at now: Instant) -> (Int, AdvanceReservation)? {
        let shape = classes.rows[job.classSlot].shape
        for slot in open where hasRoom(for: shape, on: slot) {
            if let window = window(inTheWayOf: job.classSlot, on: slot, at: now.wall) { return (slot, window) }
        }
        return nil
    }

    /// Which resource is short on the workers that could take it, and who holds it.
    private func shortage(_ job: Job, _ open: [Int], at now: Instant) -> String {
        let requirement = shapes.rows[classes.rows[job.classSlot].shape].requirement
        if requirement.isExclusive {
            return
                "it wants a worker for itself and none is empty\(inFront(of: job, at: now)): it starts when all that "
                + "runs on one has ended (\(holders(of: open, job)))"
        }
        let needs = requirement.needs
        let short = needs.map { need in (need, open.count { need.isMet(in: rooms.free[$0]) }) }
            .min { $0.1 < $1.1 }
        guard let (need, count) = short, count == 0 else {
            return
                "no worker has all of it free at once\(inFront(of: job, at: now)): it starts when enough of what runs "
                + "ends (\(holders(of: open, job)))"
        }
        let most = need.mostFree(of: open.map { rooms.free[$0] })
        return
            "no worker has \(need.wanted) free\(most)\(inFront(of: job, at: now)): it starts when enough of what runs "
            + "ends (\(holders(of: open, job, need)))"
    }

    /// The first thing that is short on a worker, unless it is cpus, which everybody holds.
    private func lacking(_ job: Job, on slot: Int) -> Need? {
        shapes.rows[classes.rows[job.classSlot].shape].requirement.needs.first { need in
            if case .cpus = need { return false }
            return !need.isMet(in: rooms.free[slot])
        }
    }

    private func inFront(of job: Job, at now: Instant) -> String {
        jobInFront(of: job, at: now).map { ", and \($0)" } ?? ""
    }

    /// The first of the jobs that go before it, and the term of the formula that puts it there.
    private func jobInFront(of job: Job, at now: Instant) -> String? {
        if let id = classes.summaries[job.classSlot].first, id != job.id, let other = jobs[id], other.isRunnable {
            return other.record.priority > job.record.priority
                ? "job \(id) of the same user goes first: its priority is higher"
                : "job \(id) of the same user goes first: it was submitted earlier"
        }
        let totals = ShareTotals(self, at: now)
        let own = factors(of: job, totals, at: now)
        let ownPriority = own.priority(policy.weights)
        var shares: [Int64?] = Array(repeating: nil, count: accounts.rows.count)
        var first: (job: JobID, priority: Int64)?
        for place in classes.summaries.indices where place != job.classSlot {
            guard let id = classes.summaries[place].first else { continue }
            let (user, since) = (classes.summaries[place].user, classes.summaries[place].since)
            let share = shares[user] ?? totals.factor(of: user, accounts, policy)
            shares[user] = share
            let age = policy.ageFactor(since: since, at: now.uptime)
            let priority =
                classes.summaries[place].base + policy.weights.age * age + policy.weights.share * share
            guard priority > ownPriority || priority == ownPriority && id < job.id,
                priority > first?.priority ?? .min, isWithinLimits(place), jobs.read(id, { $0.isRunnable }) == true
            else { continue }
            first = (id, priority)
        }
        guard let first, let other = jobs[first.job] else { return nil }
        let theirs = factors(of: other, totals, at: now)
        let weights = policy.weights
        let owner = other.record.owner.name
        let terms = [
            (weights.share * (theirs.share - own.share), "\(owner) has used less of its share"),
            (weights.queue * (theirs.queue - own.queue), "queue \(other.record.queue) weighs more"),
            (weights.job * (theirs.job - own.job), "its priority is higher"),
            (weights.age * (theirs.age - own.age), "it has waited longer"),
            (weights.size * (theirs.size - own.size), "it is larger"),
        ]
        let reason = terms.max { $0.0 < $1.0 }?.1 ?? "it is older"
        return "job \(other.id) of \(owner) goes first: \(reason)"
    }

    /// The jobs that hold most of these workers; of what is short, if that is one thing.
    private func holders(of slots: [Int], _ job: Job, _ short: Need? = nil) -> String {
        let need = short ?? .cpus(CPUAmount(thousandths: 0))
        let policy = policy  // a closure that has the cluster copies it
        var held: [(job: JobID, cost: Int64, amount: Int64)] = []
        var places = Index<JobID, Int>()
        for slot in slots {
            workers[slot].attempts.readAll { id, attempt in
                let cost = short?.amount(of: attempt.amounts) ?? policy.cost(of: attempt.amounts)
                guard cost != 0 else { return }
                let place = places[id.job] ?? held.count
                if place == held.count {
                    places[id.job] = place
                    held.append((id.job, 0, 0))
                }
                held[place].cost &+= cost
                held[place].amount &+= need.told(of: attempt.amounts)
            }
        }
        let costs = held.sorted { ($1.cost, $0.job) < ($0.cost, $1.job) }
        guard !costs.isEmpty else { return "nothing runs there" }
        let names = costs.prefix(3).map { holder in
            "job \(holder.job) of \(jobs[holder.job]?.record.owner.name.rawValue ?? "-") holds \(need.text(holder.amount))"
        }
        let more = costs.count > 3 ? " and \(costs.count - 3) more" : ""
        return names.joined(separator: ", ") + more
    }

    private func tasks(_ count: Int64) -> String { count == 1 ? "1 task" : "\(count) tasks" }

    func time(_ uptime: Int64, _ now: Instant) -> String {
        let wall = now.wall.millisecondsSinceEpoch + uptime - now.uptime
        return Timestamp(millisecondsSinceEpoch: wall / 1000 * 1000).description
    }
}

extension Need {
    /// What the best worker has free of a countable need.
    fileprivate func mostFree(of rooms: [Amounts]) -> String {
        switch self {
        case .cpus: rooms.map(\.cpus).max().map { " (the most is \(CPUAmount(thousandths: max(0, $0))))" } ?? ""
        case .memory: rooms.map(\.memory).max().map { " (the most is \(ByteCount(bytes: max(0, $0))))" } ?? ""
        case .gpus: rooms.map(\.gpus).max().map { " (the most is \($0))" } ?? ""
        case .disk: rooms.map(\.disk).max().map { " (the most is \(ByteCount(bytes: max(0, $0))))" } ?? ""
        case .custom(let name, _): rooms.map { max(0, $0.custom[name]) }.max().map { " (the most is \($0))" } ?? ""
        case .label, .volume, .path: ""
        }
    }
}

extension Need {
    /// How much of what is needed somebody holds; 1 of what is not counted.
    fileprivate func amount(of held: Amounts) -> Int64 {
        switch self {
        case .label, .volume, .path: 1
        case .cpus, .memory, .gpus, .disk, .custom: told(of: held)
        }
    }

    /// What is told of a holder: how much of what is needed; cpus, if that is not counted.
    fileprivate func told(of held: Amounts) -> Int64 {
        switch self {
        case .memory: held.memory
        case .gpus: Int64(held.gpus)
        case .disk: held.disk
        case .custom(let name, _): held.custom[name]
        case .cpus, .label, .volume, .path: held.cpus
        }
    }

    fileprivate func text(_ amount: Int64) -> String {
        switch self {
        case .memory: "\(ByteCount(bytes: amount)) of memory"
        case .gpus: "\(amount) gpus"
        case .disk: "\(ByteCount(bytes: amount)) of disk"
        case .custom(let name, _): "\(amount) \(name)"
        case .cpus, .label, .volume, .path: "\(CPUAmount(thousandths: amount)) cpus"
        }
    }

    fileprivate var lack: String { "\(wanted) \(isOne ? "is" : "are") not free yet" }

    private var isOne: Bool {
        switch self {
        case .memory, .disk: true
        case .gpus(let count): count == 1
        case .custom(_, let count): count == 1
        case .cpus, .label, .volume, .path: false
        }
    }
}

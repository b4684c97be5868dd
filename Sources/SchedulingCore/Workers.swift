// The events of workers: they call with all that they have, register, are drained and resumed.
// The answer to a call is made after placement, in Calls.swift. What silence leads to stands in Leases.swift.
//
// One rule of the protocol carries much here: an agent has one call open at a time and drops an answer to any but its
// newest. So a call that does not list an attempt proves that no earlier answer has started it, nor ever will.
import JobModel

extension Cluster {
    /// Takes a call: who calls, what it offers, what it has, what happened. Then the call is parked.
    mutating func sync(_ name: WorkerName, _ request: SyncRequest, at now: Instant) throws(Refusal) {
        guard request.version == SyncRequest.protocolVersion else { throw .unsupportedProtocol(request.version) }
        guard let slot = try admit(name, request, at: now) else { return askForRegistration(name, request) }
        guard isProven(request, at: slot) else { return challenge(request, at: slot, now) }
        recordCall(request, from: slot, at: now)
        var wasChanged = false
        if let registration = request.registration { wasChanged = register(registration, at: slot) }
        if let images = request.images { take(images, of: slot) }
        acknowledge(request.live, from: slot)
        for report in request.reports { take(report, from: slot, at: now) }
        resolveMissing(from: slot, mayHaveMoved: wasChanged, at: now)
        listStrangers(request, from: slot)
        park(request, at: slot, now)
    }

    /// Where the caller stands, or nil if it has never registered and does not do so now.
    private mutating func admit(_ name: WorkerName, _ request: SyncRequest, at now: Instant) throws(Refusal) -> Int? {
        guard let slot = slots[name] else {
            return request.registration.map { registration in
                let slot = add(WorkerRow(name: name, registration: registration, isDraining: false), at: now)
                // There is no earlier life that it could be taken for.
                workers[slot].challenge = Challenge(incarnation: request.incarnation, text: request.proof ?? "")
                return slot
            }
        }
        if workers[slot].pastIncarnations.contains(request.incarnation) { throw .supersededIncarnation(name) }
        if workers[slot].incarnation == request.incarnation, request.sequence <= workers[slot].sequence {
            throw .staleSequence(name, sequence: request.sequence, latest: workers[slot].sequence)
        }
        return slot
    }

    private mutating func add(_ row: WorkerRow, at now: Instant) -> Int {
        let slot = workers.count
        addWorker(row, at: now)
        outcome.changes.append(.worker(row))
        return slot
    }

    /// A worker for every book of workers.
    mutating func addWorker(_ row: WorkerRow, at now: Instant) {
        let slot = workers.count
        let kind = shapes.addWorker(row.registration)
        workers.append(Worker(row, kind: kind, at: now, leaseEnds: leaseEnd(answeredAt: now)))
        slots.insert(slot, for: row.name)
        rooms.add(rank: slots.position(of: row.name))
        refreshWindows(of: slot)
        workerChanged(slot)
    }

    /// An agent that the scheduler never heard of. Nothing is stopped before it has said what it is.
    private mutating func askForRegistration(_ name: WorkerName, _ request: SyncRequest) {
        let ended = request.reports.filter(\.state.isTerminal).map(\.attempt).sorted()
        let orders = SyncOrders(forget: ended, registrationWanted: true)
        outcome.effects.append(.answerSync(name, incarnation: request.incarnation, sequence: request.sequence, orders))
    }

    /// Whether the call comes from the agent's newest life. Lives follow each other, and only one that lives after it
    /// was challenged knows the challenge: so none that is older than the present one can show it, however late its
    /// calls come, also to a scheduler that has forgotten which lives there were.
    private func isProven(_ request: SyncRequest, at slot: Int) -> Bool {
        guard let proof = request.proof, workers[slot].incarnation != request.incarnation else { return true }
        return workers[slot].challenge == Challenge(incarnation: request.incarnation, text: proof)
    }

    /// Nothing of the call is taken.
    private mutating func challenge(_ request: SyncRequest, at slot: Int, _ now: Instant) {
        if workers[slot].challenge?.incarnation != request.incarnation {
            // No earlier life of the scheduler has said the same.
            let text = "\(now.wall.millisecondsSinceEpoch)-\(now.uptime)-\(workers[slot].calls)"
            workers[slot].challenge = Challenge(incarnation: request.incarnation, text: text)
        }
        let orders = SyncOrders(registrationWanted: true, challenge: workers[slot].challenge?.text)
        outcome.effects.append(
            .answerSync(
                workers[slot].name, incarnation: request.incarnation, sequence: request.sequence, orders))
    }

    private mutating func recordCall(_ request: SyncRequest, from slot: Int, at now: Instant) {
        dropCall(of: slot)
        if workers[slot].incarnation != request.incarnation { beginIncarnation(request.incarnation, of: slot) }
        workers[slot].sequence = request.sequence
        workers[slot].calls += 1
        workers[slot].lastContact = now.uptime
        workers[slot].lastSeen = now.wall
        if workers[slot].isUnreachable { outcome.effects.append(.workerTurned(workers[slot].name, .back)) }
        if workers[slot].isLost { workers[slot].leaseEnds = leaseEnd(answeredAt: now) }
        workers[slot].isLost = false
        workers[slot].isUnreachable = false
        workerChanged(slot)
    }

    private mutating func beginIncarnation(_ incarnation: String, of slot: Int) {
        if let old = workers[slot].incarnation {
            workers[slot].pastIncarnations.append(old)
            if workers[slot].pastIncarnations.count > 64 { workers[slot].pastIncarnations.removeFirst() }
        }
        workers[slot].incarnation = incarnation
        workers[slot].challenge = nil
        workers[slot].isRegistered = false
        // What the old life was told, the new one may not know.
        if workers[slot].sessions == .told { workers[slot].sessions = .untold }
        for id in workers[slot].attempts.ids { workers[slot].attempts[id]?.isTold = false }
        for id in workers[slot].strangers.ids { workers[slot].strangers[id]?.isTold = false }
    }

    /// Returns whether what the worker offers differs from what was known.
    private mutating func register(_ registration: WorkerRegistration, at slot: Int) -> Bool {
        workers[slot].isRegistered = true
        let isNew = workers[slot].registration != registration
        if isNew {
            workers[slot].register(registration)
            outcome.changes.append(.worker(workers[slot].row))
            setKind(of: slot)
            refreshWindows(of: slot)
        }
        workerChanged(slot)
        // It may have less than what was promised there.
        if isNew, reservation?.keeps(slot) == true {
            dropReservation()
            needsPlacement = true
        }
        return isNew
    }

    /// Known only while the scheduler runs: it is news again with a worker's next registration.
    private mutating func take(_ images: [Digest], of slot: Int) {
        workers[slot].images = images.suffix(SyncRequest.mostImages).sorted()
        imagesAreKnown = imagesAreKnown || !images.isEmpty
    }

    private mutating func acknowledge(_ live: [AttemptID], from slot: Int) {
        let call = workers[slot].calls
        for id in live where workers[slot].attempts[id]?.acknowledge(inCall: call) == true { touch(id, on: slot) }
    }

    /// The attempts that the scheduler's book has and the worker does not.
    private mutating func resolveMissing(from slot: Int, mayHaveMoved wasChanged: Bool, at now: Instant) {
        let call = workers[slot].calls
        for id in workers[slot].attempts.ids {
            guard workers[slot].attempts.read(id, { $0.seenInCall }) != call, let attempt = workers[slot].attempts[id]
            else {
                continue
            }
            if attempt.row.isAcknowledged {
                end(id, on: slot, as: .lost, .workerLost, at: now)
            } else if let stopReason = attempt.row.stopReason {
                end(id, on: slot, as: .cancelled, stopReason, at: now)
            } else if wasChanged || workers[slot].isDraining || jobs[id.job]?.progress.isHeld == true {
                retract(id, from: slot, at: now)
            } else {
                workers[slot].attempts[id]?.wasSent = false
            }
        }
    }

    /// The attempts that the worker has and the scheduler's book does not: ended ones are forgotten, others stopped.
    private mutating func listStrangers(_ request: SyncRequest, from slot: Int) {
        var strangers = Table<AttemptID, Stranger>()
        for id in request.live where !workers[slot].attempts.contains(id) && !strangers.contains(id) {
            strangers.insert(workers[slot].strangers[id] ?? Stranger(), for: id)
        }
        for report in request.reports where report.state.isTerminal && !workers[slot].attempts.contains(report.attempt)
        {
            if strangers.contains(report.attempt) {
                strangers[report.attempt] = Stranger(hasEnded: true)
            } else {
                strangers.insert(Stranger(hasEnded: true), for: report.attempt)
            }
        }
        workers[slot].strangers = strangers
        let runsStrangers = strangers.ids.contains { strangers[$0]?.hasEnded == false }
        guard workers[slot].runsStrangers != runsStrangers else { return }
        workers[slot].runsStrangers = runsStrangers
        workerChanged(slot)
    }

    /// Takes back what no answer has carried.
    mutating func retractUnsent(from slot: Int, at now: Instant) {
        for id in workers[slot].attempts.ids { retractUnsent(id, from: slot, at: now) }
    }
}

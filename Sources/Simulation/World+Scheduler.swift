// The scheduler's life: it takes what is in its inbox, steps, and answers after the commit. It may die between any two
// steps, with its answers or before them, and then goes on from a copy of what was on disk at that moment, as after a
// `kill -9`.
import Foundation
import JobModel
import Scheduler
import SchedulingCore

extension World {
    var home: String { "\(folder)/\(generation)" }
    var databaseFiles: [String] {
        mutant == .forgetsTheLog ? ["jobctl.sqlite"] : ["jobctl.sqlite", "jobctl.sqlite-wal"]
    }

    /// Gives something to the scheduler; lost if there is none.
    mutating func post(_ envelope: Envelope, from sender: Mail.Sender) {
        guard stepper != nil else {
            if case .call(let agent, let incarnation, let sequence, false) = sender {
                plan(.answerArrives(agent, incarnation: incarnation, sequence: sequence, nil), in: delay())
            }
            return
        }
        inbox.append(Mail(envelope: envelope, sender: sender))
        planStep(in: dice.roll(0...30))
    }

    private mutating func planStep(in delay: Int64) {
        guard !stepIsPlanned else { return }
        stepIsPlanned = true
        plan(.schedulerSteps, in: max(delay, schedulerPausedUntil - now))
    }

    mutating func schedulerSteps() throws {
        stepIsPlanned = false
        guard var stepper else { return }
        if !isHealing, dice.chance(perMille: options.schedulerPauses) {
            tally.count(.schedulerPause)
            schedulerPausedUntil = now + dice.pick([2_000, 20_000, 90_000])
            return planStep(in: 0)
        }
        let batch = inbox
        inbox = []
        steps += 1
        for mail in batch { look(at: mail.envelope) }
        // The mutant lets a crash take back what was answered: the disk of before the step is what the next life finds.
        let isTakenBack = mutant == .answersBeforeCommit && !isHealing && dice.chance(perMille: 20)
        if isTakenBack { try copyDatabase(to: "\(folder)/before") }
        guard let result = try commits(batch, &stepper) else { return }
        self.stepper = stepper
        truth.wall = instant.wall
        try truth.take(result.changes)
        for situation in truth.seen { tally.saw(situation) }
        truth.seen = []
        try check(stepper)
        // A full disk has taken back what the step did.
        if !result.restarted { try truth.keepsDeadlines() }
        if isTakenBack {
            try deliver(result, to: batch)
            return try crash(leaving: "\(folder)/before")
        }
        let crashes = !isHealing && dice.chance(perMille: options.schedulerCrashes)
        if crashes, dice.chance(perMille: 500) {
            if !result.changes.isEmpty { tally.saw(.crashBetweenCommitAndAnswer) }
            return try crash(leaving: nil)
        }
        try deliver(sabotage.said(result), to: batch)
        if crashes { return try crash(leaving: nil) }
        planWake(stepper)
    }

    /// Time alone makes it step as well, when a timer is due.
    private mutating func planWake(_ stepper: Stepper) {
        guard let deadline = stepper.cluster.nextDeadline else { return }
        plannedWake = deadline - uptimeOffset
        planStep(in: min(max(plannedWake - now, 1), 1_000))
    }

    private func check(_ stepper: Stepper) throws {
        let findings = Invariants.check(stepper.cluster)
        guard findings.isEmpty else { throw Violation("the books disagree: " + findings.joined(separator: "; ")) }
        // The dear part. What is wrong on disk mostly stays wrong, and a restart compares as well.
        if steps % (isHealing ? 64 : 16) == 0 { try compareWithStore(stepper) }
    }

    func compareWithStore(_ stepper: Stepper) throws {
        guard try stepper.store.load() == stepper.cluster.image() else {
            throw Violation("what a restart would load is not what is in memory")
        }
    }

    /// What comes in may be late.
    private mutating func look(at envelope: Envelope) {
        guard case .event(.workerSynced(_, let request)) = envelope else { return }
        for report in request.reports where truth.isLost(report.attempt) { tally.saw(.reportAfterTheEnd) }
    }

    private mutating func deliver(_ result: StepResult, to batch: [Mail]) throws {
        for (mail, reply) in zip(batch, result.replies) { try replied(reply, to: mail.sender) }
        for effect in result.effects {
            truth.note(effect)
            switch effect {
            case .answerSync(let name, let incarnation, let sequence, let orders):
                answer(name, incarnation, sequence, orders)
            case .dropSync(let name, let incarnation, let sequence): answer(name, incarnation, sequence, nil)
            case .workerTurned: break
            case .timeLimitChanged: tally.saw(.timeLimitChanged)
            }
        }
    }

    private mutating func replied(_ reply: StepReply, to sender: Mail.Sender) throws {
        switch (sender, reply) {
        case (.submission(let index), .submitted(let document)):
            acknowledge([index], [document.id])
        case (.submission(let index), .submittedTogether(let documents)):
            acknowledge(sentTogether(with: index), documents.map(\.id))
        case (.submission(let index), .refused(let problem)) where problem.field?.hasPrefix("depends_on") == true:
            unlink(index)
        case (.extension(let index), .done): extensionAnswered(index, isDone: true)
        case (.extension(let index), .refused(let problem)) where problem.kind != .diskFull:
            extensionAnswered(index, isDone: false)
        case (.cancel(let job), .done):
            if !isLost() {
                if truth.isRunning(job) { tally.saw(.cancelledWhileRunning) }
                truth.cancelled.insert(job)
            }
        case (.call(let agent, let incarnation, _, false), .refused(let problem)) where problem.field == "incarnation":
            // An agent would end, and stop what it runs.
            guard agents[agent].isUp, agents[agent].worker.incarnation == incarnation else { break }
            throw Violation("the living agent of \(agents[agent].worker.name) is taken for an older life")
        case (.call(let agent, let incarnation, let sequence, false), .refused):
            plan(.answerArrives(agent, incarnation: incarnation, sequence: sequence, nil), in: delay())
        default: break
        }
    }

    /// One answer.
    private mutating func acknowledge(_ all: [Int], _ ids: [JobID]) {
        guard all.count == ids.count else {
            truth.complaint = "\(all.count) jobs were submitted together, and \(ids) are the answer"
            return
        }
        let isHeard = !isLost()
        for (index, id) in zip(all, ids) {
            if isHeard { acknowledge(index, id) }
            submissions[index].wasAnswered = true
        }
    }

    private mutating func acknowledge(_ index: Int, _ id: JobID) {
        if submissions[index].wasAnswered { tally.saw(.submissionAnsweredTwice) }
        if let known = submissions[index].acknowledged, known != id {
            truth.complaint = "\(submissions[index].name) is job \(known) and job \(id)"
        }
        submissions[index].acknowledged = id
    }

    private mutating func answer(_ name: WorkerName, _ incarnation: String, _ sequence: Int64, _ orders: SyncOrders?) {
        guard let agent = agents.firstIndex(where: { $0.worker.name == name }) else { return }
        guard agents[agent].partitionedUntil <= now, !isLost() else { return }
        // The worst moment to stand still is when something new has been allowed.
        let isNew = orders.map { !$0.start.isEmpty || !$0.publish.isEmpty } ?? false
        if isNew, !isHealing, dice.chance(perMille: options.agentPauses / 3) { pause(agent) }
        plan(.answerArrives(agent, incarnation: incarnation, sequence: sequence, orders), in: delay())
    }

    // MARK: crash and start

    /// Everything in memory is gone. What is on disk, or in `copy`, is what the next life finds.
    mutating func crash(leaving copy: String?) throws {
        tally.count(.schedulerCrash)
        if let stepper {
            if copy == nil, doubt == nil { try compareWithStore(stepper) }
            if !stepper.cluster.image().attempts.isEmpty { tally.saw(.restartWithLiveAttempts) }
        }
        let next = "\(folder)/\(generation + 1)"
        if let copy {
            try FileManager.default.moveItem(atPath: copy, toPath: next)
        } else if diskDice.chance(perMille: options.powerLosses) {
            try losePower(next)
        } else {
            try copyDatabase(to: next)
        }
        stepper = nil
        inbox = []
        disk.forget(below: home)
        try FileManager.default.removeItem(atPath: home)
        generation += 1
        uptimeOffset = dice.roll(0...1_000_000_000)
        for agent in agents.indices {
            guard let sequence = agents[agent].openCall else { continue }
            plan(
                .answerArrives(agent, incarnation: agents[agent].worker.incarnation, sequence: sequence, nil),
                in: delay())
        }
        plan(.schedulerStarts, in: dice.pick([50, 2_000, 20_000, 100_000]))
    }

    /// The file and its log, as they are on disk now. The shared-memory index is rebuilt, as after a crash.
    private func copyDatabase(to place: String) throws {
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        for name in databaseFiles
        where FileManager.default.fileExists(atPath: "\(home)/\(name)") {
            try FileManager.default.copyItem(atPath: "\(home)/\(name)", toPath: "\(place)/\(name)")
        }
    }

    mutating func startScheduler() throws {
        let store = try Store.open(directory: home)
        try settleDoubt(store)
        let stepper = try Stepper(
            store: store, policy: sabotage.policy(policy),
            at: sabotage.instant(instant, wallOffset: wallOffset, since: uptimeOffset))
        self.stepper = stepper
        let findings = Invariants.check(stepper.cluster)
        guard findings.isEmpty else {
            throw Violation("the books disagree after a restart: " + findings.joined(separator: "; "))
        }
        let quarantined = try store.quarantined()
        guard quarantined.isEmpty else { throw Violation("a row was quarantined: \(quarantined)") }
        try checkAcknowledged(in: store)
        planStep(in: 1)
    }

    /// No acknowledged job is lost, and none is another.
    func checkAcknowledged(in store: Store) throws {
        if let complaint = truth.complaint { throw Violation(complaint) }
        for submission in submissions {
            guard let id = submission.acknowledged else { continue }
            guard try store.job(id)?.name == submission.name else {
                throw Violation("job \(id) was acknowledged as \(submission.name) and is lost")
            }
        }
    }
}

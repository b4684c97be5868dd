// Agents, their hosts and the network between them and the scheduler. Containers outlive their agent, not their host.
// An agent that stays away for longer than its lease takes its host with it: nobody else would stop its containers.
import JobModel
import Scheduler
import SchedulingCore

extension World {
    // MARK: calls

    mutating func agentCalls(_ agent: Int, _ incarnation: String) {
        guard agents[agent].isUp, agents[agent].worker.incarnation == incarnation else { return }
        // A planned call is not needed when one is open and says all there is to say.
        if agents[agent].openCall != nil, !agents[agent].worker.hasNews { return }
        let request = agents[agent].worker.request(wait: policy.syncInterval)
        agents[agent].openCall = request.sequence
        agents[agent].callSentAt = now
        plan(
            .callTimesOut(agent, incarnation: incarnation, sequence: request.sequence),
            in: policy.syncInterval.milliseconds + 5_000)
        guard agents[agent].partitionedUntil <= now, !isLost() else { return }
        plan(.requestArrives(agent, request, isEcho: false), in: delay())
        if !isHealing, dice.chance(perMille: options.duplication) {
            tally.count(.messageDuplicated)
            plan(.requestArrives(agent, request, isEcho: true), in: delay())
        }
    }

    mutating func requestArrives(_ agent: Int, _ request: SyncRequest, isEcho: Bool) {
        let newest = agents[agent].newestArrival
        if newest.incarnation == request.incarnation, newest.sequence > request.sequence {
            tally.count(.messageOvertaken)
        } else {
            agents[agent].newestArrival = (request.incarnation, request.sequence)
        }
        post(
            .event(.workerSynced(agents[agent].worker.name, request)),
            from: .call(agent, incarnation: request.incarnation, sequence: request.sequence, isEcho: isEcho))
    }

    mutating func callFails(_ agent: Int, _ incarnation: String, _ sequence: Int64, isTimeout: Bool) {
        guard isOpen(agent, incarnation, sequence) else { return }
        agents[agent].openCall = nil
        plan(.agentCalls(agent, incarnation: incarnation), in: isTimeout ? 0 : dice.roll(100...1_500))
    }

    private func isOpen(_ agent: Int, _ incarnation: String, _ sequence: Int64) -> Bool {
        agents[agent].isUp && agents[agent].worker.incarnation == incarnation && agents[agent].openCall == sequence
    }

    /// Answers to any but the newest call are dropped: the protocol relies on it.
    mutating func answerArrives(_ agent: Int, _ incarnation: String, _ sequence: Int64, _ orders: SyncOrders?) throws {
        guard isOpen(agent, incarnation, sequence) else {
            if orders != nil { tally.saw(.staleAnswerDropped) }
            return
        }
        guard let orders else { return callFails(agent, incarnation, sequence, isTimeout: false) }
        agents[agent].openCall = nil
        if orders.challenge != nil {
            tally.saw(.challenged)
            _ = agents[agent].worker.take(orders)
            return plan(.agentCalls(agent, incarnation: incarnation), in: dice.roll(0...100))
        }
        let lease = policy.lease.milliseconds * (mutant == .agentsOutliveTheirLease ? 5 : 1) + agents[agent].drift
        agents[agent].leaseEnds = agents[agent].callSentAt + lease
        plan(.leaseIsChecked(agent), in: agents[agent].callSentAt + lease - now)
        for order in orders.stop where truth.isLost(order.attempt) { tally.saw(.zombieFenced) }
        let before = agents[agent].worker.attempts
        let started = agents[agent].worker.take(orders)
        for id in orders.forget { agents[agent].containers[id] = nil }
        for id in started {
            if leaseIsOver(agent), mutant != .startsAfterTheLease {
                tally.saw(.lateStartRefused)
                agents[agent].worker.report(id, .lost, reason: .workerLost)
            } else {
                try startContainer(id, on: agent)
            }
        }
        for (id, kept) in agents[agent].worker.attempts.sorted(by: { $0.key < $1.key }) where !kept.state.isTerminal {
            if kept.stopReason != nil, before[id]?.stopReason == nil {
                plan(.containerIsKilled(agent, id, host: agents[agent].host), in: dice.roll(0...3_000))
            } else if kept.mayPublish, before[id]?.mayPublish == false {
                plan(.outputIsPublished(agent, id, incarnation: incarnation), in: dice.pick([1, 300, 4_000]))
            }
        }
        plan(.agentCalls(agent, incarnation: incarnation), in: dice.roll(0...100))
    }

    private func leaseIsOver(_ agent: Int) -> Bool { agents[agent].leaseEnds.map { $0 <= now } ?? false }

    private mutating func news(_ agent: Int) {
        guard agents[agent].isUp else { return }
        plan(.agentCalls(agent, incarnation: agents[agent].worker.incarnation), in: dice.roll(0...300))
    }

    // MARK: containers

    private mutating func startContainer(_ id: AttemptID, on agent: Int) throws {
        guard !truth.isLost(id) else { throw Violation("\(id) starts after it was given up") }
        guard !truth.hasEnded(id) else { throw Violation("\(id) starts after it ended") }
        for other in agents {
            if let twin = other.containers.first(where: { $0.key.task == id.task && $0.value.exit == nil })?.key {
                throw Violation(
                    "\(twin) on \(other.worker.name) still runs when \(id) starts on \(agents[agent].worker.name)")
            }
        }
        let worker = agents[agent].worker
        guard worker.usedCPUs <= worker.registration.cpus else {
            throw Violation(
                "\(worker.name) has \(worker.registration.cpus) cpus and is to run \(worker.usedCPUs) with \(id)")
        }
        let code = !isHealing && dice.chance(perMille: options.failures) ? 1 : 0
        if code != 0 { tally.count(.programFailed) }
        if truth.wasPreempted(before: id) { tally.saw(.preempted) }
        if let before = truth.attemptBefore(id) { tally.saw(before == .failed ? .programRetried : .replacedAfterLoss) }
        guard let holding = worker.attempts[id]?.holding else { return }
        agents[agent].containers[id] = Container(code: code, holding: holding)
        try checkHoldings(on: agent, with: id)
        agents[agent].worker.report(id, .running)
        let host = agents[agent].host
        if !isHealing, dice.chance(perMille: options.engineErrors) {
            tally.count(.engineError)
            plan(.containerIsKilled(agent, id, host: host), in: dice.roll(0...2_000))
        } else {
            plan(.containerExits(agent, id, host: host), in: dice.pick([1, 300, 5_000, 20_000, 200_000]))
        }
        news(agent)
    }

    mutating func containerExits(_ agent: Int, _ id: AttemptID, _ host: Int) {
        guard agents[agent].host == host, let container = agents[agent].containers[id], container.exit == nil else {
            return
        }
        agents[agent].containers[id]?.exit = container.code
        truth.exits[id] = container.code
        plan(.agentNotices(agent), in: 0)
    }

    /// The agent looks at what its containers have done.
    mutating func agentNotices(_ agent: Int) {
        guard agents[agent].isUp else { return }
        for id in agents[agent].worker.live where agents[agent].containers[id]?.exit != nil { notice(id, on: agent) }
        news(agent)
    }

    /// The agent learns how a container ended.
    private mutating func notice(_ id: AttemptID, on agent: Int) {
        guard let kept = agents[agent].worker.attempts[id], !kept.state.isTerminal, kept.state != .ending else {
            return
        }
        let exit = agents[agent].containers[id]?.exit
        if exit == Container.killed, kept.stopReason == nil {
            // Its runner did it, at the end of the lease.
            agents[agent].worker.report(id, .lost, reason: .workerLost)
        } else if let exit {
            agents[agent].worker.exit(id, code: mutant == .falseSuccess ? 0 : exit)
        } else if agents[agent].containers[id] == nil {
            agents[agent].worker.report(id, .lost, reason: .engineError)
        }
    }

    mutating func containerIsKilled(_ agent: Int, _ id: AttemptID, _ host: Int) {
        guard agents[agent].host == host, let kept = agents[agent].worker.attempts[id], !kept.state.isTerminal else {
            return
        }
        guard agents[agent].isUp else { return plan(.containerIsKilled(agent, id, host: host), in: 1_000) }
        agents[agent].kill(id)
        if let reason = kept.stopReason {
            agents[agent].worker.report(id, .cancelled, reason: reason)
        } else {
            agents[agent].worker.report(id, .failed, reason: .engineError)
        }
        news(agent)
    }

    mutating func outputIsPublished(_ agent: Int, _ id: AttemptID, _ incarnation: String) throws {
        guard agents[agent].isUp, agents[agent].worker.incarnation == incarnation else { return }
        guard let kept = agents[agent].worker.attempts[id], !kept.state.isTerminal else { return }
        if leaseIsOver(agent), mutant != .publishesAfterTheLease {
            tally.saw(.latePublicationRefused)
            agents[agent].worker.report(id, .lost, reason: .workerLost)
        } else {
            try truth.published(id)
            agents[agent].worker.report(id, .succeeded, reason: .exitCode, exitCode: 0)
        }
        news(agent)
    }

    // MARK: leases, crashes, hosts

    mutating func leaseIsChecked(_ agent: Int) {
        guard let end = agents[agent].leaseEnds, end <= now else { return }
        guard agents[agent].isUp else { return hostIsLost(agent) }
        let live = agents[agent].worker.live
        if !live.isEmpty { tally.saw(.leaseEndStopped) }
        // Runners keep the lease by themselves.
        for id in live { agents[agent].kill(id) }
        let pause = agents[agent].pausedUntil - now
        guard pause <= 0 else {
            // What else it was about to do may come before.
            plan(.leaseIsChecked(agent), in: pause + 10)
            return plan(.agentNotices(agent), in: pause)
        }
        for id in live { agents[agent].worker.report(id, .lost, reason: .workerLost) }
        news(agent)
    }

    /// The agent's process dies; its containers go on.
    mutating func agentCrashes(_ agent: Int) {
        guard agents[agent].isUp else { return }
        tally.count(.agentCrash)
        agentEnds(agent, startsIn: [10, 1_000, 10_000, 40_000])
    }

    /// Its process is gone; one that was up starts again after one of these times.
    private mutating func agentEnds(_ agent: Int, startsIn delays: [Int64]) {
        if agents[agent].isUp { plan(.agentStarts(agent), in: dice.pick(delays)) }
        agents[agent].isUp = false
        agents[agent].pausedUntil = 0
        agents[agent].openCall = nil
    }

    /// The machine is gone with all that ran on it. Another one comes up under its name, with or without the old
    /// journal.
    mutating func hostIsLost(_ agent: Int) {
        agentEnds(agent, startsIn: [100, 10_000, 90_000])
        tally.count(.hostLost)
        agents[agent].host += 1
        agents[agent].containers = [:]
        if dice.chance(perMille: 400) {
            tally.count(.journalLost)
            agents[agent].worker.forgetEverything()
        }
    }

    mutating func agentStarts(_ agent: Int) {
        guard !agents[agent].isUp else { return }
        agents[agent].isUp = true
        agents[agent].worker.restart()
        for id in agents[agent].worker.live {
            notice(id, on: agent)
            if agents[agent].worker.attempts[id]?.stopReason != nil {
                plan(.containerIsKilled(agent, id, host: agents[agent].host), in: dice.roll(0...1_000))
            }
        }
        plan(.agentCalls(agent, incarnation: agents[agent].worker.incarnation), in: 0)
    }
}

// What histories had in them: faults by kind, and the rare situations without which a search proves little.

/// What goes wrong by the dice.
package enum Fault: String, Sendable, Hashable, CaseIterable {
    case messageLost = "messages lost"
    case messageDuplicated = "messages duplicated"
    case messageOvertaken = "messages overtaken by later ones"
    case schedulerCrash = "scheduler crashes"
    case schedulerPause = "scheduler pauses"
    case powerLoss = "power losses of the scheduler's host"
    case diskFull = "full disks"
    case diskError = "failed writes and syncs"
    case agentCrash = "agent crashes"
    case agentPause = "agent pauses"
    case hostLost = "hosts lost"
    case journalLost = "journals lost with their host"
    case partition = "partitions"
    case clockDrift = "agents whose clock drifts"
    case clockJump = "jumps of the wall clock"
    case programFailed = "programs that failed"
    case engineError = "engine errors"
}

/// What must have come up sometimes.
package enum Situation: String, Sendable, Hashable, CaseIterable {
    case crashBetweenCommitAndAnswer = "crash between commit and answer"
    case commitKept = "a commit that failed is on disk after the restart"
    case commitUndone = "a commit that failed is not on disk after the restart"
    case writesLost = "writes that were not synced are lost or torn"
    case restartWithLiveAttempts = "restart of the scheduler while attempts run"
    case submissionAnsweredTwice = "a submission sent again finds its job"
    case zombieFenced = "an attempt that was given up is told to stop when its worker is back"
    case reportAfterTheEnd = "a report for an attempt that had been given up"
    case leaseEndStopped = "a worker stops its containers at the end of its lease"
    case lateStartRefused = "an order that was read after the lease is not started"
    case latePublicationRefused = "a permission that was read after the lease publishes nothing"
    case replacedAfterLoss = "a task runs again after its worker was lost"
    case cancelledWhileRunning = "a cancel that finds the task running"
    case staleAnswerDropped = "an answer to a call that was given up is dropped"
    case gangStarted = "all members of a gang start together"
    case gangBegunAnew = "a gang begins anew because the program of a member failed"
    case challenged = "an agent is asked to show that it is the living one"
    case programRetried = "a task runs again after its program failed"
    case preempted = "a task runs again after it was stopped to make room or for a drain"
    case dependencyMet = "a job starts after the one that it waited for"
    case dependencyMetByTask = "a task starts after the same task of another job, which goes on"
    case dependencyHopeless = "a job is cancelled because what it waits for ended otherwise"
    case runsAsManyAsItMay = "a job runs as many tasks at a time as it may"
    case arrayExtended = "an open array gets more tasks"
    case grownArrayEnded = "an array that grew is closed and ends"
    case timeLimitChanged = "a job that has not ended is given another time limit"
    case pipelineAccepted = "jobs that are submitted together are accepted together"
    case deadlinePassed = "a job is cancelled at its deadline"
    case tooLateToStart = "tasks are cancelled that could not end by their deadline"
    case dependencyRefused = "a job that could never start is refused"
}

/// Counts of one history, or of many.
package struct Tally: Sendable, Hashable {
    package private(set) var faults: [Fault: Int] = [:]
    package private(set) var situations: [Situation: Int] = [:]
    package var histories = 0
    /// Simulated time.
    package var milliseconds: Int64 = 0

    package init() {}

    mutating func count(_ fault: Fault) { faults[fault, default: 0] += 1 }
    mutating func saw(_ situation: Situation) { situations[situation, default: 0] += 1 }

    package mutating func add(_ other: Tally) {
        faults.merge(other.faults, uniquingKeysWith: +)
        situations.merge(other.situations, uniquingKeysWith: +)
        histories += other.histories
        milliseconds += other.milliseconds
    }

    /// What no history has reached.
    package var missing: [Situation] { Situation.allCases.filter { situations[$0] == nil } }
}

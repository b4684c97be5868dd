// What happened, in the past tense. The only way to change a Cluster. Codable, so that a trace from production replays.
import JobModel

package enum Event: Hashable, Codable, Sendable {
    /// The id is new and larger than every earlier one. Without `imageIsStored` the job waits until its image is in the
    /// archive. `known`: as in ``NewJob``.
    case jobSubmitted(JobID, JobRecord, imageIsStored: Bool, hold: Bool, known: [EndedJob] = [])
    /// Together or not at all; each comes after those that it waits for.
    case pipelineSubmitted([NewJob])
    /// Every blob of the image is in the archive.
    case imageStored(Digest)
    /// The image will not come: jobs that wait for it are held with this sentence.
    case imageFailed(Digest, message: String)
    case cancelRequested(JobID)
    /// Running tasks begin anew; without a task, all of the job.
    case requeueRequested(JobID, task: Int64?)
    /// An open array gets more tasks.
    case extendRequested(JobID, ExtendRequest.Growth)
    /// An open array gets no more tasks, and ends when those that it has have ended.
    case closeRequested(JobID)
    /// From now on the job's tasks may run so long, counted from their starts. `from`: only if that is its limit now.
    case timeLimitRequested(JobID, TimeSpan, from: TimeSpan?)
    case holdRequested(JobID)
    case releaseRequested(JobID)
    /// A worker called. Its answer comes as ``Effect/answerSync(_:incarnation:sequence:_:)``, now or when there is
    /// something to say.
    case workerSynced(WorkerName, SyncRequest)
    case drainRequested(WorkerName, DrainOrder = .standard)
    case resumeRequested(WorkerName)
    /// Somebody wants to run a second program beside this attempt.
    case sessionRequested(AttemptID)
    /// A worker takes the sessions that wait for it.
    case sessionsTaken(WorkerName)
    /// An administrator set up a queue, a group or a user's share, or changed it.
    case accountSaved(AccountRow)
    case accountRemoved(AccountID)
    /// An administrator said how many of a license the cluster has.
    case licenseSaved(LicenseRow)
    case licenseRemoved(ResourceName)
    case reservationSaved(AdvanceReservation)
    case reservationRemoved(ReservationName)
    /// Nothing but time: leases, retries and parked calls are looked at.
    case timeAdvanced
}

/// What the core says to whoever brought the event.
package enum Reply: Hashable, Sendable {
    case done
    case refused(Refusal)
}

/// A typed "no", with the field that is at fault. Nothing was changed.
package enum Refusal: Error, Hashable, Sendable {
    case unknownJob(JobID)
    case jobIsFinished(JobID, JobState)
    case unknownWorker(WorkerName)
    /// Another, newer life of this agent has registered.
    case supersededIncarnation(WorkerName)
    /// The call is not newer than one that was already taken.
    case staleSequence(WorkerName, sequence: Int64, latest: Int64)
    case unsupportedProtocol(Int)
    /// Its state, or nil if it does not live.
    case attemptIsNotRunning(AttemptID, AttemptState?)
    case unknownQueue(QueueName)
    /// A limit on what waits.
    case tooManyPending(AccountID, pending: Int64, submitted: Int64, limit: Int64)
    /// Nothing that could be taken back: of the job, or of the task.
    case nothingRuns(JobID, task: Int64?)
    /// What runs could not end by the job's deadline if it began anew.
    case tooLateToBeginAnew(JobID)
    case cannotGrow(JobID, GrowthFault)
    /// Somebody else has changed it: what it is now.
    case timeLimitChanged(JobID, TimeSpan?)
    /// What waits could not end by the job's deadline.
    case timeLimitPassesDeadline(JobID, TimeSpan, Timestamp)
    /// A job that cannot be waited for.
    case dependency(Dependency, DependencyFault)
    case unknownAccount(AccountID)
    /// It cannot go: why.
    case accountIsUsed(AccountID, by: String)
    /// The queue would preempt itself.
    case preemptionCycle(QueueName)
    case unknownLicense(ResourceName)
    case tooFewLicenses(ResourceName, total: Int64, wanted: Int64)
    case licenseIsUsed(ResourceName, jobs: Int)
    case unknownReservation(ReservationName)
    case tooManyReservations(Int)
}

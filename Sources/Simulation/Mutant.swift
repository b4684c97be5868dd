// Faults of our own making, to see whether the checkers find them. What stands between users, core, store and agents
// and carries them out: Sabotage.swift.

/// A fault put in on purpose: the checkers must find it.
package enum Mutant: String, Sendable, CaseIterable {
    // MARK: of agents and users

    /// Agents believe that their lease is five times as long as it is.
    case agentsOutliveTheirLease = "agents-outlive-their-lease"
    /// An agent that stood still starts what it was told before its lease ended.
    case startsAfterTheLease = "starts-after-the-lease"
    /// An agent that stood still publishes what it was allowed to before its lease ended.
    case publishesAfterTheLease = "publishes-after-the-lease"
    /// An agent calls an attempt successful that ended with another exit code.
    case falseSuccess = "false-success"
    /// A repeated submission is sent without its key.
    case retriesWithoutKey = "retries-without-key"
    /// Deadlines are not sent.
    case ignoresDeadlines = "ignores-deadlines"
    /// The jobs of a pipeline are sent one by one.
    case splitsPipelines = "splits-pipelines"
    /// A repeated extension of an array is sent without its key.
    case extendsWithoutKey = "extends-without-key"
    /// The scheduler believes that there are more licenses than there are.
    case oversellsLicenses = "oversells-licenses"
    /// A reservation is acknowledged and not kept.
    case forgetsReservations = "forgets-reservations"

    // MARK: of the core, in what it hears

    /// A report counts for the newest attempt of its worker, whichever it names.
    case mixesUpReports = "mixes-up-reports"
    /// Reports are acknowledged and not looked at.
    case ignoresReports = "ignores-reports"
    /// What a worker says that it has is taken for nothing.
    case ignoresInventory = "ignores-inventory"
    /// A call is taken whether or not it is of the newest life of its agent.
    case ignoresProofs = "ignores-proofs"
    /// A cancel is acknowledged and forgotten.
    case dropsCancels = "drops-cancels"
    /// The key of a submission is compared by its user alone.
    case oneKeyForAll = "one-key-for-all"
    /// A worker is believed to have twice what it registered.
    case oversellsWorkers = "oversells-workers"
    /// A task is started more often than its retries allow.
    case spendsMoreRetries = "spends-more-retries"
    /// An array ends one task early.
    case losesATask = "loses-a-task"

    // MARK: of the core, in time

    /// The scheduler's clock for leases runs sixteen times too fast.
    case hurries
    /// Leases are counted by the wall clock.
    case leasesByWallClock = "leases-by-wall-clock"
    /// The scheduler gives a worker up before the worker's own deadline.
    case givesUpEarly = "gives-up-early"

    // MARK: of the core, in what it says

    /// A start is ordered from two workers.
    case startsTwice = "starts-twice"
    /// Orders to start never leave.
    case dropsStarts = "drops-starts"
    case dropsPublications = "drops-publications"
    case dropsForgets = "drops-forgets"
    /// A worker may publish what it was ordered to start, whether or not it has ended.
    case publishesTooEarly = "publishes-too-early"
    /// Orders of an earlier answer are given again.
    case repeatsOldStarts = "repeats-old-starts"
    /// Two workers get each other's answers.
    case swapsAnswers = "swaps-answers"
    /// Two users get each other's replies.
    case swapsReplies = "swaps-replies"

    // MARK: of the store

    /// Replies and orders leave before the commit, and a crash takes the commit away.
    case answersBeforeCommit = "answers-before-commit"
    /// That an array grew or was closed is answered and not written.
    case dropsRecords = "drops-records"
    /// A batch in seven is answered and not written.
    case skipsCommits = "skips-commits"
    /// A commit is two transactions, and a crash comes between them.
    case commitsInHalves = "commits-in-halves"
    /// Of several changes of a row in a batch, the first one is written.
    case keepsTheFirstChange = "keeps-the-first-change"
    case dropsJobRows = "drops-job-rows"
    case dropsTaskRows = "drops-task-rows"
    case dropsAttemptRows = "drops-attempt-rows"
    case dropsWorkerRows = "drops-worker-rows"
    case dropsUsageRows = "drops-usage-rows"
    case dropsTotals = "drops-totals"
    case dropsKeys = "drops-keys"
    case dropsHolds = "drops-holds"
    case dropsReports = "drops-reports"
    case dropsStopReasons = "drops-stop-reasons"
    case dropsAcceptances = "drops-acceptances"
    /// Tasks that were never started are not written.
    case dropsUnstarted = "drops-unstarted"

    // MARK: of the disk

    /// Nothing is synced, as with `synchronous=OFF`.
    case neverSyncs = "never-syncs"
    /// The log is not synced at a commit, as with `synchronous=NORMAL`.
    case syncsTheLogLater = "syncs-the-log-later"
    /// A restart reads the database without its log.
    case forgetsTheLog = "forgets-the-log"
    /// After a failed sync the scheduler goes on as if nothing had been.
    case goesOnAfterFailedSync = "goes-on-after-failed-sync"

    /// What a job is to wait for never reaches the scheduler.
    case ignoresDependencies = "ignores-dependencies"
}

// Faults of our own making, to see whether the checkers find them.

/// A fault put in on purpose: the checkers must find it.
package enum Mutant: String, Sendable, CaseIterable {
    /// Replies and orders leave before the commit, and a crash takes the commit away.
    case answersBeforeCommit = "answers-before-commit"
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
    /// The scheduler believes that there are more licenses than there are.
    case oversellsLicenses = "oversells-licenses"
    /// A reservation is acknowledged and not kept.
    case forgetsReservations = "forgets-reservations"
}

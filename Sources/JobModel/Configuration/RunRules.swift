// When a job's tasks may run and which failures are tried again: what its user asks beside the configuration. What
// follows is decided in SchedulingCore/Rules.

/// What a user asks of the scheduler beside the number of retries. The empty value asks nothing.
package struct RunRules: Hashable, Codable, Sendable {
    /// Nothing starts before.
    package var startAfter: Timestamp?
    /// What has not ended by then is cancelled.
    package var deadline: Timestamp?
    /// How many tasks run at the same time.
    package var mostRunning: Int64?
    /// Only these exit codes are tried again. Absent: every failure of the program is.
    package var retryOn: [Int]?
    /// These exit codes never are.
    package var retryNotOn: [Int]?
    /// The job's array may grow, and the job does not end while this is true. False: it was closed.
    package var open: Bool?

    package init() {}

    package static let none = RunRules()

    /// Those that hold for another run as well. Times of the calendar do not, and a run of an array that was open has
    /// the tasks that there are and no others.
    package var forRerun: RunRules {
        var rules = self
        rules.startAfter = nil
        rules.deadline = nil
        rules.open = nil
        return rules
    }

    /// Whether a failure of the program may be tried again.
    /// - Parameter exitCode: nil if it did not end by itself.
    package func mayRetry(exitCode: Int?) -> Bool {
        if let exitCode, retryNotOn?.contains(exitCode) == true { return false }
        guard let retryOn else { return true }
        return exitCode.map { retryOn.contains($0) } ?? false
    }

    private enum CodingKeys: String, CodingKey {
        case startAfter = "start_after", deadline, mostRunning = "max_running", retryOn = "retry_on"
        case retryNotOn = "retry_not_on", open
    }
}

extension JobSpec {
    /// A time as a spec names it: by the calendar, or after the submission.
    package enum Moment: Hashable, Sendable {
        case at(Timestamp)
        case after(TimeSpan)

        /// `2027-01-01T00:00:00Z`, or `2h`; nil for anything else.
        package init?(_ text: String) {
            if let span = TimeSpan(text), span > .zero {
                self = .after(span)
            } else if let time = Timestamp(text) {
                self = .at(time)
            } else {
                return nil
            }
        }

        package static let rule =
            "must be a time such as 2027-01-01T06:00:00Z, or a time after the submission such as 2h"

        func time(from now: Timestamp) -> Timestamp {
            switch self {
            case .at(let time): time
            case .after(let span): now.after(span)
            }
        }
    }

    /// What the spec's rules come to at the time of its submission.
    /// - Throws: ``Problem`` that names the field.
    package func rules(at now: Timestamp) throws(Problem) -> RunRules {
        var rules = RunRules()
        rules.startAfter = startAfter?.time(from: now)
        rules.deadline = deadline?.time(from: now)
        rules.mostRunning = mostRunning
        rules.retryOn = retryOn
        rules.retryNotOn = retryNotOn
        if open { rules.open = true }
        guard let end = rules.deadline else { return rules }
        let begin = max(now, rules.startAfter ?? now)
        guard end > begin else {
            throw Problem(
                .refused, "\(end) is over before anything could start: choose a later time", field: "deadline")
        }
        if let timeLimit, end <= begin.after(timeLimit) {
            throw Problem(
                .refused, "\(end) comes before a task could end by its time limit of \(timeLimit): choose a later time",
                field: "deadline")
        }
        return rules
    }
}

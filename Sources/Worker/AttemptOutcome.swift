// How an attempt ends, as a value that cannot lie: a success is made from the proof of exit code 0 and from nothing
// else.
import JobModel

enum AttemptOutcome: Sendable {
    case succeeded(ExitRecord.Zero)
    case failed(EndReason, ExitRecord?, message: String?)
    case cancelled(EndReason, ExitRecord?)
    /// Nobody can say how it ended.
    case lost(EndReason, message: String)

    /// The outcome of a container that ended.
    /// - Parameter stopReason: why the agent stopped it, if it did.
    init(_ record: ExitRecord, stopReason: EndReason?) {
        switch stopReason ?? record.stoppedFor {
        case .timeLimit?: self = .failed(.timeLimit, record, message: "the time limit was reached")
        case .workerLost?:
            self = .lost(.workerLost, message: "the scheduler could not be reached until the lease ended")
        case let reason?: self = .cancelled(reason, record)
        case nil:
            if let zero = ExitRecord.Zero(record) {
                self = .succeeded(zero)
            } else if record.oomKilled {
                self = .failed(.oomKilled, record, message: "the memory limit was reached")
            } else if record.signal != nil {
                self = .failed(.signal, record, message: nil)
            } else if record.exitCode != 0 {
                self = .failed(.exitCode, record, message: record.message)
            } else {
                self = .lost(.engineError, message: "the engine has no proof of how the container ended")
            }
        }
    }

    /// What the scheduler is told, but for the sequence.
    func report(_ attempt: AttemptID) -> AttemptReport {
        switch self {
        case .succeeded(let zero):
            AttemptReport(
                attempt: attempt, sequence: 0, state: .succeeded, reason: .exitCode, exitCode: zero.record.exitCode)
        case .failed(let reason, let record, let message):
            AttemptReport(
                attempt: attempt, sequence: 0, state: .failed, reason: reason, exitCode: record?.exitCode,
                signal: reason == .signal ? record?.signal : nil, message: message)
        case .cancelled(let reason, let record):
            AttemptReport(attempt: attempt, sequence: 0, state: .cancelled, reason: reason, exitCode: record?.exitCode)
        case .lost(let reason, let message):
            AttemptReport(attempt: attempt, sequence: 0, state: .lost, reason: reason, message: message)
        }
    }
}

/// Why an attempt cannot go on.
struct AttemptFailure: Error, Sendable {
    let reason: EndReason
    let message: String
}

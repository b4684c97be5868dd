// How an attempt ends, as a value that cannot lie: a success is made from the proof of exit code 0 and from nothing
// else. No I/O and no
// time here: every combination of exit and stop is a line in a test.
import JobModel

enum AttemptOutcome: Hashable, Sendable {
    case succeeded(ExitRecord.Zero, note: String?)
    case failed(EndReason, ExitRecord?, message: String?)
    case cancelled(EndReason, ExitRecord?)
    /// Nobody can say how it ended.
    case lost(EndReason, message: String)

    private static let leaseMessage = "the scheduler could not be reached until the lease ended"

    /// The outcome of a container that ended.
    /// - Parameters:
    ///   - stopReason: why the agent stopped it, if it did.
    ///   - note: what the user should know beside it.
    init(_ record: ExitRecord, stopReason: EndReason?, note: String? = nil) {
        let note = [note, record.note].compactMap(\.self).joined(separator: "; ")
        self.init(record, stopReason ?? record.stoppedFor, note: note.isEmpty ? nil : note)
    }

    private init(_ record: ExitRecord, _ stopReason: EndReason?, note: String?) {
        switch stopReason {
        case .timeLimit?: self = .failed(.timeLimit, record, message: "the time limit was reached")
        case .workerLost?: self = .lost(.workerLost, message: Self.leaseMessage)
        case let reason?: self = .cancelled(reason, record)
        case nil:
            if let why = record.serviceFailure {
                self = .failed(.serviceError, nil, message: why)
            } else if let zero = ExitRecord.Zero(record) {
                self = .succeeded(zero, note: note)
            } else if record.oomKilled {
                self = .failed(.oomKilled, record, message: note ?? "the memory limit was reached")
            } else if record.signal != nil {
                self = .failed(.signal, record, message: note)
            } else if record.exitCode != 0 {
                self = .failed(.exitCode, record, message: record.message ?? note)
            } else {
                self = .lost(.engineError, message: "the engine has no proof of how the container ended")
            }
        }
    }

    /// The outcome of an attempt that could not go on.
    /// - Parameters:
    ///   - exit: the proof of its end, if it got that far.
    ///   - stopReason: why it was to be stopped, if it was.
    init(_ failure: AttemptFailure, exit: ExitRecord?, stopReason: EndReason?) {
        let reason =
            exit == nil && stopReason != nil && stopReason != .timeLimit ? stopReason ?? .cancelled : failure.reason
        switch reason {
        case .workerLost: self = .lost(.workerLost, message: Self.leaseMessage)
        case .engineError: self = .lost(.engineError, message: failure.message)
        case .exitCode, .signal, .oomKilled, .timeLimit, .imageError, .volumeError, .outputError, .serviceError:
            self = .failed(reason, exit, message: failure.message)
        case .cancelled, .preempted: self = .cancelled(reason, exit)
        }
    }

    /// What the scheduler is told.
    func report(_ attempt: AttemptID) -> AttemptReport {
        var report: AttemptReport
        switch self {
        case .succeeded(let zero, let note):
            report = AttemptReport(attempt, .succeeded, .exitCode, exitCode: zero.record.exitCode)
            report.message = note
        case .failed(let reason, let record, let message):
            report = AttemptReport(attempt, .failed, reason, exitCode: record?.exitCode)
            report.signal = reason == .signal ? record?.signal : nil
            report.message = message
        case .cancelled(let reason, let record):
            report = AttemptReport(attempt, .cancelled, reason, exitCode: record?.exitCode)
        case .lost(let reason, let message):
            report = AttemptReport(attempt, .lost, reason)
            report.message = message
        }
        report.message = report.message.map { Self.shortened($0) }
        return report
    }

    /// A scheduler refuses a call with a longer text, and everything else that the call carries.
    private static let longestMessage = 1_000

    private static func shortened(_ text: String) -> String {
        guard text.utf8.count > longestMessage else { return text }
        return String(decoding: text.utf8.prefix(longestMessage - 4), as: UTF8.self) + "…"
    }
}

extension AttemptReport {
    /// The sequence of a report is the rank of its state: an agent that starts again and says the same says it under
    /// the same number.
    init(_ attempt: AttemptID, _ state: AttemptState, _ reason: EndReason? = nil, exitCode: Int? = nil) {
        self.init(
            attempt: attempt, sequence: Int64(max(1, state.rank)), state: state, reason: reason,
            exitCode: exitCode.flatMap { (-255...255).contains($0) ? $0 : nil })
    }
}

extension Usage {
    /// With nothing that JSON or the scheduler refuses.
    var sound: Usage {
        func sound(_ value: Double) -> Double { value.isFinite && value > 0 ? value : 0 }
        return Usage(
            cpuSeconds: sound(cpuSeconds), maxMemory: ByteCount(bytes: max(0, min(maxMemory.bytes, 1 << 50))),
            wallSeconds: sound(wallSeconds))
    }
}

/// Why an attempt cannot go on.
struct AttemptFailure: Error, Hashable, Sendable {
    let reason: EndReason
    let message: String
}

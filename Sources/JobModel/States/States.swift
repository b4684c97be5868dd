// The states of DESIGN section 2. A terminal state never changes.

/// The state of a job.
package enum JobState: String, Codable, Sendable, CaseIterable {
    case pending, waiting, held, running, succeeded, failed, cancelled
    package var isTerminal: Bool { self == .succeeded || self == .failed || self == .cancelled }
}

/// The state of a task.
package enum TaskState: String, Codable, Sendable, CaseIterable {
    case pending, running, succeeded, failed, cancelled
    package var isTerminal: Bool { self == .succeeded || self == .failed || self == .cancelled }
}

/// The state of an attempt: `assigned → preparing → running → ending → succeeded | failed | cancelled | lost`.
package enum AttemptState: String, Codable, Sendable, CaseIterable {
    case assigned, preparing, running, ending, succeeded, failed, cancelled, lost
    package var isTerminal: Bool {
        switch self {
        case .assigned, .preparing, .running, .ending: false
        case .succeeded, .failed, .cancelled, .lost: true
        }
    }
    /// How far an attempt is: states only rise.
    package var rank: Int {
        switch self {
        case .assigned: 0
        case .preparing: 1
        case .running: 2
        case .ending: 3
        case .succeeded, .failed, .cancelled, .lost: 4
        }
    }
}

/// Why an attempt ended. Every attempt ends exactly once, with one of these.
package enum EndReason: String, Codable, Sendable, CaseIterable {
    case exitCode = "exit-code"
    case signal
    case oomKilled = "oom-killed"
    case timeLimit = "time-limit"
    case cancelled
    case preempted
    case imageError = "image-error"
    case volumeError = "volume-error"
    case outputError = "output-error"
    /// A service was not ready in time, or ended before it was.
    case serviceError = "service-error"
    case workerLost = "worker-lost"
    case engineError = "engine-error"

    /// Whose fault an end is: it decides which retry budget pays.
    package enum Blame: Sendable { case program, infrastructure, nobody }

    package var blame: Blame {
        switch self {
        case .exitCode, .signal, .oomKilled, .timeLimit, .volumeError, .outputError, .serviceError: .program
        case .imageError, .workerLost, .engineError, .preempted: .infrastructure
        case .cancelled: .nobody
        }
    }
}

/// The state of a worker as the scheduler sees it.
/// `unreachable`: no sync for 40 s, gets no new work; `lost`: its lease ended and its attempts were given up.
package enum WorkerState: String, Codable, Sendable, CaseIterable {
    case ready, draining, drained, unreachable, lost
}

/// A wire enumeration that may grow: a value that this version does not know is kept as it came.
package enum Open<Known: RawRepresentable<String> & Hashable & Sendable>: Hashable, Sendable, Codable,
    CustomStringConvertible
{
    case known(Known)
    case unknown(String)

    package init(_ known: Known) { self = .known(known) }
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        self = Known(rawValue: text).map { .known($0) } ?? .unknown(text)
    }
    package func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
    package var description: String {
        switch self {
        case .known(let value): value.rawValue
        case .unknown(let text): text
        }
    }
    /// The value if this version knows it.
    package var value: Known? {
        if case .known(let value) = self { value } else { nil }
    }
}

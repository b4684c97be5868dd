// How an attempt's container ended, as its runner wrote it down, with fsync, when it did. Invariant: code 0 stands in a
// record only if the container's init told that the program ended so.

package struct EndRecord: Hashable, Sendable {
    package enum Verdict: Hashable, Sendable {
        /// The program's exit code, or 128 + the signal that ended it.
        case exited(code: Int)
        /// The container was never started, and why.
        case notStarted(String)
        /// The container was never started because one of its services could not be used, and why.
        case servicesFailed(String)
    }
    /// Why the runner ended the program.
    package enum Cause: String, Hashable, Sendable, CaseIterable {
        case order, timeLimit = "time-limit", lease
    }

    package var attempt: String
    package var verdict: Verdict
    /// The kernel killed a process of the container for its memory limit.
    package var outOfMemory: Bool
    /// Milliseconds since 1970 UTC.
    package var startedAt: Int64?
    package var finishedAt: Int64
    /// For the user, where the code alone does not explain it.
    package var message: String?
    package var stopped: Cause?
    /// For the user, whatever the end was: a service that ended before the program did.
    package var note: String?
    package var cpuMicroseconds: Int64?
    /// Bytes.
    package var peakMemory: Int64?

    package init(
        attempt: String, verdict: Verdict, outOfMemory: Bool = false, startedAt: Int64?, finishedAt: Int64,
        message: String? = nil, stopped: Cause? = nil, note: String? = nil, cpuMicroseconds: Int64? = nil,
        peakMemory: Int64? = nil
    ) {
        self.attempt = attempt
        self.verdict = verdict
        self.outOfMemory = outOfMemory
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.message = message
        self.stopped = stopped
        self.note = note
        self.cpuMicroseconds = cpuMicroseconds
        self.peakMemory = peakMemory
    }

    private static let format = "jobctl-end-1"

    package var text: [UInt8] {
        var record = RecordText()
        record.add("format", Self.format)
        record.add("attempt", attempt)
        switch verdict {
        case .exited(let code): record.add("code", code)
        case .notStarted(let why): record.add("not-started", why)
        case .servicesFailed(let why): record.add("services-failed", why)
        }
        record.add("out-of-memory", outOfMemory ? 1 : 0)
        record.add("started-ms", startedAt)
        record.add("finished-ms", finishedAt)
        record.add("message", message)
        record.add("stopped", stopped?.rawValue)
        record.add("note", note)
        record.add("cpu-us", cpuMicroseconds)
        record.add("peak-memory", peakMemory)
        return record.text
    }

    package init(_ text: [UInt8]) throws(RecordText.Malformed) {
        let record = try RecordText(text)
        try record.expect(format: Self.format)
        let verdict: Verdict
        if let why = record.optional("not-started") {
            verdict = .notStarted(why)
        } else if let why = record.optional("services-failed") {
            verdict = .servicesFailed(why)
        } else {
            let code: Int = try record.number("code")
            guard (0...255).contains(code) else { throw RecordText.Malformed("the record's 'code' is not possible") }
            verdict = .exited(code: code)
        }
        let cause = record.optional("stopped")
        let stopped = cause.flatMap { Cause(rawValue: $0) }
        guard (cause == nil) == (stopped == nil) else {
            throw RecordText.Malformed("the record's 'stopped' is not known")
        }
        let outOfMemory: Int = try record.number("out-of-memory")
        self.init(
            attempt: try record.value("attempt"), verdict: verdict, outOfMemory: outOfMemory != 0,
            startedAt: try record.optionalNumber("started-ms"), finishedAt: try record.number("finished-ms"),
            message: record.optional("message"), stopped: stopped, note: record.optional("note"),
            cpuMicroseconds: try record.optionalNumber("cpu-us"),
            peakMemory: try record.optionalNumber("peak-memory"))
    }
}

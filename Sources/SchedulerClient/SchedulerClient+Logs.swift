// Logs by offset: readers ask for what lies beyond what they have, the worker sends what lies beyond what the scheduler
// has.
import AsyncHTTPClient
import JobModel
import NIOCore
import NIOHTTP1

/// A program's output stream.
package enum LogStream: String, Hashable, Codable, Sendable, CaseIterable { case stdout, stderr }

/// A piece of a log.
package struct LogPage: Sendable {
    package let bytes: [UInt8]
    /// What the scheduler has of it now.
    package let size: Int64
    /// Nothing will be added.
    package let isComplete: Bool
}

/// What the scheduler has of a log.
package struct LogPosition: Hashable, Codable, Sendable {
    package var size: Int64
    package var complete: Bool
    package init(size: Int64, complete: Bool) {
        self.size = size
        self.complete = complete
    }
}

extension SchedulerClient {
    /// The largest piece that one call carries.
    package static let logPieceLimit = 1 << 20

    /// The log from `offset`. With `wait`, holds the call when there is nothing beyond `offset` yet and the log is not
    /// complete.
    package func log(of attempt: AttemptID, _ stream: LogStream, offset: Int64, wait: TimeSpan = .zero)
        async throws(Problem) -> LogPage
    {
        let (headers, bytes) = try await exchange(
            .GET, "/v1/attempts/\(attempt)/logs/\(stream.rawValue)",
            query: [
                ("offset", String(offset)), ("limit", String(Self.logPieceLimit)),
                ("wait", wait == .zero ? nil : String(wait.seconds)),
            ],
            deadline: Self.quick + .milliseconds(wait.milliseconds), limit: Self.logPieceLimit)
        guard let size = headers.first(name: "Jobctl-Log-Size").flatMap({ Int64($0) }),
            let complete = headers.first(name: "Jobctl-Log-Complete")
        else {
            throw Problem(.internal, "the scheduler's answer lacks the headers of a log")
        }
        return LogPage(bytes: Array(bytes.readableBytesView), size: size, isComplete: complete == "true")
    }

    /// Sends a piece of a log. What the scheduler has already is skipped there; go on from the size that it answers.
    package func appendLog(
        worker: WorkerName, attempt: AttemptID, _ stream: LogStream, offset: Int64, bytes: [UInt8], complete: Bool
    ) async throws(Problem) -> LogPosition {
        try await call(
            .PUT, "/v1/workers/\(worker)/attempts/\(attempt)/logs/\(stream.rawValue)",
            query: [("offset", String(offset)), ("complete", complete ? "true" : "false")],
            headers: [("Content-Type", "application/octet-stream")], body: .bytes(ByteBuffer(bytes: bytes)))
    }
}

// The output of attempts: uploaded by workers piece by piece, read by owners from any offset, followed by waiting.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import NIOPosix
import ServiceLifecycle

struct LogRoutes {
    let services: APIServices

    /// The most that one call carries, up or down.
    static let pieceLimit = 1 << 20
    static let longestWait = TimeSpan.seconds(30)
    /// An attempt that ended this long ago and never completed its stream never will: its worker is gone.
    static let patience = TimeSpan.seconds(60)

    var routes: [Route] {
        [
            Route(.get, "/v1/attempts/{attempt}/logs/{stream}", .owner, read),
            Route(.put, "/v1/workers/{name}/attempts/{attempt}/logs/{stream}", .worker, append),
        ]
    }

    @Sendable private func append(_ call: Call) async throws -> Response {
        try call.allowQuery("offset", "complete")
        _ = try call.name(as: WorkerName.self)
        let key = try call.logKey()
        let offset = try call.integer("offset", in: 0...Int64.max, otherwise: 0)
        let complete = try call.flag("complete")
        let body = try await call.body(limit: Self.pieceLimit)
        let extent = try await services.files.run { [logs = services.logs, store = services.store] in
            if try logs.extent(of: key) == nil { try store.mustKnow(key.attempt) }
            return try logs.append(Array(body.readableBytesView), at: offset, complete: complete, to: key)
        }
        return try .json(extent)
    }

    @Sendable private func read(_ call: Call) async throws -> Response {
        try call.allowQuery("offset", "limit", "wait")
        let key = try call.logKey()
        let offset = try call.integer("offset", in: 0...Int64.max, otherwise: 0)
        let limit = try call.integer("limit", in: 1...Int64(Self.pieceLimit), otherwise: Int64(Self.pieceLimit))
        let wait = try call.query("wait", "a number of seconds from 0 to 30") { text in
            Double(text).flatMap { TimeSpan(seconds: $0) }.flatMap { $0 <= Self.longestWait ? $0 : nil }
        }
        let record = try services.store.mustKnow(key.attempt)
        try call.caller.mustOwn(key.attempt.job, of: record.owner.name.rawValue)
        let extent = try await settled(key, beyond: offset, wait: wait ?? .zero)
        let bytes = try await services.files.run { [logs = services.logs] in
            try logs.read(key, from: offset, count: Int(min(limit, max(0, extent.size - offset))))
        }
        return .bytes(bytes, headers: [.logSize: String(extent.size), .logComplete: String(extent.complete)])
    }

    /// The stream's extent, once there is something beyond `offset`, it is complete, or the wait is over.
    private func settled(_ key: LogKey, beyond offset: Int64, wait: TimeSpan) async throws -> LogExtent {
        let deadline = ContinuousClock.now + .milliseconds(wait.milliseconds)
        while true {
            // They begin before the look, so that no change falls between.
            let changes = services.logs.changes(of: key)
            // A stream without output is never sent: it is complete when its attempt ends, which is a change of the
            // job.
            let revisions = offset == 0 ? services.loop.revisions(of: key.attempt.job) : nil
            let extent = try await extent(of: key)
            guard wait > .zero, extent.size == offset, !extent.complete, ContinuousClock.now < deadline,
                !Task.isCancelled, !Task.isShuttingDownGracefully
            else { return extent }
            await change(of: changes, or: revisions, until: deadline)
        }
    }

    private func change(of log: AsyncStream<Void>, or job: AsyncStream<Int64>?, until deadline: ContinuousClock.Instant)
        async
    {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await cancelWhenGracefulShutdown { for await _ in log { break } } }
            if let job {
                group.addTask {
                    await cancelWhenGracefulShutdown { for await _ in job { break } }
                    // A large array changes all the time.
                    do { try await Task.sleep(for: .milliseconds(50)) } catch { return }
                }
            }
            group.addTask { do { try await Task.sleep(until: deadline) } catch { return } }
            await group.next()
            group.cancelAll()
        }
    }

    private func extent(of key: LogKey) async throws -> LogExtent {
        let now = services.clock.now().wall
        return try await services.files.run { [logs = services.logs, store = services.store] in
            let stored = try logs.extent(of: key)
            if stored == nil, let time = try store.logsRemoved(of: key.attempt) {
                throw Problem(
                    .notFound,
                    "the logs of attempt \(key.attempt) were removed on \(time.day) by the retention policy",
                    field: "attempt")
            }
            var extent = stored ?? LogExtent(size: 0, complete: false)
            if !extent.complete { extent.complete = try store.isAbandoned(key, modified: logs.modified(key), now: now) }
            return extent
        }
    }
}

extension Store {
    /// - Throws: ``Problem`` of kind `notFound` unless the attempt's job exists and has such a task.
    @discardableResult
    fileprivate func mustKnow(_ attempt: AttemptID) throws -> JobRecord {
        guard let record = try record(of: attempt.job), record.shape.indices.contains(attempt.task.index) else {
            throw Problem(.notFound, "there is no attempt \(attempt)", field: "attempt")
        }
        return record
    }

    /// Whether nobody will ever complete this stream: a worker sends and completes what output there was before it
    /// reports an end,
    /// and never sends a stream without output.
    fileprivate func isAbandoned(_ key: LogKey, modified: Timestamp?, now: Timestamp) throws -> Bool {
        if let modified, now - modified < LogRoutes.patience { return false }
        guard let attempt = try attempt(key.attempt), attempt.state.value?.isTerminal == true else { return false }
        if modified == nil, attempt.state != Open(.lost) { return true }
        guard let finished = attempt.finishedAt else { return attempt.state == Open(.lost) }
        return now - finished >= LogRoutes.patience
    }
}

extension Call {
    fileprivate func logKey() throws(Problem) -> LogKey {
        let attempt = try parameter("attempt", "an attempt id such as 42.7.2") { AttemptID($0) }
        let stream = try parameter("stream", "a log stream: use stdout or stderr") { LogStream(rawValue: $0) }
        return LogKey(attempt: attempt, stream: stream)
    }
}

extension HTTPField.Name {
    static let logSize = HTTPField.Name("Jobctl-Log-Size")!  // allowed: a constant token, read by the first log test
    static let logComplete = HTTPField.Name("Jobctl-Log-Complete")!  // allowed: a constant token, as above
}

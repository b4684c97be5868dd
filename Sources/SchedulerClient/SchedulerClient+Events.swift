// Live updates of a job by server-sent events, resumed after a lost connection with the id of the last one.
import AsyncHTTPClient
import JobModel
import NIOCore
import NIOHTTP1

extension SchedulerClient {
    /// The job's newest document now and after each change, until it has ended. A lost connection is taken up again for
    /// up to ten tries in a row; then the stream throws the last problem.
    package func events(of job: JobID) -> AsyncThrowingStream<JobDocument, any Error> {
        AsyncThrowingStream { continuation in
            let reader = Task {
                var position = EventPosition()
                while !Task.isCancelled {
                    do {
                        try await self.readEvents(of: job, from: &position, to: continuation)
                        if try await self.job(job).state.value?.isTerminal == true { break }
                    } catch let problem as Problem where problem.kind == .unavailable && position.failures < 10 {
                        position.failures += 1
                        try await Task.sleep(for: .milliseconds(300 * position.failures))
                    }
                }
                continuation.finish()
            }
            let supervisor = Task {
                do { try await reader.value } catch { continuation.finish(throwing: error) }
            }
            continuation.onTermination = { _ in
                reader.cancel()
                supervisor.cancel()
            }
        }
    }

    /// Reads one connection to its end, and writes down how far it came, however it ended.
    private func readEvents(
        of job: JobID, from position: inout EventPosition,
        to continuation: AsyncThrowingStream<JobDocument, any Error>.Continuation
    ) async throws {
        let headers =
            [("Accept", "text/event-stream")] + (position.last.map { [("Last-Event-ID", String($0))] } ?? [])
        let response = try await send(.GET, "/v1/jobs/\(job)/events", headers: headers, deadline: .hours(24 * 30))
        if response.status.code >= 400 { try check(response, try await response.body.collect(upTo: 1 << 20)) }
        var parser = ServerSentEventParser()
        do {
            for try await piece in response.body {
                for event in try parser.take(piece.readableBytesView) where event.name == "job" {
                    let document = try WireJSON.decode(JobDocument.self, from: event.data.utf8)
                    position = EventPosition(last: document.revision, failures: 0)
                    continuation.yield(document)
                }
            }
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.unavailable, "the connection to the scheduler was lost")
        }
    }
}

/// How far a reader of events has come.
private struct EventPosition {
    /// The revision that was read last.
    var last: Int64?
    /// Connections in a row that gave nothing.
    var failures = 0
}

/// One event of a `text/event-stream` (WHATWG HTML, section 9.2).
package struct ServerSentEvent: Hashable, Sendable {
    package var id: String?
    package var name: String
    package var data: String
}

/// Takes a stream apart, however its pieces are cut.
package struct ServerSentEventParser: Sendable {
    /// The largest event that is read.
    package static let limit = 16 << 20
    private var line: [UInt8] = []
    private var id: String?
    private var name = "message"
    private var data: [String] = []
    private var size = 0
    private var lastWasCarriageReturn = false

    package init() {}

    /// - Throws: ``JobModel/Problem`` if an event grows beyond ``limit``.
    package mutating func take(_ bytes: some Sequence<UInt8>) throws(Problem) -> [ServerSentEvent] {
        var events: [ServerSentEvent] = []
        for byte in bytes {
            let followsCarriageReturn = lastWasCarriageReturn
            lastWasCarriageReturn = byte == 0x0d
            switch byte {
            case 0x0a where followsCarriageReturn: continue
            case 0x0a, 0x0d:
                if let event = endLine() { events.append(event) }
            default:
                line.append(byte)
                size += 1
                guard size <= Self.limit else {
                    throw Problem(.tooLarge, "an event of the scheduler has more than \(Self.limit) bytes")
                }
            }
        }
        return events
    }

    private mutating func endLine() -> ServerSentEvent? {
        defer { line.removeAll(keepingCapacity: true) }
        if line.isEmpty {
            defer {
                data = []
                name = "message"
                size = 0
            }
            return data.isEmpty ? nil : ServerSentEvent(id: id, name: name, data: data.joined(separator: "\n"))
        }
        let text = String(decoding: line, as: UTF8.self)
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let value = parts.count > 1 ? String(parts[1].hasPrefix(" ") ? parts[1].dropFirst() : parts[1]) : ""
        switch parts[0] {
        case "id": id = value
        case "event": name = value
        case "data": data.append(value)
        default: break
        }
        return nil
    }
}

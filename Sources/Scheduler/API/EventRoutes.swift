// Server-sent events of one job. Level-triggered: an event is always the newest document, never two for one revision,
// so a reader that was away resumes with Last-Event-ID and misses no final state. Ends after the terminal state.
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import ServiceLifecycle

struct EventRoutes {
    let services: APIServices

    /// A comment after this silence: proxies and readers learn that the line is alive.
    static let heartbeat = Duration.seconds(15)
    /// Between two events of one reader: a job with many tasks changes far more often than anybody looks.
    static let pause = Duration.milliseconds(20)

    var routes: [Route] { [Route(.get, "/v1/jobs/{id}/events", .reader, events)] }

    @Sendable private func events(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let id = try call.job()
        _ = try services.existingJob(id)
        let seen = try call.lastEventID()
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                var feed = JobFeed(services: services, job: id, sent: seen)
                try await feed.write(to: &writer)
                try await writer.finish(nil)
            })
    }
}

/// What one reader has been sent of one job.
private struct JobFeed {
    let services: APIServices
    let job: JobID
    var sent: Int64
    var isOver = false

    enum Wake { case changed, silence }

    /// The ticks begin before the first read, so that no change falls between.
    mutating func write(to writer: inout any ResponseBodyWriter) async throws {
        let ticks = services.loop.revisions(of: job)
        let (wakes, waker) = AsyncStream.makeStream(of: Wake.self, bufferingPolicy: .bufferingNewest(2))
        let listener = Task {
            await cancelWhenGracefulShutdown { for await _ in ticks { waker.yield(.changed) } }
            waker.finish()
        }
        let timer = Task {
            while !Task.isCancelled {
                try await Task.sleep(for: EventRoutes.heartbeat)
                waker.yield(.silence)
            }
        }
        defer {
            listener.cancel()
            timer.cancel()
        }
        try await send(to: &writer, because: .changed)
        var wake = wakes.makeAsyncIterator()
        while !isOver, let reason = await wake.next() {
            try await send(to: &writer, because: reason)
            if !isOver { try await Task.sleep(for: EventRoutes.pause) }
        }
    }

    private mutating func send(to writer: inout any ResponseBodyWriter, because wake: Wake) async throws {
        let document = try services.existingJob(job)
        if document.revision > sent {
            sent = document.revision
            try await writer.write(try ServerSentEvent.job(document))
        } else if wake == .silence {
            try await writer.write(ByteBuffer(string: ": still here\n\n"))
        }
        isOver = document.state.value?.isTerminal == true
    }
}

enum ServerSentEvent {
    /// JSON has no line break of its own, so one `data` line holds the document.
    static func job(_ document: JobDocument) throws -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeString("id: \(document.revision)\nevent: job\ndata: ")
        buffer.writeBytes(try WireJSON.encode(document))
        buffer.writeString("\n\n")
        return buffer
    }
}

extension Call {
    /// 0 if the reader has seen nothing.
    fileprivate func lastEventID() throws(Problem) -> Int64 {
        guard let text = try header("Last-Event-ID", limit: 19) else { return 0 }
        guard let id = Int64(text), id >= 0 else {
            throw Problem(.badRequest, "\(quoted(text)) is not the id of an event", field: "Last-Event-ID")
        }
        return id
    }
}

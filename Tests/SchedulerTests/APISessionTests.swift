// Sessions through a scheduler on a socket: both sides are the real client, the worker is played. What engines do with
// them stands in WorkerTests, the whole path in EndToEndTests.
import AsyncAlgorithms
import Foundation
import JobModel
import Scheduler
import SchedulerClient
import SchedulingCore
import TestSupport
import Testing

/// The worker `node1`, which runs the attempt 1.1.1 of ada's job.
private struct Played: Sendable {
    let api: APIUnderTest
    let ada: SchedulerClient
    let worker: SchedulerClient
    let name = WorkerName(unchecked: "node1")
    let attempt = AttemptID("1.1.1")!

    static func with<Value: Sendable>(
        patience: Duration = .seconds(30), rerun: String? = nil,
        _ body: @escaping @Sendable (Played) async throws -> Value
    ) async throws -> Value {
        try await APIUnderTest.with(.live, sessionPatience: patience) { api in
            let url = "http://127.0.0.1:\(api.port)"
            let played = Played(
                api: api, ada: try SchedulerClient(url: url, token: api.token(of: .ada)),
                worker: try SchedulerClient(url: url, token: api.token(of: .worker)))
            try await api.importBusybox()
            _ = try await api.submit(#"{"name": "one", "image": "busybox", "command": ["/bin/sleep", "9"]}"#)
            _ = try await api.sync(played.call(1, registration: .small()))
            let running = AttemptReport(attempt: played.attempt, sequence: 1, state: .running, engine: "docker")
            _ = try await api.sync(played.call(2, live: ["1.1.1"], reports: [running]))
            return try await body(played)
        }
    }

    func call(
        _ sequence: Int64, registration: WorkerRegistration? = nil, live: [String] = [], reports: [AttemptReport] = [],
        wait: Int64 = 0
    ) -> SyncRequest {
        SyncRequest(
            incarnation: "life-1", sequence: sequence, registration: registration,
            live: live.compactMap { AttemptID($0) }, reports: reports, wait: .seconds(wait))
    }

    func open(_ command: String...) async throws -> SessionDocument {
        try await ada.openSession(beside: attempt, SessionRequest(command: command, tty: false))
    }

    /// Serves one session as `cat` would, and ends with `code`.
    func serveCat(_ order: SessionOrder, code: UInt8) async throws {
        let frames = AsyncChannel<SessionFrame>()
        async let sent: Void = worker.sendOutput(of: order.id, name, frames)
        try await worker.receiveInput(of: order.id, name) { frame in
            switch frame {
            case .input(let bytes): await frames.send(.output(bytes))
            case .inputEnd:
                await frames.send(.exit(code))
                frames.finish()
            default: break
            }
        }
        try await sent
    }
}

/// What a client received.
private actor Received {
    var frames: [SessionFrame] = []
    func take(_ frame: SessionFrame) { frames.append(frame) }
    var bytes: [UInt8] {
        frames.flatMap { frame -> [UInt8] in
            if case .output(let bytes) = frame { return bytes }
            return []
        }
    }
}

@Suite struct APISessionTests {
    @Test("the worker learns of a session by its parked call, takes it once, and a mebibyte comes back as it went")
    func relay() async throws {
        try await Played.with { c in
            async let answer = c.api.sync(c.call(3, live: ["1.1.1"], wait: 20)).decoded(SyncResponse.self)
            let session = try await c.open("cat", "-")
            #expect(try await answer.sessions == true)
            let order = try #require(try await c.worker.sessions(for: c.name).first)
            #expect(order.attempt == c.attempt && order.request.command == ["cat", "-"])
            #expect(try await c.worker.sessions(for: c.name).isEmpty)
            #expect(try await c.api.sync(c.call(4, live: ["1.1.1"])).decoded(SyncResponse.self).sessions == nil)

            let bytes = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
            let frames = AsyncChannel<SessionFrame>()
            let received = Received()
            async let served: Void = c.serveCat(order, code: 7)
            async let sent: Void = c.ada.sendInput(of: session.id, frames)
            async let read: Void = c.ada.receiveOutput(of: session.id) { await received.take($0) }
            for start in stride(from: 0, to: bytes.count, by: 50_000) {
                await frames.send(.input(Array(bytes[start..<min(start + 50_000, bytes.count)])))
            }
            await frames.send(.inputEnd)
            try await read
            #expect(await received.bytes == bytes)
            #expect(await received.frames.last == .exit(7))
            _ = try await (served, sent)
            // It is over: nothing of it is left.
            await #expect(throws: Problem.self) { try await c.ada.receiveOutput(of: session.id) { _ in } }
        }
    }

    @Test("when one side goes, the other's streams end", arguments: [true, false])
    func goes(clientGoes: Bool) async throws {
        try await Played.with { c in
            let session = try await c.open("cat")
            let order = try #require(try await c.worker.sessions(for: c.name).first)
            let up = AsyncChannel<SessionFrame>()
            let down = AsyncChannel<SessionFrame>()
            let client = [
                Task { try await c.ada.sendInput(of: session.id, up) },
                Task { try await c.ada.receiveOutput(of: session.id) { _ in } },
            ]
            let worker = [
                Task { try await c.worker.sendOutput(of: order.id, c.name, down) },
                Task { try await c.worker.receiveInput(of: order.id, c.name) { _ in } },
            ]
            // Passed on, so that all four are there.
            await up.send(.input([1]))
            await down.send(.output([1]))
            for task in clientGoes ? client : worker { task.cancel() }
            for task in clientGoes ? worker : client { _ = await task.result }
        }
    }

    @Test("a session that nobody serves ends with a sentence")
    func nobodyComes() async throws {
        try await Played.with(patience: .seconds(3)) { c in
            let session = try await c.open("cat")
            let received = Received()
            try await c.ada.receiveOutput(of: session.id) { await received.take($0) }
            #expect(
                await received.frames == [.failure("the worker 'node1' did not take the session in time")])
            #expect(try await c.worker.sessions(for: c.name).isEmpty)
        }
    }

    @Test("sessions end when the scheduler stops")
    func stopping() async throws {
        let (client, worker) = try await Played.with { c in
            let session = try await c.open("cat")
            let order = try #require(try await c.worker.sessions(for: c.name).first)
            let frames = AsyncChannel<SessionFrame>()
            let client = Task { try await c.ada.receiveOutput(of: session.id) { _ in } }
            let worker = Task { try await c.worker.sendOutput(of: order.id, c.name, frames) }
            await frames.send(.output([1]))
            return (client, worker)
        }
        for task in [client, worker] { _ = await task.result }
    }

    @Test("only owners open sessions, only what runs has them, and only those concerned take their streams")
    func refused() async throws {
        try await Played.with { c in
            let good = #"{"command": ["sh"], "tty": true}"#
            let table: [(APIUnderTest.Who, String, String, Int, String)] = [
                (.bob, "1.1.1", good, 403, "belongs to 'ada'"), (.ada, "1.1.2", good, 404, "there is no attempt"),
                (.ada, "9.1.1", good, 404, "there is no attempt"), (.ada, "x", good, 400, "not an attempt id"),
                (.ada, "1.1.1", #"{"command": [], "tty": true}"#, 400, "name a program"),
                (.ada, "1.1.1", #"{"command": "sh", "tty": true}"#, 400, "wrong type"),
                (.ada, "1.1.1", #"{"command": ["sh"]}"#, 400, "is required"),
                (.ada, "1.1.1", #"{"command": ["sh"], "tty": true, "rows": 0}"#, 400, "from 1 to"),
            ]
            for (who, attempt, body, status, words) in table {
                let answer = try await c.api.call(.post, "/v1/attempts/\(attempt)/sessions", as: who, json: body)
                #expect(answer.status == status && answer.text.contains(words), "\(answer.text)")
            }
            let session = try await c.open("sh")
            for (who, uri) in [
                (APIUnderTest.Who.bob, "/v1/sessions/\(session.id)/output"), (.ada, "/v1/sessions/none/output"),
                (.worker, "/v1/workers/node2/sessions/\(session.id)/input"),
            ] {
                let answer = try await c.api.call(.get, uri, as: who)
                #expect(answer.status == 404, "\(uri) \(answer.text)")
            }
            // Who asks second is refused. That somebody came first is told by a frame: a question that came first would
            // have the stream, and wait.
            let order = try #require(try await c.worker.sessions(for: c.name).first)
            let (down, received) = (AsyncChannel<SessionFrame>(), AsyncChannel<SessionFrame>())
            let served = Task { try await c.worker.sendOutput(of: order.id, c.name, down) }
            let first = Task { try await c.ada.receiveOutput(of: session.id) { await received.send($0) } }
            await down.send(.output([1]))
            _ = await received.first { _ in true }
            #expect(try await c.api.call(.get, "/v1/sessions/\(session.id)/output").status == 409)
            for task in [served, first] { task.cancel() }
            let end = AttemptReport(
                attempt: c.attempt, sequence: 2, state: .failed, reason: .exitCode, exitCode: 1)
            _ = try await c.api.sync(c.call(3, live: ["1.1.1"], reports: [end]))
            let late = try await c.api.call(.post, "/v1/attempts/1.1.1/sessions", json: good)
            #expect(try late.status == 409 && late.problem().detail == "the attempt 1.1.1 does not run any more")
        }
    }

    @Test("a user has at most sixteen sessions")
    func limits() async throws {
        try await Played.with { c in
            for _ in 0..<16 { _ = try await c.open("sh") }
            let problem = await #expect(throws: Problem.self) { try await c.open("sh") }
            #expect(problem?.kind == .refused && problem?.detail.contains("16 sessions") == true)
        }
    }

    @Test(
        "a rerun with a command is a shell: another configuration without a name, tried once, cancelled with its session"
    )
    func shells() async throws {
        try await Played.with { c in
            let old = try await c.ada.job(JobID(rawValue: 1))
            let shell = try await c.ada.rerun(
                RerunRequest(source: "one", command: ["/bin/sh", "-c", "wait $!"]), idempotencyKey: "k")
            #expect(shell.configuration.digest != old.configuration.digest && shell.configuration.name == nil)
            #expect(shell.labels["jobctl.shell"] == "true" && shell.rerunOf == old.id)
            #expect(try await c.ada.configuration("one").digest == old.configuration.digest)
            let configuration = try await c.ada.configuration(shell.configuration.digest.description)
            #expect(configuration.names.isEmpty && configuration.configuration.command == ["/bin/sh", "-c", "wait $!"])
            for (request, words) in [
                (RerunRequest(source: "2"), "cannot be repeated"),
                (RerunRequest(source: "1", command: ["${x}"]), "is not known"),
                (RerunRequest(source: "1", command: ["a"], task: 2), "not a task"),
                (RerunRequest(source: "1", command: []), "name a program"),
                (RerunRequest(source: "1", task: 1), "only with a command"),
            ] {
                let problem = await #expect(throws: Problem.self) {
                    try await c.ada.rerun(request, idempotencyKey: words)
                }
                #expect(problem?.detail.contains(words) == true, "\(String(describing: problem))")
            }

            let running = AttemptReport(attempt: AttemptID("2.1.1")!, sequence: 1, state: .running)
            _ = try await c.api.sync(c.call(3, live: ["1.1.1", "2.1.1"]))
            _ = try await c.api.sync(c.call(4, live: ["1.1.1", "2.1.1"], reports: [running]))
            let session = try await c.ada.openSession(
                beside: AttemptID("2.1.1")!, SessionRequest(command: ["sh"], tty: false))
            let order = try #require(try await c.worker.sessions(for: c.name).first)
            async let served: Void = c.serveCat(order, code: 0)
            let frames = AsyncChannel<SessionFrame>()
            async let sent: Void = c.ada.sendInput(of: session.id, frames)
            async let read: Void = c.ada.receiveOutput(of: session.id) { _ in }
            await frames.send(.inputEnd)
            try await read
            _ = try await (served, sent)
            let orders = try await c.api.sync(c.call(5, live: ["1.1.1", "2.1.1"], wait: 20)).decoded(SyncResponse.self)
            #expect(orders.stop == [StopOrder(attempt: AttemptID("2.1.1")!, reason: .cancelled)])
            #expect(try await c.ada.job(old.id).state == .known(.running))
        }
    }

    @Test("a shell on an array has the parameters and the index of its task")
    func shellOfTask() async throws {
        try await APIUnderTest.with { api in
            let spec =
                #"{"name": "m", "image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["${params.a}"], "matrix": {"a": ["x", "y"], "b": ["1", "2"]}}"#
            _ = try await api.submit(spec)
            let answer = try await api.call(
                .post, "/v1/reruns", json: #"{"source": "1", "command": ["sh"], "task": 3}"#)
            let job = try answer.decoded(JobDocument.self)
            #expect(job.tasks.total == 1 && job.shape == .array(first: 3, last: 3))
            #expect(job.parameters == ["a": "y", "b": "1"])
        }
    }
}

// The loop's thread: many callers at once, the same key at once, calls that repeat, a stop in the middle, a disk that
// fails.
import Foundation
import GRDB
import JobModel
import Logging
import Scheduler
import SchedulingCore
import TestSupport
import Testing

@Suite("scheduler loop")
struct SchedulerLoopTests {
    private let spec = "name: a\nimage: busybox\ncommand: [a]\n"
    private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    private func loop(_ folder: ScratchFolder) throws -> SchedulerLoop {
        try SchedulerLoop(
            store: try Store.open(directory: folder.path), policy: Policy(), clock: SystemClock(),
            events: EventLog(startedAt: SystemClock().now().wall), logger: quiet)
    }

    /// Runs `body` while the loop runs, then stops it and gives how it ended.
    private func running(_ loop: SchedulerLoop, _ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await loop.run() }
            do {
                try await body()
            } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    @Test("submits with one key at the same time become one job; with the key and another request they are conflicts")
    func equalKeys() async throws {
        let folder = try ScratchFolder()
        let loop = try loop(folder)
        try await running(loop) { [spec] in
            let same = try accepted(spec, key: "k", request: "1")
            let other = try accepted(spec, key: "k", request: "2")
            _ = try await loop.submit(same)
            try await withThrowingTaskGroup(of: String.self) { group in
                for number in 0..<60 {
                    group.addTask {
                        do throws(Problem) {
                            return "job \(try await loop.submit(number % 3 == 0 ? other : same).id)"
                        } catch { return "\(error.status)" }
                    }
                }
                let answers = try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
                #expect(answers == ["job 1": 40, "409": 20])
            }
            #expect(try await loop.query { $0.totals.tasks.total } == 1)
        }
    }

    @Test(
        "while the loop stops, each submit is either acknowledged and on disk or refused, and nobody waits for ever",
        .timeLimit(.minutes(10)))
    func stopping() async throws {
        let folder = try ScratchFolder()
        let acknowledged: [Int64]
        do {
            let loop = try loop(folder)
            let submission = try accepted(spec)
            acknowledged = try await withThrowingTaskGroup(of: Int64?.self) { group in
                group.addTask {
                    try await loop.run()
                    return nil
                }
                for number in 0..<2_000 {
                    group.addTask {
                        if number == 1_000 { return nil }
                        do throws(Problem) { return try await loop.submit(submission).id.rawValue } catch {
                            #expect(error.kind == .unavailable)
                            return nil
                        }
                    }
                }
                var ids: [Int64] = []
                for try await id in group {
                    if let id { ids.append(id) }
                    if ids.count == 300 { group.cancelAll() }
                }
                return ids
            }
        }
        #expect(acknowledged.count >= 300)
        #expect(Set(acknowledged).count == acknowledged.count, "each has an id of its own")
        let store = try await reopened(folder)
        var stored: Set<Int64> = []
        var cursor: String?
        repeat {
            let page = try store.jobs(JobQuery(limit: 1_000, cursor: cursor))
            stored.formUnion(page.jobs.map(\.id.rawValue))
            cursor = page.next
        } while cursor != nil
        #expect(stored.isSuperset(of: acknowledged))
    }

    /// The thread lets the folder go a moment after the loop's end.
    private func reopened(_ folder: ScratchFolder) async throws -> Store {
        var store: Store?
        try await eventually("the data folder is let go") {
            do { store = try Store.open(directory: folder.path) } catch StoreFailure.locked { return false }
            return true
        }
        return try #require(store)
    }

    @Test("a loop that nobody holds any more lets the data folder go")
    func abandoned() async throws {
        let folder = try ScratchFolder()
        do {
            let loop = try loop(folder)
            _ = try await loop.submit(try accepted(spec))
        }
        #expect(try await reopened(folder).jobs(JobQuery(limit: 10)).jobs.count == 1)
    }

    @Test("the same call twice, from an agent that is not known, is answered twice", .timeLimit(.minutes(10)))
    func repeatedCall() async throws {
        let folder = try ScratchFolder()
        let loop = try loop(folder)
        try await running(loop) {
            let request = SyncRequest(
                incarnation: "i", sequence: 1, registration: nil, live: [], reports: [], wait: .seconds(5))
            let answers = await withTaskGroup(of: String.self) { group in
                for _ in 0..<200 {
                    group.addTask {
                        do throws(Problem) {
                            return try await loop.sync(WorkerName(rawValue: "w")!, request).registrationWanted
                                ? "register" : "?"
                        } catch { return "\(error.status)" }
                    }
                }
                return await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(answers.isSubset(of: ["register", "409"]) && answers.contains("register"))
        }
    }

    @Test(
        "a failure of the store ends the loop: whoever waits is told, whoever comes later as well, and nothing is acknowledged",
        .timeLimit(.minutes(10)))
    func storageFailure() async throws {
        let folder = try ScratchFolder()
        let loop = try loop(folder)
        let submission = try accepted(spec)
        _ = try await loop.submit(submission)
        let parked = Task { () -> Problem? in
            let registration = WorkerRegistration(
                cpus: CPUAmount(cpus: 1), memory: ByteCount(bytes: 1 << 30), gpus: [], labels: [:], volumes: [:],
                allowedPaths: [], engines: [], version: "1")
            do throws(Problem) {
                _ = try await loop.sync(
                    WorkerName(rawValue: "w")!,
                    SyncRequest(
                        incarnation: "i", sequence: 1, registration: registration, live: [], reports: [],
                        wait: .seconds(30)))
                return nil
            } catch { return error }
        }
        // The first answer brings work; the agent is known once it is there.
        _ = await parked.value
        let queue = try DatabaseQueue(path: folder.path + "/jobctl.sqlite")
        try await queue.writeWithoutTransaction { try $0.execute(sql: "ALTER TABLE jobs RENAME TO gone") }
        try queue.close()
        let refused = await #expect(throws: Problem.self) { try await loop.submit(submission) }
        #expect(refused?.kind == .unavailable)
        let failure = await #expect(throws: StoreFailure.self) { try await loop.run() }
        #expect(failure?.description.hasPrefix("the scheduler's disk failed: ") == true)
        let late = await #expect(throws: Problem.self) { try await loop.submit(submission) }
        #expect(late?.kind == .unavailable)
        let query = await #expect(throws: Problem.self) { _ = try await loop.query { $0.totals } }
        #expect(query?.kind == .unavailable)
    }

    @Test("whoever watches a job is woken by its changes, and only by its own")
    func watchers() async throws {
        let folder = try ScratchFolder()
        let loop = try loop(folder)
        try await running(loop) { [spec] in
            let first = try await loop.submit(try accepted(spec))
            let second = try await loop.submit(try accepted(spec))
            var changes = loop.revisions(of: first.id).makeAsyncIterator()
            try await loop.send(.holdRequested(second.id))
            try await loop.send(.holdRequested(first.id))
            #expect(await changes.next() == first.revision + 1)
        }
    }
}

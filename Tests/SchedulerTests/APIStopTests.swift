// A graceful stop over real sockets: long polls and event streams end, and what was accepted is on disk.
import AsyncHTTPClient
import Foundation
import JobModel
import Logging
import NIOCore
import Scheduler
import ServiceLifecycle
import TestSupport
import Testing

@Suite struct APIStopTests {
    private struct Cluster: Sendable {
        let url: String
        let token: String

        func request(_ method: String, _ path: String, _ body: [UInt8] = []) -> HTTPClientRequest {
            var request = HTTPClientRequest(url: url + path)
            request.method = .RAW(value: method)
            request.headers.add(name: "Authorization", value: "Bearer \(token)")
            if !body.isEmpty { request.body = .bytes(ByteBuffer(bytes: body)) }
            return request
        }
    }

    private func options(_ folder: ScratchFolder) -> SchedulerOptions {
        var options = SchedulerOptions(dataDirectory: folder.path)
        let admin = Caller(name: UserName(unchecked: "admin"), role: .admin, uid: 1000, gid: 1000)
        options.firstUsers = [SchedulerOptions.FirstUser(user: admin, tokenFile: folder.path + "/token")]
        return options
    }

    @Test(
        "a parked sync, a log that is followed and a stream of events end when the scheduler stops; its last acknowledged job is there afterwards",
        .timeLimit(.minutes(10)))
    func stop() async throws {
        let folder = try ScratchFolder()
        let acknowledged = try await Self.live(options(folder)) { cluster, group in
            let http = HTTPClient.shared
            let submitted = try await http.execute(
                cluster.request("POST", "/v1/jobs", Array(#"{"spec": \#(pinnedSpec)}"#.utf8)), timeout: .seconds(20))
            let job = try WireJSON.decode(
                JobDocument.self, from: try await submitted.body.collect(upTo: 1 << 20).readableBytesView)
            func sync(_ sequence: Int64, wait: Int64) throws -> HTTPClientRequest {
                cluster.request(
                    "POST", "/v1/workers/w/sync",
                    try WireJSON.encode(
                        SyncRequest(
                            incarnation: "i", sequence: sequence, registration: sequence == 1 ? .small() : nil,
                            live: [], reports: [], wait: .seconds(wait))))
            }
            _ = try await http.execute(try sync(1, wait: 0), timeout: .seconds(20))
            let parked = try sync(1_000, wait: 30)
            async let poll = http.execute(parked, timeout: .seconds(50)).status.code
            async let log = http.execute(
                cluster.request("GET", "/v1/attempts/1.1.1/logs/stdout?wait=30"), timeout: .seconds(50)
            ).status.code
            let events = try await http.execute(cluster.request("GET", "/v1/jobs/1/events"), timeout: .seconds(50))
            var pieces = events.body.makeAsyncIterator()
            #expect(try await pieces.next() != nil, "the newest document comes at once")
            // The poll is parked once a call with a lower sequence is refused as stale.
            var probe: Int64 = 1
            try await eventually("the poll is parked") {
                probe += 1
                return try await http.execute(try sync(probe, wait: 0), timeout: .seconds(20)).status.code == 409
            }
            await group.triggerGracefulShutdown()
            #expect(try await pieces.next() == nil, "the stream ends")
            #expect([200, 503].contains(Int(try await poll.description) ?? 0))
            #expect([200, 503].contains(Int(try await log.description) ?? 0))
            return job
        }
        try await eventually("the data folder is let go") {
            do {
                let store = try Store.open(directory: folder.path)
                #expect(try store.job(acknowledged.id)?.name == acknowledged.name)
                return true
            } catch StoreFailure.locked { return false }
        }
    }

    /// A scheduler that listens, until `body` has stopped it.
    private static func live<Value: Sendable>(
        _ options: SchedulerOptions, _ body: @escaping @Sendable (Cluster, ServiceGroup) async throws -> Value
    ) async throws -> Value {
        let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let service = try SchedulerService(options: options, logger: quiet)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [service.application()], logger: quiet))
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let address = options.dataDirectory + "/scheduler.address"
            try await eventually("it listens") { FileManager.default.fileExists(atPath: address) }
            let place = try String(contentsOfFile: address, encoding: .utf8).trimmingCharacters(
                in: .whitespacesAndNewlines)
            let token = try String(contentsOfFile: options.dataDirectory + "/token", encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            do {
                let value = try await body(Cluster(url: "http://" + place, token: token), group)
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
                return value
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
        }
    }
}

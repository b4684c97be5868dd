// From the core's orders to the answer that a worker reads: lease, interval, and each configuration that it needs.
// Checks a request's bounds before the core sees it. Decides nothing about attempts.
import JobModel
import NIOCore
import NIOFoundationCompat
import SchedulingCore
import ServiceLifecycle

package struct SyncGateway: Sendable {
    let loop: SchedulerLoop
    let cache: BriefCache
    let policy: Policy

    /// The answer as JSON. Parked until the core has something to say, the call is superseded, or the scheduler stops.
    func sync(_ worker: WorkerName, _ body: ByteBuffer) async throws -> [UInt8] {
        let scanned = body.withUnsafeReadableBytes { SyncScanner.request($0) }
        let request = try scanned ?? WireJSON.decode(SyncRequest.self, from: body.readableBytesView)
        return try await sync(worker, SyncLimits.checked(request))
    }

    private func sync(_ worker: WorkerName, _ request: SyncRequest) async throws -> [UInt8] {
        let orders = try await orders(worker, request)
        return try SyncAnswer(orders: orders, policy: policy, cache: cache).encoded()
    }

    /// The loop cannot be told to forget a call: when the scheduler stops, the wait is given up and the loop answers
    /// nobody.
    private func orders(_ worker: WorkerName, _ request: SyncRequest) async throws -> SyncOrders {
        let (answers, answer) = AsyncStream.makeStream(of: Result<SyncOrders, Problem>.self)
        Task { [loop] in
            do throws(Problem) {
                answer.yield(.success(try await loop.sync(worker, request)))
            } catch {
                answer.yield(.failure(error))
            }
            answer.finish()
        }
        let first = await cancelWhenGracefulShutdown {
            for await answer in answers { return Optional(answer) }
            return nil
        }
        guard let first else { throw CancellationError() }
        return try first.get()
    }
}

/// What a sync request may hold. Amounts are bounded so that no sum over a cluster can overflow.
enum SyncLimits {
    static let attempts = 200_000
    static let names = 1_000
    static let text = 4_096
    static let longestWait = TimeSpan.seconds(60)
    static let largestMemory = ByteCount(bytes: 1 << 50)
    static let largestCount: Int64 = 1 << 50

    static func checked(_ request: SyncRequest) throws(Problem) -> SyncRequest {
        var request = request
        guard request.version == SyncRequest.protocolVersion else {
            throw Problem(
                .refused,
                "\(request.version) is not a protocol that this scheduler speaks: it speaks \(SyncRequest.protocolVersion)",
                field: "$.protocol")
        }
        try text(request.incarnation, "$.incarnation", limit: 128)
        guard !request.incarnation.isEmpty else { throw Problem(.badRequest, "is empty", field: "$.incarnation") }
        guard request.sequence >= 1 else {
            throw Problem(
                .badRequest, "\(request.sequence) is not a sequence number: they begin with 1", field: "$.sequence")
        }
        try text(request.proof ?? "", "$.proof", limit: 128)
        try count(request.live.count, "$.live", limit: attempts)
        try count(request.reports.count, "$.reports", limit: attempts)
        if let registration = request.registration { try check(registration) }
        try count(request.images?.count ?? 0, "$.images", limit: names)
        for (index, report) in request.reports.enumerated() { try check(report, "$.reports[\(index)]") }
        request.wait = min(request.wait, longestWait)
        return request
    }

    private static func check(_ registration: WorkerRegistration) throws(Problem) {
        let path = "$.registration"
        guard registration.memory.bytes >= 0, registration.memory <= largestMemory else {
            throw Problem(
                .badRequest, "\(registration.memory.bytes) is not an amount of memory from 0 to 1 PiB",
                field: path + ".memory")
        }
        guard (0...largestCount).contains(registration.disk?.bytes ?? 0) else {
            throw Problem(.badRequest, "is not an amount of disk from 0 to 1 PiB", field: path + ".disk")
        }
        for (field, number) in [
            ("gpus", registration.gpus.count), ("labels", registration.labels.count),
            ("volumes", registration.volumes.count),
            ("allowed_paths", registration.allowedPaths.count), ("engines", registration.engines.count),
            ("weaknesses", registration.weaknesses?.count ?? 0),
            ("custom", registration.custom?.entries.count ?? 0),
        ] { try count(number, "\(path).\(field)", limit: names) }
        for (field, texts) in [
            ("gpus", registration.gpus), ("allowed_paths", registration.allowedPaths),
            ("engines", registration.engines), ("weaknesses", registration.weaknesses ?? []),
            ("labels", registration.labels.flatMap { [$0.key, $0.value] }), ("version", [registration.version]),
        ] { for value in texts { try text(value, "\(path).\(field)") } }
        if let address = registration.address, !WorkerRegistration.isAddress(address) {
            throw Problem(
                .badRequest, "\(quoted(address)) is not \(WorkerRegistration.addressRule)", field: path + ".address")
        }
        for gpu in registration.gpus where gpu.isEmpty || gpu.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
            throw Problem(.badRequest, "\(quoted(gpu)) is not the identity of a GPU", field: path + ".gpus")
        }
        guard Set(registration.gpus).count == registration.gpus.count else {
            throw Problem(.badRequest, "names a GPU twice", field: path + ".gpus")
        }
    }

    private static func check(_ report: AttemptReport, _ path: String) throws(Problem) {
        guard report.sequence >= 1 else {
            throw Problem(
                .badRequest, "\(report.sequence) is not a sequence number: they begin with 1", field: path + ".sequence"
            )
        }
        guard report.state.isTerminal == (report.reason != nil) else {
            throw Problem(
                .badRequest,
                report.state.isTerminal ? "is required with a final state" : "is allowed only with a final state",
                field: path + ".reason")
        }
        for (field, value) in [("exit_code", report.exitCode), ("signal", report.signal)] {
            guard let value else { continue }
            guard (-255...255).contains(value) else {
                throw Problem(.badRequest, "\(value) is not a number from -255 to 255", field: "\(path).\(field)")
            }
        }
        for (field, value) in [("message", report.message), ("engine", report.engine)] {
            if let value { try text(value, "\(path).\(field)") }
        }
        for (field, trees) in [("inputs", report.inputs ?? [:]), ("outputs", report.outputs ?? [:])] {
            try count(trees.count, "\(path).\(field)", limit: names)
            for tree in trees.values where !range.contains(tree.files) || !range.contains(tree.bytes.bytes) {
                throw Problem(.badRequest, "has a number of files or bytes that cannot be", field: "\(path).\(field)")
            }
        }
        if let usage = report.usage,
            !range.contains(usage.maxMemory.bytes) || usage.cpuSeconds < 0 || usage.wallSeconds < 0
        {
            throw Problem(.badRequest, "has an amount that cannot be", field: path + ".usage")
        }
    }

    private static let range = 0...largestCount

    private static func count(_ count: Int, _ field: String, limit: Int) throws(Problem) {
        guard count <= limit else {
            throw Problem(.badRequest, "has \(count) elements: at most \(limit)", field: field)
        }
    }

    private static func text(_ text: String, _ field: String, limit: Int = SyncLimits.text) throws(Problem) {
        guard text.utf8.count <= limit else {
            throw Problem(.badRequest, "has \(text.utf8.count) bytes: at most \(limit)", field: field)
        }
    }
}

// A sync request as JSON without Codable, because agents with many short attempts send thousands of reports a second:
// the same bytes as ``WireJSON/encode(_:pretty:)`` gives. Tests compare the two. The scheduler's reader of this form is
// Scheduler/API/SyncScanner.swift.

extension SyncRequest {
    /// - Throws: `EncodingError` if a number is not finite.
    package func encoded() throws -> [UInt8] {
        var writer = JSONWriter(capacity: 512 + 16 * live.count + 256 * reports.count)
        try writer.object { writer in
            if let images { writer.member("images") { $0.array(images) { $0.string($1.description) } } }
            writer.member("incarnation", incarnation)
            writer.member("live") { $0.array(live) { $0.attempt($1) } }
            writer.member("proof", ifPresent: proof)
            writer.member("protocol", Int64(version))
            if let registration { try writer.member("registration") { $0.raw(try WireJSON.encode(registration)) } }
            try writer.member("reports") { try $0.array(reports) { try $0.report($1) } }
            writer.member("sequence", sequence)
            writer.member("wait_seconds") { $0.seconds(wait) }
        }
        return writer.bytes
    }
}

extension JSONWriter {
    fileprivate mutating func report(_ report: AttemptReport) throws {
        try object { writer in
            writer.member("attempt") { $0.attempt(report.attempt) }
            writer.member("engine", ifPresent: report.engine)
            if let code = report.exitCode { writer.member("exit_code", Int64(code)) }
            writer.member("finished_at", ifPresent: report.finishedAt?.description)
            writer.member("image_manifest", ifPresent: report.imageManifest?.description)
            if let inputs = report.inputs { try writer.member("inputs") { try $0.trees(inputs) } }
            writer.member("message", ifPresent: report.message)
            if let outputs = report.outputs { try writer.member("outputs") { try $0.trees(outputs) } }
            writer.member("reason", ifPresent: report.reason?.rawValue)
            writer.member("sequence", report.sequence)
            if let signal = report.signal { writer.member("signal", Int64(signal)) }
            writer.member("started_at", ifPresent: report.startedAt?.description)
            writer.member("state", report.state.rawValue)
            if let usage = report.usage { try writer.member("usage") { try $0.usage(usage) } }
        }
    }

    private mutating func trees(_ trees: [SlotName: TreeFingerprint]) throws {
        if trees.isEmpty { object { _ in } } else { raw(try WireJSON.encode(trees)) }
    }

    private mutating func usage(_ usage: Usage) throws {
        guard usage.cpuSeconds.isFinite, usage.wallSeconds.isFinite else { return raw(try WireJSON.encode(usage)) }
        object { writer in
            writer.member("cpu_seconds") { $0.number(usage.cpuSeconds) }
            writer.member("max_memory_bytes", usage.maxMemory.bytes)
            writer.member("wall_seconds") { $0.number(usage.wallSeconds) }
        }
    }
}

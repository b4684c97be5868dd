// Output by offset, so that following survives a lost connection without losing or doubling a byte.
import Foundation
import JobModel
import SchedulerClient

/// Where the output of programs goes.
enum LogTarget {
    /// Each stream to the stream of the same name.
    case streams
    /// Both to standard error: standard output is for a document.
    case standardError
    /// One JSON object a line to standard output.
    case lines
}

/// Copies streams of attempts to their target.
struct LogCopier {
    let client: SchedulerClient
    let target: LogTarget

    /// One attempt after the other, both streams of each. What is not there any more is said at its place, and does not
    /// keep the others from being shown.
    /// - Throws: the last ``Problem`` of kind `notFound`, at the end.
    func copy(_ attempts: [AttemptID], _ streams: [LogStream], waiting: Bool) async throws {
        var missing: Problem?
        for attempt in attempts {
            do {
                if let missing { printError(missing.description) }
                missing = nil
                try await copy(one: attempt, streams, waiting: waiting)
            } catch let problem as Problem where problem.kind == .notFound && attempts.count > 1 {
                missing = problem
            }
        }
        if let missing { throw missing }
    }

    private func copy(one attempt: AttemptID, _ streams: [LogStream], waiting: Bool) async throws {
        guard waiting else {
            for stream in streams { try await copy(attempt, stream, waiting: false) }
            return
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for stream in streams { group.addTask { try await copy(attempt, stream, waiting: true) } }
            try await group.waitForAll()
        }
    }

    /// One stream, to its end if `waiting`, else as far as it is there.
    func copy(_ attempt: AttemptID, _ stream: LogStream, waiting: Bool) async throws {
        var writer = LogWriter(attempt: attempt, stream: stream, target: target)
        var offset: Int64 = 0
        var failures = 0
        while true {
            let page: LogPage
            do throws(Problem) {
                page = try await client.log(of: attempt, stream, offset: offset, wait: waiting ? .seconds(20) : .zero)
            } catch {
                failures += 1
                guard error.kind == .unavailable, waiting, failures < 30 else { throw error }
                try await Task.sleep(for: .milliseconds(300))
                continue
            }
            failures = 0
            try writer.write(page.bytes)
            offset += Int64(page.bytes.count)
            if offset >= page.size, page.isComplete || !waiting { return try writer.finish() }
        }
    }
}

/// Writes one stream of one attempt.
private struct LogWriter {
    let attempt: AttemptID
    let stream: LogStream
    let target: LogTarget
    /// The beginning of a line whose end has not come; only for `lines`.
    private var rest: [UInt8] = []

    private struct Line: Encodable {
        let attempt: AttemptID
        let stream: LogStream
        let text: String
    }

    /// A line that is longer is printed in parts.
    private static let longestLine = 1 << 20

    init(attempt: AttemptID, stream: LogStream, target: LogTarget) {
        self.attempt = attempt
        self.stream = stream
        self.target = target
    }

    mutating func write(_ bytes: [UInt8]) throws {
        switch target {
        case .streams: try Self.write(bytes, to: stream == .stdout ? .standardOutput : .standardError)
        case .standardError: try Self.write(bytes, to: .standardError)
        case .lines:
            rest += bytes
            var start = rest.startIndex
            while let end = rest[start...].firstIndex(of: 0x0a) {
                try printLine(rest[start..<end])
                start = end + 1
            }
            rest.removeSubrange(..<start)
            if rest.count > Self.longestLine { try finish() }
        }
    }

    mutating func finish() throws {
        if !rest.isEmpty { try printLine(rest[...]) }
        rest = []
    }

    private func printLine(_ bytes: ArraySlice<UInt8>) throws {
        let line = Line(attempt: attempt, stream: stream, text: String(decoding: bytes, as: UTF8.self))
        try Self.write(try WireJSON.encode(line) + [0x0a], to: .standardOutput)
    }

    private static func write(_ bytes: [UInt8], to handle: FileHandle) throws {
        guard !bytes.isEmpty else { return }
        try handle.write(contentsOf: Data(bytes))
    }
}

/// Follows the output of a job's attempts, as they start, until the job has ended.
struct LogFollower {
    let copier: LogCopier
    let job: JobID
    var task: Int64?
    let streams: [LogStream]

    func follow() async throws {
        var seen: Set<AttemptID> = []
        let progress = ProgressLine()
        try await withThrowingTaskGroup(of: Void.self) { group in
            func copyNew() async throws {
                for attempt in try await copier.client.allAttempts(of: job, task: task)
                where seen.insert(attempt.id).inserted {
                    for stream in streams {
                        group.addTask { [copier] in try await copier.copy(attempt.id, stream, waiting: true) }
                    }
                }
            }
            for try await document in copier.client.events(of: job) {
                if document.tasks.total > 1 { progress.show(Waiting.line(document)) }
                try await copyNew()
            }
            progress.clear()
            try await copyNew()
            try await group.waitForAll()
        }
    }
}

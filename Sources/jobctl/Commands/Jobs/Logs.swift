// jobctl logs: output by offset, so that following survives a lost connection without losing or doubling a byte.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show what a job printed.",
        discussion:
            "Example: jobctl logs -f 42. Of a task with several attempts, the newest. An array's tasks follow one another."
    )

    @Argument(help: "42, 42.7 or 42.7.2.") var subject: Subject
    @Flag(name: [.short, .long], help: "Go on until the job has ended.") var follow = false
    @Flag(help: "Only standard output.") var stdout = false
    @Flag(help: "Only standard error.") var stderr = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let streams: [LogStream] = stdout == stderr ? [.stdout, .stderr] : stdout ? [.stdout] : [.stderr]
        let client = try global.client()
        if follow {
            return try await LogFollower(client: client, job: subject.job, subject: subject, streams: streams).follow()
        }
        var newest: [Int64: AttemptID] = [:]
        var cursor: String?
        repeat {
            let page = try await client.attempts(of: subject.job, task: subject.task, limit: 1000, cursor: cursor)
            for attempt in page.attempts where subject.holds(attempt.id) { newest[attempt.id.task.index] = attempt.id }
            cursor = page.next
        } while cursor != nil
        for (_, attempt) in newest.sorted(by: { $0.key < $1.key }) {
            for stream in streams { try await LogFollower.copy(attempt, stream, client, waiting: false) }
        }
    }
}

/// Follows the output of a job's attempts, as they start, until the job has ended.
struct LogFollower {
    let client: SchedulerClient
    let job: JobID
    var subject: Subject?
    let streams: [LogStream]

    func follow() async throws {
        var seen: Set<AttemptID> = []
        let progress = ProgressLine()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for try await document in client.events(of: job) {
                if document.tasks.total > 1 { progress.show(Waiting.line(document)) }
                for attempt in try await attempts() where seen.insert(attempt).inserted {
                    for stream in streams {
                        group.addTask { [client] in try await Self.copy(attempt, stream, client, waiting: true) }
                    }
                }
            }
            progress.clear()
            for attempt in try await attempts() where seen.insert(attempt).inserted {
                for stream in streams {
                    group.addTask { [client] in try await Self.copy(attempt, stream, client, waiting: true) }
                }
            }
            try await group.waitForAll()
        }
    }

    private func attempts() async throws -> [AttemptID] {
        var ids: [AttemptID] = []
        var cursor: String?
        repeat {
            let page = try await client.attempts(of: job, task: subject?.task, limit: 1000, cursor: cursor)
            ids += page.attempts.map(\.id).filter { subject?.holds($0) ?? true }
            cursor = page.next
        } while cursor != nil
        return ids
    }

    /// Copies one stream to the stream of the same name.
    static func copy(_ attempt: AttemptID, _ stream: LogStream, _ client: SchedulerClient, waiting: Bool) async throws {
        let handle = stream == .stdout ? FileHandle.standardOutput : FileHandle.standardError
        var offset: Int64 = 0
        var failures = 0
        while true {
            let page: LogPage
            do throws(Problem) {
                page = try await client.log(of: attempt, stream, offset: offset, wait: waiting ? .seconds(20) : .zero)
            } catch {
                if error.kind == .notFound { return }
                failures += 1
                guard error.kind == .unavailable, waiting, failures < 20 else { throw error }
                try await Task.sleep(for: .milliseconds(300))
                continue
            }
            failures = 0
            handle.write(Data(page.bytes))
            offset += Int64(page.bytes.count)
            if offset >= page.size, page.isComplete || !waiting { return }
        }
    }
}

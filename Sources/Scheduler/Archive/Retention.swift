// How long what attempts left behind is kept: the output of programs, the lists of files behind tree digests, and the
// rows of tasks and attempts that carry no digests. Configurations, files, images and the digests themselves are none
// of its business: it knows two folders only.
//
// A pass compresses what is complete, counts what is there by the hour, and removes what is too old or too much, oldest
// first. That something was removed is written down before it goes, so that whoever asks is told.
import Foundation
import JobModel
import Logging
import OCI
import ServiceLifecycle
import Synchronization

package struct Retention: Service {
    let store: Store
    let loop: SchedulerLoop
    let logs: LogFiles
    let trees: Trees
    let files: BlockingWork
    let policy: RetentionPolicy
    let clock: any SchedulerClock
    let logger: Logger
    /// Removals of one kind in one pass, and rows of one commit.
    static let mostRemovals = 10_000
    static let batch = 500

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await Task.sleep(for: policy.interval)
                    let result = try await pass()
                    guard result.removed.blobs > 0 || result.compressed > 0 || result.tasks > 0 else { continue }
                    logger.notice(
                        "Logs and lists of files were looked after",
                        metadata: [
                            "compressed": "\(result.compressed)", "removed": "\(result.removed.blobs)",
                            "size": "\(result.removed.size)", "tasks summed up": "\(result.tasks)",
                        ])
                } catch is CancellationError {
                    return
                } catch {
                    logger.warning("Logs and lists of files were not looked after", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    struct Pass: Sendable {
        var compressed = 0
        var logs = ArchiveShare()
        var manifests = ArchiveShare()
        var keys = 0
        /// Tasks whose rows were summed up.
        var tasks: Int64 = 0
        var removed: ArchiveShare {
            var sum = logs
            sum.blobs += manifests.blobs
            sum.size = ByteCount(bytes: sum.size.bytes + manifests.size.bytes)
            return sum
        }
    }

    private var now: Int64 { clock.now().wall.millisecondsSinceEpoch / 1000 }

    /// Compresses and removes; at most ``mostRemovals`` of each kind, the rest with the next pass.
    /// - Parameter dryRun: only counts what would be removed.
    func pass(dryRun: Bool = false) async throws -> Pass {
        let stop = StopFlag()
        return try await withTaskCancellationHandler {
            var pass = Pass()
            if !dryRun { pass.compressed = try await files.runLong { try compress(stop) } }
            pass.logs = try await removeLogs(dryRun, stop)
            pass.manifests = try await removeManifests(dryRun, stop)
            if !dryRun {
                pass.keys = try await forgetKeys()
                pass.tasks = try await compactTasks(stop)
            }
            return pass
        } onCancel: {
            stop.raise()
        }
    }

    // MARK: logs

    func logBook() throws -> AgeBook {
        var book = AgeBook()
        try logs.each {
            book.add($0.size, at: $0.modified)
            return true
        }
        return book
    }

    /// One that cannot be compressed does not keep the others from it.
    private func compress(_ stop: StopFlag) throws -> Int {
        var count = 0
        try logs.each { stored in
            do {
                if try logs.compress(stored) { count += 1 }
            } catch {
                logger.warning(
                    "A log could not be compressed",
                    metadata: ["attempt": "\(stored.key.attempt)", "error": "\(error)"])
                if (error as? OCIError)?.isDiskFull == true { return false }
            }
            return !stop.isRaised
        }
        return count
    }

    private func removeLogs(_ dryRun: Bool, _ stop: StopFlag) async throws -> ArchiveShare {
        let now = self.now
        let old = try await files.runLong { () -> [LogFiles.Stored] in
            guard let cutoff = try logBook().cutoff(policy.logs, now: now) else { return [] }
            var old: [LogFiles.Stored] = []
            // An attempt that has been silent for long may still run.
            try logs.each { stored in
                if stored.modified < cutoff, try store.hasEnded(stored.key.attempt, before: cutoff) {
                    old.append(stored)
                }
                return !stop.isRaised && old.count < Self.mostRemovals
            }
            return old
        }
        var share = ArchiveShare()
        for stored in old { share.add(stored.size) }
        guard !dryRun else { return share }
        for start in stride(from: 0, to: old.count, by: Self.batch) {
            let some = old[start..<min(start + Self.batch, old.count)]
            try await loop.record(.logsRemoved(Set(some.map(\.key.attempt)).sorted(), at: clock.now().wall))
            try await files.run { for stored in some { logs.remove(stored.key) } }
        }
        return share
    }

    // MARK: lists of files

    func manifestBook() throws -> AgeBook {
        var book = AgeBook()
        try trees.lists.each { _, size, time in
            book.add(size, at: time)
            return true
        }
        return book
    }

    private func removeManifests(_ dryRun: Bool, _ stop: StopFlag) async throws -> ArchiveShare {
        let now = self.now
        let old = try await files.runLong { () -> [(digest: Digest, size: Int64)] in
            guard let cutoff = try manifestBook().cutoff(policy.manifests, now: now) else { return [] }
            var old: [(Digest, Int64)] = []
            try trees.lists.each { digest, size, time in
                if time < cutoff { old.append((digest, size)) }
                return !stop.isRaised && old.count < Self.mostRemovals
            }
            // A worker sends a list once: that it is old does not mean that nothing new has it.
            let unused = try store.treesUnused(old.map(\.0), since: cutoff)
            for (digest, _) in old where !unused.contains(digest) { trees.lists.touch(digest) }
            return old.filter { unused.contains($0.0) }
        }
        var share = ArchiveShare()
        for list in old { share.add(list.size) }
        guard !dryRun else { return share }
        for start in stride(from: 0, to: old.count, by: Self.batch) {
            let some = old[start..<min(start + Self.batch, old.count)].map(\.digest)
            try await loop.record(.treesRemoved(some, at: clock.now().wall))
            try await files.run { for digest in some { try trees.lists.remove(digest) } }
        }
        return share
    }

    // MARK: keys of submissions

    private func forgetKeys() async throws -> Int {
        let limit = Timestamp(
            millisecondsSinceEpoch: clock.now().wall.millisecondsSinceEpoch - policy.keys.milliseconds)
        let keys = try await files.run { try store.keys(of: limit, limit: Self.mostRemovals) }
        for start in stride(from: 0, to: keys.count, by: Self.batch) {
            try await loop.record(.keysForgotten(Array(keys[start..<min(start + Self.batch, keys.count)])))
        }
        return keys.count
    }

    // MARK: rows of tasks

    /// Tasks that one commit sums up.
    static let tasksPerStep = 1_000
    static let mostTasks: Int64 = 500_000

    private func compactTasks(_ stop: StopFlag) async throws -> Int64 {
        guard let age = policy.tasks else { return 0 }
        let now = clock.now().wall
        let limit = Timestamp(millisecondsSinceEpoch: now.millisecondsSinceEpoch - age.milliseconds)
        var count: Int64 = 0
        for job in try await files.run({ try store.jobsToCompact(before: limit, limit: Self.mostRemovals) }) {
            var after: Int64? = -1
            while let task = after {
                guard !stop.isRaised, count < Self.mostTasks else { return count }
                let step = try await files.run {
                    try store.compaction(of: job, after: task, limit: Self.tasksPerStep, at: now)
                }
                try await loop.record(.tasksCompacted(step))
                count += step.runs.reduce(0) { $0 + $1.tasks.upperBound - $1.tasks.lowerBound + 1 }
                after = step.next
            }
        }
        return count
    }

    // MARK: what is said about it

    func status() async throws -> (logs: RetainedShare, manifests: RetainedShare) {
        try await files.runLong { () -> (RetainedShare, RetainedShare) in
            (RetainedShare(try logBook(), policy.logs), RetainedShare(try manifestBook(), policy.manifests))
        }
    }
}

extension RetainedShare {
    fileprivate init(_ book: AgeBook, _ limit: RetentionPolicy.Limit) {
        self.init(
            files: book.share.blobs, size: book.share.size,
            oldest: book.oldest.map { Timestamp(millisecondsSinceEpoch: $0 * 1000) }, keep: limit.age,
            budget: limit.budget)
    }
}

private final class StopFlag: Sendable {
    private let flag = Atomic(false)
    var isRaised: Bool { flag.load(ordering: .relaxed) }
    func raise() { flag.store(true, ordering: .relaxed) }
}

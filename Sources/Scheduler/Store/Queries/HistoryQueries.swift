// The runs of a configuration: its jobs, newest first, each with the data of its attempts taken together.
import Foundation
import GRDB
import JobModel

extension Store {
    /// Attempts of one job that are looked at.
    private static let mostAttempts = 1000

    /// One page: the jobs of this cluster, then the imported ones. A name without a version means all its versions.
    /// - Parameter cursor: the job that the page before ended with; for imported runs, their row below zero.
    package func runs(of source: ConfigurationSource, limit: Int, cursor: String?) throws -> RunList {
        let before = try cursor.map { try Cursor.numbers($0, count: 1)[0] }
        let (condition, arguments): (String, StatementArguments) =
            switch source {
            case .digest(let digest): ("configuration = ?", [digest.description])
            case .name(let name, version: nil):
                (
                    "configuration IN (SELECT digest FROM configuration_versions WHERE name = ?)", [name.rawValue]
                )
            case .name(let name, let version?):
                (
                    "configuration IN (SELECT digest FROM configuration_versions WHERE name = ? AND version = ?)",
                    [name.rawValue, version]
                )
            }
        var rows = try reading { db in
            let own = try Row.fetchAll(
                db, sql: "SELECT * FROM jobs WHERE \(condition) AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
                arguments: arguments + [before, before, limit + 1]
            ).map { (run: try Self.run(try Self.document($0), db), row: $0["id"] as Int64) }
            let imported = try Self.importedRuns(
                condition, arguments, before: before.flatMap { $0 < 0 ? -$0 : nil }, limit: limit + 1 - own.count, db)
            return own + imported.map { ($0.document, -$0.id) }
        }
        let more = rows.count > limit
        if more { rows.removeLast() }
        return RunList(runs: rows.map(\.run), next: more ? rows.last.map { "\($0.row)" } : nil)
    }

    /// The run that a job is.
    func run(of job: JobID) throws -> RunDocument? {
        try reading { db in
            try Row.fetchOne(db, sql: "SELECT * FROM jobs WHERE id = ?", arguments: [job.rawValue])
                .map { try Self.run(try Self.document($0), db) }
        }
    }

    /// The jobs of a configuration, newest first.
    func jobs(of configuration: Digest, before: Int64?, limit: Int) throws -> [JobID] {
        try reading { db in
            try Int64.fetchAll(
                db,
                sql: "SELECT id FROM jobs WHERE configuration = ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
                arguments: [configuration.description, before, before, limit]
            ).map { JobID(rawValue: $0) }
        }
    }

    private static func run(_ job: JobDocument, _ db: Database) throws -> RunDocument {
        let statement = try db.cachedStatement(
            sql: "SELECT * FROM attempts WHERE job = ? ORDER BY task, number LIMIT ?")
        var attempts = try Row.fetchAll(statement, arguments: [job.id.rawValue, mostAttempts + 1])
            .map { document(try attemptRow($0)) }
        let partial = attempts.count > mostAttempts
        if partial { attempts.removeLast() }
        let newest = Dictionary(attempts.map { ($0.id.task.index, $0) }, uniquingKeysWith: { $1 })
        let done = newest.filter { $0.value.state == Open(.succeeded) }
        return RunDocument(
            job: job, inputs: slots(newest, job) { $0.inputs }, outputs: slots(done, job) { $0.outputs },
            workers: Set(attempts.map(\.worker) + (job.compaction?.workers ?? [])).sorted(),
            wallSeconds: attempts.reduce(job.compaction?.wallSeconds ?? 0) { $0 + ($1.usage?.wallSeconds ?? 0) },
            cpuSeconds: attempts.reduce(job.compaction?.cpuSeconds ?? 0) { $0 + ($1.usage?.cpuSeconds ?? 0) },
            partial: partial)
    }

    /// The trees of each slot, over all tasks.
    private static func slots(
        _ attempts: [Int64: AttemptDocument], _ job: JobDocument,
        _ trees: (AttemptDocument) -> [String: TreeFingerprint]
    ) -> [String: SlotHistory] {
        var lines: [String: [String]] = [:]
        var found: [String: SlotHistory] = [:]
        var digests: [String: Set<Digest>] = [:]
        for (task, attempt) in attempts.sorted(by: { $0.key < $1.key }) {
            for (slot, tree) in trees(attempt) {
                var history =
                    found[slot]
                    ?? SlotHistory(
                        binding: job.bindings[slot], treeDigest: nil, trees: 0, files: 0, size: ByteCount(bytes: 0))
                history.files = saturatingSum(history.files, tree.files)
                history.size = ByteCount(bytes: saturatingSum(history.size.bytes, tree.bytes.bytes))
                found[slot] = history
                guard let digest = tree.treeDigest else { continue }
                digests[slot, default: []].insert(digest)
                lines[slot, default: []].append("\(task) \(digest)\n")
            }
        }
        for (slot, different) in digests {
            found[slot]?.trees = different.count
            found[slot]?.treeDigest =
                different.count == 1 ? different.first : Digest(of: (lines[slot] ?? []).joined())
        }
        return found
    }

    /// Workers report these: a sum of theirs must not end the scheduler.
    private static func saturatingSum(_ a: Int64, _ b: Int64) -> Int64 {
        let (sum, overflowed) = a.addingReportingOverflow(b)
        return overflowed ? .max : sum
    }
}

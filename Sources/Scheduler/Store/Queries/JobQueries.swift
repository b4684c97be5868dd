// Reading jobs, tasks and attempts from the pool's snapshots: safe from any task, never in the way of the writer.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// A page of jobs, newest first.
package struct JobQuery: Sendable {
    package var limit: Int
    package var cursor: String?
    package var state: JobState?
    package var owner: String?
    package var name: String?
    package var pipeline: JobID?

    package init(
        limit: Int, cursor: String? = nil, state: JobState? = nil, owner: String? = nil, name: String? = nil,
        pipeline: JobID? = nil
    ) {
        self.pipeline = pipeline
        self.limit = limit
        self.cursor = cursor
        self.state = state
        self.owner = owner
        self.name = name
    }
}

/// A page of a job's started tasks, by index.
package struct TaskQuery: Sendable {
    package var job: JobID
    package var limit: Int
    package var cursor: String?
    package var state: TaskState?

    package init(job: JobID, limit: Int, cursor: String? = nil, state: TaskState? = nil) {
        self.job = job
        self.limit = limit
        self.cursor = cursor
        self.state = state
    }
}

/// A page of a job's attempts, oldest first.
package struct AttemptQuery: Sendable {
    package var job: JobID
    package var limit: Int
    package var cursor: String?
    package var task: Int64?
}

/// Where the next page begins. Opaque to clients.
enum Cursor {
    static func numbers(_ text: String, count: Int) throws(Problem) -> [Int64] {
        let numbers = text.split(separator: ".", omittingEmptySubsequences: false).map { Int64($0) }
        guard numbers.count == count, !numbers.contains(nil), text.utf8.count <= 80 else { throw refusal(text) }
        return numbers.compactMap { $0 }
    }

    static func nameAndVersion(_ text: String) throws(Problem) -> (name: String, version: Int64) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, let name = ConfigurationName(rawValue: String(parts[0])), let version = Int64(parts[1])
        else { throw refusal(text) }
        return (name.rawValue, version)
    }

    static func timeAndDigest(_ text: String) throws(Problem) -> (time: Int64, digest: Digest) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let time = Int64(parts[0]), let digest = Digest("sha256:" + parts[1]) else {
            throw refusal(text)
        }
        return (time, digest)
    }

    private static func refusal(_ text: String) -> Problem {
        Problem(
            .badRequest, "\(quoted(text)) is not a cursor of this list: use the 'next' of the page before",
            field: "cursor")
    }
}

extension Store {
    /// Runs a read on a snapshot; a disk failure becomes a ``StoreFailure``, a problem stays one.
    func reading<Value>(_ body: (Database) throws -> Value) throws -> Value {
        do {
            return try pool.read(body)
        } catch let problem as Problem {
            throw problem
        } catch let unreadable as Unreadable {
            throw Problem(.internal, "a record in the scheduler's database cannot be read: \(unreadable)")
        } catch {
            throw StoreFailure(error)
        }
    }

    package func job(_ id: JobID) throws -> JobDocument? {
        try reading { db in
            try db.cachedStatement(sql: "SELECT * FROM jobs WHERE id = ?").fetchRow([id.rawValue]).map(Self.document)
        }
    }

    /// The job that was submitted with this key and the same request; nil if there is none.
    package func job(submittedWith key: IdempotencyKey) throws -> JobID? {
        try reading { db in
            try Int64.fetchOne(
                db.cachedStatement(
                    sql: "SELECT job FROM idempotency_keys WHERE user = ? AND key = ? AND request_digest = ?"),
                arguments: [key.user.rawValue, key.key, key.requestDigest.description])
        }.map { JobID(rawValue: $0) }
    }

    package func jobs(_ query: JobQuery) throws -> JobList {
        var conditions: [String] = []
        var arguments: [(any DatabaseValueConvertible)?] = []
        func require(_ condition: String, _ value: (any DatabaseValueConvertible)?) {
            guard let value else { return }
            conditions.append(condition)
            arguments.append(value)
        }
        require("id < ?", try query.cursor.map { try Cursor.numbers($0, count: 1)[0] })
        require("state = ?", query.state?.rawValue)
        require("owner = ?", query.owner)
        require("name = ?", query.name)
        require("pipeline = ?", query.pipeline?.rawValue)
        arguments.append(query.limit + 1)
        let sql =
            "SELECT * FROM jobs" + (conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND "))
            + " ORDER BY id DESC LIMIT ?"
        var rows = try reading { db in
            try Row.fetchAll(db, sql: sql, arguments: StatementArguments(arguments))
        }
        let more = rows.count > query.limit
        if more { rows.removeLast() }
        let next: Int64? = more ? rows.last?["id"] : nil
        return JobList(jobs: try rows.compactMap(Self.readableDocument), next: next.map { String($0) })
    }

    /// Nil for a row that cannot be read: it must not hide the others. Asked for by its id, it says why.
    private static func readableDocument(_ row: Row) throws -> JobDocument? {
        do { return try document(row) } catch is Unreadable { return nil }
    }

    package func tasks(_ query: TaskQuery) throws -> TaskList {
        guard let record = try record(of: query.job) else { throw Problem.noJob(query.job) }
        let after = try query.cursor.map { try Cursor.numbers($0, count: 1)[0] } ?? -1
        let rows = try reading { db in
            let own = try Row.fetchAll(
                db,
                sql:
                    "SELECT * FROM tasks WHERE job = ? AND task > ? AND (? IS NULL OR state = ?) ORDER BY task LIMIT ?",
                arguments: [query.job.rawValue, after, query.state?.rawValue, query.state?.rawValue, query.limit + 1]
            ).map { try Self.taskRow($0) }
            let compacted = try Self.compactedTasks(
                of: query.job, after: after, state: query.state, limit: query.limit + 1, db)
            return compacted.isEmpty ? own : (own + compacted).sorted { $0.id < $1.id }
        }
        var tasks = rows.prefix(query.limit + 1).map { task in
            TaskDocument(
                id: task.id, state: Open(task.state), reason: task.reason?.rawValue,
                parameters: record.taskParameters(at: task.id.index), attempts: task.attempts)
        }
        let more = tasks.count > query.limit
        if more { tasks.removeLast() }
        return TaskList(tasks: tasks, next: more ? tasks.last.map { String($0.id.index) } : nil)
    }

    package func attempts(_ query: AttemptQuery) throws -> AttemptList {
        guard try job(query.job) != nil else { throw Problem.noJob(query.job) }
        let after = try query.cursor.map { try Cursor.numbers($0, count: 2) } ?? [-1, 0]
        var attempts = try reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT * FROM attempts WHERE job = ? AND (task, number) > (?, ?) AND (? IS NULL OR task = ?)
                    ORDER BY task, number LIMIT ?
                    """,
                arguments: [query.job.rawValue, after[0], after[1], query.task, query.task, query.limit + 1]
            ).map { Self.document(try Self.attemptRow($0)) }
        }
        let more = attempts.count > query.limit
        if more { attempts.removeLast() }
        return AttemptList(
            attempts: attempts, next: more ? attempts.last.map { "\($0.id.task.index).\($0.id.number)" } : nil)
    }

    package func attempt(_ id: AttemptID) throws -> AttemptDocument? {
        try reading { db in
            try db.cachedStatement(sql: "SELECT * FROM attempts WHERE job = ? AND task = ? AND number = ?")
                .fetchRow([id.job.rawValue, id.task.index, id.number]).map { Self.document(try Self.attemptRow($0)) }
        }
    }

    package func record(of job: JobID) throws -> JobRecord? {
        try reading { db in
            try String.fetchOne(
                db.cachedStatement(sql: "SELECT record FROM jobs WHERE id = ?"), arguments: [job.rawValue]
            )
            .map { try Column.value(JobRecord.self, $0) }
        }
    }

    package func newestJob(of configuration: Digest) throws -> JobID? {
        try reading { db in
            try Int64.fetchOne(
                db.cachedStatement(sql: "SELECT MAX(id) FROM jobs WHERE configuration = ?"),
                arguments: [configuration.description])
        }.map { JobID(rawValue: $0) }
    }

    static func document(_ row: Row) throws -> JobDocument {
        let record = try Column.value(JobRecord.self, row["record"])
        var document = JobDocument(id: JobID(rawValue: row["id"]), record: record, progress: try progress(row))
        document.compaction = try (row["compaction"] as String?).map { try Column.value(CompactionDocument.self, $0) }
        return document
    }

    static func document(_ row: AttemptRow) -> AttemptDocument {
        func named(_ trees: [SlotName: TreeFingerprint]?) -> [String: TreeFingerprint] {
            Dictionary(uniqueKeysWithValues: (trees ?? [:]).map { ($0.key.rawValue, $0.value) })
        }
        return AttemptDocument(
            id: row.id, worker: row.worker.rawValue, engine: row.report?.engine, state: Open(row.state),
            reason: row.reason.map { Open($0) },
            exitCode: row.report?.exitCode, signal: row.report?.signal, message: row.report?.message,
            startedAt: row.report?.startedAt,
            finishedAt: row.report?.finishedAt ?? row.endedAt, inputs: named(row.report?.inputs),
            outputs: named(row.report?.outputs),
            usage: row.report?.usage, gpus: row.gpus, imageManifest: row.report?.imageManifest)
    }
}

extension JobDocument {
    /// A job as the API shows it, from its fixed and its changing part.
    package init(id: JobID, record: JobRecord, progress: JobProgress) {
        self.init(
            id: id, name: record.name, state: Open(progress.state), reason: progress.reason,
            owner: record.owner.name.rawValue,
            queue: record.queue.rawValue, priority: record.priority,
            configuration: ConfigurationReference(
                digest: record.configuration, name: record.configurationVersion?.name.rawValue,
                version: record.configurationVersion?.version),
            image: ImageReferenceAndDigest(reference: record.imageReference, digest: record.image.digest),
            bindings: Dictionary(uniqueKeysWithValues: record.bindings.map { ($0.key.rawValue, $0.value.description) }),
            parameters: record.parameters, tasks: progress.counts, rerunOf: record.rerunOf,
            submittedAt: progress.submittedAt,
            startedAt: progress.startedAt, finishedAt: progress.finishedAt, labels: record.labels, shape: record.shape,
            revision: progress.revision,
            services: record.services.isEmpty
                ? nil
                : Dictionary(
                    record.services.map {
                        ($0.name.rawValue, ImageReferenceAndDigest(reference: $0.reference, digest: $0.image.digest))
                    }, uniquingKeysWith: { first, _ in first }),
            verifies: record.verifies, keep: record.keep,
            dependsOn: record.dependencies.isEmpty
                ? nil
                : record.dependencies.map {
                    DependencyDocument(job: $0.job, kind: $0.kind, open: progress.awaits.contains($0.job))
                }, pipeline: record.pipeline, rules: record.rules, schedule: record.schedule)
        timeLimit = progress.timeLimit ?? record.timeLimit
        guard progress.timeLimit != nil else { return }
        timeLimitChanged = true
        submittedTimeLimit = record.timeLimit
    }
}

extension Problem {
    static func noJob(_ id: JobID) -> Problem { Problem(.notFound, "there is no job \(id)", field: "job") }
}

extension Statement {
    /// The first row, copied out of the statement.
    fileprivate func fetchRow(_ arguments: StatementArguments) throws -> Row? {
        try Row.fetchOne(self, arguments: arguments)
    }
}

// SQL → what the core continues from at start: the inverse of Store+Commit.swift. A row that cannot be read goes to
// quarantine with its reason, its job stays out of the core, and the scheduler comes up.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// What the Stepper needs besides the core's state.
package struct StoredCatalog: Sendable {
    /// The largest job id that was ever given.
    package var lastJob: Int64
    /// Every version by name, oldest first.
    package var versions: [ConfigurationName: [Digest]]
    package var configurations: Set<Digest>
}

extension Store {
    /// Everything that is not finished.
    package func load() throws(StoreFailure) -> ClusterImage {
        do {
            return try pool.write { db in
                var image = ClusterImage()
                var loaded: Set<JobID> = []
                for row in try Row.fetchAll(
                    db, sql: "SELECT * FROM jobs WHERE state IN ('pending', 'waiting', 'held', 'running') ORDER BY id")
                {
                    let id = JobID(rawValue: row["id"])
                    try Self.quarantining("job", id.description, db) {
                        image.jobs.append(
                            .init(
                                id: id, record: try Column.value(JobRecord.self, row["record"]),
                                progress: try Self.progress(row)))
                        loaded.insert(id)
                    }
                }
                for row in try Row.fetchAll(
                    db, sql: "SELECT * FROM tasks WHERE state = 'pending' OR state = 'running' ORDER BY job, task")
                {
                    let task = try Self.taskRow(row)
                    if loaded.contains(task.id.job) { image.tasks.append(task) }
                }
                // Word for word the conditions of the partial indexes, which SQLite would not use otherwise.
                let live = """
                    SELECT * FROM attempts
                    WHERE state = 'assigned' OR state = 'preparing' OR state = 'running' OR state = 'ending'
                    ORDER BY job, task, number
                    """
                for row in try Row.fetchAll(db, sql: live) {
                    let id = Self.attemptID(row)
                    try Self.quarantining("attempt", id.description, db) {
                        let attempt = try Self.attemptRow(row)
                        if loaded.contains(id.job) { image.attempts.append(attempt) }
                    }
                }
                for row in try Row.fetchAll(db, sql: "SELECT * FROM workers ORDER BY name") {
                    let name: String = row["name"]
                    try Self.quarantining("worker", name, db) {
                        image.workers.append(
                            WorkerRow(
                                name: WorkerName(unchecked: name),
                                registration: try Column.value(WorkerRegistration.self, row["registration"]),
                                isDraining: row["is_draining"]))
                    }
                }
                if let text = try String.fetchOne(db, sql: "SELECT content FROM totals WHERE id = 1") {
                    image.totals = try Column.value(Totals.self, text)
                }
                return image
            }
        } catch {
            throw StoreFailure(error)
        }
    }

    package func catalog() throws(StoreFailure) -> StoredCatalog {
        do {
            return try pool.read { db in
                var catalog = StoredCatalog(
                    lastJob: try Int64.fetchOne(db, sql: "SELECT MAX(id) FROM jobs") ?? 0, versions: [:],
                    configurations: [])
                for row in try Row.fetchAll(
                    db, sql: "SELECT name, digest FROM configuration_versions ORDER BY name, version")
                {
                    guard let digest = Digest(row["digest"] as String) else {
                        throw Unreadable(why: "configuration_versions holds no digest")
                    }
                    catalog.versions[ConfigurationName(unchecked: row["name"]), default: []].append(digest)
                }
                catalog.configurations = Set(
                    try String.fetchAll(db, sql: "SELECT digest FROM configurations").compactMap { Digest($0) })
                return catalog
            }
        } catch {
            throw StoreFailure(error)
        }
    }

    /// What stands in quarantine: kind, id and reason.
    package func quarantined() throws(StoreFailure) -> [(kind: String, id: String, reason: String)] {
        do {
            return try pool.read { db in
                try Row.fetchAll(db, sql: "SELECT kind, id, reason FROM quarantine ORDER BY kind, id").map {
                    ($0["kind"], $0["id"], $0["reason"])
                }
            }
        } catch {
            throw StoreFailure(error)
        }
    }

    private static func quarantining(_ kind: String, _ id: String, _ db: Database, _ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error where !(error is DatabaseError) {
            try db.execute(
                sql: "INSERT OR REPLACE INTO quarantine (kind, id, reason, quarantined_at) VALUES (?, ?, ?, ?)",
                arguments: [kind, id, "\(error)", Int64(Date().timeIntervalSince1970 * 1000)])
        }
    }

    static func progress(_ row: Row) throws -> JobProgress {
        JobProgress(
            state: try Column.known(JobState.self, row["state"]), reason: row["reason"], counts: counts(row),
            unstarted: try Column.ranges(row["unstarted"] as String), isHeld: row["is_held"],
            cancelRequested: row["cancel_requested"],
            imageIsStored: row["image_is_stored"], submittedAt: Timestamp(column: row["submitted_at"]),
            startedAt: (row["started_at"] as Int64?).map(Timestamp.init(column:)),
            finishedAt: (row["finished_at"] as Int64?).map(Timestamp.init(column:)), revision: row["revision"])
    }

    static func counts(_ row: Row) -> TaskCounts {
        TaskCounts(
            total: row["tasks_total"], pending: row["tasks_pending"], running: row["tasks_running"],
            succeeded: row["tasks_succeeded"],
            failed: row["tasks_failed"], cancelled: row["tasks_cancelled"])
    }

    static func taskRow(_ row: Row) throws -> TaskRow {
        TaskRow(
            id: TaskID(job: JobID(rawValue: row["job"]), index: row["task"]),
            state: try Column.known(TaskState.self, row["state"]),
            reason: try (row["reason"] as String?).map { try Column.known(EndReason.self, $0) },
            attempts: row["attempts"],
            programFailures: row["program_failures"], infrastructureFailures: row["infrastructure_failures"])
    }

    static func attemptID(_ row: Row) -> AttemptID {
        AttemptID(task: TaskID(job: JobID(rawValue: row["job"]), index: row["task"]), number: row["number"])
    }

    static func attemptRow(_ row: Row) throws -> AttemptRow {
        func reason(_ column: String) throws -> EndReason? {
            try (row[column] as String?).map { try Column.known(EndReason.self, $0) }
        }
        func time(_ column: String) -> Timestamp? { (row[column] as Int64?).map(Timestamp.init(column:)) }
        func trees(_ column: String) throws -> [SlotName: TreeFingerprint]? {
            try (row[column] as String?).map { try Column.value([SlotName: TreeFingerprint].self, $0) }
        }
        let id = attemptID(row)
        var report: AttemptReport?
        if let sequence: Int64 = row["report_sequence"] {
            var usage: Usage?
            if let cpu: Double = row["cpu_seconds"] {
                usage = Usage(
                    cpuSeconds: cpu, maxMemory: ByteCount(bytes: row["max_memory"]), wallSeconds: row["wall_seconds"])
            }
            report = AttemptReport(
                attempt: id, sequence: sequence, state: try Column.known(AttemptState.self, row["report_state"]),
                reason: try reason("report_reason"),
                exitCode: row["exit_code"], signal: row["signal"], message: row["message"], engine: row["engine"],
                startedAt: time("started_at"), finishedAt: time("finished_at"), inputs: try trees("inputs"),
                outputs: try trees("outputs"),
                usage: usage)
        }
        return AttemptRow(
            id: id, worker: WorkerName(unchecked: row["worker"]),
            state: try Column.known(AttemptState.self, row["state"]),
            reason: try reason("reason"), gpus: Column.lines(row["gpus"] as String),
            isAcknowledged: row["is_acknowledged"],
            isAccepted: row["is_accepted"], stopReason: try reason("stop_reason"),
            assignedAt: Timestamp(column: row["assigned_at"]),
            endedAt: time("ended_at"), report: report)
    }
}

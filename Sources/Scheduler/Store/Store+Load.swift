// SQL → what the core continues from at start: the inverse of Store+Commit.swift. A row that cannot be read goes to
// quarantine with its reason, its job stays out of the core, and the scheduler comes up.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// What the Stepper needs besides the core's state.
package struct StoredCatalog: Sendable {
    /// The versions of one name.
    package struct Versions: Sendable {
        package var newest = 0
        package var byDigest: [Digest: Int] = [:]
    }

    /// The largest job id that was ever given.
    package var lastJob: Int64
    package var versions: [ConfigurationName: Versions]
    package var configurations: Set<Digest>
}

extension Store {
    /// Everything that is not finished. A job of which any row cannot be read stays out whole.
    package func load() throws(StoreFailure) -> ClusterImage {
        do {
            return try pool.write { db in
                var loader = Loader()
                try loader.readJobs(db)
                try loader.readTasks(db)
                try loader.readAttempts(db)
                try loader.readWorkers(db)
                try loader.readAccounts(db)
                try loader.readLicenses(db)
                try loader.readReservations(db)
                loader.leaveOutIncomplete()
                try loader.readTotals(db)
                for (kind, id, reason) in loader.unreadable { try Self.quarantine(kind, id, reason, db) }
                return loader.image
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
                    db, sql: "SELECT name, version, digest FROM configuration_versions ORDER BY name, version")
                {
                    let name = ConfigurationName(unchecked: row["name"])
                    // A version counts as taken even if its digest cannot be read.
                    catalog.versions[name, default: .init()].newest = row["version"]
                    guard let digest = Digest(row["digest"] as String) else { continue }
                    catalog.versions[name]?.byDigest[digest] = row["version"]
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

    /// Written only when it is news, so that a start on a full disk needs no room.
    private static func quarantine(_ kind: String, _ id: String, _ reason: String, _ db: Database) throws {
        let known = try String.fetchOne(
            db, sql: "SELECT reason FROM quarantine WHERE kind = ? AND id = ?", arguments: [kind, id])
        guard known != reason else { return }
        try db.execute(
            sql: "INSERT OR REPLACE INTO quarantine (kind, id, reason, quarantined_at) VALUES (?, ?, ?, ?)",
            arguments: [kind, id, reason, Int64(Date().timeIntervalSince1970 * 1000)])
    }

    static func progress(_ row: Row) throws -> JobProgress {
        var progress = JobProgress(
            state: try Column.known(JobState.self, row["state"]), reason: row["reason"], counts: counts(row),
            unstarted: try Column.ranges(row["unstarted"] as String), isHeld: row["is_held"],
            cancelRequested: row["cancel_requested"],
            imageIsStored: row["image_is_stored"], submittedAt: Timestamp(column: row["submitted_at"]),
            startedAt: (row["started_at"] as Int64?).map(Timestamp.init(column:)),
            finishedAt: (row["finished_at"] as Int64?).map(Timestamp.init(column:)), revision: row["revision"])
        progress.awaits = try Column.jobs(row["awaits"] as String)
        progress.cancelReason = row["cancel_reason"]
        progress.timeLimit = (row["time_limit"] as Int64?).map { TimeSpan(milliseconds: $0) }
        return progress
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
                usage: usage, imageManifest: (row["image_manifest"] as String?).flatMap { Digest($0) })
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

/// Reads the rows one by one and remembers those that it cannot read.
/// What is read at start.
struct Loader {
    var image = ClusterImage()
    private var loaded: Set<JobID> = []
    /// Jobs with an unreadable task or attempt: without it the rest would not add up.
    private var incomplete: Set<JobID> = []
    private(set) var unreadable: [(kind: String, id: String, reason: String)] = []

    mutating func read(
        _ kind: String, _ id: String, of job: JobID? = nil, _ body: (inout Loader) throws -> Void
    ) throws {
        do {
            try body(&self)
        } catch let error where !(error is DatabaseError) {
            unreadable.append((kind, id, "\(error)"))
            if let job { incomplete.insert(job) }
        }
    }

    mutating func readJobs(_ db: Database) throws {
        let sql = "SELECT * FROM jobs WHERE state IN ('pending', 'waiting', 'held', 'running') ORDER BY id"
        for row in try Row.fetchAll(db, sql: sql) {
            let id = JobID(rawValue: row["id"])
            try read("job", id.description) { loader in
                let record = try Column.value(JobRecord.self, row["record"])
                loader.image.jobs.append(.init(id: id, record: record, progress: try Store.progress(row)))
                loader.loaded.insert(id)
            }
        }
    }

    mutating func readTasks(_ db: Database) throws {
        let sql = "SELECT * FROM tasks WHERE state = 'pending' OR state = 'running' ORDER BY job, task"
        for row in try Row.fetchAll(db, sql: sql) {
            let id = TaskID(job: JobID(rawValue: row["job"]), index: row["task"])
            guard loaded.contains(id.job) else { continue }
            try read("task", id.description, of: id.job) { $0.image.tasks.append(try Store.taskRow(row)) }
        }
    }

    mutating func readAttempts(_ db: Database) throws {
        // A live attempt is its task's newest. The condition on tasks is word for word that of the partial index, which
        // SQLite would not use otherwise.
        let sql = """
            SELECT a.* FROM tasks t CROSS JOIN attempts a
                ON a.job = t.job AND a.task = t.task AND a.number = t.attempts
            WHERE (t.state = 'pending' OR t.state = 'running')
                AND (a.state = 'assigned' OR a.state = 'preparing' OR a.state = 'running' OR a.state = 'ending')
            ORDER BY a.job, a.task, a.number
            """
        for row in try Row.fetchAll(db, sql: sql) {
            let id = Store.attemptID(row)
            guard loaded.contains(id.job) else { continue }
            try read("attempt", id.description, of: id.job) { $0.image.attempts.append(try Store.attemptRow(row)) }
        }
    }

    mutating func readWorkers(_ db: Database) throws {
        for row in try Row.fetchAll(db, sql: "SELECT * FROM workers ORDER BY name") {
            let name: String = row["name"]
            try read("worker", name) { loader in
                let registration = try Column.value(WorkerRegistration.self, row["registration"])
                loader.image.workers.append(
                    WorkerRow(
                        name: WorkerName(unchecked: name), registration: registration, isDraining: row["is_draining"],
                        drain: try (row["drain"] as String?).map { try Column.value(DrainOrder.self, $0) } ?? .standard)
                )
            }
        }
    }

    mutating func readAccounts(_ db: Database) throws {
        for row in try Row.fetchAll(db, sql: "SELECT * FROM accounts ORDER BY kind, name") {
            try read("account", "\(row["kind"] as String) \(row["name"] as String)") { loader in
                loader.image.accounts.append(try Store.accountRow(row))
            }
        }
        for row in try Row.fetchAll(db, sql: "SELECT * FROM account_usage ORDER BY kind, name") {
            image.usage.append(try Store.usageRow(row))
        }
    }

    mutating func leaveOutIncomplete() {
        guard !incomplete.isEmpty else { return }
        image.jobs.removeAll { incomplete.contains($0.id) }
        image.tasks.removeAll { incomplete.contains($0.id.job) }
        image.attempts.removeAll { incomplete.contains($0.id.job) }
    }

    mutating func readTotals(_ db: Database) throws {
        guard let text = try String.fetchOne(db, sql: "SELECT content FROM totals WHERE id = 1") else { return }
        try read("totals", "1") { loader in
            let totals = try Column.value(Totals.self, text)
            guard totals.jobs.count == JobState.allCases.count else {
                throw Unreadable(why: "the totals count \(totals.jobs.count) states")
            }
            loader.image.totals = totals
        }
        if unreadable.contains(where: { !["worker", "account", "reservation"].contains($0.kind) }) {
            try countAgain(db)
        }
    }

    /// What the counters are without the jobs that stay out, or if they cannot be read themselves.
    private mutating func countAgain(_ db: Database) throws {
        var totals = Totals()
        for job in image.jobs { totals.count(job.progress.state, 1, job.progress.counts) }
        let sql = """
            SELECT state, COUNT(*) AS jobs, SUM(tasks_total) AS tasks_total, SUM(tasks_pending) AS tasks_pending,
                SUM(tasks_running) AS tasks_running, SUM(tasks_succeeded) AS tasks_succeeded,
                SUM(tasks_failed) AS tasks_failed, SUM(tasks_cancelled) AS tasks_cancelled
            FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled') GROUP BY state
            """
        for row in try Row.fetchAll(db, sql: sql) {
            totals.count(try Column.known(JobState.self, row["state"]), row["jobs"], Store.counts(row))
        }
        image.totals = totals
    }
}

extension Totals {
    fileprivate mutating func count(_ state: JobState, _ number: Int64, _ counts: TaskCounts) {
        if let place = JobState.allCases.firstIndex(of: state) { jobs[place] += number }
        tasks.add(counts)
    }
}

extension TaskCounts {
    fileprivate mutating func add(_ other: TaskCounts) {
        total += other.total
        pending += other.pending
        running += other.running
        succeeded += other.succeeded
        failed += other.failed
        cancelled += other.cancelled
    }
}

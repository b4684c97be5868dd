// The SQLite file as it is opened: schema and its history, durability, locks, rows that cannot be read.
import Foundation
import GRDB
import JobModel
import Migrations
import Scheduler
import SchedulingCore
import TestSupport
import Testing

@Suite("store")
struct StoreTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Changes the file behind the scheduler's back.
    private func tamper(_ folder: String, _ sql: String...) throws {
        let queue = try DatabaseQueue(path: folder + "/jobctl.sqlite")
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA foreign_keys = OFF")
            for line in sql { try db.execute(sql: line) }
        }
        try queue.close()
    }

    // MARK: migrations

    @Test("each released migration is byte for byte what was released")
    func releasedMigrations() throws {
        let lines = migrations.map { "\(Digest(of: $0.sql).hex)  \($0.name).sql\n" }
        try GoldenFile("migrations.sha256").expect(lines.joined())
        for migration in migrations {
            let file = try String(
                contentsOf: Self.root.appending(path: "Migrations/\(migration.name).sql"), encoding: .utf8)
            #expect(file == migration.sql, "\(migration.name) is embedded as it stands in the folder")
        }
        #expect(migrations.map(\.name) == migrations.map(\.name).sorted())
    }

    @Test("all migrations together give Migrations/schema.sql")
    func schema() throws {
        let queue = try DatabaseQueue()
        try Store.migrator.migrate(queue)
        let statements = try queue.read { db in
            try String.fetchAll(
                db,
                sql:
                    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'grdb_%' ORDER BY tbl_name, type DESC, name"
            )
        }
        let text =
            "-- The schema after all migrations. Written by a test: UPDATE_GOLDEN=1 swift test --filter StoreTests\n\n"
            + statements.map { $0 + ";\n" }.joined(separator: "\n")
        let url = Self.root.appending(path: "Migrations/schema.sql")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" { try Data(text.utf8).write(to: url) }
        #expect(try String(contentsOf: url, encoding: .utf8) == text)
    }

    /// Every table is STRICT, so that a row holds what its column says.
    @Test("every table is strict")
    func strictTables() throws {
        let queue = try DatabaseQueue()
        try Store.migrator.migrate(queue)
        let loose = try queue.read { db in
            try String.fetchAll(
                db,
                sql:
                    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'grdb_%'"
            )
        }
        #expect(loose == [])
    }

    /// What release 0.1 left: made once by this test with KEEP_DATABASE, never again.
    @Test("a database of release 0.1 is opened, loaded and continued")
    func keptDatabase() throws {
        let kept = GoldenFile("release-0.1.db").url
        if ProcessInfo.processInfo.environment["KEEP_DATABASE"] == "0.1" { try Self.makeKeptDatabase(at: kept) }
        let folder = try ScratchFolder()
        try FileManager.default.copyItem(atPath: kept.path, toPath: folder.path + "/jobctl.sqlite")
        let store = try Store.open(directory: folder.path)
        var stepper = try Stepper(
            store: store, policy: Policy(), at: Instant(uptime: 5_000_000, wall: Timestamp("2027-01-01T00:00:00Z")!))
        #expect(try store.quarantined().isEmpty)
        #expect(Invariants.check(stepper.cluster).isEmpty)
        let image = stepper.cluster.image()
        var page = image.jobs.map {
            "job \($0.id) \($0.record.name) \($0.progress.state) \($0.progress.counts.total)\n"
        }
        page +=
            image.tasks.map { "task \($0.id) \($0.state) \($0.attempts)\n" }
            + image.attempts.map { "attempt \($0.id) \($0.worker) \($0.state)\n" }
        page += image.workers.map { "worker \($0.name) \($0.registration.cpus)\n" }
        page += try store.jobs(JobQuery(limit: 100)).jobs.map {
            "listed \($0.id) \($0.state) \($0.configuration.name ?? "-")@\($0.configuration.version ?? 0)\n"
        }
        try GoldenFile("release-0.1.txt").expect(page.joined())
        let reply = try stepper.step(
            [.submission(try accepted("name: b\nimage: busybox\ncommand: [a]\n"))],
            at: Instant(uptime: 5_000_001, wall: Timestamp("2027-01-01T00:00:00Z")!))
        guard case .submitted(let job)? = reply.replies.first else {
            Issue.record("refused: \(reply.replies)")
            return
        }
        #expect(job.id == JobID(rawValue: 6))
    }

    private static func makeKeptDatabase(at url: URL) throws {
        var test = try StepperUnderTest()
        test.comparesCopies = false
        try test.addWorker("w1", cpus: 3)
        _ = try test.submit("name: a\nimage: busybox\ncommand: [a]\n", key: "k1")
        try test.sync("w1")
        test.world.progress(
            AttemptID("1.1.1")!, on: WorkerName(rawValue: "w1")!, to: .succeeded, reason: .exitCode, exitCode: 0)
        try test.sync("w1")
        _ = try test.submit("name: b\nimage: busybox\ncommand: [a]\narray: 1-100\nretries: 3\nlabels: {team: x}\n")
        try test.sync("w1")
        test.world.progress(
            AttemptID("2.1.1")!, on: WorkerName(rawValue: "w1")!, to: .failed, reason: .exitCode, exitCode: 3,
            message: "no")
        test.world.progress(AttemptID("2.2.1")!, on: WorkerName(rawValue: "w1")!, to: .running)
        try test.sync("w1")
        _ = try test.submit("name: c\nimage: alpine\ncommand: [a]\nmatrix: {x: [1, 2]}\n", imageIsStored: false)
        _ = try test.submit("image: busybox\ncommand: [a]\n", hold: true)
        _ = try test.submit("name: a\nimage: busybox\ncommand: [b]\nvolumes: [\"data:/out:out\"]\n")
        try test.step([.event(.cancelRequested(JobID(rawValue: 5)))])
        try? FileManager.default.removeItem(at: url)
        let queue = try DatabaseQueue(path: test.folder.path + "/live/jobctl.sqlite")
        try queue.writeWithoutTransaction { try $0.execute(sql: "VACUUM INTO ?", arguments: [url.path]) }
        try queue.close()
    }

    // MARK: opening

    @Test("the writing connection has WAL, a sync at every commit and foreign keys, as SQLite itself says")
    func durability() throws {
        let folder = try ScratchFolder()
        #expect(try Store.open(directory: folder.path).durability() == .wanted)
        #expect(try Store.open(directory: folder.path).durability() == .wanted, "opened again")
    }

    @Test("a second scheduler on the same folder is refused with a sentence, and welcome when the first has gone")
    func locked() throws {
        let folder = try ScratchFolder()
        func attempt() -> String {
            do {
                _ = try Store.open(directory: folder.path)
                return "opened"
            } catch { return "\(error)" }
        }
        var first: Store? = try Store.open(directory: folder.path)
        #expect(
            attempt()
                == "another scheduler uses the data folder \(folder.path): stop it first, or choose another folder")
        #expect(try first?.load() == ClusterImage())
        first = nil
        #expect(attempt() == "opened")
    }

    @Test("a scheduler that is on its way out is waited for: what was killed holds its lock a moment longer")
    func dying() throws {
        let folder = try ScratchFolder()
        HeldForAMoment(try Store.open(directory: folder.path)).release(after: 300)
        #expect(try Store.open(directory: folder.path).load() == ClusterImage())
    }

    @Test("a newer schema is refused with a sentence")
    func newerSchema() throws {
        let folder = try ScratchFolder()
        _ = try Store.open(directory: folder.path)
        try tamper(folder.path, "INSERT INTO grdb_migrations (identifier) VALUES ('9999_of_the_future')")
        let failure = #expect(throws: StoreFailure.self) { try Store.open(directory: folder.path) }
        #expect(
            failure?.description
                == "the database in \(folder.path) was written by a newer jobctl: install that version or a later one")
    }

    @Test("a file that is no database is refused with a sentence, and left as it is")
    func noDatabase() throws {
        let folder = try ScratchFolder()
        let text = Data(String(repeating: "this is no database\n", count: 500).utf8)
        try text.write(to: URL(filePath: folder.path + "/jobctl.sqlite"))
        let failure = #expect(throws: StoreFailure.self) { try Store.open(directory: folder.path) }
        #expect(failure?.description.contains("not a database") == true, "\(failure?.description ?? "")")
        #expect(try Data(contentsOf: URL(filePath: folder.path + "/jobctl.sqlite")) == text)
    }

    // MARK: rows that cannot be read

    @Test(
        "a row that cannot be read is quarantined with its reason, its job stays out whole, and everything else goes on"
    )
    func quarantine() throws {
        var test: StepperUnderTest? = try StepperUnderTest()
        test?.comparesCopies = false
        let folder = try #require(test?.folder)
        try test?.addWorker("w1", cpus: 20)
        for name in ["record", "task", "attempt", "fine"] {
            _ = try test?.submit("name: \(name)\nimage: busybox\ncommand: [a]\narray: 1-2\n")
        }
        try test?.sync("w1")
        try test?.addWorker("w2", cpus: 1)
        test = nil
        let live = folder.path + "/live"
        try tamper(
            live, "UPDATE jobs SET record = '{\"name\": 5}' WHERE id = 1",
            "UPDATE tasks SET reason = 'cosmic-ray' WHERE job = 2 AND task = 1",
            "UPDATE attempts SET stop_reason = 'cosmic-ray' WHERE job = 3 AND task = 2",
            "UPDATE workers SET registration = '{' WHERE name = 'w2'",
            "UPDATE totals SET content = '{\"jobs\": [1]}'")
        let store = try Store.open(directory: live)
        let now = Instant(uptime: 9_000_000, wall: Timestamp("2027-01-01T00:00:00Z")!)
        var stepper = try Stepper(store: store, policy: Policy(), at: now)
        let page = try store.quarantined().map { "\($0.kind) \($0.id): \($0.reason)\n" }
        try GoldenFile("quarantine.txt").expect(page.joined())
        #expect(Invariants.check(stepper.cluster).isEmpty)
        #expect(stepper.cluster.image().jobs.map(\.record.name) == ["fine"])
        #expect(stepper.cluster.image().tasks.count == 2 && stepper.cluster.image().attempts.count == 2)
        #expect(stepper.cluster.totals.tasks.total == 2, "the jobs that stay out are not counted")
        // The list shows the others; asked for by itself, the record says why it cannot be shown.
        #expect(try store.jobs(JobQuery(limit: 10)).jobs.map(\.name) == ["fine", "attempt", "task"])
        let problem = #expect(throws: Problem.self) { try store.job(JobID(rawValue: 1)) }
        #expect(
            problem?.kind == .internal && problem?.detail.contains("name") == true, "\(String(describing: problem))")
        let replies = try stepper.step(
            [
                .submission(try accepted("name: new\nimage: busybox\ncommand: [a]\n")),
                .event(.cancelRequested(JobID(rawValue: 4))),
            ], at: now
        ).replies
        guard case .submitted(let job)? = replies.first, case .done? = replies.last else {
            Issue.record("\(replies)")
            return
        }
        #expect(job.id == JobID(rawValue: 5), "ids of records in quarantine are not given again")
        #expect(try store.load() == stepper.cluster.image())
        #expect(try store.quarantined().count == page.count)
    }

    @Test("the log is moved into the database from time to time")
    func checkpoints() throws {
        var test = try StepperUnderTest()
        test.comparesCopies = false
        let text = String(repeating: "x", count: 4_000)
        let parameters = (0..<8).map { "p\($0): \(text)" }.joined(separator: ", ")
        let spec = "image: busybox\ncommand: [a]\nparameters: {\(parameters)}\n"
        let submission = Envelope.submission(try accepted(spec, hold: true))
        func size(_ ending: String) throws -> Int {
            let path = test.folder.path + "/live/jobctl.sqlite" + ending
            return try #require(FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
        }
        for _ in 0..<8 { _ = try test.stepper.step(Array(repeating: submission, count: 100), at: test.now) }
        #expect(try size("") > 2 << 20, "what was written has arrived")
    }

    @Test("an idempotency key whose job or digest cannot be read is refused, and the scheduler goes on")
    func unreadableKeys() throws {
        var test: StepperUnderTest? = try StepperUnderTest()
        test?.comparesCopies = false
        let folder = try #require(test?.folder)
        let spec = "name: a\nimage: busybox\ncommand: [a]\n"
        for key in ["k1", "k2"] { _ = try test?.submit(spec, key: key) }
        test = nil
        try tamper(
            folder.path + "/live", "UPDATE jobs SET record = '' WHERE id = 1",
            "UPDATE idempotency_keys SET request_digest = '' WHERE key = 'k2'")
        let now = Instant(uptime: 1, wall: Timestamp("2027-01-01T00:00:00Z")!)
        var stepper = try Stepper(store: try Store.open(directory: folder.path + "/live"), policy: Policy(), at: now)
        let replies = try stepper.step(
            ["k1", "k2", "k3"].map { .submission(try accepted(spec, key: $0)) }, at: now
        ).replies.map { reply in
            switch reply {
            case .submitted(let job): "job \(job.id)"
            case .refused(let problem): "\(problem.status)"
            case .submittedTogether(let jobs): "jobs \(jobs.map(\.id))"
            case .done: "done"
            }
        }
        #expect(replies == ["500", "409", "job 3"])
    }

    @Test("pages follow one another across a record that cannot be read")
    func pagesAcrossQuarantine() throws {
        var test: StepperUnderTest? = try StepperUnderTest()
        test?.comparesCopies = false
        let folder = try #require(test?.folder)
        for number in 1...6 { _ = try test?.submit("name: n\(number)\nimage: busybox\ncommand: [a]\n") }
        test = nil
        try tamper(folder.path + "/live", "UPDATE jobs SET record = '' WHERE id IN (4, 3)")
        let store = try Store.open(directory: folder.path + "/live")
        var names: [String] = []
        var cursor: String?
        repeat {
            let page = try store.jobs(JobQuery(limit: 2, cursor: cursor))
            names += page.jobs.map(\.name)
            cursor = page.next
        } while cursor != nil
        #expect(names == ["n6", "n5", "n2", "n1"])
    }
}

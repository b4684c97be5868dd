// kill -9 under load, many times, from a seed: one kind of process is killed at random moments while arrays of short
// tasks run, and started again. Then everything is counted: what the tasks say that they did against what the scheduler
// says, and what stands on the host before and after.
import Foundation
import JobModel
import SchedulerClient

package struct Campaign: Sendable {
    /// `all`: any of them, and agent and scheduler together.
    package enum Victim: String, Sendable, CaseIterable { case agent, runner, scheduler, all }

    package var victim: Victim
    package var kills: Int
    /// crun, runc or a path.
    package var runtime: String
    package var seed: UInt64
    /// The folder of the programs.
    package var programs: String
    /// Told what goes on.
    package var progress: @Sendable (String) -> Void = { _ in }

    package init(victim: Victim, kills: Int, runtime: String, seed: UInt64, programs: String) {
        self.victim = victim
        self.kills = kills
        self.runtime = runtime
        self.seed = seed
        self.programs = programs
    }

    package struct Report: Sendable {
        package var kills = 0
        package var jobs = 0
        package var tasks: Int64 = 0
        package var attempts = 0
        package var lost = 0
        package var seconds = 0.0
        /// What must never be, a sentence each.
        package var violations: [String] = []
        /// What was still there after everything had ended.
        package var leftovers: [String] = []
        package var before = HostCensus.take()
        package var after = HostCensus.take()
        package var isClean: Bool { violations.isEmpty && leftovers.isEmpty }
    }

    private static let tasks: Int64 = 40
    /// Unfinished tasks that are kept, so that there is always something to interrupt.
    private static let load: Int64 = 80
    /// Seconds that the last jobs, and the cleaning after them, may take.
    private static let patience = 180

    /// - Throws: if the campaign itself could not be carried out. What the product did wrong is in the report.
    package func run() async throws -> Report {
        var report = Report()
        let start = ContinuousClock.now
        let before = report.before
        report = try await CampaignCluster.with(programs: programs, runtime: runtime) { cluster in
            var report = Report()
            let isOver = Switch()
            async let loading = keepBusy(cluster, until: isOver)
            do {
                report.kills = try await killing(cluster)
            } catch {
                isOver.set()
                _ = try? await loading
                throw error
            }
            isOver.set()
            let jobs = try await loading
            progress("\(report.kills) times killed; waiting for \(jobs.count) jobs")
            let client = try cluster.client()
            do {
                try await judge(jobs, client, cluster, &report)
                await client.close()
            } catch {
                await client.close()
                throw error
            }
            report.leftovers = try await cluster.settled(limit: 60)
            report.violations += cluster.crashes
            try await cluster.down()
            report.leftovers += try await cluster.settled(limit: 30).map { "after down: \($0)" }
            return report
        }
        report.before = before
        report.after = HostCensus.take()
        report.seconds = (ContinuousClock.now - start) / .seconds(1)
        return report
    }

    // MARK: Killing

    private func killing(_ cluster: CampaignCluster) async throws -> Int {
        var numbers = SeededNumbers(seed: seed)
        for round in 1...kills {
            try await Task.sleep(for: .milliseconds(numbers.next(in: 20...500)))
            let choice = numbers.next()
            let daemons: [CampaignCluster.Daemon] =
                switch victim {
                case .agent: [.worker]
                case .scheduler: [.scheduler]
                case .runner: []
                case .all: [[.worker], [.scheduler], [.worker, .scheduler], []][Int(choice % 4)]
                }
            for daemon in daemons { try cluster.kill(daemon) }
            if daemons.isEmpty {
                try await killRunner(cluster, choice / 4)
            } else {
                try await Task.sleep(for: .milliseconds(numbers.next(in: 0...200)))
                try await cluster.up()
            }
            if round % 10 == 0 { progress("\(round) of \(kills)") }
        }
        return kills
    }

    private func killRunner(_ cluster: CampaignCluster, _ choice: UInt64) async throws {
        try await eventually("a runner is killed") {
            let runners = cluster.runners()
            guard !runners.isEmpty else { return false }
            return kill(runners[Int(choice % UInt64(runners.count))], SIGKILL) == 0
        }
    }

    // MARK: Load

    private var spec: JSONValue {
        // From a task that is gone at once to one that sees several kills.
        let program = Traces.program("sleep 0.$((JOBCTL_TASK_INDEX % 8)); echo $JOBCTL_ATTEMPT > /out/attempt")
        return .object([
            ("name", .string("campaign")), ("image", .string("busybox:local")), ("shell", .string(program)),
            ("volumes", .array([.string("traces:/traces:rw"), .string("results:/out:out")])),
            ("resources", .object([("cpus", .number(0.125)), ("memory", .string("16MiB"))])),
            ("fingerprint", .string("none")), ("array", .string("1-\(Self.tasks)")),
        ])
    }

    /// Submits array after array, each until it is acknowledged.
    private func keepBusy(_ cluster: CampaignCluster, until isOver: Switch) async throws -> [JobID] {
        let client = try cluster.client()
        var jobs: [JobID] = []
        let result: Result<Void, any Error>
        do {
            while !isOver.isSet {
                let counts = try await untilAnswered { () async throws(Problem) in try await client.status() }.tasks
                if counts.total - counts.finished < Self.load {
                    let (request, key) = (SubmitRequest(spec: spec), "campaign-\(seed)-\(jobs.count)")
                    let job = try await untilAnswered { () async throws(Problem) in
                        try await client.submit(request, idempotencyKey: key)
                    }
                    // Whoever did not get the answer asks again, and learns of the same job.
                    let again = try await untilAnswered { () async throws(Problem) in
                        try await client.submit(request, idempotencyKey: key)
                    }
                    guard !jobs.contains(job.id), again.id == job.id else {
                        throw ProcessFailure(description: "key \(key) gave the jobs \(job.id) and \(again.id)")
                    }
                    jobs.append(job.id)
                }
                try await Task.sleep(for: .milliseconds(50))
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await client.close()
        try result.get()
        return jobs
    }

    private func untilAnswered<Value>(_ call: () async throws(Problem) -> Value) async throws -> Value {
        while true {
            do throws(Problem) {
                return try await call()
            } catch {
                guard error.kind == .unavailable else { throw error }
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    // MARK: Judging

    private func judge(
        _ jobs: [JobID], _ client: SchedulerClient, _ cluster: CampaignCluster, _ report: inout Report
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(Self.patience)
        var documents: [JobDocument] = []
        for id in jobs {
            var job = try await client.job(id)
            while job.state.value?.isTerminal != true, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(100))
                job = try await client.job(id)
            }
            documents.append(job)
        }
        var traces = Traces(HostCensus.text(cluster.traces + "/events"))
        for job in documents {
            let attempts = try await client.allAttempts(of: job.id)
            traces.check(job, attempts) { task in
                let path = "\(cluster.results)/\(task.job)/\(task.index)/attempt"
                return FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
            }
            let lost = attempts.filter { $0.state == .known(.lost) }
            // Agents and schedulers come and go, containers stay.
            if victim == .agent || victim == .scheduler {
                traces.complain(lost.map { "\($0.id) was lost: \($0.message ?? "no message")" })
            }
            report.lost += lost.count
            report.attempts += attempts.count
            report.tasks += job.tasks.total
        }
        report.jobs = documents.count
        if report.lost > report.kills { traces.complain(["\(report.lost) attempts were lost"]) }
        report.violations += traces.violations
    }
}

extension SchedulerClient {
    /// Every page.
    package func allAttempts(of job: JobID) async throws(Problem) -> [AttemptDocument] {
        var all: [AttemptDocument] = []
        var cursor: String?
        repeat {
            let page = try await attempts(of: job, limit: 500, cursor: cursor)
            all += page.attempts
            cursor = page.next
        } while cursor != nil
        return all
    }
}

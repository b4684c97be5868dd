// Many runs in a row through the whole path, with a look at what the agent holds every so often: nothing may be left,
// nothing may grow.
import Foundation
import JobModel
import SchedulerClient

package struct Endurance: Sendable {
    package var runs: Int64
    package var runtime: String
    package var programs: String
    package var progress: @Sendable (String) -> Void = { _ in }

    package init(runs: Int64, runtime: String, programs: String) {
        self.runs = runs
        self.runtime = runtime
        self.programs = programs
    }

    package struct Sample: Sendable {
        package var runs: Int64
        package var agent: ProcessFigures
        package var scheduler: ProcessFigures
    }

    package struct Report: Sendable {
        package var runs: Int64 = 0
        package var seconds = 0.0
        /// The first before the first run, the last after the last.
        package var samples: [Sample] = []
        package var violations: [String] = []
        package var leftovers: [String] = []
        package var before = HostCensus.take()
        package var after = HostCensus.take()
        package var isClean: Bool { violations.isEmpty && leftovers.isEmpty }

        /// Kilobytes that the agent holds more at the end than when a fifth had run: by then everything that is kept
        /// once is there. The middle of each fifth's samples, because memory comes and goes in steps.
        package var growth: Int {
            func middle(_ part: ClosedRange<Double>) -> Int {
                let inside = samples.filter { part.contains(Double($0.runs) / Double(max(1, runs))) }
                    .map(\.agent.residentKilobytes).sorted()
                return inside.isEmpty ? 0 : inside[inside.count / 2]
            }
            return middle(0.8...1) - middle(0.2...0.4)
        }
    }

    /// Runs that one job holds: so that what is kept of an ended job would show as well.
    private static let jobSize: Int64 = 500

    package func run() async throws -> Report {
        let before = HostCensus.take()
        let start = ContinuousClock.now
        var report = try await CampaignCluster.with(programs: programs, runtime: runtime) { cluster in
            let client = try cluster.client()
            let result: Result<Report, any Error>
            do {
                result = .success(try await measure(cluster, client))
            } catch {
                result = .failure(error)
            }
            await client.close()
            var report = try result.get()
            try await cluster.down()
            report.leftovers += try await cluster.settled(limit: 30).map { "after down: \($0)" }
            return report
        }
        report.before = before
        report.after = HostCensus.take()
        report.seconds = (ContinuousClock.now - start) / .seconds(1)
        return report
    }

    private func measure(_ cluster: CampaignCluster, _ client: SchedulerClient) async throws -> Report {
        var report = Report()
        var jobs: [JobDocument] = []
        report.samples.append(try sample(cluster, 0))
        while report.runs < runs {
            let size = min(Self.jobSize, runs - report.runs)
            let id = try await client.submit(
                SubmitRequest(spec: spec(size)), idempotencyKey: "endurance-\(report.runs)"
            ).id
            var job = try await client.job(id)
            let deadline = ContinuousClock.now + .seconds(300)
            while job.state.value?.isTerminal != true, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(50))
                job = try await client.job(id)
            }
            jobs.append(job)
            report.runs += size
            report.samples.append(try sample(cluster, report.runs))
            progress("\(report.runs) of \(runs)")
        }
        report.leftovers = try await cluster.settled(limit: 60)
        var traces = Traces(HostCensus.text(cluster.traces + "/events"))
        for job in jobs { traces.check(job, try await client.allAttempts(of: job.id)) }
        if traces.starts.count != Int(runs) { traces.complain(["\(traces.starts.count) runs left traces"]) }
        report.violations = traces.violations + cluster.crashes
        return report
    }

    private func sample(_ cluster: CampaignCluster, _ runs: Int64) throws -> Sample {
        guard let agent = cluster.process(.worker).flatMap({ ProcessFigures($0) }),
            let scheduler = cluster.process(.scheduler).flatMap({ ProcessFigures($0) })
        else { throw ProcessFailure(description: "a daemon has ended") }
        return Sample(runs: runs, agent: agent, scheduler: scheduler)
    }

    private func spec(_ size: Int64) -> JSONValue {
        .object([
            ("name", .string("endurance")), ("image", .string("busybox:local")),
            ("shell", .string(Traces.program("echo running"))),
            ("volumes", .array([.string("traces:/traces:rw")])),
            ("resources", .object([("cpus", .number(0.25)), ("memory", .string("16MiB"))])),
            ("array", .string("1-\(size)")),
        ])
    }
}

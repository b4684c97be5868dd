// The campaigns in full: kill -9 of agents, runners and schedulers under load, and ten thousand runs in a row. Prints
// what was counted; ends with 1 if anything was wrong.
import ArgumentParser
import Foundation
import TestSupport

struct CampaignCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "campaign", abstract: "Kill and run the engine oci many times, and count what is wrong or left.")

    enum Part: String, CaseIterable, ExpressibleByArgument { case agent, runner, scheduler, all, archive, endurance }

    @Argument(
        help:
            "agent, runner, scheduler, all (any of them), archive (the scheduler while images come and garbage goes), endurance; everything if none is given."
    ) var parts: [Part] = []
    @Option(help: "The OCI runtime: a name or a path.") var runtime = "crun"
    @Option(help: "How often the agent is killed.") var agentKills = 100
    @Option(help: "How often a runner is killed.") var runnerKills = 50
    @Option(help: "How often the scheduler is killed.") var schedulerKills = 50
    @Option(help: "How often any of them is killed, in turn and together.") var allKills = 50
    @Option(help: "How often the scheduler is killed while its archive works, in all.") var archiveKills = 100
    @Option(help: "How many runs in a row.") var runs: Int64 = 10_000
    @Option(help: "The same seed gives the same pauses between kills.") var seed: UInt64 = 1

    func validate() throws {
        for (name, count) in [
            ("agent", agentKills), ("runner", runnerKills), ("scheduler", schedulerKills), ("all", allKills),
            ("archive", archiveKills),
        ] {
            guard (1...100_000).contains(count) else { throw ValidationError("--\(name)-kills: use 1 to 100000") }
        }
        guard (1...10_000_000).contains(runs) else { throw ValidationError("--runs: use 1 to 10000000") }
    }

    func run() async throws {
        var isClean = true
        for part in parts.isEmpty ? Part.allCases : parts {
            switch part {
            case .agent: isClean = try await kill(.agent, agentKills) && isClean
            case .runner: isClean = try await kill(.runner, runnerKills) && isClean
            case .scheduler: isClean = try await kill(.scheduler, schedulerKills) && isClean
            case .all: isClean = try await kill(.all, allKills) && isClean
            case .archive: isClean = try await killArchive() && isClean
            case .endurance: isClean = try await endure() && isClean
            }
        }
        guard isClean else { throw ExitCode.failure }
    }

    private func kill(_ victim: Campaign.Victim, _ count: Int) async throws -> Bool {
        Progress.say("== kill -9 of the \(victim) on \(runtime), seed \(seed)")
        var campaign = Campaign(
            victim: victim, kills: count, runtime: runtime, seed: seed, programs: Settings.programs)
        campaign.progress = { Progress.say("   \($0)") }
        let report = try await campaign.run()
        print("kill -9 of the \(victim), engine oci (\(runtime)), seed \(seed)")
        print(
            "   \(report.kills) kills in \(Int(report.seconds)) s: \(report.jobs) jobs, \(report.tasks) tasks, "
                + "\(report.attempts) attempts, \(report.lost) lost with their runner")
        show(report.violations, report.leftovers, report.before, report.after)
        return report.isClean
    }

    /// The kills are shared out among what the archive does.
    private func killArchive() async throws -> Bool {
        let works = ArchiveCampaign.Work.allCases
        var isClean = true
        for (index, work) in works.enumerated() {
            let kills = archiveKills / works.count + (index < archiveKills % works.count ? 1 : 0)
            guard kills > 0 else { continue }
            Progress.say("== kill -9 of the scheduler during \(work), seed \(seed)")
            var campaign = ArchiveCampaign(work: work, kills: kills, seed: seed, programs: Settings.programs)
            campaign.progress = { Progress.say("   \($0)") }
            let report = try await campaign.run()
            print("kill -9 of the scheduler during \(work) of its archive, seed \(seed)")
            print(
                "   \(report.kills) kills in \(Int(report.seconds)) s: \(report.interrupted) before the answer, "
                    + "\(report.halfway) with half of it on disk; \(report.served) blobs served and hashed, "
                    + "\(report.reruns) configurations run again")
            show(report.violations, report.leftovers, report.before, report.after)
            isClean = report.isClean && isClean
        }
        return isClean
    }

    private func endure() async throws -> Bool {
        Progress.say("== \(runs) runs in a row on \(runtime)")
        var endurance = Endurance(runs: runs, runtime: runtime, programs: Settings.programs)
        endurance.progress = { Progress.say("   \($0)") }
        let report = try await endurance.run()
        print("\(report.runs) runs in a row, engine oci (\(runtime)), in \(Int(report.seconds)) s")
        for sample in report.samples where sample.runs % max(500, runs / 10) == 0 || sample.runs == runs {
            print(
                "   after \(sample.runs) runs: agent \(sample.agent.residentKilobytes) kB, "
                    + "\(sample.agent.openFiles) files, \(sample.agent.threads) threads; "
                    + "scheduler \(sample.scheduler.residentKilobytes) kB, \(sample.scheduler.openFiles) files")
        }
        print("   growth of the agent from the second fifth to the last: \(report.growth) kB")
        show(report.violations, report.leftovers, report.before, report.after)
        return report.isClean && report.growth < Self.growthLimit
    }

    /// Kilobytes. One that grew by a kilobyte a run would show eight thousand.
    private static let growthLimit = 2_000

    private func show(_ violations: [String], _ leftovers: [String], _ before: HostCensus, _ after: HostCensus) {
        print("   wrong: \(violations.count); left behind: \(leftovers.count)")
        for sentence in violations.prefix(50) { print("   WRONG \(sentence)") }
        for sentence in leftovers.prefix(50) { print("   LEFT \(sentence)") }
        print("   this host before: \(before.line)")
        print("   this host after:  \(after.line)")
        fflush(nil)
    }
}

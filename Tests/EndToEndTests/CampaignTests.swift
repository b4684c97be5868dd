// The campaign in small: Scripts/campaign carries it out in full. Goal: no false success, nothing twice, nothing left,
// every job ends, whichever process is killed.
import Foundation
import TestSupport
import Testing

extension EndToEnd {
    @Suite("kill -9 at random moments", .serialized, .timeLimit(.minutes(20))) struct CampaignTests {
        private static var programs: String {
            get throws { (try builtProgram("jobctl") as NSString).deletingLastPathComponent }
        }

        @Test(
            "killed under load, nothing runs twice, nothing is left, and every job ends",
            arguments: [Campaign.Victim.agent, .runner, .scheduler])
        func killed(_ victim: Campaign.Victim) async throws {
            await ClusterGate.shared.enter()
            let seed = UInt64.random(in: 0 ... .max)
            let result = await outcome {
                let report = try await Campaign(
                    victim: victim, kills: 5, runtime: "crun", seed: seed, programs: try Self.programs
                ).run()
                #expect(report.violations == [], "seed \(seed)")
                #expect(report.leftovers == [], "seed \(seed)")
                #expect(report.kills == 5 && report.jobs > 0)
            }
            await ClusterGate.shared.leave()
            try result.get()
        }

        @Test(
            "killed while an image is pushed or pulled through, or garbage is collected: nothing pinned is lost, no half blob is served, and a repetition succeeds",
            arguments: ArchiveCampaign.Work.allCases)
        func archive(_ work: ArchiveCampaign.Work) async throws {
            await ClusterGate.shared.enter()
            let seed = UInt64.random(in: 0 ... .max)
            let result = await outcome {
                let report = try await ArchiveCampaign(
                    work: work, kills: 6, seed: seed, programs: try Self.programs
                ).run()
                #expect(report.violations == [], "seed \(seed)")
                #expect(report.leftovers == [], "seed \(seed)")
                #expect(report.kills == 6 && report.reruns == 7 && report.served > 100, "seed \(seed)")
            }
            await ClusterGate.shared.leave()
            try result.get()
        }

        @Test(
            "many runs in a row leave no process, mount, control group or file, and no open file in the agent")
        func endurance() async throws {
            await ClusterGate.shared.enter()
            let result = await outcome {
                let report = try await Endurance(runs: 150, runtime: "crun", programs: try Self.programs).run()
                #expect(report.violations == [])
                #expect(report.leftovers == [])
                let (first, last) = (try #require(report.samples.first), try #require(report.samples.last))
                #expect(last.agent.openFiles < first.agent.openFiles + 30)
            }
            await ClusterGate.shared.leave()
            try result.get()
        }
    }
}

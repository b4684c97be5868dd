// Seeded histories: the real stepper on a real SQLite file in a world that goes wrong. Proof that the checkers see
// faults stands in MutantTests.swift.
import Foundation
import Simulation
import TestSupport
import Testing

@Suite struct SimulationTests {
    /// Seeds that once found something: a seed stays when what it found is mended. With their steps and options.
    /// Older than the simulated disk.
    private static let soundDisk = "power-losses=0,disk-errors=0,placement=0,open-arrays=0,gangs=0"
    static let regressions: [(seed: UInt64, steps: Int, set: String)] = [
        // A worker that came back with an attempt that had been given up was given new work beside it.
        (5093, 400, soundDisk),
        // A late call of an older life took the place of the newer one for ever.
        (612_796_053_243, 120, soundDisk),
        // New work that was chosen before the worker showed what it still ran; a stop that a restart forgot.
        (3_001_198, 120, soundDisk), (3_000_594, 120, soundDisk),
        // The row of a job that was cancelled for another's sake stood before the other's, in one commit.
        (
            403_019_691_326, 18,
            "loss=0,duplication=0,delay=0,scheduler-crashes=0,scheduler-pauses=0,agent-crashes=0,agent-pauses=0,"
                + "host-losses=0,clock-jumps=34,clock-drift=0,failures=0,engine-errors=0,disk-errors=0,open-arrays=0"
        ),
        // A job was promised a worker, and one of its class that went before it waited for ever for that one's start.
        (
            702_906_562_994, 30,
            "agent-pauses=0,partitions=25,clock-jumps=12,failures=0,commands=0,power-losses=0,disk-errors=0,open-arrays=0"
        ),
        // The agent of the simulation kept a permission to publish over a restart, as the real one does not.
        (4988, 103, "duplication=0,delay=0,clock-jumps=27,clock-drift=0,failures=0,disk-errors=0"),
        // A call of an older life came late, to a scheduler that had been started again since, and was taken.
        (
            7_100_266, 117,
            "scheduler-pauses=8,engine-errors=0,power-losses=423,disk-errors=8"
        ),
        // Another time limit than the record's decides whether a run ends before a reservation.
        (88_263_414_920, 120, ""),
        // Of a commit that failed and is on disk, one hears later: when it was made is told by its rows.
        (3_300_100_206, 59, "scheduler-crashes=11,scheduler-pauses=0,pipelines=177,deadlines=0"),
        // A job with a claim on a worker was put into another class by its new time limit, and the claim was not.
        (300_700_111, 34, "scheduler-crashes=0,partitions=0,failures=0,engine-errors=0"),
        (89, 400, soundDisk), (4711, 250, "agent-pauses=200,clock-drift=1000,\(soundDisk)"),
    ]

    @Test(
        "in every history all promises are kept, and everything ends when faults stop",
        arguments: 1...40 as ClosedRange<UInt64>)
    func promisesAreKept(seed: UInt64) {
        let report = simulate(seed: seed, steps: 250)
        #expect(report.violation == nil, "replay: jobctl-simulate --seed \(seed) --steps 250   (\(report.options))")
    }

    @Test("fresh seeds in each run, 200 histories: the promises are kept, and what must come up sometimes comes up")
    func freshSeeds() async {
        let given = ProcessInfo.processInfo.environment["JOBCTL_TEST_SEED"].flatMap { UInt64($0) }
        let first = given ?? UInt64.random(in: 1_000_000...1_000_000_000_000)
        let reports = await withTaskGroup(of: [SimulationReport].self) { group in
            for half in 0..<2 as Range<UInt64> {
                group.addTask {
                    var reports: [SimulationReport] = []
                    for number in 0..<100 as Range<UInt64> {
                        reports.append(simulate(seed: first + half * 100 + number, steps: 120))
                        await Task.yield()
                    }
                    return reports
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        for report in reports where report.violation != nil {
            Issue.record(
                "\(report.violation ?? "") replay: jobctl-simulate --seed \(report.seed) --steps 120")
        }
        var tally = Tally()
        for report in reports { tally.add(report.tally) }
        #expect(tally.histories == 200)
        // The rarest are asked of long runs only.
        let rare: [Situation] = [
            .lateStartRefused, .latePublicationRefused, .zombieFenced, .commitKept,
        ]
        #expect(tally.missing.filter { !rare.contains($0) } == [], "seeds from \(first)")
    }

    @Test("seeds that once found something find nothing any more", arguments: regressions.indices)
    func regressionsStayMended(index: Int) throws {
        let (seed, steps, set) = Self.regressions[index]
        var settings = try #require(SwarmOptions.values(set))
        // Most are older than these.
        for name in ["pipelines", "deadlines"] where settings[name] == nil { settings[name] = 0 }
        #expect(simulate(seed: seed, steps: steps, settings: settings).violation == nil)
    }

    @Test("the same seed gives the same history")
    func sameSeedSameHistory() {
        let first = simulate(seed: 4711, steps: 200)
        let second = simulate(seed: 4711, steps: 200)
        #expect(first.hash == second.hash && first.steps == second.steps && first.tally == second.tally)
        #expect(first.hash != simulate(seed: 4712, steps: 200).hash)
    }

    @Test("the same seed gives the same history in two processes")
    func sameSeedInTwoProcesses() async throws {
        let arguments = ["--seed", "4711", "--steps", "120", "--verbose"]
        let first = try await runProcess(try builtProgram("jobctl-simulate"), arguments)
        let second = try await runProcess(try builtProgram("jobctl-simulate"), arguments)
        let line = try #require(first.output.split(separator: "\n").first { $0.hasPrefix("seed 4711: ") })
        #expect(first.exitCode == 0 && first.output == second.output)
        #expect(line.hasSuffix(", " + simulate(seed: 4711, steps: 120).hash.short))
    }

    @Test("options are read as they are printed, and nothing else is read")
    func options() throws {
        var dice = Dice(seed: 7)
        let options = SwarmOptions(&dice)
        #expect(options.setting(try #require(SwarmOptions.values(options.description))) == options)
        for text in ["loss", "loss=", "loss=x", "loss=-1", "loss=1=2", "moons=3", "loss=9999999999"] {
            #expect(SwarmOptions.values(text) == nil, "\(text)")
        }
    }
}

// Faults that are put in on purpose are found: each by a seed that is known to find it, or one of the next few.
import Simulation
import Testing

@Suite struct MutantTests {
    /// Where to begin instead of seed 1: a change of the simulated world may move it.
    private static let seeds: [Mutant: UInt64] = [
        .publishesAfterTheLease: 29, .agentsOutliveTheirLease: 3, .startsAfterTheLease: 5, .retriesWithoutKey: 2,
        .dropsCancels: 3, .hurries: 2,
        .leasesByWallClock: 3, .givesUpEarly: 3, .startsTwice: 3, .swapsAnswers: 3, .swapsReplies: 2, .dropsHolds: 2,
        .dropsKeys: 2, .dropsAcceptances: 2, .dropsStopReasons: 3, .forgetsTheLog: 2, .dropsPublications: 2,
    ]
    /// Options without which it would take long. Those that keep a job from ending get a small world.
    private static let settings: [Mutant: String] = [
        .neverSyncs: "power-losses=1000,scheduler-crashes=20",
        .syncsTheLogLater: "power-losses=1000,scheduler-crashes=20", .goesOnAfterFailedSync: "disk-errors=50",
        .publishesAfterTheLease: "agent-pauses=150,workers=1,host-losses=0,partitions=0,agent-crashes=0,loss=0",
        .ignoresReports: "workers=1,jobs=1", .dropsStarts: "workers=1,jobs=1", .dropsForgets: "workers=1,jobs=1",
        .dropsPublications: "workers=1,jobs=2", .oversellsLicenses: "placement=600",
        .forgetsReservations: "placement=600", .extendsWithoutKey: "open-arrays=1000,loss=150",
        .dropsRecords: "open-arrays=1000", .splitsPipelines: "pipelines=500",
        .ignoresDeadlines: "deadlines=1000,clock-jumps=0",
        .ignoresProofs: "agent-crashes=300,delay=3000,scheduler-crashes=30",
    ]
    private static let tries: UInt64 = 30

    private static func find(_ mutant: Mutant) throws -> (report: SimulationReport, settings: [String: Int64])? {
        var settings = try #require(SwarmOptions.values(Self.settings[mutant] ?? ""))
        // The seeds above are of worlds without it.
        for name in ["placement", "gangs", "pipelines", "deadlines"] where settings[name] == nil { settings[name] = 0 }
        let first = seeds[mutant] ?? 1
        return (first..<first + tries).lazy
            .map { (simulate(seed: $0, steps: 400, settings: settings, mutant: mutant), settings) }
            .first { $0.0.violation != nil }
    }

    @Test("a fault that was put in on purpose is found", arguments: Mutant.allCases)
    func mutantsAreFound(mutant: Mutant) throws {
        #expect(try Self.find(mutant) != nil, "no seed finds \(mutant.rawValue)")
    }

    @Test("the history of a fault is made small, and stays one", arguments: [Mutant.falseSuccess, .dropsReports])
    func historiesAreMadeSmall(mutant: Mutant) throws {
        let (report, found) = try #require(try Self.find(mutant))
        let small = shrink(report, steps: 400, settings: found, mutant: mutant, tries: 8)
        #expect(small.steps <= 400 && !small.violation.isEmpty)
        let settings = try #require(small.set.isEmpty ? [:] : SwarmOptions.values(small.set))
        let again = simulate(seed: small.seed, steps: small.steps, settings: settings, mutant: mutant)
        #expect(again.violation == small.violation)
    }
}

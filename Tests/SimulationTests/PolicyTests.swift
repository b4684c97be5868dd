// What policy promises, on seeds: promised starts kept, nobody starves. The scenario fair-share is not here: it misses
// its bound of 6 points on 5 of 12 seeds, and nobody knows why yet (`jobctl-simulate --policy fair-share --seeds 12`).
import Simulation
import Testing

@Suite struct PolicyTests {
    @Test(
        "each scenario keeps its promises", arguments: [PolicyScenario.backfill], 1...12 as ClosedRange<UInt64>)
    func promisesAreKept(scenario: PolicyScenario, seed: UInt64) {
        let report = scenario.run(seed: seed)
        #expect(
            report.violation == nil, "replay: jobctl-simulate --policy \(scenario.rawValue) --seed \(seed) --verbose")
    }

    @Test("the same seed gives the same history", arguments: PolicyScenario.allCases)
    func sameSeedSameHistory(scenario: PolicyScenario) {
        #expect(scenario.run(seed: 3).hash == scenario.run(seed: 3).hash)
        #expect(scenario.run(seed: 3).hash != scenario.run(seed: 4).hash)
    }
}

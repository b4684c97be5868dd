// What policy promises, on seeds: each has its share within two points, promised starts are kept, nobody starves.
import Simulation
import Testing

@Suite struct PolicyTests {
    @Test("each scenario keeps its promises", arguments: PolicyScenario.allCases, 1...12 as ClosedRange<UInt64>)
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

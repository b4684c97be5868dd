// Seeded histories: the real stepper on a real SQLite file in a world that goes wrong, and proof that the checkers see
// faults.
import Simulation
import Testing

@Suite struct SimulationTests {
    @Test(
        "in every history all promises are kept, and everything ends when faults stop",
        arguments: 1...40 as ClosedRange<UInt64>)
    func promisesAreKept(seed: UInt64) {
        let report = simulate(seed: seed, steps: 250)
        #expect(report.violation == nil, "replay: jobctl-simulate --seed \(seed) --steps 250   (\(report.options))")
    }

    @Test("the same seed gives the same history")
    func sameSeedSameHistory() {
        let first = simulate(seed: 4711, steps: 200)
        let second = simulate(seed: 4711, steps: 200)
        #expect(first.hash == second.hash && first.steps == second.steps && first.steps >= 200)
        #expect(first.hash != simulate(seed: 4712, steps: 200).hash)
    }

    @Test("a fault that was put in on purpose is found", arguments: Mutant.allCases)
    func mutantsAreFound(mutant: Mutant) {
        let found = (1...60 as ClosedRange<UInt64>).contains {
            simulate(seed: $0, steps: 400, mutant: mutant).violation != nil
        }
        #expect(found, "no seed found \(mutant.rawValue)")
    }
}

// Faults that are put in on purpose are found: each by a seed that is known to find it, or one of the next few.
import Simulation
import Testing

@Suite struct MutantTests {
    /// Where to begin: a change of the simulated world may move it.
    static let seeds: [Mutant: UInt64] = [:]
    private static let tries: UInt64 = 40

    @Test("a fault that was put in on purpose is found", arguments: Mutant.allCases)
    func mutantsAreFound(mutant: Mutant) {
        let first = Self.seeds[mutant] ?? 1
        let found = (first..<first + Self.tries).lazy
            .map { simulate(seed: $0, steps: 250, mutant: mutant) }.first { $0.violation != nil }
        #expect(found != nil, "no seed from \(first) finds \(mutant.rawValue)")
    }

    @Test("the history of a fault is made small, and stays one", arguments: [Mutant.falseSuccess, .dropsKeys])
    func historiesAreMadeSmall(mutant: Mutant) throws {
        let first = Self.seeds[mutant] ?? 1
        let found = (first..<first + Self.tries).lazy
            .map { simulate(seed: $0, steps: 250, mutant: mutant) }.first { $0.violation != nil }
        let report = try #require(found)
        let small = shrink(report, steps: 250, settings: [:], mutant: mutant, tries: 12)
        #expect(small.steps <= 250 && !small.violation.isEmpty)
        let settings = try #require(small.set.isEmpty ? [:] : SwarmOptions.values(small.set))
        let again = simulate(seed: small.seed, steps: small.steps, settings: settings, mutant: mutant)
        #expect(again.violation == small.violation)
    }
}

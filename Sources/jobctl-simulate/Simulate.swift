// `jobctl-simulate`: many seeded histories, one line each on failure, with the command that replays it.
import ArgumentParser
import Simulation

@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobctl-simulate",
        abstract: "Run the scheduler's core and store against simulated workers, users, networks and crashes.")

    @Option(help: "How many histories.") var seeds: UInt64 = 1
    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "Steps of the scheduler while faults happen.") var steps = 400
    @Option(help: "A fault to put in on purpose: \(Mutant.allCases.map(\.rawValue).joined(separator: ", ")).")
    var mutant: String?
    @Option(
        help: "Try a promise of policy instead: \(PolicyScenario.allCases.map(\.rawValue).joined(separator: ", ")).")
    var policy: String?
    @Flag(help: "Print a line for each history.") var verbose = false
    @Flag(help: "Print a line for each happening.") var trace = false

    func validate() throws {
        guard steps >= 1, steps <= 1_000_000 else {
            throw ValidationError("--steps: \(steps) is not between 1 and 1000000")
        }
        guard seeds >= 1, seeds <= 1_000_000_000, seed <= .max - seeds else {
            throw ValidationError("--seeds: \(seeds) is not between 1 and 1000000000")
        }
        guard policy == nil || policy.flatMap(PolicyScenario.init(rawValue:)) != nil else {
            let names = PolicyScenario.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--policy: use one of \(names)")
        }
        guard mutant == nil || mutant.flatMap(Mutant.init(rawValue:)) != nil else {
            throw ValidationError("--mutant: use one of \(Mutant.allCases.map(\.rawValue).joined(separator: ", "))")
        }
    }

    func run() throws {
        if let scenario = policy.flatMap(PolicyScenario.init(rawValue:)) { return try run(scenario) }
        let fault = mutant.flatMap(Mutant.init(rawValue:))
        let printLine: @Sendable (String) -> Void = { Swift.print($0) }
        let tracer = trace ? printLine : nil
        var failures = 0
        for number in seed..<(seed + seeds) {
            let report = simulate(seed: number, steps: steps, mutant: fault, trace: tracer)
            let figures =
                "\(report.steps) steps, \(report.jobs) jobs, \(report.attempts) attempts, \(report.restarts) restarts, \(report.hash.short)"
            if let violation = report.violation {
                failures += 1
                let more = mutant.map { " --mutant \($0)" } ?? ""
                print(
                    "seed \(number): \(violation)\n  drawn: \(report.options)\n  replay: jobctl-simulate --seed \(number) --steps \(steps)\(more)"
                )
            } else if verbose {
                print("seed \(number): \(figures)")
            }
        }
        print("\(seeds) histories, \(failures) with a broken promise")
        if failures > 0 { throw ExitCode(1) }
    }

    private func run(_ scenario: PolicyScenario) throws {
        var failures = 0
        for number in seed..<(seed + seeds) {
            let report = scenario.run(seed: number)
            if let violation = report.violation {
                failures += 1
                print(
                    "seed \(number): \(violation)\n"
                        + "  replay: jobctl-simulate --policy \(scenario.rawValue) --seed \(number) --verbose")
            } else if verbose {
                print("seed \(number): \(report.figures), \(report.hash.short)")
            }
        }
        print("\(seeds) histories of \(scenario.rawValue), \(failures) with a broken promise")
        if failures > 0 { throw ExitCode(1) }
    }
}

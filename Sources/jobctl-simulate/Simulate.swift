// `jobctl-simulate`: many seeded histories. A broken promise is made small and printed with the command that replays
// it; at the end stands what the histories had in them.
import ArgumentParser
import Foundation
import Simulation
import Synchronization

@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobctl-simulate",
        abstract: "Run the scheduler's core and store against simulated workers, users, networks, disks and crashes.",
        subcommands: [Histories.self, Replay.self], defaultSubcommand: Histories.self)
}

struct Histories: ParsableCommand {
    private static let mutants = Mutant.allCases.map(\.rawValue).joined(separator: ", ")
    private static let options = SwarmOptions.table.map(\.name).joined(separator: ", ")

    static let configuration = CommandConfiguration(
        commandName: "histories",
        abstract: "Let seeded histories happen (the default).",
        discussion: """
            A history has two parts: faults, as its seed draws them, then none until everything has ended. After each
            step of the scheduler its books are checked, and that a restart would find what is in memory.

              jobctl-simulate --seeds 200
              jobctl-simulate --hours 10000 --parallel 2 --seed "$RANDOM"
            """)

    @Option(help: "How many histories.") var seeds: UInt64 = 1
    @Option(help: "Instead of a number of histories: until this many hours were simulated.") var hours: Int?
    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "Steps of the scheduler while faults happen.") var steps = 400
    @Option(help: "How many histories at the same time.") var parallel = 1
    @Option(help: "Options that take the place of drawn ones, as 'loss=0,jobs=3'. There are: \(Self.options).")
    var set = ""
    @Option(help: "A fault to put in on purpose: \(Self.mutants).") var mutant: String?
    @Option(
        help: "Try a promise of policy instead: \(PolicyScenario.allCases.map(\.rawValue).joined(separator: ", ")).")
    var policy: String?
    @Option(help: "How many more histories may happen to make a failing one small.") var tries = 60
    @Flag(help: "Print a line for each history.") var verbose = false
    @Flag(help: "Print a line for each happening.") var trace = false

    func validate() throws {
        guard steps >= 1, steps <= 1_000_000 else {
            throw ValidationError("--steps: \(steps) is not between 1 and 1000000")
        }
        guard seeds >= 1, seeds <= 1_000_000_000, seed <= .max - 1_000_000_000 else {
            throw ValidationError("--seeds: \(seeds) is not between 1 and 1000000000")
        }
        guard policy == nil || policy.flatMap(PolicyScenario.init(rawValue:)) != nil else {
            let names = PolicyScenario.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--policy: use one of \(names)")
        }
        guard (1...100_000_000).contains(hours ?? 1) else {
            throw ValidationError("--hours: \(hours ?? 0) is not between 1 and 100000000")
        }
        guard (0...10_000).contains(tries) else {
            throw ValidationError("--tries: \(tries) is not between 0 and 10000")
        }
        guard (1...256).contains(parallel) else {
            throw ValidationError("--parallel: \(parallel) is not between 1 and 256")
        }
        guard mutant == nil || mutant.flatMap(Mutant.init(rawValue:)) != nil else {
            throw ValidationError("--mutant: use one of \(Self.mutants)")
        }
        guard SwarmOptions.values(set) != nil else {
            throw ValidationError("--set: use 'name=number', separated by commas, with the names \(Self.options)")
        }
    }

    func run() throws {
        if let scenario = policy.flatMap(PolicyScenario.init(rawValue:)) { return try run(scenario) }
        let (settings, fault) = (SwarmOptions.values(set) ?? [:], mutant.flatMap(Mutant.init(rawValue:)))
        let printLine: @Sendable (String) -> Void = { Swift.print($0) }
        let (steps, tracer, isVerbose) = (self.steps, trace ? printLine : nil, verbose)
        let book = Book(first: seed, histories: seeds, hours: hours)
        DispatchQueue.concurrentPerform(iterations: parallel) { _ in
            while let number = book.claim() {
                let report = Simulation.simulate(
                    seed: number, steps: steps, settings: settings, mutant: fault, trace: tracer)
                if let line = book.take(report) { FileHandle.standardError.write(Data(line.utf8)) }
                if isVerbose { printLine(Self.line(report)) }
            }
        }
        let (tally, failures) = book.result
        for report in failures.prefix(10) { explain(report, settings, fault) }
        print(table(tally))
        print("\(tally.histories) histories, \(failures.count) with a broken promise")
        if !failures.isEmpty { throw ExitCode(1) }
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

    private static func line(_ report: SimulationReport) -> String {
        "seed \(report.seed): \(report.steps) steps, \(report.jobs) jobs, \(report.attempts) attempts, "
            + "\(report.restarts) restarts, \(report.hash.short)"
    }

    private func explain(_ report: SimulationReport, _ settings: [String: Int64], _ fault: Mutant?) {
        print("seed \(report.seed): \(report.violation ?? "")\n  drawn: \(report.options)")
        let small = shrink(report, steps: steps, settings: settings, mutant: fault, tries: tries)
        var words = ["jobctl-simulate", "--seed \(small.seed)", "--steps \(small.steps)"]
        if !small.settings.isEmpty { words.append("--set \(small.set)") }
        if let mutant { words.append("--mutant \(mutant)") }
        print("  smallest found: \(small.violation)\n  replay: \(words.joined(separator: " "))")
    }

    private func table(_ tally: Tally) -> String {
        var lines = ["simulated: \(tally.milliseconds / 3_600_000) h", "faults:"]
        lines += Fault.allCases.map { "  \(tally.faults[$0] ?? 0)  \($0.rawValue)" }
        lines.append("situations:")
        lines += Situation.allCases.map { "  \(tally.situations[$0] ?? 0)  \($0.rawValue)" }
        return lines.joined(separator: "\n")
    }
}

/// Who does which seed, and what came of them.
private final class Book: Sendable {
    private struct State {
        var next: UInt64
        var tally = Tally()
        var failures: [SimulationReport] = []
        var spoken = ContinuousClock.now
    }

    private let state: Mutex<State>
    private let end: UInt64
    private let milliseconds: Int64?

    init(first: UInt64, histories: UInt64, hours: Int?) {
        state = Mutex(State(next: first))
        end = first + histories
        milliseconds = hours.map { Int64($0) * 3_600_000 }
    }

    /// The next seed, unless enough was done.
    func claim() -> UInt64? {
        state.withLock { state in
            guard milliseconds.map({ state.tally.milliseconds < $0 }) ?? (state.next < end) else { return nil }
            state.next += 1
            return state.next - 1
        }
    }

    /// Returns a line on how far it is, once a minute.
    func take(_ report: SimulationReport) -> String? {
        state.withLock { state in
            state.tally.add(report.tally)
            if report.violation != nil { state.failures.append(report) }
            guard state.spoken.duration(to: .now) > .seconds(60) else { return nil }
            state.spoken = .now
            return "\(state.tally.milliseconds / 3_600_000) h, \(state.tally.histories) histories to seed "
                + "\(report.seed), broken: \(state.failures.map(\.seed))\n"
        }
    }

    var result: (Tally, [SimulationReport]) {
        state.withLock { ($0.tally, $0.failures.sorted { $0.seed < $1.seed }) }
    }
}

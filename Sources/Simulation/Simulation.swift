// One history from one seed: the real stepper on a real SQLite file, against simulated agents, users, network, clocks
// and crashes. First everything goes wrong as the seed says, then faults stop and everything must end. The same seed
// gives the same history.
import Foundation
import JobModel
import SchedulingCore

/// A promise that was broken.
package struct Violation: Error, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// What became of a seed.
package struct SimulationReport: Sendable {
    package var seed: UInt64
    /// The drawn options.
    package var options: SwarmOptions
    /// Over every committed change and every order that left.
    package var hash: Digest
    package var steps: Int
    package var jobs: Int
    package var attempts: Int
    package var restarts: Int
    package var tally: Tally
    /// Nil if every promise was kept.
    package var violation: String?
}

/// Lets one history happen.
/// - Parameters:
///   - steps: how many steps the scheduler takes while faults happen.
///   - settings: options that take the place of drawn ones, as ``SwarmOptions/values(_:)`` reads them.
///   - mutant: a fault of our own making, to see whether it is found.
///   - trace: takes a line for each happening.
///   - directory: where the databases of the history live while it runs; memory, because a simulated crash loses what
///     the world says that it loses, whatever the disk did.
package func simulate(
    seed: UInt64, steps: Int = 400, settings: [String: Int64] = [:], mutant: Mutant? = nil,
    trace: (@Sendable (String) -> Void)? = nil,
    directory: String = "/dev/shm"
) -> SimulationReport {
    let folder =
        "\(directory)/jobctl-simulation-\(ProcessInfo.processInfo.processIdentifier)-\(seed)-\(UInt32.random(in: 0 ... .max))"
    var world = World(seed: seed, settings: settings, mutant: mutant, trace: trace, folder: folder)
    var violation: String?
    do {
        try world.run(steps: steps)
    } catch {
        violation = "at \(world.now) ms, step \(world.steps): \(error)"
    }
    world.end()
    world.tally.histories = 1
    world.tally.milliseconds = world.now
    return SimulationReport(
        seed: seed, options: world.options, hash: world.truth.hash, steps: world.steps,
        jobs: world.submissions.count,
        attempts: world.truth.attemptCount, restarts: world.generation - 1,
        tally: world.tally, violation: violation)
}

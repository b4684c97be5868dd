// A failing history made small: fewer steps, fewer workers and jobs, faults taken away one kind after another, for as
// long as something is still broken.

/// What it takes to see a violation again.
package struct Reproduction: Sendable {
    package var seed: UInt64
    package var steps: Int
    package var settings: [String: Int64]
    package var violation: String

    /// `loss=0,jobs=3`, in the order of the options.
    package var set: String {
        SwarmOptions.table.compactMap { entry in settings[entry.name].map { "\(entry.name)=\($0)" } }
            .joined(separator: ",")
    }
}

/// Looks for a smaller history that breaks a promise as well.
/// - Parameter tries: how many histories it may let happen for that.
package func shrink(_ report: SimulationReport, steps: Int, settings: [String: Int64], mutant: Mutant?, tries: Int)
    -> Reproduction
{
    var best = Reproduction(seed: report.seed, steps: steps, settings: settings, violation: report.violation ?? "")
    var left = tries
    /// Whether it still fails.
    func take(_ steps: Int, _ settings: [String: Int64]) -> Bool {
        guard left > 0 else { return false }
        left -= 1
        let again = simulate(seed: report.seed, steps: steps, settings: settings, mutant: mutant)
        guard let violation = again.violation else { return false }
        best = Reproduction(
            seed: report.seed, steps: min(steps, again.steps), settings: settings, violation: violation)
        return true
    }
    // A history that broke in its 40th step needs no more.
    _ = take(max(1, report.steps), settings)
    for (name, path, least) in SwarmOptions.table {
        let drawn = best.settings[name] ?? report.options[keyPath: path]
        guard drawn > least else { continue }
        var settings = best.settings
        settings[name] = least
        if take(best.steps, settings) { continue }
        settings[name] = (drawn + least) / 2
        if drawn > least + 1 { _ = take(best.steps, settings) }
    }
    while best.steps > 1, take(best.steps / 2, best.settings) {}
    return best
}

// What users let their jobs wait for: jobs of their own that they know to be accepted. Drawn from dice of their own, so
// that a seed without dependencies has the history that it always had.
import JobModel
import Scheduler
import SchedulingCore

extension World {
    /// Before a submission is sent for the first time.
    mutating func link(_ index: Int) {
        if linkDice.chance(perMille: options.dependencies / 3) { ask(index) }
        guard linkDice.chance(perMille: options.dependencies) else { return }
        let owner = submissions[index].accepted.record.owner.name
        let known = submissions.indices.filter {
            submissions[$0].acknowledged != nil && submissions[$0].accepted.record.owner.name == owner
        }
        guard !known.isEmpty else { return }
        var dependencies: [Dependency] = []
        for _ in 0..<linkDice.roll(1...3) {
            let other = linkDice.pick(known)
            let kind = linkDice.pick(DependencyKind.allCases)
            let shape = submissions[other].accepted.record.shape
            guard let job = submissions[other].acknowledged, !dependencies.contains(where: { $0.job == job }) else {
                continue
            }
            if kind.isEach {
                // The members of a gang end together.
                guard shape.gangSize == nil else { continue }
                // Its tasks are as many as those of the first that it waits for task by task.
                if !dependencies.contains(where: { $0.kind.isEach }) {
                    submissions[index].accepted.record.shape = shape
                }
                guard shape.indices == submissions[index].accepted.record.shape.indices else { continue }
            }
            dependencies.append(Dependency(job: job, kind: kind))
        }
        submissions[index].accepted.record.dependencies = dependencies
    }

    /// A later start only where the clock does not jump: it would be days away.
    private mutating func ask(_ index: Int) {
        var rules = RunRules()
        if linkDice.chance(perMille: 500) { rules.mostRunning = linkDice.roll(1...3) }
        if linkDice.chance(perMille: 500), options.clockJumps == 0 {
            rules.startAfter = instant.wall.after(TimeSpan(milliseconds: linkDice.roll(0...60_000)))
        }
        submissions[index].accepted.record.rules = rules
    }

    /// It could never have started: its user submits it without them.
    mutating func unlink(_ index: Int) {
        tally.saw(.dependencyRefused)
        let members = sentTogether(with: index)
        for member in members { submissions[member].accepted.record.dependencies = [] }
        truth.submits(submissions[index], with: members.map { submissions[$0].accepted.record })
    }
}

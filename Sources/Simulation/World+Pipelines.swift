// Jobs that their user submits together, and jobs that must have ended by a time. Drawn from dice of their own, so that
// a seed without them has the history that it always had.
import JobModel
import Scheduler
import SchedulingCore

extension World {
    static func pipelineOption(_ dice: inout Dice) -> Int64 { dice.chance(perMille: 500) ? 0 : dice.roll(50...500) }
    static func deadlineOption(_ dice: inout Dice) -> Int64 { dice.chance(perMille: 500) ? 0 : dice.roll(50...500) }

    /// Some submissions wait for the first of their pipeline, which is sent with them.
    mutating func drawPipelines() {
        var index = 0
        while index < submissions.count {
            guard pipelineDice.chance(perMille: options.pipelines) else {
                index += 1
                continue
            }
            let owner = submissions[index].accepted.record.owner
            let others = submissions[index...].prefix(Int(pipelineDice.roll(2...4)))
            let members = others.prefix { $0.accepted.record.owner == owner }.indices
            submissions[index].members = Array(members)
            for member in members.dropFirst() { submissions[member].isSentWithAnother = true }
            index = members.upperBound
        }
    }

    /// All jobs of a pipeline, by its first; a job alone.
    func sentTogether(with index: Int) -> [Int] {
        submissions[index].members.isEmpty ? [index] : submissions[index].members
    }

    /// Before a pipeline is sent for the first time, and its jobs are what they are.
    mutating func linkMembers(of first: Int) {
        let members = submissions[first].members
        submissions[first].links = members.indices.map { place in
            guard place > 0, pipelineDice.chance(perMille: 800) else { return [] }
            let other = Int(pipelineDice.roll(0...Int64(place - 1)))
            let kinds = DependencyKind.allCases.filter { !$0.isEach || areAlike(members[other], members[place]) }
            return [AcceptedPipeline.Link(job: other, kind: pipelineDice.pick(kinds))]
        }
    }

    /// Whether a job may wait for another task by task.
    private func areAlike(_ other: Int, _ own: Int) -> Bool {
        let (other, own) = (submissions[other].accepted.record, submissions[own].accepted.record)
        return other.shape.gangSize == nil && own.shape.gangSize == nil && other.rules.open != true
            && own.rules.open != true && other.shape.indices == own.shape.indices
    }

    /// What the user sends: one job, or all of a pipeline.
    func request(_ index: Int) -> Envelope {
        let members = sentTogether(with: index)
        guard members.count > 1 else { return .submission(submissions[index].accepted) }
        return .pipeline(
            AcceptedPipeline(
                name: ConfigurationName(unchecked: "pipeline"), jobs: members.map { submissions[$0].accepted },
                links: submissions[index].links, idempotency: submissions[index].accepted.idempotency))
    }

    /// Only where the clock does not jump: it would be days away, or over.
    mutating func setDeadline(_ index: Int) {
        guard options.clockJumps == 0, deadlineDice.chance(perMille: options.deadlines) else { return }
        let deadline = instant.wall.after(.seconds(deadlineDice.roll(20...900)))
        submissions[index].accepted.record.rules.deadline = deadline
    }
}

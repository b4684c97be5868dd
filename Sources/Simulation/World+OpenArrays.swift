// Arrays that users leave open, let grow and close. Each extension is sent under its key until it is answered, and must
// have been done once; drawn from dice of its own, so that a seed without them has the history that it always had.
import JobModel
import Scheduler
import SchedulingCore

/// So many tasks more for a job, sent again until it is answered.
struct Growth {
    let job: JobID
    let tasks: Int64
    var wasSent = false
    /// Nil while it is not known.
    var isDone: Bool?
}

extension World {
    /// Before a submission is sent for the first time.
    mutating func leaveOpen(_ index: Int) {
        guard openDice.chance(perMille: options.openArrays) else { return }
        let record = submissions[index].accepted.record
        guard case .array = record.shape, !record.dependencies.contains(where: { $0.kind.isEach }) else { return }
        submissions[index].accepted.record.rules.open = true
    }

    private var openJobs: [JobID] {
        submissions.filter { $0.accepted.record.rules.open == true }.compactMap(\.acknowledged)
    }

    mutating func changeOpenArrays() {
        guard openDice.chance(perMille: options.openArrays) else { return }
        let jobs = openJobs
        guard !jobs.isEmpty else { return }
        let job = openDice.pick(jobs)
        if openDice.chance(perMille: 200) { return post(.event(.closeRequested(job)), from: .nobody) }
        growths.append(Growth(job: job, tasks: openDice.roll(1...4)))
        plan(.userExtends(growths.count - 1), in: 0)
    }

    mutating func userExtends(_ index: Int) {
        guard growths[index].isDone == nil else { return }
        let growth = growths[index]
        plan(.userExtends(index), in: openDice.roll(500...5_000))
        guard stepper != nil, !isLost() else { return }
        let name = "extension-\(index + 1)"
        let owner = truth.wanted[growth.job]?.owner.name ?? UserName(unchecked: "ada")
        let key = IdempotencyKey(user: owner, key: name, requestDigest: Digest(of: name))
        let forgetsKey = mutant == .extendsWithoutKey && growth.wasSent
        growths[index].wasSent = true
        post(
            .extension(
                AcceptedExtension(
                    job: growth.job, growth: .tasks(growth.tasks), idempotency: forgetsKey ? nil : key)),
            from: .extension(index))
    }

    mutating func extensionAnswered(_ index: Int, isDone: Bool) {
        guard !isLost() else { return }
        // With another time limit it may no longer be too late.
        let mayChange = truth.wanted[growths[index].job]?.rules.deadline != nil
        if growths[index].isDone == false, isDone, !mayChange {
            truth.complaint = "an extension was refused and is done"
        }
        growths[index].isDone = isDone
        if isDone { tally.saw(.arrayExtended) }
    }

    /// When faults have stopped, nothing may keep a job from ending.
    mutating func closeArrays() {
        for job in openJobs { post(.event(.closeRequested(job)), from: .nobody) }
        for index in growths.indices where growths[index].isDone == nil { plan(.userExtends(index), in: 0) }
    }

    /// Each extension that was acknowledged is there, once.
    func checkGrowth(of job: JobDocument, from shape: TaskShape) throws {
        let asked = growths.filter { $0.job == job.id }
        let added = asked.filter { $0.isDone == true }.reduce(0) { $0 + $1.tasks }
        // What was too late once may have been done later, and nobody heard.
        let mayChange = truth.wanted[job.id]?.rules.deadline != nil
        let most = mayChange ? asked.reduce(0) { $0 + $1.tasks } : added
        guard (added...most).contains(job.tasks.total - shape.count) else {
            throw Violation(
                "job \(job.id) has \(job.tasks.total) tasks, and \(shape.count) and \(added) were asked for")
        }
    }
}

// Gangs by the true book: all members start in one commit, on different workers, or none does; and none publishes
// before the programs of all have exited with 0.
import JobModel
import SchedulingCore

extension Truth {
    func isMember(_ id: AttemptID) -> Bool { wanted[id.job]?.shape.gangSize != nil }

    /// - Parameter started: the members' attempts that one commit has begun.
    mutating func startTogether(_ started: [AttemptRow]) throws {
        // A gang that is stopped before anybody heard of it may begin anew in the same commit.
        let gangs = Dictionary(grouping: started) { [$0.id.job.rawValue, $0.id.number] }
        for members in gangs.values.sorted(by: { $0[0].id < $1[0].id }) {
            let gang = members[0].id.job
            guard let size = wanted[gang]?.shape.gangSize, members.count == size else {
                throw Violation("\(members.map { "\($0.id)" }) of gang \(gang) start without the others")
            }
            guard Set(members.map(\.worker)).count == size else {
                throw Violation("members of gang \(gang) share a worker")
            }
            seen.append(.gangStarted)
            let hasFailed = members.contains { attemptBefore($0.id) == .failed }
            if hasFailed { seen.append(.gangBegunAnew) }
        }
    }

    /// Whose failures count against the retries: those of a gang are counted together.
    func payer(of id: AttemptID) -> TaskID { isMember(id) ? TaskID(job: id.job, index: 1) : id.task }

    /// Whether it is the first to end otherwise: how the others end follows from that.
    func breaksGang(_ id: AttemptID) -> Bool {
        (wanted[id.job]?.shape.indices ?? 1...1).allSatisfy { index in
            let other = attempts[AttemptID(task: TaskID(job: id.job, index: index), number: id.number)]
            guard let other, other.id != id else { return true }
            return other.state == .succeeded || !other.state.isTerminal && other.stopReason == nil
        }
    }

    func publishesTogether(_ id: AttemptID) throws {
        for index in wanted[id.job]?.shape.indices ?? 1...1 {
            let member = AttemptID(task: TaskID(job: id.job, index: index), number: id.number)
            guard exits[member] == 0 else {
                throw Violation("\(id) publishes its output, and the program of \(member) has not exited with 0")
            }
        }
    }
}

// Open arrays by the true book: they grow at their end while they are open, and do not end before they are closed.
import JobModel

extension Truth {
    mutating func take(_ id: JobID, _ record: JobRecord) throws {
        guard let wish = wanted[id], let old = jobs[id] else { throw Violation("job \(id) grows before it is added") }
        guard wish.rules.open == true, !closed.contains(id), !old.state.isTerminal else {
            throw Violation("the array of job \(id) changes, which is not open any more")
        }
        let indices = record.shape.indices
        guard indices.lowerBound == wish.shape.indices.lowerBound, record.shape.count >= count(of: id) else {
            throw Violation("the array of job \(id) changes otherwise than at its end: \(indices)")
        }
        if record.shape.count > count(of: id), cancelled.contains(id) {
            throw Violation("job \(id) gets tasks after its cancel was acknowledged")
        }
        if record.rules.open == false { closed.insert(id) }
        grown[id] = record.shape.count
        note("job \(id) \(indices) \(record.rules.open == true)")
    }

    /// How many tasks the job has by now.
    func count(of id: JobID) -> Int64 { grown[id] ?? wanted[id]?.shape.count ?? 0 }

    mutating func endsByTheRules(_ id: JobID, cancelRequested: Bool) throws {
        guard wanted[id]?.rules.open == true, !cancelRequested else { return }
        guard closed.contains(id) else { throw Violation("job \(id) ends, which is open") }
        if grown[id] != wanted[id]?.shape.count { seen.append(.grownArrayEnded) }
    }
}

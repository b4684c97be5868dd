// What a store would hold after the changes so far, kept by its own small rules: a second book beside the core's.
// It refuses a change that no store should ever see, such as a terminal row that changes.
import JobModel
import SchedulingCore

package struct ClusterRows: Sendable {
    package struct IllegalChange: Error, CustomStringConvertible {
        package let description: String
    }

    package private(set) var records: [JobID: JobRecord] = [:]
    package private(set) var jobs: [JobID: JobProgress] = [:]
    package private(set) var tasks: [TaskID: TaskRow] = [:]
    package private(set) var attempts: [AttemptID: AttemptRow] = [:]
    package private(set) var workers: [WorkerName: WorkerRow] = [:]

    package private(set) var accounts: [AccountID: AccountRow] = [:]
    package private(set) var usage: [AccountID: UsageRow] = [:]

    package private(set) var licenses: [ResourceName: LicenseRow] = [:]
    package private(set) var reservations: [ReservationName: AdvanceReservation] = [:]

    package init() {}

    package mutating func write(_ change: Change) throws {
        switch change {
        case .jobAdded(let id, let record, let progress):
            try require(jobs[id] == nil, "job \(id) is added twice")
            records[id] = record
            jobs[id] = progress
        case .job(let id, let progress):
            guard let old = jobs[id] else { throw IllegalChange(description: "job \(id) changes before it is added") }
            try require(!old.state.isTerminal, "job \(id) changes after it ended as \(old.state)")
            try require(progress.revision > old.revision, "the revision of job \(id) does not rise")
            jobs[id] = progress
        case .record(let id, let record):
            guard let old = records[id] else {
                throw IllegalChange(description: "record of job \(id) before it is added")
            }
            try require(jobs[id]?.state.isTerminal == false, "the record of job \(id) changes after it ended")
            try require(old.rules.open == true, "the record of job \(id) changes, which is not open")
            try require(
                record.shape.indices.lowerBound == old.shape.indices.lowerBound
                    && record.shape.count >= old.shape.count,
                "the array of job \(id) loses tasks")
            records[id] = record
        case .task(let row):
            try require(jobs[row.id.job] != nil, "task \(row.id) has no job")
            try require(tasks[row.id]?.state.isTerminal != true, "task \(row.id) changes after it ended")
            try require(row.attempts >= tasks[row.id]?.attempts ?? 1, "the attempts of task \(row.id) go back")
            tasks[row.id] = row
        case .attempt(let row):
            try write(row)
        case .worker(let row):
            try require(workers[row.name] != row, "worker \(row.name) is written without a change")
            workers[row.name] = row
        case .account(let row):
            accounts[row.id] = row
        case .accountRemoved(let id):
            try require(accounts.removeValue(forKey: id) != nil, "\(id) goes and was not there")
        case .ended(let entry):
            try require(entry.sums.attempts == 1, "one attempt ends at a time")
        case .usage(let row):
            try require(usage[row.id] != row, "the use of \(row.id) is written without a change")
            usage[row.id] = row
        case .license(let row): licenses[row.name] = row
        case .licenseRemoved(let name):
            try require(licenses.removeValue(forKey: name) != nil, "license \(name) goes and was not there")
        case .reservation(let row): reservations[row.name] = row
        case .reservationRemoved(let name):
            try require(reservations.removeValue(forKey: name) != nil, "reservation \(name) goes and was not there")
        }
    }

    private mutating func write(_ row: AttemptRow) throws {
        try require(tasks[row.id.task] != nil, "attempt \(row.id) has no task")
        try require(workers[row.worker] != nil, "attempt \(row.id) has no worker")
        if let old = attempts[row.id] {
            try require(!old.state.isTerminal, "attempt \(row.id) changes after it ended as \(old.state)")
            try require(
                row.state.rank >= old.state.rank, "attempt \(row.id) goes back from \(old.state) to \(row.state)")
            try require(row.worker == old.worker && row.gpus == old.gpus, "attempt \(row.id) moves")
            try require(row.isAcknowledged || !old.isAcknowledged, "attempt \(row.id) is unacknowledged again")
        } else {
            try require(row.state == .assigned && row.report == nil, "attempt \(row.id) begins as \(row.state)")
            try require(tasks[row.id.task]?.attempts == row.id.number, "attempt \(row.id) is not its task's newest")
            let live = attempts.values.first { $0.id.task == row.id.task && !$0.state.isTerminal }
            try require(live == nil, "attempt \(row.id) begins while \(live?.id.description ?? "") lives")
        }
        try require(
            (row.endedAt != nil) == row.state.isTerminal, "attempt \(row.id) ends without a time, or has one and lives")
        try require(
            (row.reason != nil) == row.state.isTerminal, "attempt \(row.id) ends without a reason, or has one and lives"
        )
        attempts[row.id] = row
    }

    private func require(_ holds: Bool, _ sentence: @autoclosure () -> String) throws {
        if !holds { throw IllegalChange(description: sentence()) }
    }

    /// What a start of the scheduler would load. The totals are counted from nothing but the rows.
    package func image() -> ClusterImage {
        let live = jobs.filter { !$0.value.state.isTerminal }
        var totals = Totals()
        for progress in jobs.values {
            let place = JobState.allCases.firstIndex(of: progress.state)!
            totals.jobs[place] += 1
            totals.tasks.total += progress.counts.total
            totals.tasks.pending += progress.counts.pending
            totals.tasks.running += progress.counts.running
            totals.tasks.succeeded += progress.counts.succeeded
            totals.tasks.failed += progress.counts.failed
            totals.tasks.cancelled += progress.counts.cancelled
        }
        return ClusterImage(
            jobs: live.keys.sorted().map { ClusterImage.StoredJob(id: $0, record: records[$0]!, progress: live[$0]!) },
            tasks: tasks.values.filter { !$0.state.isTerminal && live[$0.id.job] != nil }.sorted { $0.id < $1.id },
            attempts: attempts.values.filter { !$0.state.isTerminal }.sorted { $0.id < $1.id },
            workers: workers.values.sorted { $0.name < $1.name },
            totals: totals,
            accounts: accounts.values.sorted { $0.id < $1.id }, usage: usage.values.sorted { $0.id < $1.id },
            licenses: licenses.values.sorted { $0.name < $1.name },
            reservations: reservations.values.sorted { $0.name < $1.name })
    }
}

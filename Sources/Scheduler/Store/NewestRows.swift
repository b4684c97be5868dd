// What of a batch's changes has to be written: the last change of each row, by table. Under load a task's row and its
// attempt's change several times in a batch, and are written once.
import JobModel
import SchedulingCore

struct NewestRows {
    struct JobRow {
        let id: JobID
        /// Of a job that was added in this batch; the others are updated.
        var record: JobRecord?
        var progress: JobProgress
    }

    private(set) var jobs: [JobRow] = []
    /// Of jobs that were there before.
    private(set) var records: [(id: JobID, record: JobRecord)] = []
    private(set) var tasks: [TaskRow] = []
    private(set) var attempts: [AttemptRow] = []
    private(set) var workers: [WorkerRow] = []
    /// Nil: the account is no longer set up.
    private(set) var accounts: [(id: AccountID, row: AccountRow?)] = []
    private(set) var usage: [UsageRow] = []
    /// Nil: the license or reservation is gone.
    private(set) var licenses: [(name: ResourceName, row: LicenseRow?)] = []
    private(set) var reservations: [(name: ReservationName, row: AdvanceReservation?)] = []
    private(set) var accounting: [AccountingKey: AccountingSums] = [:]
    // Where each row stands.
    private var jobPlaces: [JobID: Int] = [:]
    private var recordPlaces: [JobID: Int] = [:]
    private var taskPlaces: [TaskID: Int] = [:]
    private var attemptPlaces: [AttemptID: Int] = [:]
    private var workerPlaces: [WorkerName: Int] = [:]
    private var accountPlaces: [AccountID: Int] = [:]
    private var usagePlaces: [AccountID: Int] = [:]
    private var licensePlaces: [ResourceName: Int] = [:]
    private var reservationPlaces: [ReservationName: Int] = [:]

    /// In order of each row's first change.
    init(_ changes: [Change]) {
        for change in changes {
            switch change {
            case .jobAdded(let id, let record, let progress):
                jobPlaces[id] = jobs.count
                jobs.append(JobRow(id: id, record: record, progress: progress))
            case .job(let id, let progress):
                if let place = jobPlaces[id] {
                    jobs[place].progress = progress
                } else {
                    jobPlaces[id] = jobs.count
                    jobs.append(JobRow(id: id, record: nil, progress: progress))
                }
            case .record(let id, let record):
                if let place = jobPlaces[id], jobs[place].record != nil {
                    jobs[place].record = record
                } else {
                    Self.put((id, record), id, &records, &recordPlaces)
                }
            case .task(let row): Self.put(row, row.id, &tasks, &taskPlaces)
            case .attempt(let row): Self.put(row, row.id, &attempts, &attemptPlaces)
            case .worker(let row): Self.put(row, row.name, &workers, &workerPlaces)
            case .account(let row): Self.put((row.id, row), row.id, &accounts, &accountPlaces)
            case .accountRemoved(let id): Self.put((id, nil), id, &accounts, &accountPlaces)
            case .usage(let row): Self.put(row, row.id, &usage, &usagePlaces)
            case .license(let row): Self.put((row.name, row), row.name, &licenses, &licensePlaces)
            case .licenseRemoved(let name): Self.put((name, nil), name, &licenses, &licensePlaces)
            case .reservation(let row): Self.put((row.name, row), row.name, &reservations, &reservationPlaces)
            case .reservationRemoved(let name): Self.put((name, nil), name, &reservations, &reservationPlaces)
            case .ended(let entry): accounting[entry.key, default: AccountingSums()] += entry.sums
            }
        }
    }

    private static func put<Row, ID: Hashable>(_ row: Row, _ id: ID, _ rows: inout [Row], _ places: inout [ID: Int]) {
        let place = places[id, default: rows.count]
        if place < rows.count {
            rows[place] = row
        } else {
            places[id] = place
            rows.append(row)
        }
    }
}

// Licenses: counted for the whole cluster, held by running tasks. Invariant: what is used is the sum over live ones.
//
// A class that is short of a license claims it for the rest of the pass: whoever comes later may not take what is left.
// So a task that needs many is not overtaken for ever by tasks that need one.
import JobModel

/// How many of a license the cluster has, as an administrator said.
package struct LicenseRow: Hashable, Codable, Sendable {
    package var name: ResourceName
    package var total: Int64

    package init(name: ResourceName, total: Int64) {
        self.name = name
        self.total = total
    }
}

struct LicensePool: Sendable {
    var total: Int64 = 0
    var used: Int64 = 0
    /// An administrator set it up.
    var isStored = false
    /// The job that waits for it before all others.
    var claimant: JobID?
}

struct Licenses: Sendable {
    private(set) var pools = Table<ResourceName, LicensePool>()

    var rows: [LicenseRow] {
        pools.ids.compactMap { name in
            pools[name].flatMap { $0.isStored ? LicenseRow(name: name, total: $0.total) : nil }
        }
    }

    mutating func set(_ total: Int64?, of name: ResourceName) {
        open(name)
        pools[name]?.total = total ?? 0
        pools[name]?.isStored = total != nil
    }

    /// `count`: 1 for an attempt that begins, -1 for one that ended.
    mutating func book(_ counts: ResourceCounts, _ count: Int64) {
        for entry in counts.entries {
            open(entry.name)
            pools[entry.name]?.used += count * entry.count
        }
    }

    mutating func forgetClaims() {
        for name in pools.ids { pools[name]?.claimant = nil }
    }

    func isClaimed(by job: JobID) -> Bool { pools.ids.contains { pools[$0]?.claimant == job } }

    /// Only for what there can be enough of one day.
    mutating func claim(_ counts: ResourceCounts, for job: JobID) {
        for entry in counts.entries where pools[entry.name]?.claimant == nil {
            guard let pool = pools[entry.name], pool.total >= entry.count, pool.total - pool.used < entry.count else {
                continue
            }
            pools[entry.name]?.claimant = job
        }
    }

    /// The first of the licenses that one more task of this job does not get.
    func shortage(of counts: ResourceCounts, for job: JobID?) -> ResourceName? {
        counts.entries.first { entry in
            guard let pool = pools[entry.name] else { return true }
            let isClaimed = pool.claimant != nil && pool.claimant != job
            return isClaimed || pool.total - pool.used < entry.count
        }?.name
    }

    private mutating func open(_ name: ResourceName) {
        if !pools.contains(name) { pools.insert(LicensePool(), for: name) }
    }
}

extension Cluster {
    // MARK: events

    mutating func save(_ row: LicenseRow) {
        licenses.set(row.total, of: row.name)
        outcome.changes.append(.license(row))
        needsPlacement = true
    }

    mutating func removeLicense(_ name: ResourceName) throws(Refusal) {
        guard licenses.pools[name]?.isStored == true else { throw .unknownLicense(name) }
        let users = jobs.ids.count { (jobs[$0]?.record.placement.licenses[name] ?? 0) > 0 }
        guard users == 0 else { throw .licenseIsUsed(name, jobs: users) }
        licenses.set(nil, of: name)
        outcome.changes.append(.licenseRemoved(name))
    }

    /// Refuses a job that could not even run alone.
    func admitLicenses(_ counts: ResourceCounts) throws(Refusal) {
        for entry in counts.entries {
            guard let pool = licenses.pools[entry.name], pool.isStored else { throw .unknownLicense(entry.name) }
            guard pool.total >= entry.count else {
                throw .tooFewLicenses(entry.name, total: pool.total, wanted: entry.count)
            }
        }
    }

    // MARK: placement

    /// The license that keeps the class's next task from running.
    func licenseShortage(of place: Int, for job: JobID?) -> ResourceName? {
        licenses.shortage(of: shapes.rows[classes.rows[place].shape].requirement.licensesTogether, for: job)
    }

    /// Neither limits nor licenses keep the class's next task from running.
    func mayRunMore(of place: Int) -> Bool {
        limitHit(of: place) == nil && licenseShortage(of: place, for: classes.summaries[place].first) == nil
    }

    func sentence(onLicense name: ResourceName, _ job: Job) -> String {
        guard let pool = licenses.pools[name], pool.total > 0 else {
            return "the cluster has no license \(name): it starts when an administrator sets some up"
        }
        let holders = licenseView(name).holders.prefix(3).map { "job \($0.job) of \($0.owner) holds \($0.count)" }
        let wanted = Requirement(job.record).licensesTogether[name]
        let use =
            "\(pool.used) of \(pool.total) are in use"
            + (holders.isEmpty ? "" : " (\(holders.joined(separator: ", ")))")
        if let claimant = pool.claimant, claimant != job.id, pool.total - pool.used >= wanted {
            return "the license \(name) is kept for job \(claimant), which goes first and needs more of it; \(use): it "
                + "starts after that"
        }
        return "it needs \(wanted) of the license \(name) and \(use): it starts when enough are given back"
    }

    // MARK: views

    func licenseView(_ name: ResourceName) -> LicenseDocument {
        let pool = licenses.pools[name] ?? LicensePool()
        let holders = jobs.ids.compactMap { id -> LicenseDocument.Holder? in
            guard let job = jobs[id], job.progress.counts.running > 0 else { return nil }
            let live = job.progress.counts.running - Int64(job.arrivedCount)
            let count = job.record.placement.licenses[name] * live
            return count == 0 ? nil : LicenseDocument.Holder(job: id, owner: job.record.owner.name, count: count)
        }
        return LicenseDocument(name: name, total: pool.total, used: pool.used, holders: holders)
    }

    /// In order of their names.
    package func licenseViews() -> [LicenseDocument] { licenses.rows.map { licenseView($0.name) } }
}

// The books of placement and of shares against the rest. Part of Invariants.swift.
import HeapModule
import JobModel

extension Invariants {
    static func checkShapes(_ cluster: Cluster, _ findings: inout Findings) {
        let isFresh = !cluster.shapes.kindsChanged && !cluster.shapes.isStale
        findings.require(cluster.rooms.isInOrder) { "the rooms of workers are out of order" }
        for (kind, row) in cluster.shapes.kinds.enumerated() where row.count > 0 {
            let workers = cluster.workers.filter { $0.kind == kind }
            findings.require(
                workers.count == row.count && workers.count { !$0.isLost } == row.present
                    && workers.count { $0.takesWork } == row.open
                    && workers.allSatisfy { $0.registration.withoutAddress == row.registration }
            ) {
                "kind \(kind): \(workers.count) workers, counted \(row.count), \(row.present) present"
            }
        }
        for (place, row) in cluster.shapes.rows.enumerated() where row.memberCount > 0 {
            let live = row.members.filter { id in
                cluster.jobs[id].map { cluster.classes.rows[$0.classSlot].shape } == place
            }
            findings.require(live.count == row.memberCount) {
                "shape \(place): \(live.count) jobs, counted \(row.memberCount)"
            }
            let eligible = cluster.workers.indices.filter {
                !cluster.workers[$0].isLost && row.requirement.couldBeMet(by: cluster.workers[$0].registration)
            }
            findings.require(eligible == cluster.workers.indices.filter { cluster.couldRun(place, on: $0) }) {
                "shape \(place): eligible are \(eligible)"
            }
            findings.require(!isFresh || eligible.isEmpty == (row.shortfall != nil)) {
                "shape \(place): its verdict is wrong"
            }
            let open = cluster.shapes.kinds.indices.count { cluster.shapes.kinds[$0].open > 0 && row.fits[$0] }
            findings.require(open == row.openKinds) {
                "shape \(place): \(open) kinds of open workers, counted \(row.openKinds)"
            }
        }
    }

    static func checkClasses(_ cluster: Cluster, _ findings: inout Findings) {
        for (place, row) in cluster.classes.rows.enumerated() where row.memberCount > 0 {
            let live = cluster.jobs.ids.count { cluster.jobs[$0]?.classSlot == place }
            findings.require(live == row.memberCount) { "class \(place): \(live) jobs, counted \(row.memberCount)" }
            let runnable = row.queued.unordered.filter { cluster.jobs[$0.job]?.isRunnable == true }.min()
            guard let runnable else { continue }
            var copy = cluster
            findings.require(copy.firstRunnable(in: place) == runnable.job) {
                "class \(place): job \(runnable.job) is first and not noted"
            }
            findings.require(copy.classes.summaries[place].since == cluster.jobs[runnable.job]?.since) {
                "class \(place): the age of job \(runnable.job) is not its own"
            }
            guard !cluster.needsPlacement, cluster.limitHit(of: place) == nil,
                cluster.licenseShortage(of: place, for: runnable.job) == nil
            else { continue }
            let idle = cluster.workers.indices.count {
                cluster.workers[$0].takesWork && cluster.hasRoom(for: row.shape, on: $0)
                    && (cluster.reservation?.keeps($0) != true || cluster.reservation?.place == place)
                    && cluster.claims[$0]?.place ?? place == place
                    && cluster.workers[$0].windows.isEmpty
            }
            let needed = cluster.shapes.rows[row.shape].requirement.together
            findings.require(idle < needed) { "class \(place): waits although a worker has room" }
            findings.require(!cluster.classes.summaries[place].isBlocked || cluster.isBlockable(place)) {
                "class \(place): is blocked although more than room decides"
            }
        }
    }

    /// Each class that has something to start stands once among its user's, where its first job belongs.
    static func checkStandings(_ cluster: Cluster, _ findings: inout Findings) {
        var count = 0
        for (user, row) in cluster.standings.enumerated() {
            let all = row.young.rows + row.old.rows
            count += all.count
            findings.require(row.young.isInOrder && row.old.isInOrder) { "user \(user): classes are out of order" }
            findings.require(all.count { !cluster.classes.summaries[$0.place].isBlocked } == row.looseCount) {
                "user \(user): the classes that are not blocked are miscounted"
            }
            for standing in all {
                let summary = cluster.classes.summaries[standing.place]
                let key = summary.base - cluster.policy.weights.age * cluster.policy.ageTick(summary.since)
                findings.require(
                    summary.user == user && summary.shape == standing.shape && summary.standing == standing.rank
                        && summary.first == standing.rank.job
                        && (standing.rank.key == key || standing.rank.key == summary.base)
                        && standing.bulk == Bulk(cluster.shapes.rows[standing.shape].requirement.amounts)
                ) {
                    "class \(standing.place): stands where it does not belong"
                }
            }
        }
        let standing = cluster.classes.summaries.count { $0.standing != nil }
        findings.require(
            standing == count && cluster.classes.summaries.allSatisfy { ($0.first == nil) == ($0.standing == nil) }
        ) {
            "\(standing) classes have something to start, \(count) stand among their users'"
        }
    }

    /// Each account's book is the sum over its jobs and attempts; no limit is exceeded but by what began before it.
    static func checkAccounts(_ cluster: Cluster, _ findings: inout Findings) {
        var sums = cluster.accounts.rows.map { Account(id: $0.id) }
        for id in cluster.jobs.ids {
            guard let job = cluster.jobs[id] else { continue }
            let books = cluster.accounts(of: job.classSlot)
            for place in [books.queue, books.group, books.user] {
                sums[place].pending += job.progress.counts.pending
                sums[place].running += job.progress.counts.running - Int64(job.arrivedCount)
            }
        }
        for worker in cluster.workers {
            for id in worker.attempts.ids {
                guard let attempt = worker.attempts[id], let job = cluster.jobs[id.job] else { continue }
                let books = cluster.accounts(of: job.classSlot)
                for place in [books.queue, books.group, books.user] {
                    sums[place].held = sums[place].held + attempt.amounts
                }
            }
        }
        for (sum, account) in zip(sums, cluster.accounts.rows) {
            findings.require(
                sum.pending == account.pending && sum.running == account.running && sum.held == account.held
            ) {
                "\(account.id): \(account.pending) pending and \(account.running) running, its jobs have "
                    + "\(sum.pending) and \(sum.running)"
            }
        }
        for (place, account) in cluster.accounts.rows.enumerated() where account.id.kind == .group {
            let users = cluster.accounts.rows.filter { $0.group == place }
            let weights = users.reduce(0) { $0 + Int64($1.settings.weight) }
            findings.require(account.weights == weights && account.rate == users.reduce(0) { $0 + $1.rate }) {
                "\(account.id): its book is not the sum of its users'"
            }
        }
    }

    /// The promised start stays possible: at that time there is room, if runs keep to their limits.
    static func checkPromise(_ cluster: Cluster, _ findings: inout Findings) {
        guard let promise = cluster.reservation, let start = promise.start, !cluster.needsPlacement,
            let job = cluster.jobs[promise.job], job.isRunnable
        else { return }
        for slot in promise.slots {
            let worker = cluster.workers[slot]
            let demand = cluster.demand(of: cluster.classes.rows[promise.place].shape, on: slot)
            findings.require(!worker.takesWork || demand.fit(in: worker.room(at: start))) {
                "job \(promise.job): was promised \(worker.name) and something else is placed in its way"
            }
        }
    }
}

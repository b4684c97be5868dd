// Goal: who goes first, and how much anybody may have. Method: small clusters, one question each; the arithmetic of use
// against numbers worked out by hand.
import JobModel
import TestSupport
import Testing

@testable import SchedulingCore

private let hour: Int64 = 3_600_000

@Suite struct FadingUseTests {
    @Test("use of a whole half-life counts one and a half times at its own value, and half of it after each more")
    func halves() {
        var use = FadingUse()
        use.add(1000, from: 0, to: hour, halfLife: hour)
        #expect(use.amount(in: 0) == 3600 * 1500)
        #expect(use.amount(in: 1) == 3600 * 750)
        #expect(use.amount(in: 3) == 3600 * 1500 / 8)
        #expect(use.amount(in: 100) == 0)
    }

    @Test("many small bookings come to what one large one does, across half-lives")
    func pieces() {
        var (whole, parts) = (FadingUse(), FadingUse())
        whole.add(4000, from: 10, to: 5 * hour + 10, halfLife: hour)
        for piece in 0..<500 {
            let start = 10 + Int64(piece) * hour / 100
            parts.add(4000, from: start, to: start + hour / 100, halfLife: hour)
        }
        #expect(abs(whole.amount - parts.amount) <= 500 && whole.epoch == parts.epoch)
    }

    @Test("the longest time and the highest rate do not trap, and time that stands still adds nothing")
    func extremes() {
        var use = FadingUse()
        use.add(1_000_000_000, from: 0, to: .max / 4, halfLife: 1)
        use.add(1_000_000_000, from: 0, to: 10 * TimeSpan.longest.milliseconds, halfLife: TimeSpan.longest.milliseconds)
        let before = use  // a half-life that became longer: what is booked stays where it is
        use.add(1000, from: 5, to: 5, halfLife: hour)
        #expect(use == before && use.amount > 0)
    }
}

@Suite struct SharesTests {
    /// A cluster of one worker that is full with a job of somebody who does not matter.
    private func full(cpus: Int = 4) throws -> ClusterFixture {
        var c = ClusterFixture()
        try c.worker("w1", cpus: cpus)
        try c.submit(cpus: Int64(cpus), owner: "zoe")
        try c.sync("w1")
        return c
    }

    private func settle(_ c: inout ClusterFixture, _ id: AccountID, _ settings: AccountSettings) throws {
        try c.accept(.accountSaved(AccountRow(id: id, settings: settings)))
    }

    private func running(_ c: ClusterFixture, _ job: JobID) -> Int64 { c.progress(job).counts.running }

    @Test("users share a free cluster by their weights, whoever comes first")
    func weights() throws {
        var c = try full(cpus: 9)
        try settle(&c, .user(UserName(rawValue: "ada")!), AccountSettings(weight: 200))
        let ada = try c.submit(tasks: 20, owner: "ada")
        let ben = try c.submit(tasks: 20, owner: "ben")
        try c.exit("1.1.1")
        #expect(running(c, ada) == 6 && running(c, ben) == 3)
    }

    @Test("the group comes first: many users of one group have no more than one user of another")
    func groups() throws {
        var c = try full(cpus: 12)
        for name in ["ada", "ben", "cleo"] {
            try settle(
                &c, .user(UserName(rawValue: name)!), AccountSettings(group: GroupName(rawValue: "many")!))
        }
        try settle(&c, .user(UserName(rawValue: "dan")!), AccountSettings(group: GroupName(rawValue: "one")!))
        let jobs = try ["ada", "ben", "cleo", "dan"].map { try c.submit(tasks: 30, owner: $0) }
        try c.exit("1.1.1")
        let counts = jobs.map { running(c, $0) }
        #expect((5...7).contains(counts[3]) && counts[0...2].allSatisfy { (1...3).contains($0) }, "\(counts)")
    }

    @Test("who used less goes first; after some half-lives it is forgotten")
    func memory() throws {
        var c = try full(cpus: 1)
        try c.advance(.minutes(300), calling: ["w1"])
        let zoe = try c.submit(owner: "zoe")
        let ada = try c.submit(owner: "ada")
        try c.exit("1.1.1")
        #expect(c.state(ada) == .running && c.state(zoe) == .pending)
        let used = c.cluster.accountViews(at: c.now).first { $0.row.id == .user(UserName(rawValue: "zoe")!) }
        #expect(used?.used ?? 0 > 800)
    }

    @Test("use is written down from time to time, and a restart goes on from it")
    func usageIsKept() throws {
        var c = try full()
        try c.advance(.minutes(11), calling: ["w1"])
        let row = try #require(c.rows.usage[.user(UserName(rawValue: "zoe")!)])
        #expect(row.amount > 0 && row.time >= 600_000)
        try c.restartScheduler()
        #expect(c.cluster.image().usage.contains(row))
    }

    @Test("limits of user, group and queue hold, and what ends makes room", arguments: AccountKind.allCases)
    func limits(kind: AccountKind) throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 8)
        let name = kind == .user ? "ada" : "default"
        try settle(&c, AccountID(kind: kind, name: name), AccountSettings(limits: Limits(running: 2)))
        let job = try c.submit(tasks: 4)
        #expect(running(c, job) == 2)
        let why = try #require(c.cluster.why(job, at: c.now))
        #expect(
            why.sentence
                == "\(kind.rawValue) \(name) may use 2 running tasks at a time and uses 2: it starts when enough of what "
                + "runs there ends, or when an administrator raises the limit")
        try c.sync("w1")
        try c.exit("1.1.1")
        #expect(running(c, job) == 2 && c.progress(job).counts.pending == 1)
        try settle(&c, AccountID(kind: kind, name: name), AccountSettings(limits: Limits(cpus: CPUAmount(cpus: 3))))
        #expect(running(c, job) == 3)
    }

    @Test("a limit of one user leaves the room to others")
    func othersGoOn() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 4, gpus: ["0", "1"])
        try settle(
            &c, .user(UserName(rawValue: "ada")!),
            AccountSettings(limits: Limits(memory: ByteCount(bytes: 1 << 30), gpus: 1)))
        let greedy = try c.submit(memory: 1 << 30, tasks: 3)
        let second = try c.submit(gpus: 1, tasks: 2)
        let other = try c.submit(gpus: 1, owner: "ben")
        #expect(running(c, greedy) == 1 && running(c, second) == 0 && running(c, other) == 1)
    }

    @Test("a submission beyond the limit on what waits is refused and changes nothing")
    func pendingLimit() throws {
        var c = ClusterFixture()
        let ada = AccountID.user(UserName(rawValue: "ada")!)
        try settle(&c, ada, AccountSettings(limits: Limits(pending: 10)))
        try c.submit(tasks: 8)
        #expect(throws: Refusal.tooManyPending(ada, pending: 8, submitted: 3, limit: 10)) { try c.submit(tasks: 3) }
        try c.worker("w1", cpus: 4)
        try c.submit(tasks: 6)
    }

    @Test("there must be such a queue; it goes when no job is in it")
    func queues() throws {
        var c = ClusterFixture()
        let name = QueueName(rawValue: "night")!
        #expect(throws: Refusal.unknownQueue(name)) { try c.submit(queue: "night") }
        try settle(&c, .queue(name), AccountSettings(weight: 50))
        let job = try c.submit(queue: "night")
        #expect(throws: Refusal.accountIsUsed(.queue(name), by: "1 unfinished jobs are in it")) {
            try c.accept(.accountRemoved(.queue(name)))
        }
        try c.cancel(job)
        try c.accept(.accountRemoved(.queue(name)))
        #expect(throws: Refusal.unknownAccount(.queue(name))) { try c.accept(.accountRemoved(.queue(name))) }
        #expect(throws: Refusal.unknownQueue(name)) { try c.submit(queue: "night") }
    }

    @Test("a queue that weighs more goes first")
    func queueWeights() throws {
        var c = try full(cpus: 1)
        try settle(&c, .queue(QueueName(rawValue: "urgent")!), AccountSettings(weight: 900))
        try c.submit()
        let urgent = try c.submit(queue: "urgent")
        try c.exit("1.1.1")
        #expect(c.state(urgent) == .running)
    }

    @Test("a user that changes its group takes along what waits and what runs")
    func regrouped() throws {
        var c = ClusterFixture()
        try c.worker("w1", cpus: 2)
        try c.submit(tasks: 5)
        let group = GroupName(rawValue: "physics")!
        try settle(&c, .group(group), AccountSettings(weight: 300))
        try settle(&c, .user(UserName(rawValue: "ada")!), AccountSettings(group: group))
        let view = try #require(c.cluster.accountViews(at: c.now).first { $0.row.id == .group(group) })
        #expect(view.running == 2 && view.pending == 3 && view.entitled == 750)
        #expect(throws: Refusal.accountIsUsed(.group(group), by: "1 users are in it")) {
            try c.accept(.accountRemoved(.group(group)))
        }
        try c.restartScheduler()
        try c.accept(.accountRemoved(.user(UserName(rawValue: "ada")!)))
        try c.accept(.accountRemoved(.group(group)))
    }

    @Test("the formula: each factor between nothing and full, and the sum of the weighted terms")
    func formula() {
        let policy = Policy()
        #expect(policy.queueFactor(1000) == PriorityFactors.full && policy.queueFactor(1) == 1000)
        #expect(
            policy.ageFactor(since: .min, at: .max) == PriorityFactors.full && policy.ageFactor(since: 1, at: 0) == 0)
        #expect(
            policy.jobFactor(-1000) == 0 && policy.jobFactor(0) == 500_000
                && policy.jobFactor(1000) == PriorityFactors.full)
        #expect(policy.sizeFactor(Amounts(cpus: 32_000, memory: 0, gpus: 0)) == 500_000)
        #expect(policy.cost(of: Amounts(cpus: 1000, memory: 8 << 30, gpus: 0)) == 2000)
        #expect(policy.cost(of: Amounts(cpus: .max, memory: .max, gpus: .max)) == 1_000_000_000)
        #expect(shareFactor(used: 0, weight: 1, total: 0, weights: 0) == 999)
        #expect(shareFactor(used: 50, weight: 1, total: 100, weights: 2) == 499)
        let factors = PriorityFactors(queue: 1, share: 2, age: 3, size: 4, job: 5)
        #expect(factors.priority(PriorityWeights()) == 1000 + 2000 + 60 + 40 + 100)
    }
}

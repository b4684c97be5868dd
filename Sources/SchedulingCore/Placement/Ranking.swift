// Which of the workers that could take a task gets it. Feasibility has been decided: here a table of scorers compares
// the first few fitting workers, the fullest first (pack) or the emptiest first (spread); between equals that order
// stays. The numbers are bounded, so a decision costs the same in a cluster of any size.
import JobModel

/// One way of comparing workers, from 0 to `Scorer.full`.
struct Scorer: Sendable {
    static let full: Int64 = 1000

    let name: String
    /// A scorer above counts more than all below together.
    let weight: Int64
    let score: @Sendable (_ cluster: Cluster, _ job: JobID, _ requirement: Requirement, _ slot: Int) -> Int64

    /// Spreading is a wish of its own: what lies where does not count against it.
    static func chosen(spreads: Bool) -> ArraySlice<Scorer> { spreads ? all.prefix(1) : all[...] }

    static let all = [
        Scorer(name: "preferences", weight: 100) { cluster, _, requirement, slot in
            let worker = cluster.workers[slot].registration
            return part(requirement.preferences.count { $0.isMet(by: worker) }, of: requirement.preferences.count)
        },
        Scorer(name: "images", weight: 10) { cluster, job, _, slot in
            guard cluster.imagesAreKnown else { return full }
            let digests = cluster.jobs.read(job) { $0.record.imageDigests } ?? []
            return part(digests.count { cluster.workers[slot].holds($0) }, of: digests.count)
        },
        Scorer(name: "local volumes", weight: 1) { cluster, _, requirement, slot in
            let offers = cluster.workers[slot].registration.volumes
            return part(requirement.volumes.count { offers[$0]?.network != true }, of: requirement.volumes.count)
        },
    ]

    private static func part(_ count: Int, of all: Int) -> Int64 {
        all == 0 ? full : Int64(count) * full / Int64(all)
    }
}

extension Cluster {
    /// Fitting workers that are compared, and workers that are looked at to find so many after the first.
    private static let mostCompared = 32
    private static let mostLookedAt = 512

    /// What one task of the shape takes of this worker.
    func demand(of shape: Int, on slot: Int) -> Amounts {
        shapes.rows[shape].requirement.isExclusive ? workers[slot].capacity : shapes.rows[shape].requirement.amounts
    }

    /// Whether the worker could take a task of the shape at this moment, whatever is promised.
    func hasRoom(for shape: Int, on slot: Int) -> Bool {
        rooms.has(shapes.rows[shape].requirement.amounts, on: slot) && couldRun(shape, on: slot)
            && (!shapes.rows[shape].requirement.isExclusive || workers[slot].attempts.isEmpty)
    }

    /// Whether any worker could.
    func hasRoom(for shape: Int) -> Bool {
        rooms.fullest(with: shapes.rows[shape].requirement.amounts) { hasRoom(for: shape, on: $0) } != nil
    }

    /// The emptiest worker first, instead of the fullest.
    private func spreads(_ id: JobID, of place: Int) -> Bool {
        let wish = jobs.read(id) { $0.record.placement.strategy } ?? nil
        return (wish ?? accounts[classes.rows[place].queue].settings.placement) == .spread
    }

    /// Workers with room for these amounts in the order of the strategy, until enough was seen.
    private func look(for amounts: Amounts, spreads: Bool, until isEnough: (Int) -> Bool) {
        if spreads {
            rooms.emptiestFirst { rooms.free[$0].cpus >= amounts.cpus && !isEnough($0) }
        } else {
            _ = rooms.fullest(with: amounts, where: isEnough)
        }
    }

    /// Different workers for all members of a gang, the most welcome of those that are compared, in order of their
    /// names; nil if there are not enough.
    func team(of size: Int, for id: JobID, of place: Int, at now: Instant) -> [Int]? {
        let shape = classes.rows[place].shape
        let requirement = shapes.rows[shape].requirement
        let spreads = spreads(id, of: place)
        let scorers = Scorer.chosen(spreads: spreads)
        var found: [(slot: Int, score: Int64)] = []
        /// Whether enough was seen.
        func compare(_ slot: Int) -> Bool {
            guard hasRoom(for: shape, on: slot), mayUse(slot, id, of: place, at: now) else { return false }
            found.append((slot, scorers.reduce(0) { $0 + $1.weight * $1.score(self, id, requirement, slot) }))
            return found.count == size - 1 + Self.mostCompared
        }
        look(for: requirement.amounts, spreads: spreads, until: compare)
        guard found.count >= size else { return nil }
        let best = found.enumerated().sorted { ($1.element.score, $0.offset) < ($0.element.score, $1.offset) }
        return best.prefix(size).map(\.element.slot).sorted { workers[$0].name < workers[$1].name }
    }

    /// The most welcome worker that has room, if what is promised stays free.
    func bestWorker(for id: JobID, of place: Int, at now: Instant) -> Int? {
        let shape = classes.rows[place].shape
        let requirement = shapes.rows[shape].requirement
        let spreads = spreads(id, of: place)
        let scorers = Scorer.chosen(spreads: spreads)
        let most = scorers.reduce(0) { $0 + $1.weight * Scorer.full }
        var best: (slot: Int, score: Int64)?
        var (compared, lookedAt) = (0, 0)
        /// Whether enough was seen.
        func compare(_ slot: Int) -> Bool {
            if best != nil { lookedAt += 1 }
            guard lookedAt < Self.mostLookedAt else { return true }
            guard hasRoom(for: shape, on: slot), mayUse(slot, id, of: place, at: now) else { return false }
            let score = scorers.reduce(0) { $0 + $1.weight * $1.score(self, id, requirement, slot) }
            if best.map({ $0.score < score }) ?? true { best = (slot, score) }
            compared += 1
            return score == most || compared == Self.mostCompared
        }
        look(for: requirement.amounts, spreads: spreads, until: compare)
        return best?.slot
    }
}

extension Worker {
    /// Whether it has an image already, as its agent said.
    func holds(_ image: Digest) -> Bool {
        let place = images.firstPlace { $0 >= image }
        return place < images.count && images[place] == image
    }
}

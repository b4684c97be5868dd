// Why a job runs where it runs, or does not: every worker, every check, needed and offered. Built from the same checks
// that placement decides by, so that the answer cannot differ from the decision. No text for terminals belongs here.
import JobModel

package struct Explanation: Hashable, Sendable {
    /// One check of one worker.
    package struct Finding: Hashable, Sendable {
        /// What was checked: `cpus`, `memory`, `gpus`, `label stack`, `volume weather`, …
        package var check: String
        package var needed: String
        package var offered: String
        /// False: this worker can never take the job as it is now registered.
        package var couldFit: Bool
        /// False: it cannot take it at this moment.
        package var fitsNow: Bool

        package init(check: String, needed: String, offered: String, couldFit: Bool, fitsNow: Bool) {
            self.check = check
            self.needed = needed
            self.offered = offered
            self.couldFit = couldFit
            self.fitsNow = fitsNow
        }
    }

    package struct Candidate: Hashable, Sendable {
        package var worker: WorkerName
        package var findings: [Finding]
        package var couldFit: Bool { findings.allSatisfy(\.couldFit) }
        package var fitsNow: Bool { findings.allSatisfy(\.fitsNow) }

        package init(worker: WorkerName, findings: [Finding]) {
            self.worker = worker
            self.findings = findings
        }
    }

    package var job: JobID
    package var state: JobState
    /// The job's own reason, if it has one.
    package var reason: String?
    /// In order of their names.
    package var candidates: [Candidate]

    package init(job: JobID, state: JobState, reason: String?, candidates: [Candidate]) {
        self.job = job
        self.state = state
        self.reason = reason
        self.candidates = candidates
    }
}

extension Cluster {
    /// Nil for a job that is unknown or finished.
    package func explain(_ id: JobID) -> Explanation? {
        guard let job = jobs[id] else { return nil }
        let requirement = shapes.rows[classes.rows[job.classSlot].shape].requirement
        let needs = requirement.needs
        let alone = requirement.isExclusive ? [Explanation.Finding.init(emptiness:)] : []
        let candidates = slots.ids.compactMap { slots[$0] }.map { slot in
            let worker = workers[slot]
            let presence = Explanation.Finding(
                check: "state", needed: WorkerState.ready.rawValue, offered: worker.state.rawValue,
                couldFit: !worker.isLost,
                fitsNow: worker.takesWork)
            return Explanation.Candidate(
                worker: worker.name,
                findings: [presence] + needs.map { $0.finding(worker.registration, room: worker.room) }
                    + alone.map {
                        $0(worker)
                    })
        }
        return Explanation(job: id, state: job.progress.state, reason: job.progress.reason, candidates: candidates)
    }

    /// One sentence that names what is short. For a requirement that no present worker could meet.
    func shortfall(of requirement: Requirement) -> String {
        let present = shapes.kinds.indices.filter { shapes.kinds[$0].present > 0 }
        guard !present.isEmpty else { return "no worker fits: no worker is registered" }
        let offers = present.map { shapes.kinds[$0].registration }
        if let need = requirement.needs.first(where: { need in !offers.contains { need.couldBeMet(by: $0) } }) {
            return "no worker fits: none has \(need.wanted)\(need.best(of: offers))"
        }
        // Each need is met by some worker, but no worker meets all: name what the closest one lacks.
        let lacks = offers.map { offer in requirement.needs.filter { !$0.couldBeMet(by: offer) } }
        let fewest = lacks.map(\.count).min() ?? 0
        let closest = slots.ids.compactMap { slots[$0] }.first { slot in
            guard !workers[slot].isLost, let kind = present.firstIndex(of: workers[slot].kind) else { return false }
            return lacks[kind].count == fewest
        }
        guard let closest, let kind = present.firstIndex(of: workers[closest].kind) else { return "no worker fits" }
        return "no worker fits: \(workers[closest].name) comes closest but lacks "
            + lacks[kind].map(\.wanted).joined(separator: " and ")
    }
}

extension Explanation.Finding {
    /// For a task that shares its worker with nobody.
    fileprivate init(emptiness worker: Worker) {
        self.init(
            check: "exclusive", needed: "an empty worker", offered: "\(worker.attempts.count) attempts", couldFit: true,
            fitsNow: worker.attempts.isEmpty)
    }
}

extension Need {
    var check: String {
        switch self {
        case .cpus: "cpus"
        case .memory: "memory"
        case .gpus: "gpus"
        case .disk: "disk"
        case .custom(let name, _): "custom \(name)"
        case .label(let constraint): "label \(constraint.label)"
        case .volume(let name, _): "volume \(name)"
        case .path(let path): "path \(path)"
        }
    }

    private var needed: String {
        switch self {
        case .cpus(let amount): amount.description
        case .memory(let amount): amount.description
        case .gpus(let count): String(count)
        case .disk(let amount): amount.description
        case .custom(_, let count): String(count)
        case .label(let constraint): "\(constraint.comparison.rawValue) \(constraint.value)"
        case .volume(_, let writable): writable ? "writable" : "readable"
        case .path: "allowed"
        }
    }

    func finding(_ worker: WorkerRegistration, room: Amounts) -> Explanation.Finding {
        let offered =
            switch self {
            case .cpus: "\(CPUAmount(thousandths: room.cpus)) free of \(worker.cpus)"
            case .memory: "\(ByteCount(bytes: max(0, room.memory))) free of \(worker.memory)"
            case .gpus: "\(room.gpus) free of \(gpuIdentities(worker.gpus).count)"
            case .disk: "\(ByteCount(bytes: max(0, room.disk))) free of \(worker.disk ?? ByteCount(bytes: 0))"
            case .custom(let name, _): "\(max(0, room.custom[name])) free of \(worker.custom?[name] ?? 0)"
            case .label(let constraint): worker.labels[constraint.label] ?? "no such label"
            case .volume(let name, _):
                worker.volumes[name].map { $0.writable ? "writable" : "read-only" } ?? "not offered"
            case .path: couldBeMet(by: worker) ? "allowed" : "not allowed"
            }
        let couldFit = couldBeMet(by: worker)
        return Explanation.Finding(
            check: check, needed: needed, offered: offered, couldFit: couldFit, fitsNow: couldFit && isMet(in: room))
    }

    /// What is wanted, in words that follow "none has".
    var wanted: String {
        switch self {
        case .cpus(let amount): "\(amount) cpus"
        case .memory(let amount): "\(amount) of memory"
        case .gpus(let count): "\(count) gpus"
        case .disk(let amount): "\(amount) of disk"
        case .custom(let name, let count): "\(count) \(name)"
        case .label(let constraint): "a label with \(constraint)"
        case .volume(let name, let writable): "the volume '\(name)'" + (writable ? " for writing" : "")
        case .path(let path): "\(path) among its allowed paths"
        }
    }

    /// What the best worker offers of a countable need.
    fileprivate func best(of workers: [WorkerRegistration]) -> String {
        switch self {
        case .cpus: workers.map(\.cpus).max().map { " (the most is \($0))" } ?? ""
        case .memory: workers.map(\.memory).max().map { " (the most is \($0))" } ?? ""
        case .gpus: workers.map { gpuIdentities($0.gpus).count }.max().map { " (the most is \($0))" } ?? ""
        case .disk: workers.compactMap(\.disk).max().map { " (the most is \($0))" } ?? ""
        case .custom(let name, _): workers.map { $0.custom?[name] ?? 0 }.max().map { " (the most is \($0))" } ?? ""
        case .label, .volume, .path: ""
        }
    }
}

// What a job needs of a worker, as a list of small checks. The same checks decide where a task may run, say why a job
// waits, and fill the explanation. Which of several fitting workers is taken stands in Ranking.swift.
import JobModel

/// What can be counted. As what a task takes, never negative; as a worker's room, negative after its capacity shrank.
struct Amounts: Hashable, Sendable {
    /// Thousandths of processors.
    var cpus: Int64
    /// Bytes.
    var memory: Int64
    var gpus: Int
    /// Bytes.
    var disk: Int64
    var custom: ResourceCounts

    static let none = Amounts(cpus: 0, memory: 0, gpus: 0)

    init(cpus: Int64, memory: Int64, gpus: Int, disk: Int64 = 0, custom: ResourceCounts = .none) {
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
        self.disk = disk
        self.custom = custom
    }

    init(_ resources: Resources) {
        self.init(
            cpus: Self.within(resources.cpus.thousandths), memory: Self.within(resources.memory.bytes),
            gpus: Int(Self.within(Int64(resources.gpus))), disk: Self.within(resources.disk.bytes),
            custom: resources.custom)
    }

    /// A worker's capacity.
    init(_ registration: WorkerRegistration) {
        self.init(
            cpus: Self.within(registration.cpus.thousandths), memory: Self.within(registration.memory.bytes),
            gpus: gpuIdentities(registration.gpus).count, disk: Self.within(registration.disk?.bytes ?? 0),
            custom: registration.custom ?? .none)
    }

    /// More than any worker has counts as 1 PiB: sums over a cluster do not overflow.
    private static func within(_ amount: Int64) -> Int64 { min(max(0, amount), 1 << 50) }

    /// What is not asked for always fits, even where a worker began to offer less than is taken.
    func fit(in room: Amounts) -> Bool {
        cpus <= room.cpus && memory <= room.memory && gpus <= room.gpus && disk <= max(0, room.disk)
            && custom.fit(in: room.custom)
    }

    static func + (a: Amounts, b: Amounts) -> Amounts {
        Amounts(
            cpus: a.cpus &+ b.cpus, memory: a.memory &+ b.memory, gpus: a.gpus &+ b.gpus, disk: a.disk &+ b.disk,
            custom: a.custom + b.custom)
    }

    static func - (a: Amounts, b: Amounts) -> Amounts {
        Amounts(
            cpus: a.cpus &- b.cpus, memory: a.memory &- b.memory, gpus: a.gpus &- b.gpus, disk: a.disk &- b.disk,
            custom: a.custom - b.custom)
    }
}

/// Distinct identities, lowest first: `2` before `10`, by length and then by text.
func gpuIdentities(_ identities: [String]) -> [String] {
    var result: [String] = []
    for identity in identities.sorted(by: gpuIsLower) where identity != result.last { result.append(identity) }
    return result
}

func gpuIsLower(_ a: String, _ b: String) -> Bool { (a.utf8.count, a) < (b.utf8.count, b) }

/// One check.
enum Need: Hashable, Sendable {
    case cpus(CPUAmount)
    case memory(ByteCount)
    case gpus(Int)
    case disk(ByteCount)
    case custom(ResourceName, Int64)
    case label(Constraint)
    case volume(VolumeName, writable: Bool)
    /// An absolute path below one that the worker allows.
    case path(String)

    /// Whether a worker with this registration could ever meet it.
    func couldBeMet(by worker: WorkerRegistration) -> Bool {
        switch self {
        case .cpus(let amount): amount <= worker.cpus
        case .memory(let amount): amount <= worker.memory
        case .gpus(let count): count <= gpuIdentities(worker.gpus).count
        case .disk(let amount): amount.bytes <= worker.disk?.bytes ?? 0
        case .custom(let name, let count): count <= worker.custom?[name] ?? 0
        case .label(let constraint):
            constraint.isMet(by: worker)
        case .volume(let name, let writable): worker.volumes[name].map { $0.writable || !writable } ?? false
        case .path(let path): worker.allowedPaths.contains { lies(path, below: $0) }
        }
    }

    /// Whether it is met at this moment, by what is free. Only amounts change from moment to moment.
    func isMet(in room: Amounts) -> Bool {
        switch self {
        case .cpus(let amount): amount.thousandths <= room.cpus
        case .memory(let amount): amount.bytes <= room.memory
        case .gpus(let count): count <= room.gpus
        case .disk(let amount): amount.bytes <= room.disk
        case .custom(let name, let count): count <= room.custom[name]
        case .label, .volume, .path: true
        }
    }

    private func lies(_ path: String, below folder: String) -> Bool {
        let folder = folder.hasSuffix("/") ? String(folder.dropLast()) : folder
        return path == folder || path.hasPrefix(folder + "/")
    }
}

/// Everything that a job's tasks need of a worker. Jobs with equal requirements form a scheduling class.
struct Requirement: Hashable, Sendable {
    let needs: [Need]
    let amounts: Amounts
    /// What a task holds of the cluster, beside what it takes of its worker.
    let licenses: ResourceCounts
    /// It takes all that its worker has.
    let isExclusive: Bool
    /// What makes a worker more welcome than another that could take it as well.
    let preferences: [Constraint]
    /// The volumes whose files it uses.
    let volumes: [VolumeName]
    /// Its tasks only start so many together, each on another worker; nil: each by itself.
    let gang: Int?

    /// How many tasks start at a time.
    var together: Int { gang ?? 1 }
    /// What the tasks that start together hold of the cluster.
    var licensesTogether: ResourceCounts { gang == nil ? licenses : licenses.map { $0.count * Int64(together) } }

    init(_ record: JobRecord) {
        amounts = Amounts(record.resources)
        licenses = record.placement.licenses
        isExclusive = record.placement.isExclusive
        preferences = record.placement.preferences
        gang = record.shape.gangSize
        var needs: [Need] = [.cpus(CPUAmount(thousandths: amounts.cpus)), .memory(ByteCount(bytes: amounts.memory))]
        if amounts.gpus > 0 { needs.append(.gpus(amounts.gpus)) }
        if amounts.disk > 0 { needs.append(.disk(ByteCount(bytes: amounts.disk))) }
        needs += amounts.custom.entries.map { .custom($0.name, $0.count) }
        needs += record.constraints
            .sorted { ($0.label, $0.comparison.rawValue, $0.value) < ($1.label, $1.comparison.rawValue, $1.value) }
            .map { .label($0) }
        for (name, slot) in record.slots.sorted(by: { $0.key < $1.key }) {
            guard let need = Self.need(of: slot, name, boundTo: record.bindings[name]), !needs.contains(need) else {
                continue
            }
            needs.append(need)
        }
        self.needs = needs
        volumes = needs.compactMap { if case .volume(let name, _) = $0 { name } else { nil } }
    }

    /// A slot that is not bound takes the volume of its own name.
    private static func need(of slot: Slot, _ name: SlotName, boundTo binding: Binding?) -> Need? {
        let isWritten = slot.mode != .ro
        guard let binding else { return VolumeName(rawValue: name.rawValue).map { .volume($0, writable: isWritten) } }
        switch binding.root {
        case .volume(let volume): return .volume(volume, writable: isWritten)
        case .host: return .path(literalFolder(of: binding.path))
        }
    }

    /// The part of a path that is known before `${…}` is filled in.
    private static func literalFolder(of path: String) -> String {
        guard let mark = path.firstIndex(of: "$") else { return path }
        let known = path[..<mark]
        return known.lastIndex(of: "/").map { String(known[..<$0]) } ?? String(known)
    }

    func couldBeMet(by worker: WorkerRegistration) -> Bool { needs.allSatisfy { $0.couldBeMet(by: worker) } }
}

extension Constraint {
    func isMet(by worker: WorkerRegistration) -> Bool {
        (worker.labels[label] == value) == (comparison == .equal)
    }
}

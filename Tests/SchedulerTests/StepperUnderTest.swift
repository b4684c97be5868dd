// The stepper on a real SQLite file, with strict workers around it. After every step three books are compared: what is
// in memory, what the file holds, and what a copy of the file, taken as a `kill -9` would leave it, gives to the next
// start.
import Foundation
import JobModel
import Scheduler
import SchedulingCore
import TestSupport

/// A folder below the temporary folder that is gone when the value is.
final class ScratchFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "jobctl-store-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { removeFolder(path) }
}

/// A submission whose image is pinned, as the API hands it to the loop.
func accepted(
    _ yaml: String, key: String? = nil, request: String? = nil, user: String = "ada", hold: Bool = false,
    imageIsStored: Bool = true
) throws
    -> AcceptedSubmission
{
    let spec = try SpecParser.parse(file: "spec.yaml", Array(yaml.utf8))
    let owner = Identity(name: UserName(rawValue: user)!, uid: 1000, gid: 1000)
    let configuration = spec.configuration(
        image: PinnedImage(digest: Digest(of: spec.imageText), platform: nil), files: [:])
    let record = try spec.record(
        configuration: configuration, digest: configuration.digest, owner: owner, choices: SubmissionChoices())
    return AcceptedSubmission(
        record: record, configuration: configuration, configurationJSON: configuration.canonicalJSON, name: spec.name,
        imageIsStored: imageIsStored,
        hold: hold,
        idempotency: key.map { IdempotencyKey(user: owner.name, key: $0, requestDigest: Digest(of: request ?? yaml)) })
}

struct StepperUnderTest {
    struct Mismatch: Error, CustomStringConvertible {
        let description: String
    }

    let folder: ScratchFolder
    var stepper: Stepper
    var world: StrictWorld
    let policy = Policy()
    private(set) var now = Instant(uptime: 1_000_000, wall: Timestamp(millisecondsSinceEpoch: 1_764_000_000_000))
    /// Jobs that were acknowledged, and their names.
    private(set) var acknowledged: [JobID: String] = [:]
    /// How often a copy was loaded and compared.
    private(set) var crashes = 0
    private var copies = 0
    private var dice = SeededNumbers(seed: 11)
    var comparesCopies = true

    init() throws {
        folder = try ScratchFolder()
        stepper = try Stepper(store: try Store.open(directory: folder.path + "/live"), policy: policy, at: now)
        world = StrictWorld(policy: policy)
    }

    // MARK: steps

    /// One batch; its replies. Effects are carried out by the workers after the files were compared.
    @discardableResult
    mutating func step(_ batch: [Envelope]) throws -> [StepReply] {
        let before = stepper.cluster.image()
        let sizeBefore = logSize
        let result = try stepper.step(batch, at: now)
        try compare(stepper.store, stepper.cluster.image(), "the store and the memory")
        for case .submitted(let job) in result.replies { acknowledged[job.id] = job.name }
        if comparesCopies {
            try crash(expecting: stepper.cluster.image())
            // A commit that is torn anywhere in its part of the log never happened.
            if !result.changes.isEmpty, logSize > sizeBefore {
                try crash(expecting: before, cuttingLogTo: Int(dice.next(in: Int64(sizeBefore)...Int64(logSize - 1))))
            }
        }
        for effect in result.effects { try world.take(effect, at: now.uptime) }
        return result.replies
    }

    mutating func advance(_ seconds: Int64) throws {
        now = Instant(
            uptime: now.uptime + seconds * 1000,
            wall: Timestamp(millisecondsSinceEpoch: now.wall.millisecondsSinceEpoch + seconds * 1000))
        world.enforceLeases(at: now.uptime)
        try step([.event(.timeAdvanced)])
    }

    mutating func submit(_ yaml: String, key: String? = nil, hold: Bool = false, imageIsStored: Bool = true) throws
        -> JobDocument
    {
        let replies = try step([.submission(try accepted(yaml, key: key, hold: hold, imageIsStored: imageIsStored))])
        guard case .submitted(let job)? = replies.first else { throw Mismatch(description: "refused: \(replies)") }
        return job
    }

    mutating func addWorker(_ name: String, cpus: Int = 4, gpus: [String] = []) throws {
        let volume = (VolumeName(rawValue: "data")!, VolumeOffer(writable: true))
        world.add(
            WorkerName(rawValue: name)!,
            WorkerRegistration(
                cpus: CPUAmount(cpus: cpus), memory: ByteCount(bytes: 64 << 30), gpus: gpus, labels: ["zone": "a"],
                volumes: Dictionary(uniqueKeysWithValues: [volume]), allowedPaths: [], engines: ["simulated"],
                version: "1"))
        try sync(name)
    }

    mutating func sync(_ name: String) throws {
        try step([.event(world.call(WorkerName(rawValue: name)!, at: now.uptime))])
    }

    /// The scheduler ends and starts again on the same file.
    mutating func restart() throws {
        stepper = try Stepper(store: stepper.store, policy: policy, at: now)
        for name in world.names { world.hangUp(name) }
    }

    // MARK: files

    private var database: String { folder.path + "/live/jobctl.sqlite" }
    private var logSize: Int {
        ((try? FileManager.default.attributesOfItem(atPath: database + "-wal"))?[.size] as? Int) ?? 0
    }

    /// Loads a copy of the files as they lie on disk now, the log cut short if so wished.
    private mutating func crash(expecting image: ClusterImage, cuttingLogTo length: Int? = nil) throws {
        copies += 1
        crashes += 1
        let copy = "\(folder.path)/copy\(copies)"
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
        defer { removeFolder(copy) }
        for ending in ["", "-wal"] where FileManager.default.fileExists(atPath: database + ending) {
            try FileManager.default.copyItem(atPath: database + ending, toPath: copy + "/jobctl.sqlite" + ending)
        }
        if let length {
            let log = try FileHandle(forUpdating: URL(filePath: copy + "/jobctl.sqlite-wal"))
            try log.truncate(atOffset: UInt64(length))
            try log.close()
        }
        let store = try Store.open(directory: copy)
        let what = length == nil ? "a copy" : "a copy with a torn commit"
        try compare(store, image, "\(what) and the memory")
        let restarted = try Stepper(store: store, policy: policy, at: now)
        guard restarted.cluster.image() == image, Invariants.check(restarted.cluster).isEmpty else {
            throw Mismatch(description: "\(what): a restart continues from something else")
        }
        guard length == nil else { return }
        for (id, name) in acknowledged where try store.job(id)?.name != name {
            throw Mismatch(description: "job \(id) was acknowledged and is lost")
        }
    }

    private func compare(_ store: Store, _ image: ClusterImage, _ what: String) throws {
        let loaded = try store.load()
        guard loaded != image else { return }
        throw Mismatch(description: "\(what) differ:\n\(loaded)\n\(image)")
    }
}

// The worker protocol: one call, `POST /v1/workers/{name}/sync`, a long poll. The worker says all that it has; the
// scheduler answers with the difference between that and what it wants. Fields are added, never renamed. Version:
// `SyncRequest.protocolVersion`.

/// What a worker is and offers. Sent with the first sync of an incarnation and whenever it changes.
package struct WorkerRegistration: Hashable, Codable, Sendable {
    package var cpus: CPUAmount
    package var memory: ByteCount
    /// Identities, for example `GPU-5a…` or `0`.
    package var gpus: [String]
    package var labels: [String: String]
    package var volumes: [VolumeName: VolumeOffer]
    /// Absolute host path prefixes that jobs may bind.
    package var allowedPaths: [String]
    package var engines: [String]
    package var version: String
    /// Which container rules the engine cannot hold on this host, one sentence each; nil from agents that do not say.
    package var weaknesses: [String]?
    /// Scratch space; nil from agents that do not say.
    package var disk: ByteCount?
    /// Other things that it has a number of.
    package var custom: ResourceCounts?
    /// The host name or IP address at which other workers reach it; nil from agents that do not say.
    package var address: String?

    package init(
        cpus: CPUAmount, memory: ByteCount, gpus: [String], labels: [String: String],
        volumes: [VolumeName: VolumeOffer],
        allowedPaths: [String], engines: [String], version: String, weaknesses: [String]? = nil,
        disk: ByteCount? = nil, custom: ResourceCounts? = nil, address: String? = nil
    ) {
        self.address = address
        self.disk = disk
        self.custom = custom
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
        self.labels = labels
        self.volumes = volumes
        self.allowedPaths = allowedPaths
        self.engines = engines
        self.version = version
        self.weaknesses = weaknesses
    }

    private enum CodingKeys: String, CodingKey {
        case cpus, memory, gpus, labels, volumes, allowedPaths = "allowed_paths", engines, version, weaknesses, disk,
            custom, address
    }
}

/// Whether a volume may be written to. The host path stays on the worker.
package struct VolumeOffer: Hashable, Codable, Sendable {
    package var writable: Bool
    /// Its files come over the network: a worker that has them on a disk of its own goes first. Absent means no.
    package var network: Bool?
    package init(writable: Bool, network: Bool? = nil) {
        self.writable = writable
        self.network = network
    }
}

/// The digest of a directory's content: what an input was, what an output is.
package struct TreeFingerprint: Hashable, Codable, Sendable {
    package var treeDigest: Digest?
    package var level: FingerprintLevel
    package var files: Int64
    package var bytes: ByteCount

    package init(treeDigest: Digest?, level: FingerprintLevel, files: Int64, bytes: ByteCount) {
        self.treeDigest = treeDigest
        self.level = level
        self.files = files
        self.bytes = bytes
    }

    private enum CodingKeys: String, CodingKey { case treeDigest = "tree_digest", level, files, bytes }
}

/// What an attempt used. Zero where the engine could not tell.
package struct Usage: Hashable, Codable, Sendable {
    package var cpuSeconds: Double
    package var maxMemory: ByteCount
    package var wallSeconds: Double

    package init(cpuSeconds: Double, maxMemory: ByteCount, wallSeconds: Double) {
        self.cpuSeconds = cpuSeconds
        self.maxMemory = maxMemory
        self.wallSeconds = wallSeconds
    }

    private enum CodingKeys: String, CodingKey {
        case cpuSeconds = "cpu_seconds", maxMemory = "max_memory_bytes", wallSeconds = "wall_seconds"
    }
}

/// What a worker says about one attempt. Idempotent: a report with a sequence that was already taken changes nothing.
///
/// An attempt with `out` slots that exited with 0 first reports `ending` with `exitCode` 0; the scheduler answers
/// `publish`; the worker renames the staged output and reports `succeeded`.
package struct AttemptReport: Hashable, Codable, Sendable {
    package var attempt: AttemptID
    /// Rises with each report of this attempt, from 1.
    package var sequence: Int64
    package var state: AttemptState
    /// Present if and only if `state` is terminal.
    package var reason: EndReason?
    package var exitCode: Int?
    package var signal: Int?
    /// One sentence for the user, for example why an image could not be pulled.
    package var message: String?
    package var engine: String?
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp?
    package var inputs: [SlotName: TreeFingerprint]?
    package var outputs: [SlotName: TreeFingerprint]?
    package var usage: Usage?
    /// The manifest of the task's image that it runs: of an index, the one for the worker's platform.
    package var imageManifest: Digest?

    package init(
        attempt: AttemptID, sequence: Int64, state: AttemptState, reason: EndReason? = nil, exitCode: Int? = nil,
        signal: Int? = nil, message: String? = nil, engine: String? = nil, startedAt: Timestamp? = nil,
        finishedAt: Timestamp? = nil, inputs: [SlotName: TreeFingerprint]? = nil,
        outputs: [SlotName: TreeFingerprint]? = nil,
        usage: Usage? = nil, imageManifest: Digest? = nil
    ) {
        self.imageManifest = imageManifest
        self.attempt = attempt
        self.sequence = sequence
        self.state = state
        self.reason = reason
        self.exitCode = exitCode
        self.signal = signal
        self.message = message
        self.engine = engine
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.inputs = inputs
        self.outputs = outputs
        self.usage = usage
    }

    private enum CodingKeys: String, CodingKey {
        case attempt, sequence, state, reason, exitCode = "exit_code", signal, message, engine, startedAt = "started_at"
        case finishedAt = "finished_at", inputs, outputs, usage, imageManifest = "image_manifest"
    }
}

package struct SyncRequest: Hashable, Codable, Sendable {
    package static let protocolVersion = 1

    package var version: Int
    /// Names one life of the agent. A new one replaces the old, whose calls are refused from then on.
    package var incarnation: String
    /// Rises with each call of an incarnation, from 1. A call that is not newer than the last is refused.
    package var sequence: Int64
    package var registration: WorkerRegistration?
    /// Every attempt that the worker has not been told to forget, ended ones included.
    package var live: [AttemptID]
    /// New reports, and those that the scheduler has not yet acknowledged by an answer.
    package var reports: [AttemptReport]
    /// How long the scheduler may hold the call when there is nothing to say.
    package var wait: TimeSpan
    /// The images that it need not fetch, the newest last and at most ``mostImages``; nil: as it said before.
    package var images: [Digest]?
    package static let mostImages = 256
    /// The newest ``SyncResponse/challenge``, empty before the first; nil from agents that do not know of challenges.
    package var proof: String?

    package init(
        version: Int = SyncRequest.protocolVersion, incarnation: String, sequence: Int64,
        registration: WorkerRegistration?,
        live: [AttemptID], reports: [AttemptReport], wait: TimeSpan, images: [Digest]? = nil, proof: String? = nil
    ) {
        self.proof = proof
        self.images = images
        self.version = version
        self.incarnation = incarnation
        self.sequence = sequence
        self.registration = registration
        self.live = live
        self.reports = reports
        self.wait = wait
    }

    private enum CodingKeys: String, CodingKey {
        case version = "protocol", incarnation, sequence, registration, live, reports, wait = "wait_seconds", images,
            proof
    }
}

/// An attempt to start. What all tasks of its job share stands once in ``SyncResponse/jobs``.
package struct StartOrder: Hashable, Codable, Sendable {
    package var attempt: AttemptID
    package var gpus: [String]
    /// Of a member of a gang: where its members run, in order of their ranks. Nil for a task that runs alone.
    package var gangHosts: [String]?
    package init(attempt: AttemptID, gpus: [String], gangHosts: [String]? = nil) {
        self.gangHosts = gangHosts
        self.attempt = attempt
        self.gpus = gpus
    }

    private enum CodingKeys: String, CodingKey { case attempt, gpus, gangHosts = "gang_hosts" }
}

package struct StopOrder: Hashable, Codable, Sendable {
    package var attempt: AttemptID
    package var reason: EndReason
    package init(attempt: AttemptID, reason: EndReason) {
        self.attempt = attempt
        self.reason = reason
    }
}

/// The time limit of a job that was changed since it was submitted: it holds for all its attempts from their start.
package struct LimitOrder: Hashable, Codable, Sendable {
    package var job: JobID
    package var timeLimit: TimeSpan
    package init(job: JobID, timeLimit: TimeSpan) {
        self.job = job
        self.timeLimit = timeLimit
    }

    private enum CodingKeys: String, CodingKey { case job, timeLimit = "time_limit_seconds" }
}

/// What a worker needs to know of a job to run its tasks.
package struct JobBrief: Hashable, Codable, Sendable {
    package var id: JobID
    package var record: JobRecord
    package init(id: JobID, record: JobRecord) {
        self.id = id
        self.record = record
    }
}

package struct SyncResponse: Hashable, Codable, Sendable {
    /// The lease, counted by the worker from the moment it sent the request that this answers.
    package var lease: TimeSpan
    /// How often to call when nothing happens.
    package var interval: TimeSpan
    /// Start these. Repeated until they appear in `live`; starting one that is known already must change nothing.
    package var start: [StartOrder]
    package var stop: [StopOrder]
    /// Publish the staged outputs of these, then report `succeeded`.
    package var publish: [AttemptID]
    /// The scheduler has their terminal report on disk, or never wants it: delete all that is kept for them.
    package var forget: [AttemptID]
    /// The jobs of `start`.
    package var jobs: [JobBrief]
    /// The configurations of `start`, by digest.
    package var configurations: [Digest: Configuration]
    /// The scheduler does not know this incarnation's registration: send it again.
    package var registrationWanted: Bool
    /// Sessions wait for this worker: take them. Repeated until it does; absent means none.
    package var sessions: Bool?
    /// Of the jobs of `live` and `start` whose limit was changed. Said in each answer; absent means none. Agents that
    /// do not know it keep the limit that the job was submitted with.
    package var limits: [LimitOrder]?
    /// The call was not taken, and nothing else of the answer holds: call again with this as ``SyncRequest/proof``.
    /// That shows that this life of the agent is the living one: a call of an earlier life that comes late cannot.
    package var challenge: String?

    package init(
        lease: TimeSpan, interval: TimeSpan, start: [StartOrder], stop: [StopOrder], publish: [AttemptID],
        forget: [AttemptID],
        jobs: [JobBrief], configurations: [Digest: Configuration], registrationWanted: Bool, sessions: Bool? = nil,
        limits: [LimitOrder]? = nil, challenge: String? = nil
    ) {
        self.challenge = challenge
        self.limits = limits
        self.lease = lease
        self.interval = interval
        self.start = start
        self.stop = stop
        self.publish = publish
        self.forget = forget
        self.jobs = jobs
        self.configurations = configurations
        self.registrationWanted = registrationWanted
        self.sessions = sessions
    }

    private enum CodingKeys: String, CodingKey {
        case lease = "lease_seconds", interval = "interval_seconds", start, stop, publish, forget, jobs, configurations
        case registrationWanted = "registration_wanted", sessions, limits, challenge
    }
}

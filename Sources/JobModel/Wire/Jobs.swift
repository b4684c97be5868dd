// Jobs, tasks and attempts as the API and `-o json` show them (DESIGN section 7). Fields are added, never renamed.

package struct ConfigurationReference: Hashable, Codable, Sendable {
    package var digest: Digest
    package var name: String?
    package var version: Int?
    package init(digest: Digest, name: String?, version: Int?) {
        self.digest = digest
        self.name = name
        self.version = version
    }
}

package struct ImageReferenceAndDigest: Hashable, Codable, Sendable {
    package var reference: String
    package var digest: Digest
    package init(reference: String, digest: Digest) {
        self.reference = reference
        self.digest = digest
    }
}

/// How many tasks are in which state. `pending` counts those that wait to be tried again as well.
package struct TaskCounts: Hashable, Codable, Sendable {
    package var total: Int64
    package var pending: Int64
    package var running: Int64
    package var succeeded: Int64
    package var failed: Int64
    package var cancelled: Int64

    package init(
        total: Int64, pending: Int64, running: Int64 = 0, succeeded: Int64 = 0, failed: Int64 = 0, cancelled: Int64 = 0
    ) {
        self.total = total
        self.pending = pending
        self.running = running
        self.succeeded = succeeded
        self.failed = failed
        self.cancelled = cancelled
    }

    package var finished: Int64 { succeeded + failed + cancelled }
}

package struct JobDocument: Hashable, Codable, Sendable {
    package var id: JobID
    package var name: String
    package var state: Open<JobState>
    /// One sentence: why it waits, is held or failed.
    package var reason: String?
    package var owner: String
    package var queue: String
    package var priority: Int
    package var configuration: ConfigurationReference
    package var image: ImageReferenceAndDigest
    package var bindings: [String: String]
    package var parameters: [String: String]
    package var tasks: TaskCounts
    package var rerunOf: JobID?
    /// The job whose results this one checks.
    package var verifies: JobID?
    package var submittedAt: Timestamp
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp?
    package var labels: [String: String]
    package var shape: TaskShape
    /// Rises with each change of the job; the id of its server-sent events.
    package var revision: Int64
    /// By name. Absent where there are none.
    package var services: [String: ImageReferenceAndDigest]?
    /// Sentences for the submitter; only in the answer to a submission.
    package var warnings: [String]?
    /// Of the images that it waits for; only where one job is shown, or in the answer to its submission.
    package var pulls: [ImagePullDocument]?
    /// How long the archive keeps its images for it. Absent: for ever.
    package var keep: Open<KeepPolicy>?
    /// What its attempts came to, once the retention policy has summed them up.
    package var compaction: CompactionDocument?
    /// What it was submitted to wait for. Absent where there is nothing.
    package var dependsOn: [DependencyDocument]?
    /// What it was submitted together with. Absent where it was alone.
    package var pipeline: PipelineReference?
    /// When its tasks may run, and what is tried again. Absent where nothing was asked.
    package var rules: RunRules?
    /// The schedule whose run it is.
    package var schedule: String?
    /// How long a task may run. Absent: as long as it likes.
    package var timeLimit: TimeSpan?
    /// It was changed since the job was submitted. Absent means no.
    package var timeLimitChanged: Bool?
    /// If it was changed: the one before. Absent if there was none.
    package var submittedTimeLimit: TimeSpan?

    package init(
        id: JobID, name: String, state: Open<JobState>, reason: String?, owner: String, queue: String, priority: Int,
        configuration: ConfigurationReference, image: ImageReferenceAndDigest, bindings: [String: String],
        parameters: [String: String], tasks: TaskCounts, rerunOf: JobID?, submittedAt: Timestamp, startedAt: Timestamp?,
        finishedAt: Timestamp?, labels: [String: String], shape: TaskShape, revision: Int64,
        services: [String: ImageReferenceAndDigest]? = nil, verifies: JobID? = nil, keep: KeepPolicy = .always,
        dependsOn: [DependencyDocument]? = nil, pipeline: PipelineReference? = nil,
        rules: RunRules = .none, schedule: ScheduleName? = nil
    ) {
        self.schedule = schedule?.rawValue
        self.rules = rules == .none ? nil : rules
        self.pipeline = pipeline
        self.dependsOn = dependsOn
        self.keep = keep == .always ? nil : Open(keep)
        self.id = id
        self.name = name
        self.state = state
        self.reason = reason
        self.owner = owner
        self.queue = queue
        self.priority = priority
        self.configuration = configuration
        self.image = image
        self.bindings = bindings
        self.parameters = parameters
        self.tasks = tasks
        self.rerunOf = rerunOf
        self.verifies = verifies
        self.submittedAt = submittedAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.labels = labels
        self.shape = shape
        self.revision = revision
        self.services = services
    }

    private enum CodingKeys: String, CodingKey {
        case id, name, state, reason, owner, queue, priority, configuration, image, bindings, parameters, tasks
        case rerunOf = "rerun_of", submittedAt = "submitted_at", startedAt = "started_at", finishedAt = "finished_at"
        case labels, shape, revision, services, verifies, warnings, pulls, keep, compaction
        case dependsOn = "depends_on", pipeline, rules, schedule
        case timeLimit = "time_limit", timeLimitChanged = "time_limit_changed"
        case submittedTimeLimit = "submitted_time_limit"
    }
}

/// A job that another one waits for, or has waited for.
package struct DependencyDocument: Hashable, Codable, Sendable {
    package var job: JobID
    package var kind: Open<DependencyKind>
    /// It is still waited for.
    package var open: Bool
    package init(job: JobID, kind: DependencyKind, open: Bool) {
        self.job = job
        self.kind = Open(kind)
        self.open = open
    }
}

/// A task that has been started at least once.
package struct TaskDocument: Hashable, Codable, Sendable {
    package var id: TaskID
    package var state: Open<TaskState>
    package var reason: String?
    package var parameters: [String: String]
    /// How many attempts there were.
    package var attempts: Int64
    package init(id: TaskID, state: Open<TaskState>, reason: String?, parameters: [String: String], attempts: Int64) {
        self.id = id
        self.state = state
        self.reason = reason
        self.parameters = parameters
        self.attempts = attempts
    }
}

package struct AttemptDocument: Hashable, Codable, Sendable {
    package var id: AttemptID
    package var worker: String
    package var engine: String?
    package var state: Open<AttemptState>
    package var reason: Open<EndReason>?
    package var exitCode: Int?
    package var signal: Int?
    package var message: String?
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp?
    package var inputs: [String: TreeFingerprint]
    package var outputs: [String: TreeFingerprint]
    package var usage: Usage?
    package var gpus: [String]
    /// The manifest of the task's image that it ran: of an index, the one for the worker's platform.
    package var imageManifest: Digest?

    package init(
        id: AttemptID, worker: String, engine: String?, state: Open<AttemptState>, reason: Open<EndReason>?,
        exitCode: Int?,
        signal: Int?, message: String?, startedAt: Timestamp?, finishedAt: Timestamp?,
        inputs: [String: TreeFingerprint],
        outputs: [String: TreeFingerprint], usage: Usage?, gpus: [String], imageManifest: Digest? = nil
    ) {
        self.imageManifest = imageManifest
        self.id = id
        self.worker = worker
        self.engine = engine
        self.state = state
        self.reason = reason
        self.exitCode = exitCode
        self.signal = signal
        self.message = message
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.inputs = inputs
        self.outputs = outputs
        self.usage = usage
        self.gpus = gpus
    }

    private enum CodingKeys: String, CodingKey {
        case id, worker, engine, state, reason, exitCode = "exit_code", signal, message, startedAt = "started_at"
        case finishedAt = "finished_at", inputs, outputs, usage, gpus, imageManifest = "image_manifest"
    }
}

/// One page of jobs, newest first. `next` is the cursor of the following page, null on the last.
package struct JobList: Hashable, Codable, Sendable {
    package var jobs: [JobDocument]
    package var next: String?
    package init(jobs: [JobDocument], next: String?) {
        self.jobs = jobs
        self.next = next
    }
}

package struct TaskList: Hashable, Codable, Sendable {
    package var tasks: [TaskDocument]
    package var next: String?
    package init(tasks: [TaskDocument], next: String?) {
        self.tasks = tasks
        self.next = next
    }
}

package struct AttemptList: Hashable, Codable, Sendable {
    package var attempts: [AttemptDocument]
    package var next: String?
    package init(attempts: [AttemptDocument], next: String?) {
        self.attempts = attempts
        self.next = next
    }
}

/// A file that travels with a submission.
package struct SubmittedFile: Hashable, Codable, Sendable {
    /// Base64 (RFC 4648, section 4).
    package var content: String
    package var executable: Bool
    package init(content: String, executable: Bool) {
        self.content = content
        self.executable = executable
    }
}

/// `POST /v1/jobs`. `spec` follows the rules of a spec file; `files` holds the content of each path that the spec's
/// `files` names.
package struct SubmitRequest: Equatable, Codable, Sendable {
    package var spec: JSONValue
    package var files: [String: SubmittedFile]
    package var bindings: [String: String]
    package var parameters: [String: String]
    /// Accept the job but start nothing until it is released.
    package var hold: Bool

    package init(
        spec: JSONValue, files: [String: SubmittedFile] = [:], bindings: [String: String] = [:],
        parameters: [String: String] = [:],
        hold: Bool = false
    ) {
        self.spec = spec
        self.files = files
        self.bindings = bindings
        self.parameters = parameters
        self.hold = hold
    }
}

/// `POST /v1/reruns`. `source` is a job id, `name`, `name@version` or a configuration's digest. What is not given is
/// taken from that job, or from the newest job of that configuration.
package struct RerunRequest: Hashable, Codable, Sendable {
    package var source: String
    package var bindings: [String: String]
    package var parameters: [String: String]
    package var queue: String?
    package var priority: Int?
    package var hold: Bool
    /// How long the archive keeps the images for this run. Absent: as for the job that it repeats.
    package var keep: KeepPolicy?
    /// Makes it a shell (``JobRecord/shell(configuration:task:)``): runs this instead, once, and publishes nothing.
    package var command: [String]?
    /// Of a shell on an array: whose parameters and paths. Absent: the first. Of a verification: the only task that is
    /// checked. Absent: all.
    package var task: Int64?
    /// Makes it a verification (``JobRecord/verification(of:owner:queue:priority:task:)``): the same on the same data,
    /// compared with what the job came to.
    package var verify: Bool?
    /// What the run waits for, by kind, for example `after_ok`. Absent: nothing.
    package var dependsOn: [String: [JobID]]?

    package init(
        source: String, bindings: [String: String] = [:], parameters: [String: String] = [:], queue: String? = nil,
        priority: Int? = nil, hold: Bool = false, command: [String]? = nil, task: Int64? = nil, verify: Bool? = nil,
        keep: KeepPolicy? = nil, dependsOn: [String: [JobID]]? = nil
    ) {
        self.dependsOn = dependsOn
        self.keep = keep
        self.source = source
        self.bindings = bindings
        self.parameters = parameters
        self.queue = queue
        self.priority = priority
        self.hold = hold
        self.command = command
        self.task = task
        self.verify = verify
    }

    /// In the order of the kinds.
    package var dependencies: [Dependency] {
        DependencyKind.allCases.flatMap { kind in
            (dependsOn?[kind.rawValue] ?? []).map { Dependency(job: $0, kind: kind) }
        }
    }

    private enum CodingKeys: String, CodingKey {
        case source, bindings, parameters, queue, priority, hold, keep, command, task, verify, dependsOn = "depends_on"
    }
}

// What is fixed about a job once it is accepted. Kept as one JSON column; the scheduler's core adds what changes.

/// Who runs a container: the submitter's numeric user and group, from the scheduler's identity map.
package struct Identity: Hashable, Codable, Sendable {
    package let name: UserName
    package let uid: UInt32
    package let gid: UInt32

    /// The user that stands in for root, which no container runs as.
    package static let unmapped: UInt32 = 65532

    package init(name: UserName, uid: UInt32, gid: UInt32) {
        self.name = name
        self.uid = uid == 0 ? Self.unmapped : uid
        self.gid = gid == 0 ? Self.unmapped : gid
    }
}

/// A configuration's name and version: `annual-temps@3`.
package struct ConfigurationVersion: Hashable, Codable, Sendable, CustomStringConvertible {
    package let name: ConfigurationName
    package let version: Int
    package init(name: ConfigurationName, version: Int) {
        self.name = name
        self.version = version
    }
    package var description: String { "\(name)@\(version)" }
}

/// How much of inputs and outputs is fingerprinted.
package enum FingerprintLevel: String, Codable, Sendable, CaseIterable {
    /// Every byte of every file.
    case content
    /// Paths, types, modes, sizes and modification times.
    case metadata
    case none
}

/// How long the archive keeps the images that a job pinned, for that job. What another job, a name or a repository
/// needs stays all the same, and until a job has ended nothing of it goes. After it has gone, a rerun asks the registry
/// for the same digest again.
package enum KeepPolicy: String, Codable, Sendable, CaseIterable {
    /// For ever: a rerun needs no registry.
    case always
    /// For ever if the job succeeds, else until it has ended.
    case onSuccess = "on-success"
    /// Until the job has ended.
    case never
}

/// The policy of submissions that do not name one.
package struct KeepPolicies: Hashable, Sendable {
    package var standard = KeepPolicy.always
    package var byQueue: [QueueName: KeepPolicy] = [:]
    package init() {}
    package func policy(of queue: QueueName) -> KeepPolicy { byQueue[queue] ?? standard }
}

/// One condition on a worker's labels: `stack == r`, `zone != b`.
package struct Constraint: Hashable, Codable, Sendable, CustomStringConvertible {
    package enum Comparison: String, Codable, Sendable { case equal = "==", notEqual = "!=" }
    package let label: String
    package let comparison: Comparison
    package let value: String

    package init(label: String, comparison: Comparison, value: String) {
        self.label = label
        self.comparison = comparison
        self.value = value
    }

    package var description: String { "\(label) \(comparison.rawValue) \(value)" }
}

/// The jobs that a job was submitted together with.
package struct PipelineReference: Hashable, Codable, Sendable {
    /// The id of the first of them.
    package let id: JobID
    package let name: ConfigurationName?
    package init(id: JobID, name: ConfigurationName?) {
        self.id = id
        self.name = name
    }
}

/// The fixed part of a job.
package struct JobRecord: Hashable, Codable, Sendable {
    package let name: String
    package let owner: Identity
    package let queue: QueueName
    /// Larger runs first; −1,000 to 1,000.
    package let priority: Int
    package let configuration: Digest
    package let configurationVersion: ConfigurationVersion?
    /// As written in the spec; the digest that it was resolved to is `image`.
    package let imageReference: String
    package let image: PinnedImage
    /// What one attempt takes from its worker: the task and its services together.
    package let resources: Resources
    package let slots: [SlotName: Slot]
    package let bindings: [SlotName: Binding]
    package let parameters: [String: String]
    package var shape: TaskShape
    package let labels: [String: String]
    package let constraints: [Constraint]
    /// How many times a task may be started again after its program failed.
    package var retries: Int
    /// Wall time of one attempt; nil: no limit.
    package let timeLimit: TimeSpan?
    /// From SIGTERM to SIGKILL.
    package let grace: TimeSpan
    package let fingerprint: FingerprintLevel
    package let rerunOf: JobID?
    /// In order of their names.
    package var services: [ServiceImage] { storedServices ?? [] }
    /// Nil where there are none, so that their key is absent.
    private let storedServices: [ServiceImage]?
    /// The job whose results this one checks; it publishes nothing.
    package let verifies: JobID?
    /// How long the archive keeps its images for it.
    package var keep: KeepPolicy {
        get { storedKeep ?? .always }
        set { storedKeep = newValue == .always ? nil : newValue }
    }
    package var rules: RunRules {
        get { storedRules ?? .none }
        set { storedRules = newValue == .none ? nil : newValue }
    }
    /// Nil where nothing is asked, so that their key is absent.
    private var storedRules: RunRules?
    /// What it was submitted together with.
    package var pipeline: PipelineReference?
    /// The schedule whose run it is.
    package var schedule: ScheduleName?
    /// Nil for always, so that its key is absent.
    private var storedKeep: KeepPolicy?
    package var placement: PlacementRequest {
        get { storedPlacement ?? .standard }
        set { storedPlacement = newValue == .standard ? nil : newValue }
    }
    /// Nil for the standard one, so that its key is absent.
    private var storedPlacement: PlacementRequest?
    /// What it waits for. Nothing of it starts before.
    package var dependencies: [Dependency] {
        get { storedDependencies ?? [] }
        set { storedDependencies = newValue.isEmpty ? nil : newValue }
    }
    /// Nil where there are none, so that their key is absent.
    private var storedDependencies: [Dependency]?

    package init(
        name: String, owner: Identity, queue: QueueName, priority: Int, configuration: Digest,
        configurationVersion: ConfigurationVersion?, imageReference: String, image: PinnedImage, resources: Resources,
        slots: [SlotName: Slot], bindings: [SlotName: Binding], parameters: [String: String], shape: TaskShape,
        labels: [String: String], constraints: [Constraint], retries: Int, timeLimit: TimeSpan?, grace: TimeSpan,
        fingerprint: FingerprintLevel, rerunOf: JobID?, services: [ServiceImage] = [], verifies: JobID? = nil,
        keep: KeepPolicy = .always, placement: PlacementRequest = .standard, dependencies: [Dependency] = []
    ) {
        storedDependencies = dependencies.isEmpty ? nil : dependencies
        storedKeep = keep == .always ? nil : keep
        storedPlacement = placement == .standard ? nil : placement
        self.name = name
        self.owner = owner
        self.queue = queue
        self.priority = priority
        self.configuration = configuration
        self.configurationVersion = configurationVersion
        self.imageReference = imageReference
        self.image = image
        self.resources = resources
        self.slots = slots
        self.bindings = bindings
        self.parameters = parameters
        self.shape = shape
        self.labels = labels
        self.constraints = constraints
        self.retries = retries
        self.timeLimit = timeLimit
        self.grace = grace
        self.fingerprint = fingerprint
        self.rerunOf = rerunOf
        storedServices = services.isEmpty ? nil : services
        self.verifies = verifies
    }

    private enum CodingKeys: String, CodingKey {
        case name, owner, queue, priority, configuration, configurationVersion = "configuration_version"
        case imageReference = "image_reference", image, resources, slots, bindings, parameters, shape, labels,
            constraints
        case retries, timeLimit = "time_limit", grace, fingerprint, rerunOf = "rerun_of", verifies, pipeline, schedule
        case storedServices = "services", storedKeep = "keep", storedPlacement = "placement"
        case storedDependencies = "dependencies", storedRules = "rules"
    }
}

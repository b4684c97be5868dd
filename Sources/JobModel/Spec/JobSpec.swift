// A job spec as its author wrote it, checked field by field but not yet resolved: the image may still be a tag, files
// are paths beside the spec, slots are unbound. Resolution to a configuration stands in Configuration/Resolution.swift.

package struct JobSpec: Hashable, Sendable {
    package struct Slot: Hashable, Sendable {
        package let name: SlotName
        package let slot: JobModel.Slot
    }

    package var name: ConfigurationName?
    package var image: ImageReference
    /// As written.
    package var imageText: String
    package var platform: String?
    /// Exec form; `shell: text` became `/bin/sh -c text`.
    package var command: [String]
    /// Container path → path beside the spec.
    package var files: [String: String]
    package var environment: [String: String]
    package var workingDirectory: String?
    package var volumes: [Slot]
    package var resources: Resources
    package var timeLimit: TimeSpan?
    package var grace: TimeSpan
    package var shape: TaskShape
    /// Defaults; a submission may set others.
    package var parameters: [String: String]
    package var labels: [String: String]
    package var constraints: [Constraint]
    package var retries: Int
    package var queue: QueueName
    package var priority: Int
    package var network: NetworkMode
    package var fingerprint: FingerprintLevel
    /// In order of their names.
    package var services: [Service]
    /// Nil: as the scheduler says for its queue.
    package var keep: KeepPolicy?
    package var placement: PlacementRequest
    package var dependencies: [Dependency]
    package var startAfter: Moment?
    package var deadline: Moment?
    package var mostRunning: Int64?
    package var retryOn: [Int]?
    package var retryNotOn: [Int]?
    /// Its array may grow.
    package var open: Bool
}

/// What a spec may hold. One place, so that the documentation and the parser agree.
package enum SpecLimits {
    package static let commandElements = 1_000
    package static let commandBytes = 128 << 10
    package static let environmentEntries = 500
    package static let files = 256
    package static let filesBytes = 16 << 20
    package static let slots = 100
    package static let labels = 100
    package static let constraints = 50
    package static let parameters = 200
    package static let textBytes = 32 << 10
    package static let matrixAxes = 20
    package static let matrixValues = 10_000
    package static let matrixExclusions = 1_000
    package static let retries = 100
    package static let priority = 1_000
    package static let gpus = 1_024
    package static let resourceNames = 32
    package static let resourceCount = 1_000_000
    package static let services = 8
    package static let dependencies = 1_000
    package static let pipelineJobs = 1_000
    package static let healthRetries = 10_000
    package static let shortestHealthSpan = TimeSpan(milliseconds: 100)
    package static let smallestMemory = ByteCount(bytes: 6 << 20)
}

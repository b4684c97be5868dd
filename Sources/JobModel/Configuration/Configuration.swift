// The immutable part of a resolved spec: everything that can change a result, and nothing else (DESIGN section 4, rule
// 7). Its digest is taken over its canonical JSON, so adding an optional field here must leave the JSON of old values
// unchanged.

/// An image as it was pinned at submission.
package struct PinnedImage: Hashable, Codable, Sendable {
    /// The digest of the manifest, or of the index where the tag named one.
    package let digest: Digest
    /// `linux/amd64`, when the submission asked for a platform.
    package let platform: String?

    package init(digest: Digest, platform: String?) {
        self.digest = digest
        self.platform = platform
    }
}

/// How a slot is mounted.
package enum SlotMode: String, Codable, Sendable, CaseIterable {
    /// An input: read-only.
    case ro
    /// Shared and changed in place, at the user's own risk.
    case rw
    /// An output: staged for each attempt, published by an atomic rename when the attempt is accepted.
    case out
}

/// A named mount point, bound to data at submission.
package struct Slot: Hashable, Codable, Sendable {
    /// Absolute path in the container.
    package let path: String
    package let mode: SlotMode
    package init(path: String, mode: SlotMode) {
        self.path = path
        self.mode = mode
    }
}

/// A file of the configuration: its content lies in the archive.
package struct ConfigurationFile: Hashable, Codable, Sendable {
    package let digest: Digest
    package let executable: Bool
    package init(digest: Digest, executable: Bool) {
        self.digest = digest
        self.executable = executable
    }
}

package enum NetworkMode: String, Codable, Sendable, CaseIterable {
    /// Loopback only. The default.
    case none
    /// The engine's own network with a way out.
    case bridge
    /// The host's network.
    case host
}

/// What a task needs of a worker. All of it is reserved for the attempt and enforced as a limit.
package struct Resources: Hashable, Codable, Sendable {
    package var cpus: CPUAmount
    package var memory: ByteCount
    package var gpus: Int
    /// Scratch space; counted, not enforced.
    package var disk: ByteCount {
        get { storedDisk ?? ByteCount(bytes: 0) }
        set { storedDisk = newValue.bytes == 0 ? nil : newValue }
    }
    /// Other things that workers have a number of.
    package var custom: ResourceCounts {
        get { storedCustom ?? .none }
        set { storedCustom = newValue.isEmpty ? nil : newValue }
    }
    // Nil for none, so that their keys are absent.
    private var storedDisk: ByteCount?
    private var storedCustom: ResourceCounts?

    /// One processor and 512 MiB, where a spec is silent.
    package static let standard = Resources(cpus: CPUAmount(cpus: 1), memory: ByteCount(bytes: 512 << 20), gpus: 0)

    package init(
        cpus: CPUAmount, memory: ByteCount, gpus: Int, disk: ByteCount = ByteCount(bytes: 0),
        custom: ResourceCounts = .none
    ) {
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
        self.disk = disk
        self.custom = custom
    }

    private enum CodingKeys: String, CodingKey {
        case cpus, memory, gpus, storedDisk = "disk", storedCustom = "custom"
    }
}

/// The immutable, content-addressed configuration. `command` and `environment` hold `${…}` as written: values are
/// outside.
package struct Configuration: Hashable, Codable, Sendable {
    package let image: PinnedImage
    package let command: [String]
    package let environment: [String: String]
    package let workingDirectory: String?
    /// By absolute path in the container.
    package let files: [String: ConfigurationFile]
    package let slots: [SlotName: Slot]
    package let network: NetworkMode
    /// The task's own.
    package let resources: Resources
    /// By the names under which the task reaches them.
    package var services: [ServiceName: TaskService] { storedServices ?? [:] }
    /// How many members run it at the same time, which find each other; nil for a configuration that runs alone.
    package let gang: Int?
    /// Nil where there are none, so that their key is absent.
    private let storedServices: [ServiceName: TaskService]?

    package init(
        image: PinnedImage, command: [String], environment: [String: String], workingDirectory: String?,
        files: [String: ConfigurationFile], slots: [SlotName: Slot], network: NetworkMode, resources: Resources,
        services: [ServiceName: TaskService] = [:], gang: Int? = nil
    ) {
        self.gang = gang
        self.image = image
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.files = files
        self.slots = slots
        self.network = network
        self.resources = resources
        storedServices = services.isEmpty ? nil : services
    }

    private enum CodingKeys: String, CodingKey {
        case image, command, environment, workingDirectory = "working_dir", files, slots, network, resources
        case gang, storedServices = "services"
    }
}

// Workers, configurations, images, users and the cluster as the API and `-o json` show them. Fields are added, never
// renamed.

package struct WorkerResources: Hashable, Codable, Sendable {
    package var cpus: CPUAmount
    package var memory: ByteCount
    package var gpus: [String]
    /// Scratch space; absent where the worker does not say.
    package var disk: ByteCount?
    /// Other things that are counted; absent if there are none.
    package var custom: ResourceCounts?
    package init(
        cpus: CPUAmount, memory: ByteCount, gpus: [String], disk: ByteCount? = nil, custom: ResourceCounts? = nil
    ) {
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
        self.disk = disk
        self.custom = custom
    }
    private enum CodingKeys: String, CodingKey { case cpus, memory = "memory_bytes", gpus, disk = "disk_bytes", custom }
}

package struct WorkerDocument: Hashable, Codable, Sendable {
    package var name: String
    package var state: Open<WorkerState>
    package var capacity: WorkerResources
    package var free: WorkerResources
    package var labels: [String: String]
    package var volumes: [String: VolumeOffer]
    package var engines: [String]
    package var version: String
    package var lastSeen: Timestamp?
    package var attempts: [AttemptID]
    /// Which container rules the engine cannot hold on this host, one sentence each; nil where the worker does not say.
    package var weaknesses: [String]?
    /// Why nothing new starts there, and until when what runs may go on; absent unless it is drained.
    package var drain: DrainOrder?

    package init(
        name: String, state: Open<WorkerState>, capacity: WorkerResources, free: WorkerResources,
        labels: [String: String],
        volumes: [String: VolumeOffer], engines: [String], version: String, lastSeen: Timestamp?,
        attempts: [AttemptID], weaknesses: [String]? = nil, drain: DrainOrder? = nil
    ) {
        self.drain = drain
        self.name = name
        self.state = state
        self.capacity = capacity
        self.free = free
        self.labels = labels
        self.volumes = volumes
        self.engines = engines
        self.version = version
        self.lastSeen = lastSeen
        self.attempts = attempts
        self.weaknesses = weaknesses
    }

    private enum CodingKeys: String, CodingKey {
        case name, state, capacity, free, labels, volumes, engines, version, lastSeen = "last_seen", attempts
        case weaknesses, drain
    }
}

package struct WorkerList: Hashable, Codable, Sendable {
    package var workers: [WorkerDocument]
    package var next: String?
    package init(workers: [WorkerDocument], next: String?) {
        self.workers = workers
        self.next = next
    }
}

package struct ConfigurationDocument: Equatable, Codable, Sendable {
    package var digest: Digest
    /// Every name and version that points to this digest, newest first.
    package var names: [ConfigurationVersion]
    package var createdAt: Timestamp
    package var imageReference: String
    package var configuration: Configuration

    package init(
        digest: Digest, names: [ConfigurationVersion], createdAt: Timestamp, imageReference: String,
        configuration: Configuration
    ) {
        self.digest = digest
        self.names = names
        self.createdAt = createdAt
        self.imageReference = imageReference
        self.configuration = configuration
    }

    private enum CodingKeys: String, CodingKey {
        case digest, names, createdAt = "created_at", imageReference = "image_reference", configuration
    }
}

package struct ConfigurationList: Equatable, Codable, Sendable {
    package var configurations: [ConfigurationDocument]
    package var next: String?
    package init(configurations: [ConfigurationDocument], next: String?) {
        self.configurations = configurations
        self.next = next
    }
}

/// An image in the archive.
package struct ImageDocument: Hashable, Codable, Sendable {
    package var digest: Digest
    /// The names under which it was imported or resolved, sorted.
    package var references: [String]
    package var mediaType: String
    /// Sum of the manifest's, the configuration's and the layers' sizes as they are stored.
    package var size: ByteCount
    /// `linux/amd64`, …
    package var platforms: [String]
    package var layers: [Digest]
    package var createdAt: Timestamp
    /// Whether all its blobs are in the archive.
    package var complete: Bool
    /// How it was made, the newest first; only where one image is shown, and only if that was recorded.
    package var builds: [BuildRecord]?

    package init(
        digest: Digest, references: [String], mediaType: String, size: ByteCount, platforms: [String], layers: [Digest],
        createdAt: Timestamp, complete: Bool
    ) {
        self.digest = digest
        self.references = references
        self.mediaType = mediaType
        self.size = size
        self.platforms = platforms
        self.layers = layers
        self.createdAt = createdAt
        self.complete = complete
    }

    private enum CodingKeys: String, CodingKey {
        case digest, references, mediaType = "media_type", size = "size_bytes", platforms, layers, createdAt =
            "created_at", complete, builds
    }
}

package struct ImageList: Hashable, Codable, Sendable {
    package var images: [ImageDocument]
    package var next: String?
    package init(images: [ImageDocument], next: String?) {
        self.images = images
        self.next = next
    }
}

/// What a user may do. `worker` is for agents only.
package enum Role: String, Codable, Sendable, CaseIterable { case user, admin, worker }

package struct UserDocument: Hashable, Codable, Sendable {
    package var name: String
    package var role: Role
    package var uid: UInt32
    package var gid: UInt32
    /// Present only in the answer that created it; the scheduler keeps its hash.
    package var token: String?
    package init(name: String, role: Role, uid: UInt32, gid: UInt32, token: String?) {
        self.name = name
        self.role = role
        self.uid = uid
        self.gid = gid
        self.token = token
    }
}

package struct UserList: Hashable, Codable, Sendable {
    package var users: [UserDocument]
    package var next: String?
    package init(users: [UserDocument], next: String?) {
        self.users = users
        self.next = next
    }
}

/// `GET /v1/status`: the cluster at a glance, at a cost that does not grow with the number of jobs.
package struct StatusDocument: Hashable, Codable, Sendable {
    package var version: String
    package var startedAt: Timestamp
    /// Jobs by state.
    package var jobs: [String: Int64]
    package var tasks: TaskCounts
    /// Workers by state.
    package var workers: [String: Int64]
    package var capacity: WorkerResources
    package var free: WorkerResources

    package init(
        version: String, startedAt: Timestamp, jobs: [String: Int64], tasks: TaskCounts, workers: [String: Int64],
        capacity: WorkerResources, free: WorkerResources
    ) {
        self.version = version
        self.startedAt = startedAt
        self.jobs = jobs
        self.tasks = tasks
        self.workers = workers
        self.capacity = capacity
        self.free = free
    }

    private enum CodingKeys: String, CodingKey {
        case version, startedAt = "started_at", jobs, tasks, workers, capacity, free
    }
}

// Services: programs that run beside a task, each in a container of its own, and that the task reaches by name on a
// network that only its attempt has. They begin before the task, and end with it.

/// The name under which a task reaches a service: a label of DNS.
package struct ServiceName: ValidatedName {
    package static let noun = "service name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }

    /// 1 to 63 of `a`–`z`, `0`–`9` and `-`, the first and the last not `-`. `localhost` is taken.
    package init?(rawValue: String) {
        let isInner = { (byte: UInt8) in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        let bytes = rawValue.utf8
        guard let first = bytes.first, let last = bytes.last, bytes.count <= 63, isInner(first), isInner(last),
            bytes.allSatisfy({ isInner($0) || $0 == UInt8(ascii: "-") }), rawValue != "localhost"
        else { return nil }
        self.rawValue = rawValue
    }

    package static func refusal(of value: String) -> String {
        "\(quoted(value)) is not a valid \(noun): use 1 to 63 of a-z, 0-9 and '-', begin and end with a letter or a digit, and not localhost"
    }
}

/// How it is found out that a service can be used.
package struct HealthCheck: Hashable, Codable, Sendable {
    /// Runs in the service's container, as its user. The service is ready once it has ended with 0.
    package let command: [String]
    /// From the end of one try to the next.
    package let interval: TimeSpan
    /// What takes longer has failed.
    package let timeout: TimeSpan
    /// How many tries may fail.
    package let retries: Int

    package static let standardInterval = TimeSpan(milliseconds: 500)
    package static let standardTimeout = TimeSpan.seconds(10)
    package static let standardRetries = 120

    package init(command: [String], interval: TimeSpan, timeout: TimeSpan, retries: Int) {
        self.command = command
        self.interval = interval
        self.timeout = timeout
        self.retries = retries
    }
}

/// A service of a configuration. `command`, `environment` and the health check's command hold `${…}` as written.
package struct TaskService: Hashable, Codable, Sendable {
    package let image: PinnedImage
    package let command: [String]
    package let environment: [String: String]
    package let workingDirectory: String?
    /// Its own, beside the task's.
    package let resources: Resources
    /// Nil: ready once its program has been started.
    package let health: HealthCheck?

    package init(
        image: PinnedImage, command: [String], environment: [String: String], workingDirectory: String?,
        resources: Resources, health: HealthCheck?
    ) {
        self.image = image
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.resources = resources
        self.health = health
    }

    private enum CodingKeys: String, CodingKey {
        case image, command, environment, workingDirectory = "working_dir", resources, health = "healthcheck"
    }
}

/// The image of a job's service, as written and as pinned.
package struct ServiceImage: Hashable, Codable, Sendable {
    package let name: ServiceName
    package let reference: String
    package let image: PinnedImage

    package init(name: ServiceName, reference: String, image: PinnedImage) {
        self.name = name
        self.reference = reference
        self.image = image
    }
}

extension Resources {
    /// What a task and its services take together from a worker.
    /// - Precondition: each is within what a spec may ask for, and so their sum can be counted.
    package func with(_ services: some Sequence<Resources>) -> Resources {
        services.reduce(self) { sum, next in
            Resources(
                cpus: CPUAmount(thousandths: sum.cpus.thousandths + next.cpus.thousandths),
                memory: ByteCount(bytes: sum.memory.bytes + next.memory.bytes), gpus: sum.gpus + next.gpus,
                disk: ByteCount(bytes: sum.disk.bytes + next.disk.bytes), custom: sum.custom + next.custom)
        }
    }
}

extension JobRecord {
    /// The digests of all images that an attempt needs, each once.
    package var imageDigests: [Digest] {
        services.reduce(into: [image.digest]) { digests, service in
            if !digests.contains(service.image.digest) { digests.append(service.image.digest) }
        }
    }

    /// All images that an attempt needs, as written and as pinned.
    package var images: [(reference: String, image: PinnedImage)] {
        [(imageReference, image)] + services.map { ($0.reference, $0.image) }
    }
}

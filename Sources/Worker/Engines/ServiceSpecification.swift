// A service as an engine is asked for it: what its container differs in from the attempt's own. All else is the
// attempt's: user, container rules, log limit, grace.
import JobModel

package struct ServiceSpecification: Hashable, Sendable {
    package var name: ServiceName
    package var image: PinnedImage
    package var command: [String]
    package var environment: [String: String]
    package var workingDirectory: String?
    package var resources: Resources
    package var health: HealthCheck?

    package init(
        name: ServiceName, image: PinnedImage, command: [String], environment: [String: String] = [:],
        workingDirectory: String? = nil, resources: Resources, health: HealthCheck? = nil
    ) {
        self.name = name
        self.image = image
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.resources = resources
        self.health = health
    }
}

extension ContainerSpecification {
    /// The container of one of its services: as confined as the attempt's own, with nothing mounted.
    func container(of service: ServiceSpecification) -> ContainerSpecification {
        ContainerSpecification(
            attempt: attempt, image: service.image, command: service.command, environment: service.environment,
            workingDirectory: service.workingDirectory, user: user, mounts: [], network: network,
            resources: service.resources, gpus: [], logLimit: logLimit, timeLimit: nil, grace: grace)
    }

    /// `42.7.2-db`: the name of a service's container, of its control groups, and of what belongs to it.
    static func name(of service: some StringProtocol, in attempt: AttemptID) -> String { "\(attempt)-\(service)" }
}

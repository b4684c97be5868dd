// What a container may do: DESIGN section 5 in the words of the Docker Engine API.
import Foundation
import Glibc
import JobModel

extension DockerEngine {
    package func create(_ specification: ContainerSpecification) async throws(EngineError) -> String {
        struct Created: Decodable { var Id: String }
        let name = "jobctl-\(workerID.prefix(12))-\(specification.attempt)"
        guard let image = try await imageID(specification.image) else { throw .image("the image \(specification.image.digest.short) is not there") }
        let body = JSONValue.object(document(specification, image: image)).canonical
        let answer = try await connection.call(.POST, "/containers/create?name=\(encoded(name))", body: body)
        switch answer.status {
        case 201: return try answer.decode(Created.self).Id
        case 409, 500:
            // An agent that crashed after it created the container: the same attempt, so the same container.
            if let found = try await list().first(where: { $0.attempt == specification.attempt }) { return found.id }
            throw .refused("the engine could not create the container: \(answer.message)")
        case 400: throw .program("the engine refuses the container: \(answer.message)")
        default: throw .refused("the engine could not create the container: \(answer.message)")
        }
    }

    private func document(_ specification: ContainerSpecification, image: String) -> [(key: String, value: JSONValue)] {
        let environment = Self.defaults.merging(specification.environment) { $1 }
        var members: [(key: String, value: JSONValue)] = [
            ("Image", .string(image)),
            // The image's ENTRYPOINT must not run in front of the command.
            ("Entrypoint", .array([])), ("Cmd", strings(specification.command)),
            ("Env", strings(environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })),
            ("User", .string("\(specification.user.uid):\(specification.user.gid)")),
            ("Hostname", .string("attempt-\(specification.attempt)".replacing(".", with: "-"))),
            (
                "Labels",
                .object([(Self.attemptLabel, .string(specification.attempt.description)), (Self.workerLabel, .string(workerID))])
            ),
            ("StopSignal", .string("SIGTERM")), ("Healthcheck", .object([("Test", strings(["NONE"]))])),
            ("HostConfig", .object(hostConfiguration(specification))),
        ]
        if let folder = specification.workingDirectory { members.append(("WorkingDir", .string(folder))) }
        return members
    }

    /// Nothing of the host leaks in. The image's own variables stay: they are part of the image.
    private static let defaults = ["LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/tmp"]

    private func hostConfiguration(_ specification: ContainerSpecification) -> [(key: String, value: JSONValue)] {
        let resources = specification.resources
        let memory = JSONValue.number(Double(resources.memory.bytes))
        var members: [(key: String, value: JSONValue)] = [
            ("Init", .bool(true)), ("ReadonlyRootfs", .bool(true)), ("CapDrop", strings(["ALL"])),
            ("SecurityOpt", strings(["no-new-privileges"])), ("Privileged", .bool(false)), ("IpcMode", .string("private")),
            ("NetworkMode", .string(specification.network.rawValue)), ("PidsLimit", .number(4096)), ("Memory", memory), ("MemorySwap", memory),
            ("NanoCpus", .number(Double(resources.cpus.thousandths * 1_000_000))), ("RestartPolicy", .object([("Name", .string("no"))])),
            (
                "Tmpfs",
                .object([("/tmp", .string("rw,nosuid,nodev,mode=1777")), ("/run", .string("rw,nosuid,nodev,mode=755"))])
            ),
            ("Ulimits", .array(ulimits)), ("Mounts", .array(specification.mounts.map(mount))),
            ("LogConfig", .object(logConfiguration(specification.logLimit))),
        ]
        if !specification.gpus.isEmpty {
            members.append(
                (
                    "DeviceRequests",
                    .array([.object([("DeviceIDs", strings(specification.gpus)), ("Capabilities", .array([strings(["gpu"])]))])])
                ))
        }
        return members
    }

    private func mount(_ mount: ContainerMount) -> JSONValue {
        .object([
            ("Type", .string("bind")), ("Source", .string(mount.source)), ("Target", .string(mount.target)), ("ReadOnly", .bool(mount.readOnly)),
            ("BindOptions", .object([("Propagation", .string("rprivate"))])),
        ])
    }

    /// No core dumps. Podman raises the number of files by default, which fails where the agent itself may not: it gets the agent's own.
    private var ulimits: [JSONValue] {
        func limit(_ name: String, _ value: Double) -> JSONValue { .object([("Name", .string(name)), ("Soft", .number(value)), ("Hard", .number(value))]) }
        guard flavor == .podman else { return [limit("core", 0)] }
        return [limit("core", 0), limit("nofile", ownLimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue))), limit("nproc", ownLimit(6))]
    }

    /// - Parameter resource: RLIMIT_NOFILE or 6, which is RLIMIT_NPROC on every Linux that Swift runs on (glibc hides it).
    private func ownLimit(_ resource: __rlimit_resource_t) -> Double {
        var own = rlimit()
        getrlimit(resource, &own)
        return Double(min(UInt64(own.rlim_max), 1 << 20))
    }

    /// Exact bytes: docker's `local` driver keeps them (json-file replaces what is not UTF-8), as does podman's k8s-file.
    private func logConfiguration(_ limit: ByteCount) -> [(key: String, value: JSONValue)] {
        switch flavor {
        case .docker:
            [
                ("Type", .string("local")),
                ("Config", .object([("max-size", .string("\(max(limit.bytes, 1 << 20))")), ("max-file", .string("3")), ("compress", .string("false"))])),
            ]
        case .podman: [("Type", .string("k8s-file")), ("Config", .object([("max-size", .string("\(4 * max(limit.bytes, 1 << 20))"))]))]
        }
    }

    private func strings(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }
}

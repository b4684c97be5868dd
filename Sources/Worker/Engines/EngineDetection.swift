// Which container engine this host has: tries sockets in order, proves by calls that one works, and says why the
// others do not. Invariant: an engine that is returned has answered; each container rule that it cannot hold is among
// its weaknesses.
import Foundation
import JobModel
import Logging
import RunnerCore

/// `--engine auto|oci|docker|podman`.
package enum EngineChoice: String, Sendable, CaseIterable {
    case auto, oci, docker, podman
    /// For an error's sentence.
    package static var list: String { "auto, oci, docker or podman" }
}

/// Where engines may listen.
package struct EngineDetection: Sendable {
    package struct Candidate: Hashable, Sendable {
        package var choice: EngineChoice
        package var socketPath: String
        package init(_ choice: EngineChoice, _ socketPath: String) {
            self.choice = choice
            self.socketPath = socketPath
        }
    }

    package var candidates: [Candidate]
    /// `jobctl-runner`, which is the init of each container.
    package var runner = OCIRuntimeDetection.besideThisProgram

    /// Exactly these, in this order.
    package init(candidates: [Candidate]) { self.candidates = candidates }

    /// - Parameters:
    ///   - choice: `auto` tries docker, then podman.
    ///   - socketPath: what `--engine-socket` said; then no other is tried.
    ///   - environment: `DOCKER_HOST` (unix only), `CONTAINER_HOST` and `XDG_RUNTIME_DIR` are read.
    package init(
        _ choice: EngineChoice, socketPath: String? = nil,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) {
        if let socketPath {
            candidates = [Candidate(choice, socketPath)]
            return
        }
        var all: [Candidate] = []
        func add(_ choice: EngineChoice, _ path: String?) {
            if let path, path.hasPrefix("/"), !all.contains(where: { $0.socketPath == path }) {
                all.append(Candidate(choice, path))
            }
        }
        func unixPath(_ variable: String) -> String? {
            environment[variable].flatMap { $0.hasPrefix("unix://") ? String($0.dropFirst("unix://".count)) : nil }
        }
        let home = environment["XDG_RUNTIME_DIR"]
        add(.docker, unixPath("DOCKER_HOST"))
        add(.docker, "/var/run/docker.sock")
        add(.docker, home.map { $0 + "/docker.sock" })
        add(.podman, unixPath("CONTAINER_HOST"))
        add(.podman, "/run/podman/podman.sock")
        add(.podman, home.map { $0 + "/podman/podman.sock" })
        candidates = all.filter { choice == .auto || $0.choice == choice }
    }

    /// The first engine that works.
    /// - Parameter worker: the id of the agent's data folder: 1 to 64 letters, digits, `_`, `-`.
    /// - Throws: kind `unavailable`, with one sentence that says for each candidate what was wrong.
    package func engine(worker: String, registry: any ImageSource, logger: Logger) async throws(EngineError)
        -> DockerEngine
    {
        guard (1...64).contains(worker.utf8.count), worker.utf8.allSatisfy(isNameByte) else {
            throw EngineError.refused(
                "\(quoted(worker)) cannot mark containers: use 1 to 64 letters, digits, '_' or '-'")
        }
        var reasons: [String] = []
        for candidate in candidates {
            do throws(EngineError) {
                let engine = try await connect(candidate, worker: worker, registry: registry, logger: logger)
                if !reasons.isEmpty {
                    logger.info(
                        "other container engines do not work",
                        metadata: ["reason": "\(reasons.joined(separator: "; "))"])
                }
                return engine
            } catch {
                reasons.append("\(candidate.socketPath): \(error)")
            }
        }
        let tried = reasons.isEmpty ? "no socket to try" : reasons.joined(separator: "; ")
        throw EngineError.unavailable(
            "no container engine works on this host (\(tried)): start dockerd or `podman system service`")
    }

    // MARK: One candidate

    private func connect(_ candidate: Candidate, worker: String, registry: any ImageSource, logger: Logger)
        async throws(EngineError)
        -> DockerEngine
    {
        guard candidate.socketPath.utf8.count < 108 else {
            throw EngineError.unavailable("the path is too long for a socket")
        }
        guard access(candidate.socketPath, F_OK) == 0 else { throw EngineError.unavailable("no such socket") }
        guard access(candidate.socketPath, R_OK | W_OK) == 0 else {
            throw EngineError.unavailable("no permission to use the socket")
        }
        try OCIRuntimeDetection.mustExist(runner)
        let http = EngineHTTP(socketPath: candidate.socketPath)
        let answer = try await http.exchange(.GET, "/version", within: .seconds(30))
        try answer.expect(200)
        let version: EngineVersion = try answer.decoded()
        let isPodman = (version.components ?? []).contains { $0.name.contains("Podman") }
        if candidate.choice == .docker, isPodman {
            throw EngineError.refused("podman listens here, and docker was asked for")
        }
        if candidate.choice == .podman, !isPodman {
            throw EngineError.refused("docker listens here, and podman was asked for")
        }
        let dialect = try isPodman ? podmanDialect(version) : dockerDialect(version)
        let host = try await examine(http, dialect)
        for weakness in host.weaknesses {
            logger.warning("the engine cannot hold a container rule", metadata: ["reason": "\(weakness)"])
        }
        let takesDevices = isPodman ? true : await hasDevices(http)
        let devices = takesDevices ? DeviceSpecifications(indices: await Capacity.gpuIndices()) : nil
        return DockerEngine(
            name: isPodman ? "podman" : "docker", weaknesses: host.weaknesses, worker: worker, dialect: dialect,
            http: http,
            registry: registry, witness: runner, dataFolder: host.dataFolder,
            parentsAllowed: host.cgroupDriver == "cgroupfs" && geteuid() == 0 && access(ControlGroups.root, W_OK) == 0,
            devices: devices, logger: logger)
    }

    /// Docker 25 and newer, with CDI switched on. Asked without a version: older API versions do not say.
    private func hasDevices(_ http: EngineHTTP) async -> Bool {
        struct Info: Decodable {
            let folders: [String]?
            private enum CodingKeys: String, CodingKey { case folders = "CDISpecDirs" }
        }
        do throws(EngineError) {
            let answer = try await http.exchange(.GET, "/info", within: .seconds(60))
            let info: Info = try answer.decoded()
            return !(info.folders ?? []).isEmpty
        } catch {
            return false
        }
    }

    private func dockerDialect(_ version: EngineVersion) throws(EngineError) -> EngineDialect {
        guard let newest = APIVersion(version.apiVersion), let oldest = APIVersion(version.oldestAPIVersion ?? "1.12")
        else {
            throw EngineError.refused("the engine's API version \(quoted(version.apiVersion)) could not be understood")
        }
        guard newest >= .wanted else {
            throw EngineError.refused(
                "the engine's API \(newest) is too old: Docker 20.10 (API \(APIVersion.wanted)) or newer is needed")
        }
        return .docker(prefix: "/v\(max(.wanted, oldest))")
    }

    private func podmanDialect(_ version: EngineVersion) throws(EngineError) -> EngineDialect {
        guard let major = version.version.split(separator: ".").first.flatMap({ Int($0) }), major >= 4 else {
            throw EngineError.refused("podman \(quoted(version.version)) is too old: 4.0 or newer is needed")
        }
        return .podman(prefix: "/v4.0.0/libpod")
    }

    private struct Host {
        var weaknesses: [String]
        var cgroupDriver: String?
        /// dockerd's.
        var dataFolder: String?
    }

    /// What the engine says that it cannot do here, and how it is set up.
    private func examine(_ http: EngineHTTP, _ dialect: EngineDialect) async throws(EngineError) -> Host {
        let answer = try await http.exchange(.GET, dialect.prefix + "/info", within: .seconds(60))
        try answer.expect(200)
        var weaknesses: [String] = []
        func require(_ condition: Bool?, _ sentence: String) {
            if condition != true { weaknesses.append(sentence) }
        }
        weaknesses.append("the engine is a daemon: whoever may use its socket has its user's rights on this host")
        if geteuid() != 0 {
            weaknesses.append(
                "the worker runs without root, and tells the daemon the path of a volume's folder that it has checked: "
                    + "whoever can replace that folder meanwhile decides what is mounted")
        }
        switch dialect {
        case .docker:
            let info: DockerInfo = try answer.decoded()
            require(info.memoryLimit, "memory limits are not enforced: the kernel or dockerd does not support them")
            require(info.swapLimit, "swap is not limited: a container may use swap beyond its memory request")
            require(info.cpuCfsQuota, "cpu limits are not enforced")
            require(info.pidsLimit, "the number of processes is not limited")
            require(info.securityOptions?.contains { $0.contains("name=seccomp") }, "no seccomp profile is in force")
            require(
                info.plugins?.log?.contains("local"), "the log driver 'local' is missing: containers cannot be created")
            return Host(weaknesses: weaknesses, cgroupDriver: info.cgroupDriver, dataFolder: info.dataFolder)
        case .podman:
            let info: PodmanInfo = try answer.decoded()
            let controllers = info.host.cgroupControllers ?? []
            require(
                controllers.contains("memory"),
                "memory limits are not enforced: the memory controller is not delegated to podman")
            require(
                controllers.contains("cpu"),
                "cpu limits are not enforced: the cpu controller is not delegated to podman")
            require(
                controllers.contains("pids"),
                "the number of processes is not limited: the pids controller is not delegated to podman")
            require(info.host.security?.seccompEnabled, "no seccomp profile is in force")
            // crun refuses hosts that have controllers in both versions; each start would fail.
            let unified = CgroupBook.text(ControlGroups.root + "/unified/cgroup.controllers") ?? ""
            if info.host.ociRuntime?.name.contains("crun") == true, unified.contains(where: { !$0.isWhitespace }) {
                throw EngineError.refused(
                    "this host mixes cgroup versions, which podman's runtime crun refuses: "
                        + "start `podman --runtime runc system service`"
                )
            }
            if info.host.ociRuntime?.name.contains("runc") == true {
                weaknesses.append(
                    "/tmp and /run keep the mode of the image's folders: runc overrides it, "
                        + "and podman cannot set their owner"
                )
            }
            return Host(weaknesses: weaknesses, cgroupDriver: info.host.cgroupManager, dataFolder: nil)
        }
    }
}

private func isNameByte(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "_")
        || byte == UInt8(ascii: "-")
}

/// `1.41`.
struct APIVersion: Comparable, CustomStringConvertible {
    let major: Int
    let minor: Int
    /// What this agent is written for.
    static let wanted = APIVersion(major: 1, minor: 41)

    init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = Int(parts[0]), let minor = Int(parts[1]), (0...99).contains(major),
            (0...9999).contains(minor)
        else { return nil }
        self.init(major: major, minor: minor)
    }

    var description: String { "\(major).\(minor)" }
    static func < (a: APIVersion, b: APIVersion) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
}

private struct EngineVersion: Decodable {
    struct Component: Decodable {
        let name: String
        private enum CodingKeys: String, CodingKey { case name = "Name" }
    }
    let version: String
    let apiVersion: String
    let oldestAPIVersion: String?
    let components: [Component]?
    private enum CodingKeys: String, CodingKey {
        case version = "Version", apiVersion = "ApiVersion", oldestAPIVersion = "MinAPIVersion", components =
            "Components"
    }
}

private struct DockerInfo: Decodable {
    struct Plugins: Decodable {
        let log: [String]?
        private enum CodingKeys: String, CodingKey { case log = "Log" }
    }
    let memoryLimit: Bool?
    let swapLimit: Bool?
    let cpuCfsQuota: Bool?
    let pidsLimit: Bool?
    let securityOptions: [String]?
    let plugins: Plugins?
    let cgroupDriver: String?
    let dataFolder: String?
    private enum CodingKeys: String, CodingKey {
        case memoryLimit = "MemoryLimit", swapLimit = "SwapLimit", cpuCfsQuota = "CpuCfsQuota", pidsLimit = "PidsLimit"
        case securityOptions = "SecurityOptions", plugins = "Plugins", cgroupDriver = "CgroupDriver", dataFolder =
            "DockerRootDir"
    }
}

private struct PodmanInfo: Decodable {
    struct Security: Decodable { let seccompEnabled: Bool? }
    struct Runtime: Decodable { let name: String }
    struct Host: Decodable {
        let cgroupControllers: [String]?
        let cgroupManager: String?
        let security: Security?
        let ociRuntime: Runtime?
    }
    let host: Host
}

// The container rules (DESIGN section 5) as the engines' create documents: one plan, two notations. Invariant:
// whatever an image or an engine would add by itself is set here or switched off here. What an engine cannot express
// is a weakness (EngineDetection).
//
// Left to the engines: masked paths, the default seccomp profile, `HOSTNAME` in the environment,
// /etc/{hosts,hostname,resolv.conf}. The image's ENV stays: it is part of the pinned image, and wins over the
// defaults but not over the configuration.
import Foundation
import Glibc
import JobModel
import RunnerCore

/// An image that the engine has.
struct PresentImage: Hashable, Sendable {
    /// The engine's id: unlike a reference it cannot come to mean another image.
    var id: String
    var environmentNames: [String]
    var volumes: [String]
    /// Of an index, the one for this host; nil if that is not known.
    var manifest: Digest?
}

/// Limits that the engines would otherwise take from their own process, or (podman) refuse to start with.
struct ProcessLimits: Hashable, Sendable {
    var openFiles: UInt64
    var processes: UInt64

    /// Nothing above the agent's own hard limits: an engine without CAP_SYS_RESOURCE cannot raise them.
    static var ofThisProcess: ProcessLimits {
        ProcessLimits(
            openFiles: hardLimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), most: 1_048_576),
            processes: hardLimit(__rlimit_resource_t(__RLIMIT_NPROC.rawValue), most: 32_768))
    }

    private static func hardLimit(_ resource: __rlimit_resource_t, most: UInt64) -> UInt64 {
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return 1024 }
        return min(UInt64(limit.rlim_max), most)
    }
}

/// All that goes into a create call.
struct ContainerPlan: Sendable {
    let specification: ContainerSpecification
    let name: String
    let worker: String
    let image: PresentImage
    /// The control group under which the engine makes the container's own, if the agent may read it there.
    let cgroupParent: String?
    let limits: ProcessLimits
    /// Where the attempt has services.
    var network: PlannedNetwork?
    /// Set for the container of a service.
    var service: ServiceSpecification?
    /// `nvidia.com/gpu=0`: the CDI names of the GPUs, where host and engine have such.
    var deviceNames: [String] = []
    /// `jobctl-runner` on the host, for the program's own container: its init, which bears witness to how it ended.
    var witness: String?

    static let processLimit: Int64 = 4096
    /// dockerd refuses less.
    static let smallestMemory: Int64 = 6 << 20
    static let smallTemporary: Int64 = 64 << 20
    /// dockerd keeps this many log files; the oldest goes first.
    static let logFiles: Int64 = 5

    /// The size at which docker begins a new log file: all but the newest hold at least the log limit four times.
    static func logFileSize(_ limit: ByteCount) -> Int64 { min(max(limit.bytes, 1 << 20), 1 << 40) }

    private var memory: Int64 { max(specification.resources.memory.bytes, Self.smallestMemory) }

    private var labels: [String: String] {
        var labels = [ContainerLabel.attempt: specification.attempt.description, ContainerLabel.worker: worker]
        if witness != nil { labels[ContainerLabel.success] = String(Witness.success) }
        if let service {
            labels[ContainerLabel.service] = service.name.rawValue
            // allowed: a health check can always be encoded
            if let json = try? service.health.map({ try WireJSON.encode($0) }) {
                labels[ContainerLabel.health] = String(decoding: json, as: UTF8.self)
            }
        } else if let network {
            labels[ContainerLabel.services] = network.services.map(\.rawValue).joined(separator: ",")
        }
        return labels
    }

    private var hostname: String { service?.name.rawValue ?? specification.attempt.description }

    /// What a service writes to when it is asked to end.
    private var stopSeconds: Int64 { min(max(1, (specification.grace.milliseconds + 999) / 1000), 3600) }

    /// Nobody is asked for names: those that there are stand in /etc/hosts.
    private var nameServers: [String]? { network == nil ? nil : ["127.0.0.1"] }

    private var kernelSettings: [String: String]? {
        guard network != nil else { return nil }
        var settings = ["net.ipv4.ip_unprivileged_port_start": "0"]
        // The host's end of the bridge has an address of the link.
        if access("/proc/sys/net/ipv6", F_OK) == 0 {
            settings["net.ipv6.conf.eth0.disable_ipv6"] = "1"
        }
        return settings
    }

    /// The configuration's variables, and the defaults that neither it nor the image sets.
    private var environment: [String: String] {
        var variables = ["LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/tmp"]
        for name in image.environmentNames { variables[name] = nil }
        return variables.merging(specification.environment) { $1 }
    }

    /// One empty word and the engine forgets the image's ENTRYPOINT. An empty list would keep it.
    private var entrypoint: [String] { [witness == nil ? "" : RunnerFolder.witnessPath] }

    /// The volumes, and the init.
    private var binds: [ContainerMount] {
        specification.mounts
            + (witness.map { [ContainerMount(source: $0, target: RunnerFolder.witnessPath, readOnly: true)] } ?? [])
    }

    private var temporaryFolders: [(target: String, options: [String])] {
        // Memory of a tmpfs counts as the container's, so the memory request bounds it anyway.
        [("/tmp", memory), ("/run", min(memory, Self.smallTemporary))].map { target, size in
            (target, ["rw", "exec", "nosuid", "nodev", "mode=1777", "size=\(size)"])
        }
    }

    /// Where the image has a VOLUME and the attempt has no mount of its own.
    private var imageVolumes: [String] {
        let mounted = Set(specification.mounts.map(\.target) + temporaryFolders.map(\.target))
        return image.volumes.filter { $0.hasPrefix("/") && !mounted.contains($0) }.sorted()
    }

    // MARK: Docker

    /// The body of `POST /containers/create`.
    ///
    /// dockerd mounts a writable volume wherever the image has a VOLUME and cannot be told not to. A volume of ours,
    /// read-only and filled by dockerd from the image, takes its place: the path shows the image's content and cannot
    /// be written to.
    func dockerJSON() throws(EngineError) -> [UInt8] {
        let binds = binds.map {
            DockerCreate.Mount(
                type: "bind", source: $0.source, target: $0.target, readOnly: $0.readOnly,
                bindOptions: .init(propagation: "rprivate"))
        }
        let stand = imageVolumes.enumerated().map {
            DockerCreate.Mount(
                type: "volume", source: "\(name)-\($0.offset)", target: $0.element, readOnly: true,
                volumeOptions: .init(labels: labels))
        }
        // runc gives a tmpfs the mode of the image's folder instead of the one that is asked for: so it belongs to
        // the user.
        let owner = ["uid=\(specification.user.uid)", "gid=\(specification.user.gid)"]
        let host = DockerCreate.Host(
            networkMode: network?.name ?? specification.network.rawValue, memory: memory, memorySwap: memory,
            nanoCpus: specification.resources.cpus.thousandths.clamped(to: 10...1_000_000_000) * 1_000_000,
            ulimits: [
                .init(name: "core", soft: 0, hard: 0),
                .init(name: "nofile", soft: Int64(clamping: limits.openFiles), hard: Int64(clamping: limits.openFiles)),
            ],
            tmpfs: Dictionary(
                uniqueKeysWithValues: temporaryFolders.map {
                    ($0.target, ($0.options + owner).joined(separator: ","))
                }),
            shmSize: memory, mounts: binds + stand,
            logConfig: .init(
                type: "local",
                config: [
                    "max-size": String(Self.logFileSize(specification.logLimit)), "max-file": String(Self.logFiles),
                    "compress": "false",
                ]),
            init: witness == nil, cgroupParent: cgroupParent, extraHosts: network?.hosts, dns: nameServers,
            deviceRequests: dockerDevices)
        return try encode(
            DockerCreate(
                hostname: hostname,
                user: "\(specification.user.uid):\(specification.user.gid)",
                env: environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }, cmd: specification.command,
                entrypoint: entrypoint,
                image: image.id, workingDir: specification.workingDirectory, labels: labels, stopTimeout: stopSeconds,
                hostConfig: host,
                networkingConfig: network.map {
                    .init(endpointsConfig: [
                        $0.name: .init(ipamConfig: .init(iPv4Address: $0.address(of: service?.name)))
                    ])
                }),
            keys: { $0.prefix(1).uppercased() + $0.dropFirst() })
    }

    private var dockerDevices: [DockerCreate.DeviceRequest]? {
        guard !specification.gpus.isEmpty else { return nil }
        guard deviceNames.isEmpty else { return [.init(driver: "cdi", deviceIDs: deviceNames, capabilities: nil)] }
        return [.init(driver: "nvidia", deviceIDs: specification.gpus, capabilities: [["gpu"]])]
    }

    // MARK: Podman

    /// The body of `POST /libpod/containers/create`.
    func podmanJSON() throws(EngineError) -> [UInt8] {
        let temporary = temporaryFolders.map {
            PodmanCreate.Mount(type: "tmpfs", source: "tmpfs", destination: $0.target, options: $0.options)
        }
        let binds = binds.map {
            PodmanCreate.Mount(
                type: "bind", source: $0.source, destination: $0.target,
                options: [$0.readOnly ? "ro" : "rw", "rbind", "rprivate", "nosuid", "nodev"])
        }
        // Quota and period as the kernel takes them: a tenth of a second each.
        let quota = max(specification.resources.cpus.thousandths.clamped(to: 1...1_000_000_000) * 100, 1000)
        return try encode(
            PodmanCreate(
                name: name, image: image.id, command: specification.command, entrypoint: entrypoint, env: environment,
                user: "\(specification.user.uid):\(specification.user.gid)",
                hostname: hostname,
                workDir: specification.workingDirectory, labels: labels, mounts: temporary + binds,
                netns: .init(nsmode: network == nil ? specification.network.rawValue : "bridge"),
                networks: network.map { [$0.name: .init(staticIps: [$0.address(of: service?.name)])] },
                hostadd: network?.hosts, dnsServer: nameServers, sysctl: kernelSettings, shmSize: memory,
                init: witness == nil,
                rLimits: [
                    .init(type: "core", soft: 0, hard: 0),
                    .init(type: "nofile", soft: limits.openFiles, hard: limits.openFiles),
                    .init(type: "nproc", soft: limits.processes, hard: limits.processes),
                ],
                resourceLimits: .init(
                    memory: .init(limit: memory, swap: memory), cpu: .init(period: 100_000, quota: quota),
                    pids: .init(limit: Self.processLimit)),
                logConfiguration: .init(size: Self.logFileSize(specification.logLimit).multipliedClamping(by: 4)),
                cgroupParent: cgroupParent,
                stopTimeout: stopSeconds,
                devices: specification.gpus.isEmpty
                    ? nil : podmanDevices.map { .init(path: $0) }),
            keys: snakeCase)
    }

    /// Podman knows CDI alone: what this agent does not find, podman says.
    private var podmanDevices: [String] {
        deviceNames.isEmpty ? specification.gpus.map { "\(DeviceSpecifications.gpuKind)=\($0)" } : deviceNames
    }

    private func encode(_ document: any Encodable & Sendable, keys: @escaping @Sendable (String) -> String)
        throws(EngineError) -> [UInt8]
    {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .custom { path in EngineKey(stringValue: keys(path.last?.stringValue ?? "")) }
        do {
            return Array(try encoder.encode(document))
        } catch {
            throw EngineError(
                EngineError.refused, "the container's settings could not be written as JSON", cause: "\(error)")
        }
    }
}

private struct EngineKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// `capDrop` → `cap_drop`.
private func snakeCase(_ name: String) -> String {
    name.reduce(into: "") { text, character in
        if character.isUppercase { text += "_" + character.lowercased() } else { text.append(character) }
    }
}

extension Int64 {
    fileprivate func clamped(to range: ClosedRange<Int64>) -> Int64 {
        Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
    }
    fileprivate func multipliedClamping(by factor: Int64) -> Int64 {
        let (product, overflowed) = multipliedReportingOverflow(by: factor)
        return overflowed ? .max : product
    }
}

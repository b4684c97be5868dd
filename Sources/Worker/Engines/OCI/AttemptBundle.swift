// The container rules (DESIGN section 5) as the config.json of an OCI bundle. A pure function from an attempt to the
// document. Invariant: whatever a runtime would add by itself, or leave out, is said here. Not here: the filter of
// system calls, which the container's init installs (Sources/CLinux/Seccomp.c), and the layers, which the runner
// mounts.
import Foundation
import JobModel
import RunnerCore

/// What the host offers for the limits of a container.
package struct BundleHost: Hashable, Sendable {
    /// Of control groups: whether swap can be limited.
    package var limitsSwap: Bool
    /// The hard limit of open files.
    package var openFiles: UInt64
    /// The program that is the container's init.
    package var initProgram: String
    /// Where runners mount what their containers see; see ``RunnerFolder/scratch``.
    package var scratch: String
    /// NVIDIA's hook, where it is installed.
    package var gpuHook: String?
    /// Nil for root.
    package var rootless: RootlessHost?

    package init(limitsSwap: Bool, openFiles: UInt64, initProgram: String, scratch: String, gpuHook: String?) {
        self.limitsSwap = limitsSwap
        self.openFiles = openFiles
        self.initProgram = initProgram
        self.scratch = scratch
        self.gpuHook = gpuHook
    }
}

/// All that goes into one bundle.
struct AttemptBundle: Sendable {
    let specification: ContainerSpecification
    /// `NAME=value`.
    let imageEnvironment: [String]
    let workingDirectory: String
    let controlGroup: String
    let host: BundleHost
    /// Set where containers share a network that the runner has made.
    var company: Company?

    enum Company: Hashable, Sendable {
        case task
        case service(ServiceName, HealthCheck?)
    }
    /// Of its GPUs, where the host has CDI specifications.
    var devices: DeviceEdits?

    private static let standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    /// What no mount of an attempt may hide.
    private static let reserved = ["/proc", "/sys", "/dev"]

    /// - Throws: kind `program` for what the attempt must not ask for.
    func json() throws(EngineError) -> String {
        guard !specification.command.isEmpty else { throw .program("the command is empty") }
        guard specification.user.uid != 0, specification.user.gid != 0 else {
            throw .program("a container never runs as root")
        }
        for mount in specification.mounts {
            let isReserved = Self.reserved.contains { mount.target == $0 || mount.target.hasPrefix($0 + "/") }
            guard mount.target.hasPrefix("/"), mount.target != "/", !isReserved else {
                throw .program("nothing can be mounted at \(quoted(mount.target))")
            }
        }
        let nodes = try hostNodes()
        var members: [(key: String, value: JSONValue)] = [
            ("ociVersion", "1.0.2"), ("hostname", .string(name)),
            ("root", ["path": .string(host.scratch + "/root"), "readonly": true]), ("process", try process),
            ("mounts", .array(systemMounts + ownMounts + deviceMounts(nodes))), ("linux", linux(nodes)),
        ]
        if let hooks = try hooks() { members.append(("hooks", hooks)) }
        return String(decoding: JSONValue.object(members).canonical, as: UTF8.self)
    }

    private var name: String {
        if case .service(let name, _)? = company { return name.rawValue }
        return specification.attempt.description
    }
    var memory: Int64 { max(specification.resources.memory.bytes, ContainerPlan.smallestMemory) }

    // MARK: The process

    private var process: JSONValue {
        get throws(EngineError) {
            let words = initWords + healthWords + specification.command
            let variables = environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            guard (words + variables).allSatisfy({ !$0.utf8.contains(0) }) else {
                throw .program("the command or the environment holds a zero byte")
            }
            // The init of a container without root becomes the user: until then it is 0 of the runner's user namespace,
            // and to leave that the kernel asks for one capability in there (Linux 5.12).
            let privileges: JSONValue = host.rootless == nil ? [] : ["CAP_SETFCAP"]
            let (uid, gid) = host.rootless == nil ? (specification.user.uid, specification.user.gid) : (0, 0)
            var user: [(key: String, value: JSONValue)] = [
                ("uid", .number(Double(uid))), ("gid", .number(Double(gid))),
            ]
            // Without root there are no groups to give.
            if let groups = devices?.groups, !groups.isEmpty, host.rootless == nil {
                user.append(("additionalGids", .array(groups.map { .number(Double($0)) })))
            }
            var members: [(key: String, value: JSONValue)] = [
                ("user", .object(user)),
                ("args", .array(words.map { .string($0) })), ("env", .array(variables.map { .string($0) })),
                ("cwd", .string(workingDirectory)), ("terminal", false), ("noNewPrivileges", true),
                (
                    "capabilities",
                    [
                        "bounding": privileges, "effective": privileges, "inheritable": [], "permitted": privileges,
                        "ambient": [],
                    ]
                ),
                ("rlimits", [limit("RLIMIT_CORE", 0), limit("RLIMIT_NOFILE", host.openFiles)]),
            ]
            // Without root it can only be raised, and a desktop's programs begin above 0.
            if host.rootless == nil { members.append(("oomScoreAdj", 0)) }
            return .object(members)
        }
    }

    /// What the init of a service is told beside the program.
    private var healthWords: [String] {
        guard case .service(_, let health)? = company else { return [] }
        let numbers = [health?.interval.milliseconds, health?.timeout.milliseconds, health.map { Int64($0.retries) }]
        let words = health?.command ?? []
        return [RunnerFolder.health] + numbers.map { String($0 ?? 0) } + [String(words.count)] + words
    }

    /// The container's init, and who it shall become.
    private var initWords: [String] {
        guard host.rootless != nil else { return [RunnerFolder.initPath] }
        return [
            RunnerFolder.initPath, RunnerFolder.become, "\(specification.user.uid):\(specification.user.gid)",
        ]
    }

    /// The defaults, the image's over them, the configuration's over both.
    private var environment: [String: String] {
        var variables = [
            "LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/tmp", "PATH": Self.standardPath, "HOSTNAME": name,
        ]
        for entry in imageEnvironment {
            guard let equals = entry.firstIndex(of: "="), equals > entry.startIndex else { continue }
            variables[String(entry[..<equals])] = String(entry[entry.index(after: equals)...])
        }
        variables.merge(specification.environment) { $1 }
        addGPUs(to: &variables)
        return variables
    }

    private func limit(_ type: String, _ value: UInt64) -> JSONValue {
        ["type": .string(type), "soft": .number(Double(value)), "hard": .number(Double(value))]
    }

    // MARK: Mounts

    private var systemMounts: [JSONValue] {
        // Of a user namespace with one group, no other can own a terminal.
        let hasTerminalGroup = host.rootless.map { $0.subordinate != nil } ?? true
        var mounts = [
            mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", ["nosuid", "noexec", "strictatime", "mode=755", "size=64k"]),
            mount(
                "/dev/pts", "devpts", "devpts",
                ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] + (hasTerminalGroup ? ["gid=5"] : [])),
            mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=\(memory)"]),
            mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
        ]
        let quiet = ["nosuid", "noexec", "nodev", "ro"]
        // A sysfs belongs to a network namespace: that of the host is not a user's to mount, only to bind.
        let isHosts = host.rootless != nil && specification.network == .host
        mounts.append(
            isHosts ? mount("/sys", "none", "/sys", ["rbind"] + quiet) : mount("/sys", "sysfs", "sysfs", quiet))
        if host.rootless == nil { mounts.append(mount("/sys/fs/cgroup", "cgroup", "cgroup", quiet)) }
        return mounts
    }

    private var ownMounts: [JSONValue] {
        let folders = ["/tmp", "/run"].map { bind(host.scratch + $0, $0, readOnly: false) }
        let names = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].map {
            bind(host.scratch + $0, $0, readOnly: true)
        }
        // A folder before what lies in it.
        let given = located.sorted { $0.target < $1.target }
            .map { bind($0.source, $0.target, readOnly: $0.readOnly) }
        return folders + names + given + [bind(host.initProgram, RunnerFolder.initPath, readOnly: true)]
    }

    /// The mounts, with what a runner without root finds and mounts itself where it mounts it.
    private var located: [ContainerMount] {
        var index = 0
        return specification.mounts.map { given in
            guard host.rootless != nil, given.volumeRoot != nil else { return given }
            var located = given
            located.source = host.scratch + RunnerFolder.volume(index)
            index += 1
            return located
        }
    }

    /// In the order of ``RunnerFolder/volume(_:)``; nil for root.
    var rootlessAttempt: RootlessAttempt? {
        guard let rootless = host.rootless else { return nil }
        let volumes = specification.mounts.compactMap { mount -> RootlessAttempt.Volume? in
            guard let root = mount.volumeRoot else { return nil }
            let path = mount.source.dropFirst(root.count).drop { $0 == "/" }
            return RootlessAttempt.Volume(root: root, path: String(path), readOnly: mount.readOnly)
        }
        return RootlessAttempt(subordinate: rootless.subordinate, rootForm: rootless.rootForm, volumes: volumes)
    }

    private func bind(_ source: String, _ target: String, readOnly: Bool) -> JSONValue {
        mount(target, "bind", source, ["bind", "rprivate", readOnly ? "ro" : "rw", "nosuid", "nodev"])
    }

    private func mount(_ target: String, _ type: String, _ source: String, _ options: [String]) -> JSONValue {
        [
            "destination": .string(target), "type": .string(type), "source": .string(source),
            "options": .array(options.map { .string($0) }),
        ]
    }

    // MARK: Confinement

    private func linux(_ nodes: [HostNode]) -> JSONValue {
        // A tenth of a second each; the kernel takes no quota below a millisecond.
        let quota = min(max(specification.resources.cpus.thousandths, 10), 1_000_000_000) * 100
        var amounts: [(key: String, value: JSONValue)] = [("limit", .number(Double(memory)))]
        if host.limitsSwap { amounts.append(("swap", .number(Double(memory)))) }
        var spaces = ["pid", "ipc", "uts", "mount"]
        var masked = Self.maskedPaths
        var members: [(key: String, value: JSONValue)] = [
            ("rootfsPropagation", "private"), ("readonlyPaths", .array(Self.readonlyPaths)),
        ]
        if host.rootless == nil {
            spaces.append("cgroup")
            members.append(("cgroupsPath", .string(controlGroup)))
            members.append(
                (
                    "resources",
                    [
                        "devices": .array([["allow": false, "access": "rwm"]] + nodeRules(nodes)),
                        "memory": .object(amounts),
                        "cpu": ["quota": .number(Double(quota)), "period": 100_000],
                        "pids": ["limit": .number(Double(ContainerPlan.processLimit))],
                    ]
                ))
            if !nodes.isEmpty { members.append(("devices", .array(nodeEntries(nodes)))) }
        } else if specification.network == .host {
            // The host's, which a bind mount shows: a group that is delegated to the user is no container's business.
            masked.append("/sys/fs/cgroup")
        }
        members.append(("maskedPaths", .array(masked)))
        if specification.network == .none {
            spaces.append("network")
            // A service may listen on port 80 without being root, in a network of its own. Of one that it has made
            // the runner has seen to that: runc takes it for the host's.
            if company == nil { members.append(("sysctl", ["net.ipv4.ip_unprivileged_port_start": "0"])) }
        }
        members.append(("namespaces", .array(spaces.map { namespace($0) })))
        return .object(members)
    }

    private func namespace(_ type: String) -> JSONValue {
        guard type == "network", company != nil else { return ["type": .string(type)] }
        return ["type": .string(type), "path": .string(host.scratch + RunnerFolder.networkName)]
    }

    private static let maskedPaths: [JSONValue] = [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ]
    /// crun leaves the folder above the hierarchies of version 1 writable to everybody.
    private static let readonlyPaths: [JSONValue] = [
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys/fs/cgroup",
    ]
}

extension JSONValue: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral
{
    package init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(elements.map { ($0.0, $0.1) }) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int) { self = .number(Double(value)) }
}

// The engines' create documents, field by field. Names are the engines', with the case that ContainerPlan gives them
// on encoding. Constants that hold for each container stand here as defaults; what depends on the attempt comes from
// ContainerPlan.

/// Docker Engine API, `ContainerCreateRequest`.
struct DockerCreate: Encodable, Sendable {
    struct HealthCheck: Encodable { var test = ["NONE"] }
    struct Limit: Encodable { let name: String, soft: Int64, hard: Int64 }
    struct Log: Encodable { let type: String, config: [String: String] }
    struct DeviceRequest: Encodable { let driver: String, deviceIDs: [String], capabilities: [[String]]? }
    struct RestartPolicy: Encodable { var name = "no" }
    struct BindOptions: Encodable { let propagation: String }
    struct VolumeOptions: Encodable { let labels: [String: String] }
    struct Mount: Encodable {
        let type: String
        let source: String
        let target: String
        let readOnly: Bool
        var bindOptions: BindOptions?
        var volumeOptions: VolumeOptions?
    }

    struct Endpoint: Encodable {
        struct Addresses: Encodable { let iPv4Address: String }
        let ipamConfig: Addresses
    }
    struct Networking: Encodable { let endpointsConfig: [String: Endpoint] }

    struct Host: Encodable {
        let networkMode: String
        let memory: Int64
        let memorySwap: Int64
        let nanoCpus: Int64
        var pidsLimit = ContainerPlan.processLimit
        let ulimits: [Limit]
        var readonlyRootfs = true
        var privileged = false
        var capDrop = ["ALL"]
        var securityOpt = ["no-new-privileges"]
        var ipcMode = "private"
        var cgroupnsMode = "private"
        let tmpfs: [String: String]
        let shmSize: Int64
        let mounts: [Mount]
        let logConfig: Log
        /// dockerd's tini, which reaps what the program leaves behind and passes signals on, where there is no witness.
        let `init`: Bool
        let cgroupParent: String?
        let extraHosts: [String]?
        let dns: [String]?
        var restartPolicy = RestartPolicy()
        var autoRemove = false
        let deviceRequests: [DeviceRequest]?
    }

    let hostname: String
    let user: String
    let env: [String]
    let cmd: [String]
    let entrypoint: [String]
    let image: String
    let workingDir: String?
    let labels: [String: String]
    var stopSignal = "SIGTERM"
    /// Seconds.
    let stopTimeout: Int64
    var healthcheck = HealthCheck()
    var attachStdin = false
    var openStdin = false
    var tty = false
    let hostConfig: Host
    let networkingConfig: Networking?
}

/// libpod's `SpecGenerator`.
struct PodmanCreate: Encodable, Sendable {
    struct Namespace: Encodable { var nsmode = "private" }
    struct Mount: Encodable { let type: String, source: String, destination: String, options: [String] }
    /// Without the prefix RLIMIT_, or podman takes it for an unknown one and adds its own.
    struct Limit: Encodable { let type: String, soft: UInt64, hard: UInt64 }
    struct MemoryLimit: Encodable { let limit: Int64, swap: Int64 }
    struct CPULimit: Encodable { let period: Int64, quota: Int64 }
    struct ProcessLimit: Encodable { let limit: Int64 }
    struct ResourceLimits: Encodable { let memory: MemoryLimit, cpu: CPULimit, pids: ProcessLimit }
    struct Log: Encodable {
        var driver = "k8s-file"
        let size: Int64
    }
    struct Device: Encodable { let path: String }
    struct Endpoint: Encodable { let staticIps: [String] }

    let name: String
    let image: String
    let command: [String]
    let entrypoint: [String]
    let env: [String: String]
    var envHost = false
    var httpproxy = false
    /// Podman's own additions.
    var unsetenv = ["container", "TERM"]
    let user: String
    let hostname: String
    let workDir: String?
    /// As docker does it.
    var createWorkingDir = true
    let labels: [String: String]
    let mounts: [Mount]
    var imageVolumeMode = "ignore"
    let netns: Namespace
    let networks: [String: Endpoint]?
    /// `name:address`.
    let hostadd: [String]?
    let dnsServer: [String]?
    let sysctl: [String: String]?
    var pidns = Namespace()
    var ipcns = Namespace()
    var utsns = Namespace()
    var cgroupns = Namespace()
    let shmSize: Int64
    /// catatonit, as docker's tini.
    let `init`: Bool
    var readOnlyFilesystem = true
    var privileged = false
    var capDrop = ["all"]
    var noNewPrivileges = true
    /// SIGTERM.
    var stopSignal = 15
    var healthconfig = ["Test": ["NONE"]]
    let rLimits: [Limit]
    let resourceLimits: ResourceLimits
    let logConfiguration: Log
    var restartPolicy = "no"
    var remove = false
    let cgroupParent: String?
    let stopTimeout: Int64
    let devices: [Device]?
}

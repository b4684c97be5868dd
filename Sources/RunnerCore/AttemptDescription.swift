// What a runner must know of its attempt, written by the agent before the runner starts. What the OCI runtime must know
// is in `bundle`, which the runner hands on unread. Invariant: written once, never changed.

/// Programs that start containers by the OCI runtime specification.
package enum RuntimeKind: String, Hashable, Sendable, CaseIterable {
    case crun, runc, youki
}

/// What a runtime must be told beside its command.
package enum RuntimeOptions {
    /// How it deals with control groups: without root there are none.
    package static func groups(_ kind: RuntimeKind, isRootless: Bool) -> [String] {
        switch kind {
        case .crun: ["--cgroup-manager=" + (isRootless ? "disabled" : "cgroupfs")]
        case .runc: isRootless ? ["--rootless", "true"] : []
        case .youki: []
        }
    }

    /// `NAME=value`, of the runtime itself. runc works on one thread as well, and need not make others.
    package static func environment(_ kind: RuntimeKind) -> [String] {
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] + (kind == .runc ? ["GOMAXPROCS=1"] : [])
    }
}

package struct AttemptDescription: Hashable, Sendable {
    /// `42.7.2`, or `42.7.2-db` for its service `db`: the container's name too.
    package var attempt: String
    /// Of which boot of the host: nothing is started in another.
    package var boot: String
    package var runtime: String
    package var runtimeKind: RuntimeKind
    /// Below the root of each hierarchy of control groups, for example `/jobctl-w/42.7.2`.
    package var controlGroup: String
    /// The folders whose union is the root file system, the top first.
    package var layers: [String]
    /// Whether the layers' whiteouts are extended attributes of the user's.
    package var usesUserAttributes: Bool
    /// The digests of the layers, for the agent: they are in use for as long as the attempt is there.
    package var holds: [String]
    /// Made if the image lacks it.
    package var workingDirectory: String
    package var user: UInt32
    package var group: UInt32
    /// Bytes: what the private temporary folders may hold.
    package var memory: Int64
    /// Whether the host's name servers are shown.
    package var usesHostNetwork: Bool
    /// Bytes that are kept of each stream.
    package var logLimit: Int64
    /// Milliseconds from the start.
    package var timeLimit: Int64?
    /// Milliseconds from SIGTERM to SIGKILL where the order does not say.
    package var grace: Int64
    /// The file that holds the end of the agent's lease; see ``Lease``.
    package var leaseFile: String?
    /// The OCI bundle's config.json.
    package var bundle: String
    /// Set where the attempt has services: the network that they and the task share.
    package var company: Company?

    /// What a container knows of those that it shares a network with.
    package struct Company: Hashable, Sendable {
        /// How the container calls itself.
        package var hostname: String
        /// Its own, in the host's byte order.
        package var address: UInt32
        /// Lines of /etc/hosts: those who can be reached by name.
        package var hosts: [String]
        /// The services that the task's runner starts; none in a service's own description.
        package var services: [String]
        /// Whether this is a service, which its attempt's runner looks after.
        package var isService: Bool

        package init(hostname: String, address: UInt32, hosts: [String], services: [String], isService: Bool) {
            self.hostname = hostname
            self.address = address
            self.hosts = hosts
            self.services = services
            self.isService = isService
        }
    }
    /// Nil where the runner is root.
    package var rootless: RootlessAttempt?
    /// Its runner takes a ``TimeLimitOrder``: for those of earlier versions SIGHUP means to stop.
    package var takesLimits = true

    package init(
        attempt: String, boot: String, runtime: String, runtimeKind: RuntimeKind, controlGroup: String,
        layers: [String],
        usesUserAttributes: Bool, holds: [String], workingDirectory: String, user: UInt32, group: UInt32, memory: Int64,
        usesHostNetwork: Bool, logLimit: Int64,
        timeLimit: Int64?, grace: Int64, leaseFile: String?, bundle: String, company: Company? = nil
    ) {
        self.attempt = attempt
        self.boot = boot
        self.runtime = runtime
        self.runtimeKind = runtimeKind
        self.controlGroup = controlGroup
        self.layers = layers
        self.usesUserAttributes = usesUserAttributes
        self.holds = holds
        self.workingDirectory = workingDirectory
        self.user = user
        self.group = group
        self.memory = memory
        self.usesHostNetwork = usesHostNetwork
        self.logLimit = logLimit
        self.timeLimit = timeLimit
        self.grace = grace
        self.leaseFile = leaseFile
        self.bundle = bundle
        self.company = company
    }

    private static let format = "jobctl-attempt-1"

    package var text: [UInt8] {
        var record = RecordText()
        record.add("format", Self.format)
        record.add("attempt", attempt)
        record.add("boot", boot)
        record.add("runtime", runtime)
        record.add("runtime-kind", runtimeKind.rawValue)
        record.add("control-group", controlGroup)
        for layer in layers { record.add("layer", layer) }
        record.add("layer-form", usesUserAttributes ? "user" : "trusted")
        for digest in holds { record.add("hold", digest) }
        record.add("working-directory", workingDirectory)
        record.add("user", user)
        record.add("group", group)
        record.add("memory", memory)
        record.add("network", usesHostNetwork ? "host" : "private")
        record.add("log-limit", logLimit)
        record.add("time-limit-ms", timeLimit)
        record.add("grace-ms", grace)
        record.add("lease-file", leaseFile)
        record.add("bundle", bundle)
        if let company {
            record.add("role", company.isService ? "service" : "task")
            record.add("hostname", company.hostname)
            record.add("address", company.address)
            for host in company.hosts { record.add("host", host) }
            for service in company.services { record.add("service", service) }
        }
        if takesLimits { record.add("takes-limits", 1) }
        rootless?.add(to: &record)
        return record.text
    }

    package init(_ text: [UInt8]) throws(RecordText.Malformed) {
        let record = try RecordText(text)
        try record.expect(format: Self.format)
        guard let kind = RuntimeKind(rawValue: try record.value("runtime-kind")) else {
            throw RecordText.Malformed("the record's 'runtime-kind' is not known")
        }
        self.init(
            attempt: try record.value("attempt"), boot: try record.value("boot"), runtime: try record.value("runtime"),
            runtimeKind: kind, controlGroup: try record.value("control-group"), layers: record.all("layer"),
            usesUserAttributes: record.optional("layer-form") == "user", holds: record.all("hold"),
            workingDirectory: try record.value("working-directory"), user: try record.number("user"),
            group: try record.number("group"), memory: try record.number("memory"),
            usesHostNetwork: try record.value("network") == "host", logLimit: try record.number("log-limit"),
            timeLimit: try record.optionalNumber("time-limit-ms"), grace: try record.number("grace-ms"),
            leaseFile: record.optional("lease-file"), bundle: try record.value("bundle"),
            company: try Self.company(record))
        rootless = try RootlessAttempt(record)
        takesLimits = record.optional("takes-limits") == "1"
        guard !layers.isEmpty, logLimit >= 0, grace >= 0, controlGroup.hasPrefix("/"), !controlGroup.contains("..")
        else {
            throw RecordText.Malformed("the attempt's description is not consistent")
        }
    }

    private static func company(_ record: RecordText) throws(RecordText.Malformed) -> Company? {
        guard let role = record.optional("role") else { return nil }
        let services = record.all("service")
        // They name folders.
        guard services.allSatisfy({ !$0.isEmpty && !$0.contains("/") }) else {
            throw RecordText.Malformed("the record's 'service' is no name")
        }
        return Company(
            hostname: try record.value("hostname"), address: try record.number("address"), hosts: record.all("host"),
            services: services, isService: role == "service")
    }
}

// From a located tree to a JobSpec: a table of keys, each with the function that reads it. The same rules for YAML and
// JSON.

package enum SpecParser {
    /// Parses a spec file: JSON if its first character is `{`, YAML otherwise.
    /// - Throws: ``SpecError`` that names file, line and field.
    package static func parse(file name: String, _ bytes: [UInt8]) throws(SpecError) -> JobSpec {
        try parse(tree(file: name, bytes))
    }

    /// The document of a spec file, for the wire: the scheduler applies the same rules to it again.
    package static func tree(file name: String, _ bytes: [UInt8]) throws(SpecError) -> SpecNode {
        let first = bytes.first { $0 != 0x20 && $0 != 0x09 && $0 != 0x0a && $0 != 0x0d }
        return first == UInt8(ascii: "{")
            ? try JSONParser.parse(bytes, file: name) : try YAMLParser.parse(bytes, file: name)
    }

    /// Understands a document.
    /// - Parameter path: where it stands in a larger one, for messages.
    package static func parse(_ node: SpecNode, path: String = "$") throws(SpecError) -> JobSpec {
        let root = SpecReader(node: node, path: path)
        var draft = Draft()
        for member in try root.members() {
            guard let field = fields[member.key] else {
                let hint = nearest(to: member.key, among: fields.keys.sorted()).map { ": did you mean '\($0)'?" } ?? ""
                throw SpecError(
                    location: member.keyLocation, path: member.reader.path, message: "is not a known key\(hint)")
            }
            try field(&draft, member.reader)
        }
        return try draft.finish(root)
    }

    /// Every key that a spec may have.
    package static var keys: [String] { fields.keys.sorted() }

    private typealias Field = @Sendable (inout Draft, SpecReader) throws(SpecError) -> Void

    private static let fields: [String: Field] = [
        "name": { (draft, field) throws(SpecError) in draft.name = try field.name(ConfigurationName.self) },
        "image": { (draft, field) throws(SpecError) in draft.image = try SpecFields.image(field) },
        "platform": { (draft, field) throws(SpecError) in
            let text = try field.string(atMost: 64)
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard (2...3).contains(parts.count), parts.allSatisfy({ Template.isParameterName($0) }) else {
                throw field.refusal("\(quoted(text)) is not a platform: write OS/ARCHITECTURE, for example linux/amd64")
            }
            draft.platform = text
        },
        "command": { (draft, field) throws(SpecError) in draft.command = try SpecFields.command(field) },
        "shell": { (draft, field) throws(SpecError) in draft.shell = try SpecFields.shell(field) },
        "files": { (draft, field) throws(SpecError) in draft.files = try SpecFields.files(field) },
        "environment": { (draft, field) throws(SpecError) in draft.environment = try SpecFields.environment(field) },
        "working_dir": { (draft, field) throws(SpecError) in
            draft.workingDirectory = try SpecFields.containerPath(field)
        },
        "volumes": { (draft, field) throws(SpecError) in draft.volumes = try SpecFields.volumes(field) },
        "resources": { (draft, field) throws(SpecError) in draft.resources = try SpecFields.resources(field) },
        "time_limit": { (draft, field) throws(SpecError) in draft.timeLimit = try field.timeSpan() },
        "grace": { (draft, field) throws(SpecError) in
            let span = try field.timeSpan()
            guard span <= .minutes(60) else { throw field.refusal("must be at most 60m") }
            draft.grace = span
        },
        "matrix": { (draft, field) throws(SpecError) in draft.matrix = try MatrixFields.matrix(field) },
        "array": { (draft, field) throws(SpecError) in (draft.array, draft.arrayRunning) = try SpecFields.array(field)
        },
        "open": { (draft, field) throws(SpecError) in draft.open = try field.flag() },
        "gang": { (draft, field) throws(SpecError) in draft.gang = try field.integer(in: TaskShape.gangSizes) },
        "max_running": { (draft, field) throws(SpecError) in
            draft.mostRunning = Int64(try field.integer(in: 1...Int(TaskShape.largestCount)))
        },
        "start_after": { (draft, field) throws(SpecError) in draft.startAfter = try RuleFields.moment(field) },
        "deadline": { (draft, field) throws(SpecError) in draft.deadline = try RuleFields.moment(field) },
        "parameters": { (draft, field) throws(SpecError) in draft.parameters = try SpecFields.parameters(field) },
        "labels": { (draft, field) throws(SpecError) in
            draft.labels = try field.strings(
                atMost: SpecLimits.labels, keys: SpecFields.labelRule, isKey: SpecFields.isLabel)
        },
        "constraints": { (draft, field) throws(SpecError) in draft.constraints = try SpecFields.constraints(field) },
        "prefer": { (draft, field) throws(SpecError) in
            draft.placement.preferences = try SpecFields.constraints(field).sorted { $0.description < $1.description }
        },
        "placement": { (draft, field) throws(SpecError) in
            draft.placement.strategy = try field.choice(PlacementStrategy.self)
        },
        "exclusive": { (draft, field) throws(SpecError) in draft.placement.isExclusive = try ResourceFields.flag(field)
        },
        "licenses": { (draft, field) throws(SpecError) in draft.placement.licenses = try ResourceFields.counts(field) },
        "retries": { (draft, field) throws(SpecError) in draft.retries = try RuleFields.retries(field) },
        "queue": { (draft, field) throws(SpecError) in draft.queue = try field.name(QueueName.self) },
        "priority": { (draft, field) throws(SpecError) in
            draft.priority = try field.integer(in: -SpecLimits.priority...SpecLimits.priority)
        },
        "network": { (draft, field) throws(SpecError) in draft.network = try field.choice(NetworkMode.self) },
        "services": { (draft, field) throws(SpecError) in draft.services = try ServiceFields.services(field) },
        "depends_on": { (draft, field) throws(SpecError) in
            draft.dependencies = try DependencyFields.dependencies(field)
        },
        "keep": { (draft, field) throws(SpecError) in draft.keep = try field.choice(KeepPolicy.self) },
        "fingerprint": { (draft, field) throws(SpecError) in draft.fingerprint = try field.choice(FingerprintLevel.self)
        },
    ]

    /// What has been read so far, with the defaults of DESIGN section 4.
    private struct Draft {
        var name: ConfigurationName?
        var image: (ImageReference, String)?
        var platform: String?
        var command: [String]?
        var shell: String?
        var files: [String: String] = [:]
        var environment: [String: String] = [:]
        var workingDirectory: String?
        var volumes: [JobSpec.Slot] = []
        var resources = Resources.standard
        var timeLimit: TimeSpan?
        var grace = TimeSpan.seconds(10)
        var matrix: TaskShape?
        var array: TaskShape?
        var gang: Int?
        var parameters: [String: String] = [:]
        var labels: [String: String] = [:]
        var constraints: [Constraint] = []
        var retries = RuleFields.Retries()
        var arrayRunning: Int64?
        var open = false
        var mostRunning: Int64?
        var startAfter: JobSpec.Moment?
        var deadline: JobSpec.Moment?
        var queue = QueueName.standard
        var priority = 0
        var network = NetworkMode.none
        var fingerprint = FingerprintLevel.content
        var services: [JobSpec.Service] = []
        var keep: KeepPolicy?
        var placement = PlacementRequest.standard
        var dependencies: [JobSpec.Dependency] = []

        func finish(_ root: SpecReader) throws(SpecError) -> JobSpec {
            func refusal(_ field: String, _ message: String) -> SpecError {
                SpecError(location: root.node.location, path: "\(root.path).\(field)", message: message)
            }
            guard let image else { throw refusal("image", "is required: \(ImageReference.rule)") }
            let argv: [String]
            switch (command, shell) {
            case (let command?, nil): argv = command
            case (nil, let shell?): argv = ["/bin/sh", "-c", shell]
            case (nil, nil):
                throw refusal(
                    "command",
                    "is required: a list such as [\"python3\", \"/job/mean.py\"], or 'shell' with one line for sh -c")
            case (_?, _?): throw refusal("shell", "cannot stand beside 'command': keep one of them")
            }
            if matrix != nil, array != nil { throw refusal("array", "cannot stand beside 'matrix': keep one of them") }
            if mostRunning != nil, arrayRunning != nil {
                throw refusal("max_running", "is given with '%' in 'array' as well: keep one of them")
            }
            if open, array == nil { throw refusal("open", "needs 'array': only an array can grow") }
            let shape = try gangShape(refusal) ?? matrix ?? array ?? .single
            if let axis = shape.axisNames.first(where: { parameters[$0] != nil }) {
                throw refusal("parameters.\(axis)", "is a matrix axis as well: keep one of them")
            }
            let mountedPaths = volumes.map(\.slot.path)
            for path in files.keys.sorted()
            where mountedPaths.contains(where: {
                path == $0 || SpecFields.isBelow(path, $0) || SpecFields.isBelow($0, path)
            }) {
                throw refusal("files.\(shown(path))", "lies inside a volume's mount point: choose another path")
            }
            guard services.isEmpty || network == .none else {
                throw refusal(
                    "network",
                    "cannot be '\(network.rawValue)' beside 'services', which make a private network: leave it out")
            }
            return JobSpec(
                name: name, image: image.0, imageText: image.1, platform: platform, command: argv, files: files,
                environment: environment, workingDirectory: workingDirectory, volumes: volumes, resources: resources,
                timeLimit: timeLimit, grace: grace, shape: shape, parameters: parameters, labels: labels,
                constraints: constraints, retries: retries.most, queue: queue, priority: priority, network: network,
                fingerprint: fingerprint, services: services, keep: keep, placement: placement,
                dependencies: dependencies, startAfter: startAfter, deadline: deadline,
                mostRunning: mostRunning ?? arrayRunning, retryOn: retries.on, retryNotOn: retries.notOn,
                open: open)
        }

        /// One gang is all that a job has.
        private func gangShape(_ refusal: (String, String) -> SpecError) throws(SpecError) -> TaskShape? {
            guard let gang else { return nil }
            for (name, isGiven) in [
                ("array", array != nil), ("matrix", matrix != nil), ("max_running", mostRunning != nil),
            ] where isGiven {
                throw refusal(
                    name, "cannot stand beside 'gang', whose members all run at once: submit a job for each gang")
            }
            if let dependency = dependencies.first(where: \.kind.isEach) {
                throw refusal(
                    "depends_on.\(dependency.kind.rawValue)",
                    "waits task by task, and a gang starts as a whole: use the kind without '_each'")
            }
            return .gang(gang)
        }
    }
}

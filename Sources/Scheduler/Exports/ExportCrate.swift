// The provenance of an export as an RO-Crate 1.1 that follows the Process Run Crate 0.5 profile, and with one
// configuration that has run also the Workflow Run Crate 0.5 profile: each attempt that ended is a CreateAction, its
// instrument the configuration, its container the pinned image, its objects and results what the slots held. The data
// itself lies on volumes, so a slot's data is a value: its tree digest, with the list of files that it is taken over.
// The terms of the profiles stand in the context itself, so that no second document is needed to read it.
import JobModel

struct ExportCrate: Sendable {
    /// Attempts that are described. All of them stand in attempts.jsonl.
    static let mostActions = 2_000

    private var images: [ExportedImage] = []
    private var attempts: [(attempt: AttemptDocument, run: ExportedRun)] = []
    private var omitted = 0

    mutating func add(_ image: ExportedImage, mediaType: String) { images.append(image) }

    /// What has not ended is no action yet.
    mutating func add(_ attempt: AttemptDocument, of run: ExportedRun) {
        guard attempt.state.value?.isTerminal == true else { return }
        guard attempts.count < Self.mostActions else {
            omitted += 1
            return
        }
        attempts.append((attempt, run))
    }

    /// `ro-crate-metadata.json`
    func document(
        configurations: [ConfigurationDocument], members: [ExportMember], origin: String, by user: UserName,
        at time: Timestamp
    ) -> JSONValue {
        let paths = Set(members.map(\.path))
        let actions = attempts.map { CrateAction(attempt: $0.attempt, run: $0.run, paths: paths) }
        let isWorkflow = configurations.count == 1 && !actions.isEmpty
        let files = CrateFiles(members: members, actions: actions)
        var root: [(key: String, value: JSONValue)] = [
            ("@id", .string("./")), ("@type", .string("Dataset")),
            ("name", .string("jobctl export of " + configurations.map(\.title).joined(separator: ", "))),
            ("description", .string(description(of: configurations))), ("datePublished", .string(time.crateText)),
            ("license", .reference("#rights")), ("author", .reference("#cluster-\(origin)")),
            ("publisher", .reference("#cluster-\(origin)")),
            ("conformsTo", .references(CrateProfile.all(isWorkflow).map(\.id))),
            ("hasPart", .references(files.parts)), ("mentions", .references(actions.map(\.id))),
        ]
        if isWorkflow {
            root.append(("mainEntity", .reference("\(ExportPath.configuration(configurations[0].digest))")))
        }
        let data = Self.unique(actions.flatMap(\.data))
        let graph =
            [Self.descriptor(isWorkflow), .object(root)] + CrateProfile.all(isWorkflow).map(\.entity) + files.entities
            + configurations.flatMap { CrateConfiguration(document: $0, data: data).entities }
            + images.map { $0.entity(named: configurations) } + actions.map(\.entity) + data.map(\.entity)
            + persons(actions) + fixedEntities(origin)
        return .object([("@context", Self.context), ("@graph", .array(graph))])
    }

    private static let context: JSONValue = {
        let terms = "https://w3id.org/ro/terms/workflow-run#"
        let names = ["ContainerImage", "DockerImage", "containerImage", "registry", "tag", "sha256", "environment"]
        return .array([
            .string("https://w3id.org/ro/crate/1.1/context"), .object(names.map { ($0, .string(terms + $0)) }),
        ])
    }()

    private static func descriptor(_ isWorkflow: Bool) -> JSONValue {
        let base = "https://w3id.org/ro/crate/1.1"
        return .object([
            ("@id", .string("ro-crate-metadata.json")), ("@type", .string("CreativeWork")),
            ("conformsTo", .references(isWorkflow ? [base, CrateProfile.workflowCrate.id] : [base])),
            ("about", .reference("./")),
        ])
    }

    /// For whoever finds the file and knows nothing of it.
    static func readme(_ configurations: [ConfigurationDocument], _ time: Timestamp) -> String {
        """
        # \(configurations.map(\.title).joined(separator: ", "))

        This is an export of jobctl, written at \(time). It holds all that is needed to run what is named above again:
        container images (`blobs/`, `index.json`: an OCI image layout), configurations (`configurations/`), and what is
        known of the runs so far (`runs/`, `trees/`, and as an RO-Crate in `ro-crate-metadata.json`). The data that the
        runs read and wrote is not in it; its digests are.

            jobctl archive import FILE.tar
            jobctl rerun \(configurations.first?.names.first.map { "\($0.name)" } ?? "CONFIGURATION")

        """
    }

    private func description(of configurations: [ConfigurationDocument]) -> String {
        let text =
            "Everything that is needed to run \(configurations.map(\.title).joined(separator: ", ")) again, and what is "
            + "known of the runs so far. 'jobctl archive import' takes it into another cluster."
        return omitted == 0 ? text : text + " \(omitted) more attempts are described only in runs/."
    }

    private static func unique(_ data: [CrateData]) -> [CrateData] {
        var seen: Set<String> = []
        return data.filter { seen.insert($0.id).inserted }
    }

    private func persons(_ actions: [CrateAction]) -> [JSONValue] {
        Set(actions.map(\.agent)).sorted().map { name in
            .object([("@id", .string("#user-\(name)")), ("@type", .string("Person")), ("name", .string(name))])
        }
    }

    private func fixedEntities(_ origin: String) -> [JSONValue] {
        [
            .object([
                ("@id", .string("#cluster-\(origin)")), ("@type", .string("Organization")),
                ("name", .string("The jobctl cluster \(origin)")), ("url", .string("urn:jobctl:cluster:\(origin)")),
            ]),
            .object([
                ("@id", .string("#rights")), ("@type", .string("CreativeWork")), ("name", .string("Rights")),
                ("description", .string("No license is stated: ask whoever made the export.")),
            ]),
            .object([
                ("@id", .string("#jobctl-configuration")), ("@type", .string("ComputerLanguage")),
                ("name", .string("jobctl configuration")), ("url", .string("urn:jobctl:configuration")),
            ]),
        ]
    }
}

/// A profile that the crate follows.
private enum CrateProfile {
    case process
    case workflow
    case workflowCrate

    static func all(_ isWorkflow: Bool) -> [CrateProfile] {
        isWorkflow ? [.process, .workflow, .workflowCrate] : [.process]
    }

    var id: String {
        switch self {
        case .process: "https://w3id.org/ro/wfrun/process/0.5"
        case .workflow: "https://w3id.org/ro/wfrun/workflow/0.5"
        case .workflowCrate: "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
        }
    }

    var entity: JSONValue {
        let (name, version) =
            switch self {
            case .process: ("Process Run Crate", "0.5")
            case .workflow: ("Workflow Run Crate", "0.5")
            case .workflowCrate: ("Workflow RO-Crate", "1.0")
            }
        return .object([
            ("@id", .string(id)), ("@type", .string("CreativeWork")), ("name", .string(name)),
            ("version", .string(version)),
        ])
    }
}

/// The files and folders that are described.
private struct CrateFiles {
    /// Everything below the root, by path.
    let parts: [String]
    let entities: [JSONValue]

    init(members: [ExportMember], actions: [CrateAction]) {
        let wanted = Set(actions.flatMap(\.files))
        var parts = [ExportList.path]
        var entities = [
            Self.file(ExportList.path, "The list of everything in this export", "application/json", nil)
        ]
        var folders: Set<String> = []
        for member in members {
            let path = "\(member.path)"
            if let slash = path.firstIndex(of: "/") { folders.insert(String(path[...slash])) }
            switch member.path {
            case .readme:
                parts.append(path)
                entities.append(
                    .object([
                        ("@id", .string(path)), ("@type", .string("File")), ("name", .string("What this is")),
                        ("about", .reference("./")), ("encodingFormat", Self.format("text/markdown")),
                        ("contentSize", .string(String(member.size))),
                    ]))
            case .layout, .index:
                parts.append(path)
                entities.append(Self.file(path, "The images as an OCI image layout", "application/json", member.size))
            // Described as what they are.
            case .configuration: parts.append(path)
            case .tree, .runFile:
                guard wanted.contains(path) else { continue }
                parts.append(path)
                let name = if case .tree = member.path { "The list of files behind a tree digest" } else { "A log" }
                entities.append(Self.file(path, name, "text/plain", member.size))
            case .crate, .image, .run, .blob: continue
            }
        }
        let names = [
            "blobs/": "Images and files of configurations, by digest",
            "images/": "Names of images, and how they were made", "runs/": "Jobs, their attempts and logs",
            "trees/": "Lists of files behind tree digests",
        ]
        for folder in folders.sorted() {
            guard let name = names[folder] else { continue }
            parts.append(folder)
            entities.append(
                .object([("@id", .string(folder)), ("@type", .string("Dataset")), ("name", .string(name))]))
        }
        self.parts = parts
        self.entities =
            entities
            + Self.formats.map { format in
                .object([
                    ("@id", .string(Self.registry + format.number)), ("@type", .string("WebSite")),
                    ("name", .string(format.name)),
                ])
            }
    }

    private static let registry = "https://www.nationalarchives.gov.uk/PRONOM/"
    private static let formats = [
        (type: "application/json", number: "fmt/817", name: "JSON Data Interchange Format"),
        (type: "text/plain", number: "x-fmt/111", name: "Plain Text File"),
        (type: "text/markdown", number: "fmt/1149", name: "Markdown"),
    ]

    static func format(_ type: String) -> JSONValue {
        let known = formats.first { $0.type == type }
        return .array([.string(type)] + (known.map { [.reference(registry + $0.number)] } ?? []))
    }

    private static func file(_ path: String, _ name: String, _ type: String, _ size: Int64?) -> JSONValue {
        .object(
            [
                ("@id", .string(path)), ("@type", .string("File")), ("name", .string(name)),
                ("encodingFormat", format(type)),
            ] + (size.map { [("contentSize", .string(String($0)))] } ?? []))
    }
}

/// A configuration: the tool, and the workflow.
private struct CrateConfiguration {
    let document: ConfigurationDocument
    let data: [CrateData]

    var entities: [JSONValue] {
        let configuration = document.configuration
        let slots = configuration.slots.sorted { $0.key < $1.key }
        func parameters(_ slots: [(key: SlotName, value: Slot)]) -> JSONValue {
            .references(slots.map { CrateData.parameter(document.digest, $0.key.rawValue) })
        }
        let formal = slots.map { slot, value -> JSONValue in
            let id = CrateData.parameter(document.digest, slot.rawValue)
            return .object([
                ("@id", .string(id)), ("@type", .string("FormalParameter")), ("name", .string(slot.rawValue)),
                ("additionalType", .string("PropertyValue")), ("conformsTo", .reference(CrateData.formalParameter)),
                (
                    "description",
                    .string("What is mounted at \(value.path) (\(value.mode.rawValue)), by its tree digest")
                ),
                ("workExample", .references(data.filter { $0.parameter == id }.map(\.id))),
            ])
        }
        let entity = JSONValue.object([
            ("@id", .string("\(ExportPath.configuration(document.digest))")),
            ("@type", .array(["File", "SoftwareSourceCode", "ComputationalWorkflow"].map { .string($0) })),
            ("name", .string(document.title)),
            ("version", .string(document.names.first.map { "\($0.version)" } ?? "1")),
            ("description", .string(configuration.command.joined(separator: " "))),
            ("url", .string("urn:sha256:\(document.digest.hex)")), ("identifier", .string("\(document.digest)")),
            ("dateCreated", .string(document.createdAt.crateText)),
            ("encodingFormat", CrateFiles.format("application/json")),
            ("license", .reference("#rights")), ("conformsTo", .reference(CrateData.workflow)),
            ("programmingLanguage", .reference("#jobctl-configuration")),
            ("input", parameters(slots.filter { $0.value.mode != .out })),
            ("output", parameters(slots.filter { $0.value.mode == .out })),
        ])
        return [entity] + formal
    }
}

/// What a slot held in an attempt.
struct CrateData: Sendable {
    static let formalParameter = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
    static let workflow = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"

    let id: String
    let parameter: String
    let entity: JSONValue

    static func parameter(_ configuration: Digest, _ slot: String) -> String { "#\(configuration.short)-\(slot)" }

    init(_ slot: String, _ tree: TreeFingerprint, configuration: Digest, paths: Set<ExportPath>) {
        parameter = Self.parameter(configuration, slot)
        let value = tree.treeDigest.map { "\($0)" } ?? "not fingerprinted"
        id = parameter + "-" + (tree.treeDigest?.hex ?? "unknown")
        var members: [(key: String, value: JSONValue)] = [
            ("@id", .string(id)), ("@type", .string("PropertyValue")), ("name", .string(slot)),
            ("value", .string(value)), ("exampleOfWork", .reference(parameter)),
            ("description", .string("\(tree.files) files, \(tree.bytes) (fingerprint: \(tree.level.rawValue))")),
        ]
        if let digest = tree.treeDigest, paths.contains(.tree(digest)) {
            members.append(("subjectOf", .reference("\(ExportPath.tree(digest))")))
        }
        entity = .object(members)
    }
}

extension ConfigurationDocument {
    /// `annual-temps@3`, or the digest of a configuration without a name.
    fileprivate var title: String { names.first.map { "\($0)" } ?? "\(digest)" }
}

extension ExportedImage {
    fileprivate func entity(named configurations: [ConfigurationDocument]) -> JSONValue {
        let pinned = configurations.first { $0.configuration.image.digest == digest }?.imageReference
        let reference = (pinned ?? names.first).flatMap { ImageReference($0) }
        return .object(
            [
                ("@id", .string(CrateAction.image(digest))), ("@type", .string("ContainerImage")),
                ("additionalType", .reference("https://w3id.org/ro/terms/workflow-run#DockerImage")),
                ("registry", .string(reference?.registry ?? "localhost")),
                ("name", .string(reference?.repository ?? digest.short)), ("sha256", .string(digest.hex)),
            ] + (reference?.tagOrLatest.map { [("tag", .string($0))] } ?? []))
    }
}

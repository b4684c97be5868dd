// A configuration or a record that came from outside as JSON, held to every rule that a submission is held to: it is
// written as the spec that would make it, that is read as any other, and what comes out must be the same. So there is
// one set of rules, and nothing enters that could not have been submitted.

extension Configuration {
    /// - Throws: ``SpecError`` that names the field, in the words of a spec.
    package func checkAsSubmitted() throws(SpecError) {
        let spec = try readBack(asSpec([]))
        guard spec.configuration(image: image, files: files, serviceImages: services.mapValues(\.image)) == self else {
            throw SpecError(
                location: SourceLocation(file: nil, line: 1), path: "$", message: "is not what any job spec comes to")
        }
    }

    /// The spec that comes to this configuration.
    fileprivate func asSpec(_ more: [(key: String, value: JSONValue)]) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("image", .string("pinned@\(image.digest)")), ("command", Self.words(command)),
            ("environment", Self.texts(environment)), ("files", Self.texts(files.mapValues { _ in "./file" })),
            (
                "volumes",
                .array(
                    slots.sorted { $0.key < $1.key }.map {
                        .string("\($0.key):\($0.value.path):\($0.value.mode.rawValue)")
                    })
            ), ("network", .string(network.rawValue)), ("resources", resources.asSpec),
        ]
        if let platform = image.platform { members.append(("platform", .string(platform))) }
        if let workingDirectory { members.append(("working_dir", .string(workingDirectory))) }
        if !services.isEmpty {
            members.append(
                ("services", .object(services.sorted { $0.key < $1.key }.map { ($0.key.rawValue, $0.value.asSpec) })))
        }
        if let gang { members.append(("gang", .number(Double(gang)))) }
        return .object(members + more)
    }

    fileprivate static func words(_ words: [String]) -> JSONValue { .array(words.map { .string($0) }) }

    fileprivate static func texts(_ texts: [String: String]) -> JSONValue {
        .object(texts.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
    }
}

private func readBack(_ spec: JSONValue) throws(SpecError) -> JobSpec {
    try SpecParser.parse(try JSONParser.parse(spec.written))
}

extension Resources {
    fileprivate var asSpec: JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("cpus", .number(cpus.cpus)), ("memory", .number(Double(memory.bytes))), ("gpus", .number(Double(gpus))),
        ]
        if disk.bytes > 0 { members.append(("disk", .number(Double(disk.bytes)))) }
        if !custom.isEmpty { members.append(("custom", custom.asSpec)) }
        return .object(members)
    }
}

extension ResourceCounts {
    fileprivate var asSpec: JSONValue { .object(entries.map { ($0.name.rawValue, .number(Double($0.count))) }) }
}

extension PlacementRequest {
    fileprivate var asSpec: [(key: String, value: JSONValue)] {
        var members: [(key: String, value: JSONValue)] = []
        if !licenses.isEmpty { members.append(("licenses", licenses.asSpec)) }
        if !preferences.isEmpty { members.append(("prefer", .array(preferences.map { .string("\($0)") }))) }
        if let strategy { members.append(("placement", .string(strategy.rawValue))) }
        if isExclusive { members.append(("exclusive", .bool(true))) }
        return members
    }
}

extension Matrix {
    fileprivate var asSpec: JSONValue {
        func rows(_ rows: [[String: String]]) -> JSONValue {
            .array(
                rows.map { row in
                    .object(axes.compactMap { axis in row[axis.name].map { (axis.name, .string($0)) } })
                })
        }
        var members = axes.filter { !$0.values.isEmpty }.map { ($0.name, Configuration.words($0.values)) }
        if !exclude.isEmpty { members.append(("exclude", rows(exclude))) }
        if !include.isEmpty { members.append(("include", rows(include))) }
        return .object(members)
    }
}

extension TaskService {
    fileprivate var asSpec: JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("image", .string("pinned@\(image.digest)")), ("command", Configuration.words(command)),
            ("environment", Configuration.texts(environment)),
            (
                "resources",
                .object([("cpus", .number(resources.cpus.cpus)), ("memory", .number(Double(resources.memory.bytes)))])
            ),
        ]
        if let workingDirectory { members.append(("working_dir", .string(workingDirectory))) }
        if let health {
            members.append(
                (
                    "healthcheck",
                    .object([
                        ("command", Configuration.words(health.command)),
                        ("interval", .number(health.interval.seconds)), ("timeout", .number(health.timeout.seconds)),
                        ("retries", .number(Double(health.retries))),
                    ])
                ))
        }
        return .object(members)
    }
}

extension JobRecord {
    /// The record of the same job, made anew from its parts by the rules for submissions. Who owned it stays.
    /// - Parameter configuration: the one that it runs, already checked.
    /// - Throws: ``SpecError`` or ``Problem`` that names the field.
    package func checkedAsSubmitted(_ configuration: Configuration) throws -> JobRecord {
        var members: [(key: String, value: JSONValue)] = [
            ("labels", Configuration.texts(labels)), ("retries", .number(Double(retries))),
            ("constraints", .array(constraints.map { .string("\($0)") })),
            ("queue", .string(queue.rawValue)), ("priority", .number(Double(priority))),
            ("grace", .number(grace.seconds)), ("fingerprint", .string(fingerprint.rawValue)),
            ("parameters", Configuration.texts(parameters)),
        ]
        if let timeLimit { members.append(("time_limit", .number(timeLimit.seconds))) }
        switch shape {
        // A gang's size is the configuration's.
        case .single, .gang: break
        case .array(let first, let last): members.append(("array", .string("\(first)-\(last)")))
        case .matrix(let matrix): members.append(("matrix", matrix.asSpec))
        }
        var spec = try readBack(configuration.asSpec(members + placement.asSpec))
        spec.name = ConfigurationName(rawValue: name)
        spec.imageText = imageReference
        guard let image = ImageReference(imageReference),
            image.digest == nil || image.digest == configuration.image.digest
        else {
            throw SpecError(
                location: SourceLocation(file: nil, line: 1), path: "$.image_reference",
                message: "is not an image: \(ImageReference.rule)")
        }
        spec.image = image
        let references = Dictionary(services.map { ($0.name, $0.reference) }, uniquingKeysWith: { first, _ in first })
        spec.services = try spec.services.map { service in
            guard let text = references[service.name], let image = ImageReference(text) else {
                throw SpecError(
                    location: SourceLocation(file: nil, line: 1), path: "$.services.\(service.name)",
                    message: "is not an image: \(ImageReference.rule)")
            }
            return JobSpec.Service(
                name: service.name, image: image, imageText: text, command: service.command,
                environment: service.environment, workingDirectory: service.workingDirectory,
                resources: service.resources, health: service.health)
        }
        let bindings = Dictionary(uniqueKeysWithValues: bindings.map { ($0.key.rawValue, $0.value.description) })
        var record = try spec.record(
            configuration: configuration, digest: configuration.digest, owner: owner,
            choices: SubmissionChoices(bindings: bindings)
        ).with(configurationVersion, rerunOf: rerunOf, verifies: verifies)
        record.dependencies = dependencies
        record.pipeline = pipeline
        record.schedule = schedule
        record.rules = rules
        return record
    }

    /// What a record says of the job's past.
    private func with(_ version: ConfigurationVersion?, rerunOf: JobID?, verifies: JobID?) -> JobRecord {
        JobRecord(
            name: name, owner: owner, queue: queue, priority: priority, configuration: configuration,
            configurationVersion: version, imageReference: imageReference, image: image, resources: resources,
            slots: slots, bindings: bindings, parameters: parameters, shape: shape, labels: labels,
            constraints: constraints, retries: retries, timeLimit: timeLimit, grace: grace, fingerprint: fingerprint,
            rerunOf: rerunOf, services: services, verifies: verifies, placement: placement)
    }
}

// From a spec and what a submission adds to it to a configuration and a job record. Pure: the image is already pinned
// and the files' digests are known. What needs the scheduler (job id, configuration version) comes later.

/// What a submission says besides the spec.
package struct SubmissionChoices: Hashable, Sendable {
    /// Slot → binding, as written.
    package var bindings: [String: String]
    package var parameters: [String: String]
    package init(bindings: [String: String] = [:], parameters: [String: String] = [:]) {
        self.bindings = bindings
        self.parameters = parameters
    }
}

extension JobSpec {
    /// The configuration that this spec is with pinned images and stored files.
    /// - Parameters:
    ///   - files: by container path, one for each of the spec's files.
    ///   - serviceImages: one for each of the spec's services.
    package func configuration(
        image: PinnedImage, files: [String: ConfigurationFile], serviceImages: [ServiceName: PinnedImage] = [:]
    ) -> Configuration {
        Configuration(
            image: image, command: command, environment: environment, workingDirectory: workingDirectory, files: files,
            slots: Dictionary(uniqueKeysWithValues: volumes.map { ($0.name, $0.slot) }), network: network,
            resources: resources,
            services: services.reduce(into: [:]) { pinned, service in
                guard let image = serviceImages[service.name] else { return }
                pinned[service.name] = TaskService(
                    image: image, command: service.command, environment: service.environment,
                    workingDirectory: service.workingDirectory, resources: service.resources, health: service.health)
            }, gang: shape.gangSize)
    }

    /// The fixed part of the job.
    /// - Throws: ``Problem`` that names the binding or parameter at fault.
    package func record(
        configuration: Configuration, digest: Digest, owner: Identity, choices: SubmissionChoices,
        keep: KeepPolicies = KeepPolicies()
    ) throws(Problem) -> JobRecord {
        let parameters = try self.parameters(choices)
        return JobRecord(
            name: name?.rawValue ?? image.repository.split(separator: "/").last.map(String.init) ?? "job", owner: owner,
            queue: queue,
            priority: priority, configuration: digest, configurationVersion: nil, imageReference: imageText,
            image: configuration.image, resources: resources.with(services.map(\.resources)),
            slots: configuration.slots,
            bindings: try resolvedBindings(
                of: configuration.slots, from: choices.bindings, parameters: parameters, shape: shape),
            parameters: parameters, shape: shape, labels: labels, constraints: constraints, retries: retries,
            timeLimit: timeLimit,
            grace: grace, fingerprint: fingerprint, rerunOf: nil,
            services: services.compactMap { service in
                configuration.services[service.name].map {
                    ServiceImage(name: service.name, reference: service.imageText, image: $0.image)
                }
            }, keep: self.keep ?? keep.policy(of: queue), placement: placement,
            dependencies: jobDependencies)
    }

    /// Those on jobs that were submitted earlier.
    private var jobDependencies: [JobModel.Dependency] {
        dependencies.compactMap { dependency in
            guard case .job(let job) = dependency.target else { return nil }
            return JobModel.Dependency(job: job, kind: dependency.kind)
        }
    }

    /// Every text that may hold `${…}`.
    private var templates: [String] {
        command + environment.values
            + services.flatMap { $0.command + $0.environment.values + ($0.health?.command ?? []) }
    }

    /// Parameters that have a default or that a text names.
    package var usedParameters: Set<String> { Set(templates.flatMap(templateParameters)).union(parameters.keys) }

    /// The spec's parameters with the submission's in their place; every one that a template uses must have a value.
    private func parameters(_ choices: SubmissionChoices) throws(Problem) -> [String: String] {
        let axes = shape.axisNames
        let used = Set(templates.flatMap(templateParameters))
        let known = used.union(parameters.keys).union(axes).union(choices.bindings.values.flatMap(templateParameters))
        for name in choices.parameters.keys.sorted() {
            try checkParameter(name, choices.parameters[name] ?? "", axes: axes)
            guard known.contains(name) else {
                let hint = nearest(to: name, among: known.sorted()).map { ": did you mean '\($0)'?" } ?? ""
                throw Problem(
                    .refused, "the parameter '\(name)' is used nowhere in this configuration\(hint)",
                    field: "parameters.\(name)")
            }
        }
        let values = parameters.merging(choices.parameters) { $1 }
        for name in used.sorted() where values[name] == nil && !axes.contains(name) {
            throw Problem(
                .refused, "the parameter '\(name)' has no value: give --param \(name)=…", field: "parameters.\(name)")
        }
        return values
    }
}

extension JobRecord {
    /// The record of a rerun: the same configuration, shape and options; bindings and parameters that are given replace
    /// the old ones.
    /// - Parameter job: nil if the old one is another cluster's.
    /// - Throws: ``Problem`` that names the binding or parameter at fault.
    package func rerun(_ choices: SubmissionChoices, of job: JobID?, owner: Identity, queue: QueueName?, priority: Int?)
        throws(Problem) -> JobRecord
    {
        let axes = shape.axisNames
        for name in choices.parameters.keys.sorted() {
            try checkParameter(name, choices.parameters[name] ?? "", axes: axes)
            guard
                parameters[name] != nil
                    || choices.bindings.values.contains(where: { templateParameters($0).contains(name) })
            else {
                let hint = nearest(to: name, among: parameters.keys.sorted()).map { ": did you mean '\($0)'?" } ?? ""
                throw Problem(
                    .refused, "the parameter '\(name)' is used nowhere in this configuration\(hint)",
                    field: "parameters.\(name)")
            }
        }
        let values = parameters.merging(choices.parameters) { $1 }
        let old = Dictionary(uniqueKeysWithValues: bindings.map { ($0.key.rawValue, $0.value.description) })
        var record = JobRecord(
            name: name, owner: owner, queue: queue ?? self.queue, priority: priority ?? self.priority,
            configuration: configuration,
            configurationVersion: configurationVersion, imageReference: imageReference, image: image,
            resources: resources, slots: slots,
            bindings: try resolvedBindings(
                of: slots, from: old.merging(choices.bindings) { $1 }, parameters: values, shape: shape),
            parameters: values, shape: shape, labels: labels, constraints: constraints, retries: retries,
            timeLimit: timeLimit,
            grace: grace, fingerprint: fingerprint, rerunOf: job, services: services, keep: keep, placement: placement)
        record.rules = rules.forRerun
        return record
    }

    /// The same record under the version that its configuration was given.
    package func versioned(_ version: ConfigurationVersion?) -> JobRecord {
        var record = JobRecord(
            name: name, owner: owner, queue: queue, priority: priority, configuration: configuration,
            configurationVersion: version,
            imageReference: imageReference, image: image, resources: resources, slots: slots, bindings: bindings,
            parameters: parameters, shape: shape, labels: labels, constraints: constraints, retries: retries,
            timeLimit: timeLimit,
            grace: grace, fingerprint: fingerprint, rerunOf: rerunOf, services: services, verifies: verifies,
            keep: keep, placement: placement, dependencies: dependencies)
        record.pipeline = pipeline
        record.schedule = schedule
        record.rules = rules
        return record
    }
}

extension TaskShape {
    /// The names of a matrix's axes; empty for the other shapes.
    package var axisNames: [String] {
        if case .matrix(let matrix) = self { matrix.axes.map(\.name) } else { [] }
    }
}

/// Binds every slot: to what is given, or to the volume of its own name.
private func resolvedBindings(
    of slots: [SlotName: Slot], from given: [String: String], parameters: [String: String], shape: TaskShape
) throws(Problem) -> [SlotName: Binding] {
    let names = slots.keys.map(\.rawValue).sorted()
    for name in given.keys.sorted() where !names.contains(name) {
        let hint = nearest(to: name, among: names).map { ": did you mean '\($0)'?" }
        throw Problem(
            .refused,
            "the configuration has no slot \(quoted(name))"
                + (hint ?? (names.isEmpty ? ": it has none" : ": it has " + names.joined(separator: ", "))),
            field: "bindings.\(shown(name))")
    }
    var bindings: [SlotName: Binding] = [:]
    for slot in slots.keys {
        guard let text = given[slot.rawValue] else {
            bindings[slot] = Binding(root: .volume(VolumeName(unchecked: slot.rawValue)), path: "")
            continue
        }
        bindings[slot] = try checkedBinding(text, of: slot, parameters: parameters, shape: shape)
    }
    return bindings
}

/// A binding that is valid with every value that its parameters can take: what a task finds out later, nobody watches.
private func checkedBinding(
    _ text: String, of slot: SlotName, parameters: [String: String], shape: TaskShape
) throws(Problem) -> Binding {
    func refusal(_ message: String) -> Problem { Problem(.refused, message, field: "bindings.\(slot)") }
    guard let binding = Binding(text) else {
        throw refusal("\(quoted(text)) is not a binding: \(Binding.rule)")
    }
    let template: Template
    do { template = try Template(text) } catch { throw refusal(error.message) }
    var axes: [String: [String]] = [:]
    if case .matrix(let matrix) = shape {
        for axis in matrix.axes { axes[axis.name] = matrix.values(of: axis) }
    }
    let names = template.variables.compactMap { if case .parameter(let name) = $0 { name } else { nil } }
    let plain = Dictionary(names.map { ($0, "1") }, uniquingKeysWith: { first, _ in first })
    for name in names {
        guard let values = axes[name] ?? parameters[name].map({ [$0] }) else {
            throw refusal("the parameter '\(name)' has no value: give --param \(name)=…")
        }
        for value in values {
            let trial = TemplateValues(
                job: JobID(rawValue: 1), jobName: "job", taskIndex: 1, parameters: plain.merging([name: value]) { $1 })
            guard template.binding(trial) != nil else {
                throw refusal(
                    "\(quoted(text)) is not a binding with \(name) = \(quoted(value)): \(Binding.rule)")
            }
        }
    }
    return binding
}

private func checkParameter(_ name: String, _ value: String, axes: [String]) throws(Problem) {
    let field = "parameters.\(shown(name))"
    guard Template.isParameterName(name) else {
        throw Problem(
            .refused, "\(quoted(name)) is not a parameter name: use 1 to 63 letters, digits, '_' or '-'", field: field)
    }
    guard value.utf8.count <= 4096, !value.utf8.contains(0) else {
        throw Problem(.refused, "a parameter's value has at most 4096 bytes and no NUL", field: field)
    }
    guard !axes.contains(name) else {
        throw Problem(.refused, "the matrix sets '\(name)': it cannot be given as a parameter", field: field)
    }
}

private func templateParameters(_ text: String) -> [String] {
    // allowed: a text that is no template uses none
    guard text.contains("${"), let template = try? Template(text) else { return [] }
    return template.variables.compactMap { if case .parameter(let name) = $0 { name } else { nil } }
}

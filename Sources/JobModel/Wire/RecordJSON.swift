// A job's fixed part as JSON without Codable, because every submission writes it: the same bytes as
// ``WireJSON/encode(_:pretty:)`` gives. Tests compare the two. Reading it goes through Codable.

extension JobRecord {
    /// As it is kept in the database.
    package var json: [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object { writer in
            writer.member("bindings") { writer in
                writer.map(bindings) { writer, binding in writer.string(binding.description) }
            }
            writer.member("configuration", configuration.description)
            if let version = configurationVersion {
                writer.member("configuration_version") { writer in
                    writer.object { writer in
                        writer.member("name", version.name.rawValue)
                        writer.member("version", Int64(version.version))
                    }
                }
            }
            writer.member("constraints") { $0.array(constraints) { $0.constraint($1) } }
            if !dependencies.isEmpty {
                writer.member("dependencies") { $0.array(dependencies) { $0.dependency($1) } }
            }
            writer.member("fingerprint", fingerprint.rawValue)
            writer.member("grace") { $0.seconds(grace) }
            writer.member("image") { $0.image(image) }
            writer.member("image_reference", imageReference)
            if keep != .always { writer.member("keep", keep.rawValue) }
            writer.strings("labels", labels)
            writer.member("name", name)
            writer.member("owner") { $0.identity(owner) }
            writer.strings("parameters", parameters)
            if let pipeline { writer.member("pipeline") { $0.pipeline(pipeline) } }
            if placement != .standard { writer.member("placement") { $0.placement(placement) } }
            writer.member("priority", Int64(priority))
            writer.member("queue", queue.rawValue)
            if let rerunOf { writer.member("rerun_of", rerunOf.rawValue) }
            writer.member("resources") { $0.resources(resources) }
            writer.member("retries", Int64(retries))
            if rules != .none { writer.member("rules") { $0.rules(rules) } }
            writer.member("schedule", ifPresent: schedule?.rawValue)
            if !services.isEmpty { writer.member("services") { $0.array(services) { $0.service($1) } } }
            writer.member("shape") { $0.shape(shape) }
            writer.member("slots") { $0.map(slots) { $0.slot($1) } }
            if let timeLimit { writer.member("time_limit") { $0.seconds(timeLimit) } }
            if let verifies { writer.member("verifies", verifies.rawValue) }
        }
        return writer.bytes
    }
}

extension JSONWriter {
    package mutating func counts(_ tasks: TaskCounts) {
        object { writer in
            writer.member("cancelled", tasks.cancelled)
            writer.member("failed", tasks.failed)
            writer.member("pending", tasks.pending)
            writer.member("running", tasks.running)
            writer.member("succeeded", tasks.succeeded)
            writer.member("total", tasks.total)
        }
    }

    package mutating func shape(_ shape: TaskShape) {
        object { writer in
            switch shape {
            case .single: break
            case .array(let first, let last):
                writer.member("array") { writer in
                    writer.object { writer in
                        writer.member("first", first)
                        writer.member("last", last)
                    }
                }
            case .gang(let size): writer.member("gang", Int64(size))
            case .matrix(let matrix):
                if !matrix.exclude.isEmpty { writer.rows("exclude", matrix.exclude) }
                if !matrix.include.isEmpty { writer.rows("include", matrix.include) }
                writer.member("matrix") { writer in
                    writer.array(matrix.axes) { writer, axis in
                        writer.object { writer in
                            writer.member("name", axis.name)
                            writer.member("values") { $0.array(axis.values) { $0.string($1) } }
                        }
                    }
                }
            }
        }
    }

    private mutating func rows(_ key: StaticString, _ rows: [[String: String]]) {
        member(key) { $0.array(rows) { $0.strings($1) } }
    }

    /// An object with a member for each slot, in order of their names.
    fileprivate mutating func map<Value>(_ map: [SlotName: Value], _ write: (inout JSONWriter, Value) -> Void) {
        object { writer in
            for (name, value) in map.sorted(by: { $0.key < $1.key }) {
                writer.member(named: name.rawValue) { write(&$0, value) }
            }
        }
    }

    mutating func constraint(_ constraint: Constraint) {
        object { writer in
            writer.member("comparison", constraint.comparison.rawValue)
            writer.member("label", constraint.label)
            writer.member("value", constraint.value)
        }
    }

    package mutating func pipeline(_ pipeline: PipelineReference) {
        object { writer in
            writer.member("id", pipeline.id.rawValue)
            writer.member("name", ifPresent: pipeline.name?.rawValue)
        }
    }

    package mutating func rules(_ rules: RunRules) {
        object { writer in
            writer.member("deadline", ifPresent: rules.deadline?.description)
            if let most = rules.mostRunning { writer.member("max_running", most) }
            if let open = rules.open { writer.member("open") { $0.bool(open) } }
            if let codes = rules.retryNotOn {
                writer.member("retry_not_on") { $0.array(codes) { $0.number(Int64($1)) } }
            }
            if let codes = rules.retryOn { writer.member("retry_on") { $0.array(codes) { $0.number(Int64($1)) } } }
            writer.member("start_after", ifPresent: rules.startAfter?.description)
        }
    }

    package mutating func dependency(_ dependency: Dependency) {
        object { writer in
            writer.member("job", dependency.job.rawValue)
            writer.member("kind", dependency.kind.rawValue)
        }
    }

    fileprivate mutating func identity(_ identity: Identity) {
        object { writer in
            writer.member("gid", Int64(identity.gid))
            writer.member("name", identity.name.rawValue)
            writer.member("uid", Int64(identity.uid))
        }
    }

    fileprivate mutating func resources(_ resources: Resources) {
        object { writer in
            writer.member("cpus") { $0.number(resources.cpus.cpus) }
            if !resources.custom.isEmpty { writer.member("custom") { $0.counts(resources.custom) } }
            if resources.disk.bytes > 0 { writer.member("disk", resources.disk.bytes) }
            writer.member("gpus", Int64(resources.gpus))
            writer.member("memory", resources.memory.bytes)
        }
    }

    fileprivate mutating func image(_ image: PinnedImage) {
        object { writer in
            writer.member("digest", image.digest.description)
            writer.member("platform", ifPresent: image.platform)
        }
    }

    fileprivate mutating func service(_ service: ServiceImage) {
        object { writer in
            writer.member("image") { $0.image(service.image) }
            writer.member("name", service.name.rawValue)
            writer.member("reference", service.reference)
        }
    }

    fileprivate mutating func slot(_ slot: Slot) {
        object { writer in
            writer.member("mode", slot.mode.rawValue)
            writer.member("path", slot.path)
        }
    }
}

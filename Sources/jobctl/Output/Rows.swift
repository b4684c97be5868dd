// How each kind of thing stands in a table and on a page of its own.
import JobModel

extension JobDocument: Row {
    static var header: [String] { ["JOB", "NAME", "STATE", "TASKS", "OWNER", "SUBMITTED", "CONFIGURATION"] }
    var cells: [String] {
        [
            id.description, name, state.description, "\(tasks.finished)/\(tasks.total)", owner,
            Render.time(submittedAt), configurationText,
        ]
    }
    var quiet: String { id.description }

    var configurationText: String {
        let version =
            configuration.name.map { name in configuration.version.map { "\(name)@\($0) " } ?? "\(name) " } ?? ""
        return version + configuration.digest.short
    }

    private var timeLimitText: String? {
        guard let timeLimit else { return nil }
        guard timeLimitChanged == true else { return timeLimit.description }
        return "\(timeLimit), changed from \(submittedTimeLimit?.description ?? "none")"
    }

    var page: String {
        Render.page(
            [
                ("job", id.description), ("name", name), ("state", state.description), ("reason", reason),
                ("owner", owner),
                ("queue", "\(queue), priority \(priority)"),
                (
                    "configuration",
                    configuration.digest.description
                        + (configuration.version.map { " (\(configuration.name ?? "")@\($0))" } ?? "")
                ),
                ("image", "\(image.reference) = \(image.digest)"),
                (
                    "services",
                    services.map { services in
                        services.sorted { $0.key < $1.key }.map {
                            "\($0.key): \($0.value.reference) = \($0.value.digest)"
                        }.joined(separator: ", ")
                    }
                ), ("bindings", Render.pairs(bindings)),
                ("parameters", Render.pairs(parameters)),
                ("labels", Render.pairs(labels)), ("rerun of", verifies == nil ? rerunOf?.description : nil),
                ("verifies", verifies?.description),
                ("schedule", schedule),
                ("time limit", timeLimitText),
                ("start after", rules?.startAfter.map { Render.time($0) }),
                ("deadline", rules?.deadline.map { Render.time($0) }),
                ("open", rules?.open == true && finishedAt == nil ? "yes: tasks can be added until it is closed" : nil),
                ("at a time", rules?.mostRunning?.description),
                ("pipeline", pipeline.map { "\($0.id)" + ($0.name.map { " (\($0))" } ?? "") }),
                ("depends on", dependsOn.map { $0.map(\.text).joined(separator: ", ") }),
                (
                    "tasks",
                    "\(tasks.total): \(tasks.pending) pending, \(tasks.running) running, \(tasks.succeeded) succeeded, \(tasks.failed) failed, \(tasks.cancelled) cancelled"
                ),
                ("keeps images", keep.map { $0.description }),
                ("submitted", Render.time(submittedAt)), ("started", startedAt.map { Render.time($0) }),
                ("finished", finishedAt.map { Render.time($0) }), ("summed up", compaction.map { $0.sentence }),
            ] + (pulls ?? []).map { ("on its way", "\($0.reference): \($0.sentence)") })
    }
}

extension CompactionDocument {
    /// What is left of the attempts.
    var sentence: String {
        let ends = reasons.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        let seconds = "\(Int64(cpuSeconds.rounded())) s of cpu, \(Int64(wallSeconds.rounded())) s in all"
        return
            "on \(compactedAt.day) the attempts of \(tasks) tasks: \(ends); \(seconds), at most \(maxMemory)"
    }
}

extension DependencyDocument {
    /// `after_ok 41`, and `(open)` while it is waited for.
    var text: String { "\(kind) \(job)" + (open ? " (open)" : "") }
}

extension ImagePullDocument: Row {
    static var header: [String] { ["IMAGE", "DIGEST", "STATE", "RECEIVED", "SIZE", "NOTE"] }
    var cells: [String] {
        [
            reference, digest.short, state.description, received.description, size?.description ?? "-",
            [note, retryAt.map { "again at \(Render.time($0))" }].compactMap(\.self).joined(separator: "; "),
        ]
    }
    var quiet: String { digest.description }
}

extension AttemptDocument: Row {
    static var header: [String] {
        ["ATTEMPT", "STATE", "REASON", "WORKER", "STARTED", "WALL", "CPU", "MEMORY", "MESSAGE"]
    }
    var cells: [String] {
        [
            id.description, state.description, ending, worker, Render.time(startedAt),
            usage.map { "\(rounded($0.wallSeconds))s" } ?? "-",
            usage.map { "\(rounded($0.cpuSeconds))s" } ?? "-", usage.map { "\($0.maxMemory)" } ?? "-", message ?? "",
        ]
    }
    var quiet: String { id.description }

    /// `exit-code 3`, `signal 11`, `oom-killed`.
    var ending: String {
        guard let reason else { return "-" }
        switch reason.value {
        case .exitCode?: return exitCode.map { "exit-code \($0)" } ?? "exit-code"
        case .signal?: return signal.map { "signal \($0)" } ?? "signal"
        default: return reason.description
        }
    }

    var trees: [String] {
        (imageManifest.map { ["  image manifest: \($0)"] } ?? [])
            + [("input", inputs), ("output", outputs)].flatMap { kind, trees in
                trees.sorted { $0.key < $1.key }.map {
                    "  \($0.key) (\(kind)): \($0.value.treeDigest?.description ?? "-"), \($0.value.files) files, \($0.value.bytes)"
                }
            }
    }
}

func rounded(_ seconds: Double) -> String { String((seconds * 100).rounded() / 100) }

extension TaskDocument: Row {
    static var header: [String] { ["TASK", "STATE", "REASON", "ATTEMPTS", "PARAMETERS"] }
    var cells: [String] {
        [id.description, state.description, reason ?? "-", String(attempts), Render.pairs(parameters) ?? ""]
    }
    var quiet: String { id.description }
}

extension WorkerDocument: Row {
    static var header: [String] {
        ["WORKER", "STATE", "CPUS FREE", "MEMORY FREE", "GPUS", "ATTEMPTS", "ENGINES", "VOLUMES"]
    }
    var cells: [String] {
        [
            name, drain?.reason.map { "\(state) (\($0))" } ?? state.description, "\(free.cpus)/\(capacity.cpus)",
            "\(free.memory) / \(capacity.memory)",
            "\(free.gpus.count)/\(capacity.gpus.count)",
            String(attempts.count), engines.joined(separator: ","), volumeText,
        ]
    }
    var quiet: String { name }
    private var volumeText: String {
        volumes.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value.writable ? "rw" : "ro")" }.joined(separator: " ")
    }

    var page: String {
        Render.page(
            [
                ("worker", name), ("state", state.description), ("drained for", drain?.reason),
                ("stops at", drain?.deadline.map { Render.time($0) }),
                ("cpus", "\(free.cpus) free of \(capacity.cpus)"),
                ("memory", "\(free.memory) free of \(capacity.memory)"),
                ("gpus", capacity.gpus.isEmpty ? "none" : capacity.gpus.joined(separator: " ")),
                ("disk", capacity.disk.map { "\(free.disk ?? $0) free of \($0)" }),
                (
                    "custom",
                    capacity.custom.map { all in
                        all.entries.map { "\(free.custom?[$0.name] ?? 0) of \($0.count) \($0.name) free" }
                            .joined(separator: ", ")
                    }
                ),
                ("labels", Render.pairs(labels)), ("volumes", volumeText), ("engines", engines.joined(separator: ", ")),
                ("version", version),
                ("last seen", Render.time(lastSeen)),
                ("attempts", attempts.isEmpty ? nil : attempts.map(\.description).joined(separator: " ")),
            ] + weaknessRows)
    }

    /// One line each, under one name.
    private var weaknessRows: [(String, String?)] {
        guard let weaknesses else { return [] }
        guard !weaknesses.isEmpty else { return [("weaknesses", "none known")] }
        return weaknesses.enumerated().map { ($0.offset == 0 ? "weaknesses" : "", $0.element) }
    }
}

extension ConfigurationDocument: Row {
    static var header: [String] { ["CONFIGURATION", "DIGEST", "IMAGE", "CREATED"] }
    var cells: [String] { [names.first?.description ?? "-", digest.short, imageReference, Render.time(createdAt)] }
    var quiet: String { digest.description }

    var page: String {
        let slots = configuration.slots.sorted { $0.key < $1.key }.map {
            "\($0.key):\($0.value.path):\($0.value.mode.rawValue)"
        }
        let resources = configuration.resources
        return Render.page(
            [
                ("digest", digest.description), ("names", names.map(\.description).joined(separator: " ")),
                ("created", Render.time(createdAt)),
                ("image", "\(imageReference) = \(configuration.image.digest)"),
                ("platform", configuration.image.platform),
                ("command", configuration.command.map { $0.contains(" ") ? "'\($0)'" : $0 }.joined(separator: " ")),
                ("environment", Render.pairs(configuration.environment)),
                ("working_dir", configuration.workingDirectory),
                (
                    "files",
                    configuration.files.isEmpty
                        ? nil
                        : configuration.files.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.digest.short)" }
                            .joined(separator: " ")
                ),
                ("slots", slots.isEmpty ? nil : slots.joined(separator: " ")),
                ("network", configuration.network.rawValue),
                ("resources", "\(resources.cpus) cpus, \(resources.memory), \(resources.gpus) gpus"),
                ("disk", resources.disk.bytes > 0 ? resources.disk.description : nil),
                ("custom resources", resources.custom.isEmpty ? nil : resources.custom.description),
            ] + configuration.services.sorted { $0.key < $1.key }.map { ("service \($0.key)", Optional($0.value.line)) }
        )
    }
}

extension TaskService {
    /// On one line: what runs beside the task, and when it is ready.
    fileprivate var line: String {
        let program = command.map { $0.contains(" ") ? "'\($0)'" : $0 }.joined(separator: " ")
        let ready = health.map { ", ready when: " + $0.command.joined(separator: " ") } ?? ""
        return "\(image.digest.short): \(program), \(resources.cpus) cpus, \(resources.memory)\(ready)"
    }
}

extension ImageDocument: Row {
    static var header: [String] { ["IMAGE", "DIGEST", "SIZE", "PLATFORMS", "STORED"] }
    var cells: [String] {
        [
            references.first ?? "-", digest.short, size.description, platforms.joined(separator: " "),
            complete ? Render.time(createdAt) : "incomplete",
        ]
    }
    var quiet: String { digest.description }

    var page: String {
        Render.page([
            ("digest", digest.description), ("names", references.joined(separator: " ")), ("type", mediaType),
            ("size", size.description),
            ("platforms", platforms.joined(separator: " ")),
            ("stored", complete ? Render.time(createdAt) : "incomplete"),
            ("layers", layers.map(\.description).joined(separator: " ")),
        ]) + (builds ?? []).map { "\n\n" + $0.page }.joined()
    }
}

extension BuildRecord {
    /// How it was made, with the Dockerfile's text.
    fileprivate var page: String {
        Render.page([
            ("built by", builtBy), ("recorded", recordedAt.map { Render.time($0) }), ("with", tool),
            (
                "base",
                bases.isEmpty
                    ? nil : bases.map { "\($0.reference)\($0.digest.map { " = \($0)" } ?? "")" }.joined(separator: ", ")
            ),
            ("arguments", Render.pairs(arguments)), ("context", contextDigest.description),
            ("dockerfile", dockerfileDigest.description),
        ]) + "\n\n"
            + dockerfile.split(separator: "\n", omittingEmptySubsequences: false).map { "    \($0)" }
            .joined(separator: "\n")
    }
}

extension WaitingDocument {
    /// The sentence, and the formula of priority with its numbers.
    var page: String {
        let sentence = "job \(job) is \(state): \(reason)"
        guard let priority else { return sentence }
        let rows = terms.map { term in
            [term.name, String(term.weight), String(term.factor), String(term.weight * term.factor)]
        }
        let table = Render.text(
            header: ["TERM", "WEIGHT", "FACTOR", "POINTS"], rows + [["priority", "", "", String(priority)]])
        return sentence + "\n\n" + table
    }
}

extension UserDocument: Row {
    static var header: [String] { ["USER", "ROLE", "UID", "GID"] }
    var cells: [String] { [name, role.rawValue, String(uid), String(gid)] }
    var quiet: String { token ?? name }
}

extension StatusDocument {
    var page: String {
        func counts(_ map: [String: Int64]) -> String {
            let parts = map.filter { $0.value > 0 }.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            return parts.isEmpty ? "none" : parts.joined(separator: ", ")
        }
        return Render.page([
            ("scheduler", "version \(version), up since \(Render.time(startedAt))"), ("workers", counts(workers)),
            ("cpus", "\(free.cpus) free of \(capacity.cpus)"), ("memory", "\(free.memory) free of \(capacity.memory)"),
            ("gpus", "\(free.gpus.count) free of \(capacity.gpus.count)"), ("jobs", counts(jobs)),
            (
                "tasks",
                "\(tasks.pending) pending, \(tasks.running) running, \(tasks.succeeded) succeeded, \(tasks.failed) failed, \(tasks.cancelled) cancelled"
            ),
        ])
    }
}

// How `services:` of a spec is read: a mapping of names, each with the words that a task has for the same things.

extension JobSpec {
    /// A service whose image may still be a tag.
    package struct Service: Hashable, Sendable {
        package let name: ServiceName
        package let image: ImageReference
        /// As written.
        package let imageText: String
        package let command: [String]
        package let environment: [String: String]
        package let workingDirectory: String?
        package let resources: Resources
        package let health: HealthCheck?
    }
}

enum ServiceFields {
    private static let keys = ["command", "environment", "healthcheck", "image", "resources", "shell", "working_dir"]
    private static let healthKeys = ["command", "interval", "retries", "shell", "timeout"]

    static func services(_ field: SpecReader) throws(SpecError) -> [JobSpec.Service] {
        let members = try field.members()
        guard members.count <= SpecLimits.services else {
            throw field.refusal("has \(members.count) entries: at most \(SpecLimits.services) are allowed")
        }
        var services: [JobSpec.Service] = []
        for member in members {
            guard let name = ServiceName(rawValue: member.key) else {
                throw SpecError(
                    location: member.keyLocation, path: member.reader.path,
                    message: ServiceName.refusal(of: member.key))
            }
            services.append(try service(name, member.reader))
        }
        return services.sorted { $0.name < $1.name }
    }

    private static func service(_ name: ServiceName, _ field: SpecReader) throws(SpecError) -> JobSpec.Service {
        var image: (ImageReference, String)?
        var program = Program()
        var environment: [String: String] = [:]
        var workingDirectory: String?
        var resources = Resources.standard
        var health: HealthCheck?
        for member in try field.members() {
            let reader = member.reader
            switch member.key {
            case "image": image = try SpecFields.image(reader)
            case "command": program.command = try SpecFields.command(reader)
            case "shell": program.shell = try SpecFields.shell(reader)
            case "environment": environment = try SpecFields.environment(reader)
            case "working_dir": workingDirectory = try SpecFields.containerPath(reader)
            case "resources":
                resources = try SpecFields.resources(reader)
                guard resources.gpus == 0 else { throw reader.refusal("cannot hold GPUs: they are the task's") }
            case "healthcheck": health = try healthCheck(reader)
            default: throw unknown(member.key, member.keyLocation, reader, among: keys)
            }
        }
        guard let image else {
            throw SpecError(
                location: field.node.location, path: field.path + ".image",
                message: "is required: \(ImageReference.rule)")
        }
        return JobSpec.Service(
            name: name, image: image.0, imageText: image.1, command: try program.argv(of: field),
            environment: environment, workingDirectory: workingDirectory, resources: resources, health: health)
    }

    private static func healthCheck(_ field: SpecReader) throws(SpecError) -> HealthCheck {
        var program = Program()
        var interval = HealthCheck.standardInterval
        var timeout = HealthCheck.standardTimeout
        var retries = HealthCheck.standardRetries
        for member in try field.members() {
            let reader = member.reader
            switch member.key {
            case "command": program.command = try SpecFields.command(reader)
            case "shell": program.shell = try SpecFields.shell(reader)
            case "interval": interval = try span(reader)
            case "timeout": timeout = try span(reader)
            case "retries": retries = try reader.integer(in: 1...SpecLimits.healthRetries)
            case "test": throw reader.refusal("is Compose's word: write 'command' with a list, or 'shell' for sh -c")
            default: throw unknown(member.key, member.keyLocation, reader, among: healthKeys)
            }
        }
        return HealthCheck(
            command: try program.argv(of: field), interval: interval, timeout: timeout, retries: retries)
    }

    private static func span(_ field: SpecReader) throws(SpecError) -> TimeSpan {
        let span = try field.timeSpan()
        guard span >= SpecLimits.shortestHealthSpan, span <= .minutes(60) else {
            throw field.refusal("must be from 0.1s to 60m")
        }
        return span
    }

    private static func unknown(
        _ key: String, _ location: SourceLocation, _ reader: SpecReader, among keys: [String]
    ) -> SpecError {
        let hint = nearest(to: key, among: keys).map { ": did you mean '\($0)'?" } ?? ": use \(list(keys))"
        return SpecError(location: location, path: reader.path, message: "is not a known key\(hint)")
    }

    private static func list(_ keys: [String]) -> String {
        keys.dropLast().joined(separator: ", ") + " and " + (keys.last ?? "")
    }

    /// `command` or `shell`.
    private struct Program {
        var command: [String]?
        var shell: String?

        func argv(of field: SpecReader) throws(SpecError) -> [String] {
            func refusal(_ key: String, _ message: String) -> SpecError {
                SpecError(location: field.node.location, path: "\(field.path).\(key)", message: message)
            }
            switch (command, shell) {
            case (let command?, nil): return command
            case (nil, let shell?): return ["/bin/sh", "-c", shell]
            case (nil, nil):
                throw refusal(
                    "command",
                    "is required: a list such as [\"redis-server\", \"--port\", \"6379\"], or 'shell' with one line for sh -c"
                )
            case (_?, _?): throw refusal("shell", "cannot stand beside 'command': keep one of them")
            }
        }
    }
}

// A job for a person who wants to look around: the configuration of another job with a command that only waits, so
// that a session has something to stand beside. It is no version of the configuration's name, and it cannot succeed
// or be repeated.

extension JobRecord {
    /// Marks such a job; the scheduler cancels it when its session ends.
    package static let shellLabel = "jobctl.shell"
    /// A shell that was forgotten ends all the same.
    package static let shellTimeLimit = TimeSpan.minutes(12 * 60)

    package var isShell: Bool { labels[Self.shellLabel] == "true" }

    /// The record of a shell on this record's data.
    /// - Parameter task: whose parameters and paths; nil for the first.
    /// - Throws: ``Problem`` that names `$.task` if there is no such task.
    package func shell(configuration digest: Digest, task: Int64?) throws(Problem) -> JobRecord {
        let index = task ?? shape.indices.lowerBound
        guard shape.indices.contains(index) else {
            throw Problem(
                .refused,
                "\(index) is not a task of it: use \(shape.indices.lowerBound) to \(shape.indices.upperBound)",
                field: "$.task")
        }
        let one: TaskShape
        switch shape {
        case .single: one = .single
        case .array, .matrix, .gang: one = .array(first: index, last: index)
        }
        return JobRecord(
            name: name, owner: owner, queue: queue, priority: priority, configuration: digest,
            configurationVersion: nil, imageReference: imageReference, image: image, resources: resources,
            slots: slots, bindings: bindings, parameters: taskParameters(at: index), shape: one,
            labels: labels.merging([Self.shellLabel: "true"]) { $1 }, constraints: constraints, retries: 0,
            timeLimit: Self.shellTimeLimit, grace: grace, fingerprint: .none, rerunOf: rerunOf, services: services,
            keep: keep)
    }
}

extension Configuration {
    /// The same with another command, for one task alone.
    /// - Throws: ``Problem`` that names `$.command` if it holds `${…}` that means nothing.
    package func running(_ command: [String]) throws(Problem) -> Configuration {
        for (place, word) in command.enumerated() {
            do {
                _ = try Template(word)
            } catch {
                throw Problem(.refused, error.message, field: "$.command[\(place)]")
            }
        }
        return Configuration(
            image: image, command: command, environment: environment, workingDirectory: workingDirectory,
            files: files, slots: slots, network: network, resources: resources,
            services: services)
    }
}

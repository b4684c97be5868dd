// What tests say to a cluster: calls of the command line, and what they answered as wire documents.
import Foundation
import JobModel
import TestSupport
import Testing

extension ClusterUnderTest {
    /// Runs jobctl as the administrator, or as whom `environment` says.
    func jobctl(
        _ arguments: [String], environment: [String: String] = [:], input: String = "", folder: String? = nil
    ) async throws -> ProcessResult {
        try await runProcess(
            programs + "/jobctl", arguments, environment: self.environment.merging(environment) { $1 }, input: input,
            folder: folder)
    }

    /// Runs jobctl, which must succeed.
    /// - Returns: standard output without the last line break.
    @discardableResult
    func ok(_ arguments: String..., environment: [String: String] = [:], input: String = "") async throws -> String {
        let result = try await jobctl(arguments, environment: environment, input: input)
        guard result.exitCode == 0 else {
            throw ProcessFailure(description: "jobctl \(arguments.joined(separator: " ")): \(result)")
        }
        return result.line
    }

    /// Submits a spec in YAML and returns the job's id.
    func submit(_ spec: String, _ options: String..., environment: [String: String] = [:]) async throws -> String {
        let result = try await jobctl(["submit", "-", "-q"] + options, environment: environment, input: spec)
        guard result.exitCode == 0 else { throw ProcessFailure(description: "jobctl submit: \(result)") }
        return result.line
    }

    /// Submits a shell line as a spec of its own.
    func submit(shell: String, _ more: String = "") async throws -> String {
        let line = String(decoding: try JSONEncoder().encode(shell), as: UTF8.self)
        return try await submit("image: busybox:local\nshell: \(line)\nresources: {cpus: 0.1, memory: 32MiB}\n\(more)")
    }

    func job(_ id: String) async throws -> JobDocument {
        try WireJSON.decode(JobDocument.self, from: try await ok("show", id, "-o", "json").utf8)
    }

    func attempts(of id: String) async throws -> [AttemptDocument] {
        try WireJSON.decode(AttemptList.self, from: try await ok("show", id, "--attempts", "-o", "json").utf8).attempts
    }

    /// Waits until the job has ended, however.
    func ended(_ id: String) async throws -> JobDocument {
        let result = try await jobctl(["wait", id, "-o", "json"])
        guard let job = try WireJSON.decode(JobList.self, from: result.output.utf8).jobs.first else {
            throw ProcessFailure(description: "jobctl wait \(id): \(result)")
        }
        return job
    }

    func waitUntil(_ id: String, is state: JobState) async throws {
        try await eventually("job \(id) is \(state)") { try await job(id).state == .known(state) }
    }
}

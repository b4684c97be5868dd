// Runs a program to its end and keeps what it printed. Output goes to files, so that no pipe can fill up and block.
import Foundation

/// How a program ended and what it printed.
package struct ProcessResult: Sendable, CustomStringConvertible {
    package let exitCode: Int32
    package let output: String
    package let errors: String

    /// Standard output without the last line break.
    package var line: String { output.trimmingCharacters(in: .newlines) }
    package var description: String { "exit \(exitCode)\n--- stdout\n\(output)--- stderr\n\(errors)" }
}

package struct ProcessFailure: Error, CustomStringConvertible {
    package let description: String
    package init(description: String) { self.description = description }
}

/// Runs `program` (a path, or a name looked up in PATH) with `arguments` in a clean environment plus `environment`.
/// - Throws: ``ProcessFailure`` if it cannot be started or does not end within `limit` seconds (it is killed then).
package func runProcess(
    _ program: String, _ arguments: [String] = [], environment: [String: String] = [:], input: String = "",
    folder: String? = nil, limit: Int = 120
) async throws -> ProcessResult {
    let scratch = FileManager.default.temporaryDirectory.appending(path: "jobctl-process-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: scratch) }
    func file(_ name: String) throws -> FileHandle {
        let url = scratch.appending(path: name)
        _ = FileManager.default.createFile(atPath: url.path, contents: name == "in" ? Data(input.utf8) : nil)
        return try name == "in" ? FileHandle(forReadingFrom: url) : FileHandle(forWritingTo: url)
    }

    let process = Process()
    process.executableURL = URL(filePath: program.contains("/") ? program : "/usr/bin/env")
    process.arguments = program.contains("/") ? arguments : [program] + arguments
    var variables = [
        "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
    ]
    variables["HOME"] = scratch.path
    process.environment = variables.merging(environment) { $1 }
    if let folder { process.currentDirectoryURL = URL(filePath: folder) }
    let (input, output, errors) = (try file("in"), try file("out"), try file("err"))
    process.standardInput = input
    process.standardOutput = output
    process.standardError = errors
    // The child has them. A Process is kept for long after its end, and Foundation's watch over processes stands still
    // once there are descriptors above 1,023.
    defer { for handle in [input, output, errors] { try? handle.close() } }
    try process.run()

    let deadline = ContinuousClock.now + .seconds(limit)
    while process.isRunning {
        if ContinuousClock.now > deadline {
            kill(process.processIdentifier, SIGKILL)
            throw ProcessFailure(
                description: "\(program) \(arguments.joined(separator: " ")) did not end within \(limit) s")
        }
        try await Task.sleep(for: .milliseconds(10))
    }
    func text(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: scratch.appending(path: name)), as: UTF8.self)
    }
    return ProcessResult(exitCode: process.terminationStatus, output: try text("out"), errors: try text("err"))
}

/// Waits until `condition` holds, looking again every 50 ms.
/// - Throws: ``ProcessFailure`` naming `what` after `limit` seconds.
package func eventually(_ what: String, limit: Int = 60, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(limit)
    while try await !condition() {
        guard ContinuousClock.now < deadline else {
            throw ProcessFailure(description: "\(what): not within \(limit) s")
        }
        try await Task.sleep(for: .milliseconds(50))
    }
}

// One build: the context's digest, the tool's run, the bases' digests. Everything that it makes on this machine is gone
// afterwards, but for what the tool keeps of its bases.
import Foundation
import JobModel

struct Build {
    let folder: String
    let dockerfile: String
    let file: String
    let arguments: [String: String]
    let tool: BuildTool
    private let scratch: String
    private let name: String

    /// - Throws: ``Problem`` that names the folder or file at fault.
    init(folder: String, file: String?, arguments: [String: String], tool: BuildTool) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
            throw Problem(.badRequest, "\(quoted(folder)) is no folder")
        }
        let standard = ["Dockerfile", "Containerfile"].map { folder + "/" + $0 }
        guard let file = file ?? standard.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
            throw Problem(.badRequest, "\(quoted(folder)) has no Dockerfile: name it with --file")
        }
        guard let data = FileManager.default.contents(atPath: file), data.count <= BuildRecord.longestDockerfile,
            let text = String(validating: data, as: UTF8.self)
        else {
            throw Problem(
                .badRequest, "\(quoted(file)) cannot be read as a text of at most 1 MiB", field: "--file")
        }
        (self.folder, self.file, dockerfile, self.arguments, self.tool) = (folder, file, text, arguments, tool)
        let mark = UUID().uuidString.lowercased()
        scratch = NSTemporaryDirectory() + "/jobctl-build-\(mark)"
        name = "localhost/jobctl-build:\(mark)"
    }

    /// Builds.
    /// - Returns: the image's archive, and the record of how it was made.
    func run() throws -> (String, BuildRecord) {
        do {
            try FileManager.default.createDirectory(
                atPath: scratch, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            let context = try CommandRun.digest(
                "tar",
                [
                    "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu", "-C",
                    folder, "-cf", "-", ".",
                ])
            try build()
            let record = BuildRecord(
                dockerfile: dockerfile, contextDigest: context, bases: Self.bases(of: dockerfile).map(base),
                tool: try version(), arguments: arguments)
            return (scratch + "/image.tar", record)
        } catch {
            removeTraces()
            throw error
        }
    }

    func removeTraces() {
        // allowed: what cannot be removed stays in the folder for temporary files
        try? FileManager.default.removeItem(atPath: scratch)
        // allowed: a tag of ours in the tool's store harms nobody
        _ = try? CommandRun.output(tool.rawValue, tool == .docker ? ["image", "rm", name] : ["rmi", name])
    }

    private func build() throws {
        var words = tool == .buildah ? ["build"] : ["build"]
        // Without times, equal contexts give equal images.
        if tool != .docker { words += ["--timestamp", "0", "--format", "oci"] }
        words += ["-f", file, "-t", name]
        for (key, value) in arguments.sorted(by: { $0.key < $1.key }) { words += ["--build-arg", "\(key)=\(value)"] }
        try CommandRun.visibly(tool.rawValue, words + [folder])
        let archive = scratch + "/image.tar"
        switch tool {
        case .buildah: try CommandRun.visibly("buildah", ["push", "--quiet", name, "oci-archive:" + archive])
        case .podman:
            try CommandRun.visibly("podman", ["save", "--quiet", "--format", "oci-archive", "-o", archive, name])
        case .docker: try CommandRun.visibly("docker", ["save", "-o", archive, name])
        }
    }

    private func version() throws -> String {
        let text = try CommandRun.output(tool.rawValue, ["--version"])
        let number = text.firstMatch(of: #/[0-9]+(\.[0-9]+)+/#).map { String($0.output.0) }
        return "\(tool.rawValue) \(number ?? "of unknown version")"
    }

    // MARK: Bases

    /// The images that a Dockerfile begins with, in their order, without its own stages.
    static func bases(of dockerfile: String) -> [String] {
        var (bases, stages): ([String], Set<String>) = ([], [])
        for line in dockerfile.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
            guard words.first?.uppercased() == "FROM" else { continue }
            let rest = words.dropFirst().filter { !$0.hasPrefix("--") }
            guard let base = rest.first else { continue }
            if rest.count >= 3, rest[1 + rest.startIndex].uppercased() == "AS" {
                stages.insert(rest[2 + rest.startIndex])
            }
            if !stages.contains(base), !bases.contains(base) { bases.append(base) }
        }
        return bases
    }

    private func base(_ reference: String) -> BuildBase {
        if reference == "scratch" { return BuildBase(reference: reference, digest: nil) }
        if let digest = ImageReference(reference)?.digest { return BuildBase(reference: reference, digest: digest) }
        let format: [String]
        switch tool {
        case .buildah: format = ["inspect", "--type", "image", "--format", "{{.FromImageDigest}}", reference]
        case .podman: format = ["image", "inspect", "--format", "{{.Digest}}", reference]
        case .docker: format = ["image", "inspect", "--format", "{{index .RepoDigests 0}}", reference]
        }
        // allowed: a base whose digest the tool does not tell is recorded without one
        let text = (try? CommandRun.output(tool.rawValue, format)) ?? ""
        let found = text.firstMatch(of: #/sha256:[0-9a-f]{64}/#).flatMap { Digest(String($0.output)) }
        return BuildBase(reference: reference, digest: found)
    }
}

/// Other programs, run to their end.
enum CommandRun {
    static func exists(_ name: String) -> Bool {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return folders.contains { access("\($0)/\(name)", X_OK) == 0 }
    }

    /// What it prints goes to stderr, so that stdout is ours.
    static func visibly(_ name: String, _ arguments: [String]) throws {
        let process = process(name, arguments)
        process.standardOutput = FileHandle.standardError
        try end(process, name)
    }

    /// What it prints, at most 64 KiB.
    static func output(_ name: String, _ arguments: [String]) throws -> String {
        let (process, pipe) = (process(name, arguments), Pipe())
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
        try check(process, name)
        return String(decoding: data.prefix(1 << 16), as: UTF8.self)
    }

    /// The SHA-256 of what it prints.
    static func digest(_ name: String, _ arguments: [String]) throws -> Digest {
        let (process, pipe) = (process(name, arguments), Pipe())
        process.standardOutput = pipe
        try process.run()
        var builder = DigestBuilder()
        while let data = try pipe.fileHandleForReading.read(upToCount: 1 << 18), !data.isEmpty {
            builder.update(Array(data))
        }
        try check(process, name)
        return builder.finish()
    }

    private static func process(_ name: String, _ arguments: [String]) -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [name] + arguments
        process.standardInput = FileHandle.nullDevice
        return process
    }

    private static func end(_ process: Process, _ name: String) throws {
        try process.run()
        try check(process, name)
    }

    private static func check(_ process: Process, _ name: String) throws(Problem) {
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Problem(.refused, "\(name) ended with \(process.terminationStatus): what it says stands above")
        }
    }
}

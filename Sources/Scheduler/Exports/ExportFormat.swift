// The format of an export, version 1: a promise. A tar whose root is an RO-Crate and an OCI image layout at once:
//
//     jobctl-export.json                        this list: version, configurations, path, digest and size of all else
//     ro-crate-metadata.json                    provenance as a Process Run Crate (ExportCrate.swift)
//     README.md                                 what it is and how to use it, for whoever finds it
//     oci-layout, index.json                    the images, for every tool that reads layouts
//     configurations/<hex>.json                 canonical, as its digest is taken over it
//     images/<hex>.json                         names and build records of an image
//     runs/<origin>/<job>/run.json              a job: its record, state and data
//     runs/<origin>/<job>/attempts.jsonl        its attempts, one a line
//     runs/<origin>/<job>/logs/<task>.<n>.<stream>
//     trees/<hex>.txt                           the list that a tree digest is taken over
//     blobs/sha256/<hex>                        manifests, configurations and layers of images; files of configurations
//
// The list comes first, and members in its order. A version that reads a newer number refuses; fields are only added.
import Foundation
import JobModel

struct ExportList: Codable, Hashable, Sendable {
    static let path = "jobctl-export.json"
    static let formatName = "jobctl-export"
    static let newestVersion = 1

    /// In bytes, of the list itself.
    static let sizeLimit: Int64 = 32 << 20
    static let mostMembers = 100_000
    static let mostConfigurations = 1_000
    static let mostRuns = 10_000
    /// In bytes, of all run.json together: they are held until they are written down.
    static let runsLimit: Int64 = 64 << 20
    /// In bytes, of one small document: a configuration, a run, an image.
    static let documentLimit: Int64 = 16 << 20

    var format = formatName
    var version = newestVersion
    /// The program that wrote it.
    var jobctl: String
    /// The cluster that wrote it.
    var origin: String
    var exportedAt: Timestamp
    var exportedBy: String
    var configurations: [Entry]
    var files: [Member]

    struct Entry: Codable, Hashable, Sendable {
        var digest: Digest
        /// As written at its first submission.
        var imageReference: String
        var createdAt: Timestamp
        var names: [ConfigurationVersion]

        private enum CodingKeys: String, CodingKey {
            case digest, imageReference = "image_reference", createdAt = "created_at", names
        }
    }

    struct Member: Codable, Hashable, Sendable {
        var path: String
        var digest: Digest
        var size: Int64
    }

    private enum CodingKeys: String, CodingKey {
        case format, version, jobctl, origin, exportedAt = "exported_at", exportedBy = "exported_by", configurations
        case files
    }
}

/// `images/<hex>.json`
struct ExportedImage: Codable, Hashable, Sendable {
    var digest: Digest
    /// Every name that it had.
    var names: [String]
    var builds: [BuildRecord]
}

/// `runs/<origin>/<job>/run.json`, and the content of a row of imported runs.
struct ExportedRun: Codable, Hashable, Sendable {
    var origin: String
    var record: JobRecord
    var run: RunDocument

    var job: JobID { run.job.id }
}

/// Where a member stands in an export. There are no other paths.
enum ExportPath: Hashable, CustomStringConvertible {
    case crate
    case readme
    case layout
    case index
    case configuration(Digest)
    case image(Digest)
    case run(origin: String, JobID)
    /// `attempts.jsonl`, or a log.
    case runFile(origin: String, JobID, String)
    case tree(Digest)
    case blob(Digest)

    static let attempts = "attempts.jsonl"

    var description: String {
        switch self {
        case .crate: "ro-crate-metadata.json"
        case .readme: "README.md"
        case .layout: "oci-layout"
        case .index: "index.json"
        case .configuration(let digest): "configurations/\(digest.hex).json"
        case .image(let digest): "images/\(digest.hex).json"
        case .run(let origin, let job): "runs/\(origin)/\(job)/run.json"
        case .runFile(let origin, let job, let path): "runs/\(origin)/\(job)/\(path)"
        case .tree(let digest): "trees/\(digest.hex).txt"
        case .blob(let digest): "blobs/sha256/\(digest.hex)"
        }
    }

    /// Nil for anything that an export does not have.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        func digest(_ name: String, _ ending: String) -> Digest? {
            name.hasSuffix(ending) ? Digest("sha256:" + name.dropLast(ending.count)) : nil
        }
        func run(_ origin: String, _ job: String) -> (String, JobID)? {
            guard ExportPath.isOrigin(origin), let id = JobID(job), "\(id)" == job else { return nil }
            return (origin, id)
        }
        var found: ExportPath?
        switch (parts.first, parts.count) {
        case ("ro-crate-metadata.json", 1): found = .crate
        case ("README.md", 1): found = .readme
        case ("oci-layout", 1): found = .layout
        case ("index.json", 1): found = .index
        case ("configurations", 2): found = digest(parts[1], ".json").map { .configuration($0) }
        case ("images", 2): found = digest(parts[1], ".json").map { .image($0) }
        case ("trees", 2): found = digest(parts[1], ".txt").map { .tree($0) }
        case ("blobs", 3) where parts[1] == "sha256": found = digest(parts[2], "").map { .blob($0) }
        case ("runs", 4) where parts[3] == "run.json": found = run(parts[1], parts[2]).map { .run(origin: $0, $1) }
        case ("runs", 4) where parts[3] == Self.attempts:
            found = run(parts[1], parts[2]).map { .runFile(origin: $0, $1, Self.attempts) }
        case ("runs", 5) where parts[3] == "logs" && Self.log(parts[4]) != nil:
            found = run(parts[1], parts[2]).map { .runFile(origin: $0, $1, "logs/" + parts[4]) }
        default: found = nil
        }
        guard let found, found.description == text else { return nil }
        self = found
    }

    /// 32 hexadecimal digits.
    static func isOrigin(_ text: String) -> Bool {
        text.utf8.count == 32
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    static func log(_ key: LogKey) -> String {
        "logs/\(key.attempt.task.index).\(key.attempt.number).\(key.stream.rawValue)"
    }

    /// The task's index, the attempt's number and the stream of `7.2.stdout`.
    static func log(_ name: String) -> (task: Int64, number: Int64, stream: LogStream)? {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let task = Int64(parts[0]), task >= 0, let number = Int64(parts[1]), number >= 1,
            let stream = LogStream(rawValue: String(parts[2])), "\(task).\(number).\(stream.rawValue)" == name
        else { return nil }
        return (task, number, stream)
    }
}

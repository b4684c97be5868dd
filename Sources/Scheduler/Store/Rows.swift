// Rows that are not the core's business, and how values become columns. No SQL here.
import Foundation
import GRDB
import JobModel
import SchedulingCore

/// A user and the hash of the token.
package struct UserRow: Hashable, Sendable {
    package var name: UserName
    package var role: Role
    package var uid: UInt32
    package var gid: UInt32
    package var tokenHash: Digest
    package var createdAt: Timestamp

    package init(name: UserName, role: Role, uid: UInt32, gid: UInt32, tokenHash: Digest, createdAt: Timestamp) {
        self.name = name
        self.role = role
        self.uid = uid
        self.gid = gid
        self.tokenHash = tokenHash
        self.createdAt = createdAt
    }
}

/// An image of the archive.
package struct ImageRow: Hashable, Sendable {
    package var digest: Digest
    package var mediaType: String
    package var size: ByteCount
    package var platforms: [String]
    package var layers: [Digest]
    package var complete: Bool
    package var createdAt: Timestamp

    package init(
        digest: Digest, mediaType: String, size: ByteCount, platforms: [String], layers: [Digest], complete: Bool,
        createdAt: Timestamp
    ) {
        self.digest = digest
        self.mediaType = mediaType
        self.size = size
        self.platforms = platforms
        self.layers = layers
        self.complete = complete
        self.createdAt = createdAt
    }
}

/// A manifest as one repository has it.
package struct RegistryManifestRow: Hashable, Sendable {
    /// With its registry: `docker.io/ada/stack`.
    package var repository: String
    package var digest: Digest
    package var mediaType: String
    /// In bytes.
    package var size: Int64
    package var artifactType: String?
    package var subject: Digest?
    /// A JSON object.
    package var annotations: String?
    /// Nil for what was imported or pulled.
    package var pushedBy: UserName?
    package var createdAt: Timestamp
    /// It came with a job's image, and stays as long as a configuration needs that.
    package var isPulled = false
}

/// Rows beside the core's that go through the one writer.
package enum BookEntry: Sendable {
    case userSaved(UserRow)
    case userRemoved(UserName)
    /// An image whose blobs are in the archive, under a name if it has one, and the manifests that its repository has
    /// with it: all or nothing.
    case imageKept(ImageRow, name: String?, manifests: [RegistryManifestRow])
    case imageUnnamed(reference: String)
    /// With who and when filled in.
    case imageBuilt(Digest, BuildRecord)
    /// A repository loses a manifest and every name that points to it.
    case manifestRemoved(repository: String, Digest)
    /// Nothing of the images is in the archive any more.
    case imagesForgotten([Digest])
    /// An import, whole. The Stepper decides about its names first.
    case archiveImported(ImportedArchive)
    /// The retention policy removed their output.
    case logsRemoved([AttemptID], at: Timestamp)
    /// The retention policy removed the lists behind them.
    case treesRemoved([Digest], at: Timestamp)
    case keysForgotten([SubmissionKey])
    /// The retention policy summed some tasks of a job up.
    case tasksCompacted(TaskCompaction)
    case schedule(ScheduleEntry)
}

/// A submission's key, and whose.
package struct SubmissionKey: Hashable, Sendable {
    let user: UserName
    let key: String
}

/// A submission whose image is pinned and whose files are stored.
package struct AcceptedSubmission: Sendable {
    /// Its version is filled in when the job is accepted.
    package var record: JobRecord
    package var configuration: JobModel.Configuration
    /// Canonical.
    package var configurationJSON: [UInt8]
    package var name: ConfigurationName?
    package var imageIsStored: Bool
    package var hold: Bool
    package var idempotency: IdempotencyKey?

    package init(
        record: JobRecord, configuration: JobModel.Configuration, configurationJSON: [UInt8], name: ConfigurationName?,
        imageIsStored: Bool, hold: Bool, idempotency: IdempotencyKey?
    ) {
        self.record = record
        self.configuration = configuration
        self.configurationJSON = configurationJSON
        self.name = name
        self.imageIsStored = imageIsStored
        self.hold = hold
        self.idempotency = idempotency
    }
}

/// Names a submission of a user: the same key with the same request is the same job.
package struct IdempotencyKey: Hashable, Sendable {
    package static let longest = 128
    package var user: UserName
    package var key: String
    package var requestDigest: Digest

    package init(user: UserName, key: String, requestDigest: Digest) {
        self.user = user
        self.key = key
        self.requestDigest = requestDigest
    }
}

/// How values are written as text columns, and read back.
enum Column {
    static func json(_ value: some Encodable) throws -> String {
        String(decoding: try WireJSON.encode(value), as: UTF8.self)
    }

    /// Written at every submission, so without Codable.
    static func json(_ record: JobRecord) -> String { String(decoding: record.json, as: UTF8.self) }

    /// Written at nearly every commit, so without Codable.
    static func json(_ totals: Totals) -> String {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("jobs") { $0.array(totals.jobs) { $0.number($1) } }
            writer.member("tasks") { $0.counts(totals.tasks) }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// Fingerprints by slot. Most attempts have none.
    static func trees(_ trees: [SlotName: TreeFingerprint]?) throws -> String? {
        try trees.map { $0.isEmpty ? "{}" : try json($0) }
    }

    static func value<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
        // Not the caller's mistake: a problem of the wire's decoder would blame the request.
        do { return try WireJSON.decode(type, from: text.utf8) } catch { throw Unreadable(why: error.description) }
    }

    /// `1-100,205-300`
    static func ranges(_ ranges: [ClosedRange<Int64>]) -> String {
        ranges.map { "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
    }

    static func ranges(_ text: String) throws -> [ClosedRange<Int64>] {
        try text.split(separator: ",").map { part in
            let bounds = part.split(separator: "-").map { Int64($0) }
            guard bounds.count == 2, let first = bounds[0], let last = bounds[1], first <= last else {
                throw Unreadable(why: "the ranges \(quoted(text)) cannot be read")
            }
            return first...last
        }
    }

    /// `41,42`
    static func jobs(_ ids: [JobID]) -> String { ids.map(\.description).joined(separator: ",") }

    static func jobs(_ text: String) throws -> [JobID] {
        try text.split(separator: ",").map { part in
            guard let id = JobID(part) else { throw Unreadable(why: "the jobs \(quoted(text)) cannot be read") }
            return id
        }
    }

    static func lines(_ values: [String]) -> String { values.joined(separator: "\n") }
    static func lines(_ text: String) -> [String] { text.isEmpty ? [] : text.split(separator: "\n").map(String.init) }

    static func known<Value: RawRepresentable<String>>(_ type: Value.Type, _ text: String) throws -> Value {
        guard let value = Value(rawValue: text) else { throw Unreadable(why: "\(quoted(text)) is not a known \(type)") }
        return value
    }
}

/// A row that this version cannot read. It goes to quarantine.
struct Unreadable: Error, CustomStringConvertible {
    let why: String
    var description: String { why }
}

extension Timestamp {
    init(column: Int64) { self.init(millisecondsSinceEpoch: column) }
    var column: Int64 { millisecondsSinceEpoch }
}

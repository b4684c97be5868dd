// A manifest that somebody pushes: understood, checked against what the archive has, kept byte for byte, and written
// down for its repository with its tag, all or nothing. A complete image can be named in specs from then on, and jobs
// that wait for it go on.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import NIOCore
import OCI

struct ManifestPush {
    let services: APIServices
    /// An index may hold so many manifests in all, and an answer name so many that are missing.
    private static let mostManifests = 1_000
    private static let mostMessages = 20

    func put(_ call: Call, _ repository: RepositoryName, _ name: ManifestName) async throws -> Response {
        let caller = try call.caller
        try repository.mustAllowPush(by: caller)
        let bytes = Array(buffer: try await call.body(limit: Manifest.sizeLimit))
        let facts = try understood(bytes, name, repository, type: call.request.headers[.contentType])
        try await services.archive.gate.alone { [self] in
            try await keep(bytes, facts, as: tag(name).map(repository.name), in: repository, by: caller.name)
        }
        call.logger.notice(
            "A manifest was pushed",
            metadata: [
                "user": "\(caller.name)", "repository": "\(repository.text)", "digest": "\(facts.digest)",
            ])
        var headers: HTTPFields = [
            .location: "/v2/\(repository.text)/manifests/\(facts.digest)", .contentDigest: facts.digest.description,
            .contentLength: "0",
        ]
        headers[.ociSubject] = facts.subject?.description
        return Response(status: .created, headers: headers)
    }

    /// - Precondition: the caller has the gate.
    private func keep(
        _ bytes: [UInt8], _ facts: ManifestFacts, as name: String?, in repository: RepositoryName, by user: UserName
    ) async throws {
        let content = services.content
        let (image, tree) = try await services.files.run {
            try Self.checkReferences(facts, in: content)
            _ = try content.put(bytes)
            return (try Self.image(facts, in: content), try Self.tree(facts, in: content))
        }
        let now = services.clock.now().wall
        let manifests = tree.map { RegistryManifestRow($0, in: repository.full, by: user, at: now) }
        try await services.archive.keepAlone(image, as: name, manifests: manifests)
    }

    private func tag(_ name: ManifestName) -> String? { if case .tag(let tag) = name { tag } else { nil } }

    /// What the bytes are, if they are what the call says.
    private func understood(
        _ bytes: [UInt8], _ name: ManifestName, _ repository: RepositoryName, type: String?
    ) throws(RegistryFailure) -> ManifestFacts {
        let digest = Digest(of: bytes)
        if case .digest(let wanted) = name, wanted != digest {
            throw RegistryFailure(.digestInvalid, "the manifest has the digest \(digest), not \(wanted)")
        }
        let facts: ManifestFacts
        do {
            facts = try ManifestFacts(bytes, digest: digest, named: repository.text)
        } catch {
            throw RegistryFailure(.manifestInvalid, error.description)
        }
        let declared = type?.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased()
        guard declared == nil || declared == facts.mediaType else {
            throw RegistryFailure(
                .manifestInvalid,
                "Content-Type is \(quoted(declared ?? "")), but the manifest is of the type '\(facts.mediaType)'")
        }
        return facts
    }

    /// Everything that the manifest names is here, as large as it says.
    private static func checkReferences(_ facts: ManifestFacts, in content: ContentStore) throws {
        let what = facts.isIndex ? "the manifest" : "the blob"
        let missing = facts.references.filter { content.size(of: $0.digest) == nil }
        guard missing.isEmpty else {
            let sentences = missing.prefix(mostMessages).map {
                "\(what) \($0.digest) is not in the archive: push it first"
            }
            throw RegistryFailure(.manifestBlobUnknown, all: sentences)
        }
        for part in facts.references {
            let size = content.size(of: part.digest) ?? 0
            guard size == part.size else {
                throw RegistryFailure(
                    .manifestInvalid, "\(what) \(part.digest) has \(size) bytes, but the manifest says \(part.size)")
            }
            content.touch(part.digest)
        }
    }

    private static func tree(_ facts: ManifestFacts, in content: ContentStore) throws(RegistryFailure)
        -> [ManifestFacts]
    {
        do {
            return try manifestTree(facts.digest, in: content, limit: mostManifests)
        } catch {
            throw RegistryFailure(.manifestInvalid, error.description)
        }
    }

    /// As it will be listed. What no engine can run, a chart or a signature, is not complete as an image.
    private static func image(_ facts: ManifestFacts, in content: ContentStore) throws -> StoredImage {
        var image: StoredImage
        do {
            image = try inspectImage(facts.digest, in: content)
        } catch {
            guard error.isContentAtFault else { throw error }
            throw RegistryFailure(.manifestInvalid, error.description)
        }
        if !facts.manifest.isContainerImage {
            image.isComplete = false
            image.platforms = []
        }
        return image
    }
}

extension OCIError {
    /// Whether it is about what was sent, not about this machine.
    fileprivate var isContentAtFault: Bool {
        switch self {
        case .malformed, .tooLarge, .refused: true
        case .blobMissing, .mismatch, .storage, .notFound, .denied, .unreachable, .busy, .archiveUnreachable,
            .cancelled:
            false
        }
    }
}

extension RegistryManifestRow {
    init(_ facts: ManifestFacts, in repository: String, by user: UserName?, at time: Timestamp) {
        self.init(
            repository: repository, digest: facts.digest, mediaType: facts.mediaType, size: facts.size,
            artifactType: facts.artifactType, subject: facts.subject, annotations: facts.annotations, pushedBy: user,
            createdAt: time)
    }
}

extension HTTPField.Name {
    static let ociSubject = HTTPField.Name("OCI-Subject")!  // allowed: a constant token
    static let ociFilters = HTTPField.Name("OCI-Filters-Applied")!  // allowed: as above
}

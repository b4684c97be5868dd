// Content management of the OCI distribution specification 1.1, for administrators: a tag, a manifest of a repository,
// a blob. What a configuration pins is never deleted, and nothing that something else here still names.
import Foundation
import HTTPTypes
import Hummingbird
import JobModel
import OCI

struct RegistryDeletion {
    let services: APIServices

    func delete(_ call: Call, _ repository: RepositoryName, _ name: ManifestName) async throws -> Response {
        try mustAdminister(call)
        return try await services.archive.gate.alone { [self] in
            switch name {
            case .tag(let tag): try await unname(tag, repository)
            case .digest(let digest): try await remove(digest, repository)
            }
            log(call, repository, "\(name)")
            return accepted
        }
    }

    func delete(_ call: Call, _ repository: RepositoryName, blob digest: Digest) async throws -> Response {
        try mustAdminister(call)
        return try await services.archive.gate.alone { [self] in
            let needs = try await needs()
            let isThere = try await services.files.run { [content = services.content] in
                guard content.size(of: digest) != nil else { return false }
                try Self.mustNotBePinned(digest, needs, "the blob \(digest)")
                if case .image(let image) = needs.reasons[digest] {
                    throw RegistryFailure(
                        .unsupported,
                        "the blob \(digest) is part of \(quoted(image)): delete the image's manifest first")
                }
                return try content.remove(digest)
            }
            guard isThere else { throw RegistryFailure(.blobUnknown, "the archive does not have \(digest)") }
            log(call, repository, "\(digest)")
            return accepted
        }
    }

    private var accepted: Response { Response(status: .accepted, headers: [.contentLength: "0"]) }

    private func mustAdminister(_ call: Call) throws {
        let caller = try call.caller
        guard caller.role == .admin else {
            throw RegistryFailure(.denied, "only an administrator deletes from the archive: '\(caller.name)' is none")
        }
    }

    private func needs() async throws -> ArchiveNeeds {
        try await services.files.runLong { [store = services.store, content = services.content] in
            try ArchiveNeeds(store, content)
        }
    }

    private static func mustNotBePinned(_ digest: Digest, _ needs: ArchiveNeeds, _ what: String) throws(RegistryFailure)
    {
        guard case .configuration(let name) = needs.reasons[digest] else { return }
        throw RegistryFailure(
            .denied, "\(what) is kept for the configuration \(name): what a configuration needs is never deleted")
    }

    private func unname(_ tag: String, _ repository: RepositoryName) async throws {
        let name = repository.name(tag)
        guard let digest = try services.store.imageDigest(reference: name) else {
            throw RegistryFailure(
                .manifestUnknown, "the repository \(quoted(repository.text)) has no tag \(quoted(tag))")
        }
        try Self.mustNotBePinned(digest, try await needs(), "the image \(quoted("\(repository.text):\(tag)"))")
        try await services.archive.forgetAlone(.imageUnnamed(reference: name))
        touchManifest(digest)
    }

    private func remove(_ digest: Digest, _ repository: RepositoryName) async throws {
        guard try services.store.repository(repository.full, has: digest) else {
            throw RegistryFailure(
                .manifestUnknown, "the repository \(quoted(repository.text)) has no manifest \(digest)")
        }
        let needs = try await needs()
        try Self.mustNotBePinned(digest, needs, "the manifest \(digest)")
        if let index = needs.parents[digest], try services.store.repository(repository.full, has: index) {
            throw RegistryFailure(
                .unsupported, "the manifest \(digest) is part of the index \(index): delete the index first")
        }
        try await services.archive.forgetAlone(.manifestRemoved(repository: repository.full, digest))
        touchManifest(digest)
    }

    /// A submission may have resolved the name a moment ago: garbage collection spares the image for a while.
    private func touchManifest(_ digest: Digest) { services.content.touch(digest) }

    private func log(_ call: Call, _ repository: RepositoryName, _ what: String) {
        call.logger.notice(
            "Something was deleted from the archive",
            metadata: ["repository": "\(repository.text)", "what": "\(what)"])
    }
}

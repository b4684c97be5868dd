// Looking after the archive: how much of it is for what, deleting what nothing needs, and proving that it is whole.
// Garbage collection keeps whatever a configuration, a repository or a name needs, and whatever was touched lately,
// with all that it needs: a push, a pull or a submission that is underway relies on it. Rows go before files, so that
// nothing is ever said to be here that is not.
import Foundation
import JobModel
import OCI

package struct ArchiveCare: Sendable {
    let store: Store
    let content: ContentStore
    let archive: ImageArchive
    let files: BlockingWork
    /// What was touched within this time is spared.
    let grace: Duration
    /// Bytes that one call verifies, at least.
    private static let verifyBytes: Int64 = 2 << 30

    /// One look at everything.
    private struct Survey: Sendable {
        var needs: ArchiveNeeds
        var kept = ArchiveShare()
        var pinned = ArchiveShare()
        var fresh = ArchiveShare()
        var unneeded: [(digest: Digest, size: Int64)] = []
        var unneededShare: ArchiveShare {
            unneeded.reduce(into: ArchiveShare()) { $0.add($1.size) }
        }
    }

    private func survey() throws -> Survey {
        var survey = Survey(needs: try ArchiveNeeds(store, content))
        let limit = Date().timeIntervalSince1970 - grace / .seconds(1)
        let blobs = try content.blobs()
        for blob in blobs where blob.touchedAt > limit && survey.needs.reasons[blob.digest] == nil {
            // A manifest that nobody has named yet, or no longer: a call may rely on all of it.
            if blob.size <= Manifest.sizeLimit, isManifest(blob.digest) { survey.needs.spare(blob.digest, content) }
        }
        for blob in blobs {
            switch survey.needs.reasons[blob.digest] {
            case .configuration: survey.pinned.add(blob.size)
            case .image: survey.kept.add(blob.size)
            case nil where blob.touchedAt > limit: survey.fresh.add(blob.size)
            case nil: survey.unneeded.append((blob.digest, blob.size))
            }
        }
        return survey
    }

    private func isManifest(_ digest: Digest) -> Bool {
        do {
            _ = try Manifest(content.read(digest, limit: Manifest.sizeLimit), named: "\(digest)")
            return true
        } catch { return false }
    }

    func status() async throws -> ArchiveStatus {
        let (survey, partials) = try await files.runLong { (try self.survey(), try content.partials()) }
        var status = ArchiveStatus(
            pinned: survey.pinned, named: survey.kept, recent: survey.fresh, unneeded: survey.unneededShare)
        status.partial = partials.reduce(into: ArchiveShare()) { $0.add($1) }
        return status
    }

    /// Deletes what nothing needs, or says what it would delete.
    /// - Throws: ``Problem`` of kind `refused` if an image's manifest is damaged: nothing is deleted then.
    func collect(dryRun: Bool) async throws -> ArchiveCollection {
        try await archive.gate.alone {
            let survey = try await files.runLong { try self.survey() }
            if let root = survey.needs.unreadable.first {
                throw Problem(
                    .refused,
                    "the manifest \(root.digest) of \(root.reason.sentence) is damaged, so what it needs is not known: nothing was deleted; run 'jobctl archive verify'"
                )
            }
            let result = ArchiveCollection(dryRun: dryRun, deleted: survey.unneededShare)
            guard !dryRun, !survey.unneeded.isEmpty else { return result }
            let gone = survey.unneeded.map(\.digest)
            let (images, manifests) = (try store.imageDigests(), try store.knownManifests())
            let forgotten = gone.filter { images[$0] != nil || manifests.contains($0) }
            if !forgotten.isEmpty { try await archive.forgetAlone(.imagesForgotten(forgotten)) }
            try await files.runLong { for digest in gone { try content.remove(digest) } }
            return result
        }
    }

    /// Hashes blobs again, in order of their digests, beginning after `cursor`, until there has been enough for one
    /// call. The last call also names what is needed and not here.
    func verify(after cursor: Digest?) async throws -> ArchiveVerification {
        let (checked, damaged, next) = try await files.runLong { try hash(after: cursor) }
        let missing = next == nil ? try await files.runLong { try lost() } : []
        let damages = damaged + missing.map { ArchiveDamage(digest: $0, problem: .missing) }
        guard !damages.isEmpty else { return ArchiveVerification(checked: checked, damaged: [], next: next) }
        let named = try await files.runLong { try withHurt(damages) }
        return ArchiveVerification(checked: checked, damaged: named, next: next)
    }

    /// What was here and is needed and is not here. An image that has not come yet is not among it: its job waits for
    /// it. Nor are the manifests of an index that nobody fetched: those that came are roots themselves.
    private func lost() throws -> [Digest] {
        let images = try store.imageDigests()
        var lost: Set<Digest> = []
        var walked: Set<Digest> = []
        for root in try ArchiveNeeds.roots(store) {
            if root.isImage, case .configuration = root.reason, images[root.digest] != true { continue }
            guard walked.insert(root.digest).inserted else { continue }
            guard content.size(of: root.digest) != nil else {
                lost.insert(root.digest)
                continue
            }
            guard root.isImage, let tree = readable(root.digest) else { continue }
            for facts in tree where !facts.isIndex {
                for part in facts.references where content.size(of: part.digest) == nil { lost.insert(part.digest) }
            }
        }
        return lost.sorted()
    }

    /// Nil for what is damaged itself, which hashing has found.
    private func readable(_ digest: Digest) -> [ManifestFacts]? {
        do { return try manifestTree(digest, in: content) } catch { return nil }
    }

    private func hash(after cursor: Digest?) throws -> (ArchiveShare, [ArchiveDamage], Digest?) {
        var checked = ArchiveShare()
        var damaged: [ArchiveDamage] = []
        for blob in try content.blobs() {
            if let cursor, blob.digest <= cursor { continue }
            // Deleted since it was listed: not there is not damaged.
            guard let isWhole = try content.isWhole(blob.digest) else { continue }
            if !isWhole { damaged.append(ArchiveDamage(digest: blob.digest, problem: .changed)) }
            checked.add(blob.size)
            if checked.size.bytes >= Self.verifyBytes { return (checked, damaged, blob.digest) }
        }
        return (checked, damaged, nil)
    }

    private func needs(_ root: ArchiveNeeds.Root, _ digest: Digest) -> Bool {
        guard root.digest != digest else { return true }
        guard root.isImage, let tree = readable(root.digest) else { return false }
        return tree.contains { facts in facts.references.contains { $0.digest == digest } }
    }

    /// Which configurations and images cannot be had any more.
    private func withHurt(_ damages: [ArchiveDamage]) throws -> [ArchiveDamage] {
        let roots = try ArchiveNeeds.roots(store)
        return damages.map { damage in
            var damage = damage
            for root in roots where needs(root, damage.digest) {
                switch root.reason {
                case .configuration(let name):
                    if !damage.configurations.contains(name) { damage.configurations.append(name) }
                case .image(let name): if !damage.images.contains(name) { damage.images.append(name) }
                }
            }
            return damage
        }
    }
}

extension ArchiveNeeds.Reason {
    /// For a sentence.
    var sentence: String {
        switch self {
        case .configuration(let name): "the configuration \(name)"
        case .image(let name): "the image \(name)"
        }
    }
}

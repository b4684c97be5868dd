// Why content of the archive must stay: what configurations pin, and what repositories and names hold. Found by walking
// manifests from those roots, so the bytes themselves are the truth and no table can disagree with them.
import JobModel
import OCI

/// Everything that something in the archive needs.
struct ArchiveNeeds: Sendable {
    enum Reason: Hashable, Sendable {
        /// A configuration that was submitted: this can never go.
        case configuration(String)
        /// An image that a repository or a name has.
        case image(String)
    }

    /// Something that was asked to be kept, and why.
    struct Root: Sendable {
        let digest: Digest
        let isImage: Bool
        let reason: Reason
    }

    /// What must stay, with the first reason found: configurations come first.
    private(set) var reasons: [Digest: Reason] = [:]
    /// Manifests that an index among the roots contains, with that index.
    private(set) var parents: [Digest: Digest] = [:]
    /// Images whose manifests cannot be read: what they need is not known, so nothing can be said not to be needed.
    private(set) var unreadable: [Root] = []

    static func roots(_ store: Store) throws -> [Root] {
        let pins = try store.pinned().map {
            Root(digest: $0.digest, isImage: $0.isImage, reason: .configuration($0.by))
        }
        let names = try store.imageNames().map { Root(digest: $0.digest, isImage: true, reason: .image($0.reference)) }
        let manifests = try store.repositoryManifests().map {
            Root(digest: $0.digest, isImage: true, reason: .image($0.repository))
        }
        return pins + names + manifests
    }

    /// What must stay. Reads every manifest once: blocks for as long as that takes.
    init(_ store: Store, _ content: ContentStore) throws {
        let complete = try store.imageDigests()
        var walked: Set<Digest> = []
        for root in try Self.roots(store) {
            if root.isImage, walked.insert(root.digest).inserted {
                walk(root, content, wasHere: complete[root.digest] == true)
            } else {
                note(root.digest, root.reason)
            }
        }
    }

    /// Adds a manifest that is spared for another reason, with what it needs.
    mutating func spare(_ digest: Digest, _ content: ContentStore) {
        walk(Root(digest: digest, isImage: true, reason: .image("\(digest)")), content, wasHere: false)
    }

    private mutating func note(_ digest: Digest, _ reason: Reason) {
        if reasons[digest] == nil { reasons[digest] = reason }
    }

    /// - Parameter wasHere: a manifest that is missing has been lost, not just not come yet.
    private mutating func walk(_ root: Root, _ content: ContentStore, wasHere: Bool) {
        note(root.digest, root.reason)
        guard wasHere || content.size(of: root.digest) != nil else { return }
        let tree: [ManifestFacts]
        do { tree = try manifestTree(root.digest, in: content) } catch {
            unreadable.append(root)
            return
        }
        for facts in tree {
            note(facts.digest, root.reason)
            for part in facts.references {
                note(part.digest, root.reason)
                if facts.isIndex, parents[part.digest] == nil { parents[part.digest] = facts.digest }
            }
        }
    }
}

// What a path below /v2/ asks for, and whose a repository is. Names and paths as in the OCI distribution specification
// 1.1; nothing is looked up here.
import Foundation
import JobModel

/// The name of a repository, as the path has it and as the archive keeps names.
struct RepositoryName: Hashable, Sendable {
    /// `ada/stack`
    let text: String
    /// `docker.io/ada/stack`, so that `image: ada/stack:1` in a spec means what was pushed as `HOST:PORT/ada/stack:1`.
    let full: String
    /// The registry that a spec would have to name; `docker.io` for none.
    private let registry: String
    private let repository: String

    /// Whatever is in the archive is here by its digest; it cannot be pushed to.
    static let everything = "archive"
    /// The first part of the names that every user may push to.
    static let shared = "shared"
    static let longest = 255

    init(_ text: String) throws(RegistryFailure) {
        guard text.utf8.count <= Self.longest, let reference = ImageReference(text + ":x"), reference.digest == nil,
            !text.contains(":")
        else {
            throw RegistryFailure(
                .nameInvalid,
                "\(quoted(text)) is not a repository name: write lower-case words, separated by '/', for example ada/stack"
            )
        }
        self.text = text
        registry = reference.registry
        repository = reference.repository
        full = registry + "/" + repository
    }

    var isEverything: Bool { text == Self.everything }

    /// As it stands in `image_names`.
    func name(_ tag: String) -> String { full + ":" + tag }

    /// Users push below their own name and below `shared/`, administrators everywhere: who could push `python` would
    /// decide what everybody's `image: python` means.
    func mustAllowPush(by caller: Caller) throws(RegistryFailure) {
        guard !isEverything else {
            throw RegistryFailure(.denied, "'archive' is the name of everything and takes no push: choose another")
        }
        guard caller.role != .admin else { return }
        let name = caller.name.rawValue
        let owner = registry == "docker.io" ? repository.split(separator: "/").first.map(String.init) : nil
        guard owner == Self.shared || (owner == name && name != "library") else {
            throw RegistryFailure(
                .denied,
                "'\(name)' may not push to \(quoted(text)): push to \(name)/… or \(Self.shared)/…, or ask an administrator"
            )
        }
    }
}

/// What stands behind `manifests/`.
enum ManifestName: Hashable, Sendable {
    case tag(String)
    case digest(Digest)

    init(_ text: String) throws(RegistryFailure) {
        if let digest = Digest(text) {
            self = .digest(digest)
        } else if text.contains(":") {
            throw RegistryFailure(.digestInvalid, badDigest(text))
        } else if ImageReference("x:" + text)?.tag == text {
            self = .tag(text)
        } else {
            throw RegistryFailure(
                .manifestInvalid,
                "\(quoted(text)) is not a tag: write at most 128 letters, digits, '_', '.' and '-'; begin with none of the last two"
            )
        }
    }
}

func badDigest(_ text: String) -> String {
    "\(quoted(text)) is not a digest that the archive keeps: write sha256: and 64 lower-case hexadecimal digits"
}

enum RegistryTarget: Hashable, Sendable {
    case manifest(RepositoryName, ManifestName)
    case blob(RepositoryName, Digest)
    /// Where uploads begin.
    case uploads(RepositoryName)
    case upload(RepositoryName, String)
    case tags(RepositoryName)
    case referrers(RepositoryName, Digest)

    /// Parses what follows `/v2/<name>/`.
    init(path: String) throws(RegistryFailure) {
        let parts = (path.removingPercentEncoding ?? path).split(separator: "/").map(String.init).dropFirst()
        guard let last = parts.last, parts.count >= 3 else { throw Self.nothing(path) }
        let above = Array(parts.dropLast())
        func name(_ count: Int) throws(RegistryFailure) -> RepositoryName {
            try RepositoryName(parts.dropLast(count).joined(separator: "/"))
        }
        func digest() throws(RegistryFailure) -> Digest {
            guard let digest = Digest(last) else { throw RegistryFailure(.digestInvalid, badDigest(last)) }
            return digest
        }
        switch (above.last ?? "", last) {
        case ("manifests", _): self = .manifest(try name(2), try ManifestName(last))
        case ("tags", "list"): self = .tags(try name(2))
        case ("referrers", _): self = .referrers(try name(2), try digest())
        case ("blobs", "uploads"): self = .uploads(try name(2))
        case ("uploads", _) where above.count >= 3 && above[above.count - 2] == "blobs":
            self = .upload(try name(3), last)
        case ("blobs", _): self = .blob(try name(2), try digest())
        default: throw Self.nothing(path)
        }
    }

    private static func nothing(_ path: String) -> RegistryFailure {
        RegistryFailure(.nameUnknown, "there is nothing at \(quoted(path))")
    }
}
